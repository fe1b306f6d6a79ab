//! Input: one folder per subsystem, `signals.rs` (keys), `parse.rs` (pure: text -> values) and `mod.rs` (the read).
//!
//! To add a probe: its folder here, and one line in [`table::SPECS`] and [`table::build`].

pub mod certificates;
mod error;
pub mod headroom;
pub mod journal;
pub mod kernel;
pub mod kernel_log;
pub mod kubelet;
pub mod node_status;
mod off_thread;
pub mod os;
pub mod packages;
pub mod runtime;
pub mod slices;
pub mod storage;
pub mod systemd;
mod table;
mod text_file;

pub use error::ProbeError;
pub use table::{SPECS, build, build_for, build_resident, catalogue};

use crate::host::{BoxFuture, Host};
use crate::signal::{Batch, KeySpec};
use std::time::Duration;

/// What a probe is: its name, its rhythm and its signals.
#[derive(Debug, Clone, Copy)]
pub struct ProbeSpec {
    /// Metric label and batch name.
    pub name: &'static str,
    /// What people read in the start summary (`systemd bus`, `kernel log`).
    pub title: &'static str,
    /// How often it runs.
    pub period: Duration,
    /// When a run counts as hung: its signals become missing and the run is abandoned.
    pub timeout: Duration,
    /// All its signals.
    pub keys: &'static [&'static KeySpec],
    /// What one run costs, measured: wall time and CPU time, and on what machine.
    pub cost: &'static str,
}

/// A source of signals. `collect` drains whatever arrived since the last call, so streams and polls look alike.
pub trait Probe: Send {
    /// What it is.
    fn spec(&self) -> &'static ProbeSpec;

    /// One run. Partial failures are `Missing` samples in the batch; an error means that nothing could be read.
    ///
    /// *Cancel safety*: may be dropped at any await; what was not returned is read again or said to be lost.
    fn collect<'a>(&'a mut self, host: &'a Host) -> BoxFuture<'a, Result<Batch, ProbeError>>;

    /// Ends when there may be something to collect before the period is over. Never, where nobody can tell.
    ///
    /// *Cancel safety*: may be dropped at any await and asked again.
    fn stirred(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}
