//! A real control plane, the manifests applied to it, and what its API server allows an agent.
//!
//! Needs root, Go, `openssl` and `setpriv`; says so and fails where one is missing. The first run
//! builds the control plane (about five minutes), later ones take it from the user's cache.
//!
//! In the order of use: `binaries` the control plane's programs and their cache, `process` one
//! supervised child, `pki` certificates, `controlplane` all of it together, `api` one caller,
//! `audit` what the server wrote down, `fleet` nodes, pods and tokens, `invariants` the checker of what was written; then the
//! tests.

mod api;
mod audit;
mod binaries;
mod controlplane;
mod fleet;
mod hostile;
mod image;
mod invariants;
mod manifests;
mod matrix;
mod pki;
mod process;
mod server;
