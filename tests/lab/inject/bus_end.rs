//! PID 1's own connection to the system bus, ended under it.

use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use nix::sys::socket::{Shutdown, shutdown};

use super::bus_connection::{PidFd, Place};
use crate::node::Node;

/// Shuts PID 1's connection to the bus down under it (form B of signatures.md 1.8).
///
/// PID 1 sees the end of the connection and drops it; it connects again by itself later, or when re-executed.
pub fn close_bus(node: &Node) -> Result<()> {
    let place = Place::find(node.leader()?)?;
    let socket = PidFd::open(place.pid)?.fetch(place.socket)?;
    shutdown(socket.as_raw_fd(), Shutdown::Both).context("shutdown of PID 1's bus connection")
}
