//! Ports to the outside: clock, files, systemd, commands, cluster. Nothing outside this folder (and the probes and steps
//! that are given a [`Host`]) touches the machine.

pub mod clock;
pub mod cluster;
pub mod command;
mod deadline;
#[cfg(test)]
pub mod fake;
mod port;
pub mod retry;
pub mod systemd;

pub use deadline::{Deadline, Elapsed};
pub use port::Host;

use std::future::Future;
use std::pin::Pin;

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
