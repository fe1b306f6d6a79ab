//! Where systemd is on this machine, and how to get a conversation with it.

use super::connection::Connection;
use super::error::BusError;
use super::handshake::{Handshake, Route};
use crate::host::Host;
use crate::host::deadline::Deadline;
use std::path::PathBuf;

const PRIVATE_SOCKET: &str = "/run/systemd/private";
const BUS_SOCKET: &str = "/run/dbus/system_bus_socket";

/// The directory that exists exactly where systemd is PID 1 (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// systemd of one machine.
#[derive(Debug, Clone)]
pub struct Systemd {
    private: PathBuf,
    bus: PathBuf,
    booted: PathBuf,
}

impl Systemd {
    /// systemd of this machine.
    pub fn of(host: &Host) -> Self {
        Self {
            private: host.path(PRIVATE_SOCKET),
            bus: host.path(BUS_SOCKET),
            booted: host.path(BOOTED),
        }
    }

    /// Whether systemd is PID 1 of this machine, as far as its files tell.
    pub fn is_booted(&self) -> bool {
        self.booted.exists() || self.private.exists()
    }

    /// Connects and greets; the answer is yet to be waited for.
    ///
    /// *Errors*: those of connecting.
    pub async fn greet(&self, route: Route, deadline: Deadline) -> Result<Handshake, BusError> {
        let path = match route {
            Route::Private => &self.private,
            Route::Bus => &self.bus,
        };
        Handshake::begin(route, path, deadline).await
    }

    /// A new connection by this route.
    ///
    /// *Errors*: those of connecting and authentication.
    pub async fn open(&self, route: Route, deadline: Deadline) -> Result<Connection, BusError> {
        self.greet(route, deadline).await?.finish(deadline).await
    }

    /// A new connection to PID 1: by its private socket, else by the bus. The private socket gets at most half the time.
    ///
    /// *Errors*: the bus's, when both ways are closed; the private socket's where there is no bus.
    pub async fn open_any(&self, deadline: Deadline) -> Result<Connection, BusError> {
        let half = deadline.at_most(deadline.remaining() / 2);
        let first = match self.open(Route::Private, half).await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        match self.open(Route::Bus, deadline).await {
            Ok(connection) => Ok(connection),
            Err(BusError::NoSocket { .. }) => Err(first),
            Err(second) => Err(second),
        }
    }
}
