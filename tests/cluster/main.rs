//! A real control plane, the manifests applied to it, and what its API server allows an agent.
//!
//! Needs root, Go, `openssl` and `setpriv`; says so and fails where one is missing. The first run
//! builds the control plane (about five minutes), later ones take it from the user's cache.
//!
//! In the order of use: `binaries` the control plane's programs and their cache, `process` one
//! supervised child, `seats` how many control planes there may be, `pki` certificates, `controlplane`
//! all of it together, `api` one caller, `audit` what the server wrote down, `fleet` nodes, pods and
//! tokens, `relay`, `cable` and `liar` an agent's own way to the server, `background` the thread that
//! serves it, `patients` hosts that fall sick, `troubles` what is done to them; `invariants`, `steps`,
//! `history` and `fairness` the checkers of what was written; then the tests.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests are the outside world: they start processes, read clocks, index JSON and fail"
)]

mod agents;
mod answers;
mod api;
mod audit;
mod background;
mod binaries;
mod cable;
mod controlplane;
mod crowd;
mod fairness;
mod faults;
mod flagship;
mod fleet;
mod history;
mod hostile;
mod image;
mod invariants;
mod kernel_lines;
mod liar;
mod manifests;
mod matrix;
mod node;
mod partitions;
mod patients;
mod people;
mod pki;
mod pods;
mod process;
mod qemu;
mod relay;
mod restarts;
mod rights;
mod seats;
mod server;
mod steps;
mod teardown;
mod told;
mod troubles;

// Shared with the lab of single nodes; `node` needs it for that lab's cgroups.
#[path = "../lab/wait.rs"]
mod wait;
