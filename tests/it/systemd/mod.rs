//! `host::systemd`, `host::command` and the probes of systemd, against fakes and a real bus daemon.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests: a panic is a failed test"
)]

mod client;
mod command;
mod daemon;
mod fake;
mod metrics;
mod probe;
mod real;
mod units;
mod wire;
