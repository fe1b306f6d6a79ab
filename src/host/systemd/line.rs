//! A way to systemd that is opened when needed, kept where that is cheaper, and never piles up clients on a stopped daemon.

use super::connection::Connection;
use super::error::BusError;
use super::handshake::{Handshake, Route};
use super::port::Systemd;
use crate::host::deadline::Deadline;

/// What is open at present.
#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    /// Connected, not accepted yet: the other side is stopped or very slow.
    Waiting(Handshake),
    Open(Connection),
}

/// One line to systemd or the bus daemon.
///
/// An unanswered greeting stays on the line and is waited for again at the next call. So a stopped PID 1 has one waiting
/// client of ours in its queue, and people's own `systemctl` still fits in.
#[derive(Debug)]
pub struct Line {
    route: Route,
    state: State,
}

impl Line {
    /// A line that is not open yet.
    pub fn new(route: Route) -> Self {
        Self {
            route,
            state: State::Idle,
        }
    }

    /// Whether a greeting of an earlier call is still unanswered.
    pub fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting(_))
    }

    /// A connection: the kept one, the one that was still waited for, or a new one. Give it back with [`Line::keep`].
    ///
    /// *Errors*: those of connecting and authentication.
    pub async fn open(
        &mut self,
        systemd: &Systemd,
        deadline: Deadline,
    ) -> Result<Connection, BusError> {
        let mut handshake = match std::mem::take(&mut self.state) {
            State::Open(connection) => return Ok(connection),
            State::Waiting(handshake) => handshake,
            State::Idle => systemd.greet(self.route, deadline).await?,
        };
        match handshake.wait(deadline).await {
            Ok(()) => handshake.finish(deadline).await,
            Err(late @ BusError::Late { .. }) => {
                self.state = State::Waiting(handshake);
                Err(late)
            }
            Err(other) => Err(other),
        }
    }

    /// Keeps a connection for the next call.
    pub fn keep(&mut self, connection: Connection) {
        self.state = State::Open(connection);
    }

    /// Whether a connection was kept.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Forgets whatever is open.
    pub fn close(&mut self) {
        self.state = State::Idle;
    }
}
