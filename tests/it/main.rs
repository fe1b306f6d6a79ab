//! One test binary for all integration tests, so that the big dependencies are linked once.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests may stop at the first surprise, and start processes"
)]

mod command_line;
mod documented;
mod fuzz;
mod journald;
mod metrics;
mod model;
mod node;
mod rules;
mod simulate;
mod sources;
mod systemd;
mod tidy;
