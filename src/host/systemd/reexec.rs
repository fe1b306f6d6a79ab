//! Making PID 1 execute itself anew: the cure for a mute bus connection.

use super::error::{BusError, Phase};
use super::handshake::Route;
use super::port::Systemd;
use crate::host::Host;
use crate::host::clock;
use crate::host::deadline::Deadline;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io;
use std::time::Duration;

/// Answering again took 0.03 s after the re-execution on systemd 236, 241 and 252.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How long one try to get an answer may take.
const ATTEMPT: Duration = Duration::from_secs(2);

/// How long the private socket is waited for before SIGTERM is sent without a witness.
const FIRST_OPEN: Duration = Duration::from_secs(2);

/// PID 1 was asked to re-execute and answers again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reexecuted {
    /// By which way it was asked.
    pub asked: Route,
    /// How long until it answered again.
    pub took: Duration,
}

/// Why SIGTERM was not sent to PID 1.
#[derive(Debug, thiserror::Error)]
pub enum TerminateError {
    /// The PID 1 that we could reach is not the machine's systemd: we live in a container's PID namespace, or there is none.
    #[error("process 1 as seen from here is not this machine's systemd")]
    NotSystemd,
    /// Whose PID 1 it is could not be read.
    #[error("whether process 1 is this machine's systemd cannot be read")]
    Unreadable(#[source] io::Error),
    /// The signal was refused.
    #[error("SIGTERM to process 1 was refused")]
    Refused(#[source] io::Error),
    /// The signal was sent, and PID 1 did not answer again until the deadline.
    #[error("SIGTERM was sent to process 1, and it does not answer")]
    NoAnswer(#[source] BusError),
}

impl TerminateError {
    /// A short stable word: the metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            TerminateError::NotSystemd => "not-systemd",
            TerminateError::Unreadable(_) => "unreadable",
            TerminateError::Refused(_) => "refused",
            TerminateError::NoAnswer(_) => "no-answer",
        }
    }
}

impl Systemd {
    /// Asks PID 1 to execute itself anew by this way, and waits until it answers on its private socket, or on the bus if
    /// that was the way.
    ///
    /// Containers and services live on. PID 1 closes the connection in place of an answer: that is the expected end.
    /// *Errors*: as for any call; an error *reply* means that PID 1 refused. [`BusError::Late`] after the request was sent
    /// means that it may still be executed.
    pub async fn reexecute(
        &self,
        route: Route,
        deadline: Deadline,
    ) -> Result<Reexecuted, BusError> {
        let mut connection = self.open(route, deadline).await?;
        let pending = connection.send_reexecute(deadline).await?;
        match connection.receive(&pending, deadline).await {
            Ok(_) | Err(BusError::Closed { .. }) => {}
            // The bus daemon says this when PID 1 drops its connection, and so does a name that has no owner meanwhile.
            Err(error) if matches!(error.kind(), "no-reply" | "no-owner") => {}
            Err(error) => return Err(error),
        }
        drop(connection);
        self.wait_for_answer(Some(route), deadline).await?;
        Ok(Reexecuted {
            asked: route,
            took: clock::now().uptime.since(deadline.began()),
        })
    }

    /// Makes PID 1 execute itself anew by SIGTERM, and waits until it answers again. Answers how long that took.
    ///
    /// For a PID 1 that refuses or ignores [`Systemd::reexecute`]. Where its private socket can be opened, its close shows that
    /// the re-execution has begun; else the first answer after the signal has to do.
    /// *Errors*: those of [`terminate_pid1`], and no answer until the deadline.
    pub async fn reexecute_by_signal(
        &self,
        host: &Host,
        deadline: Deadline,
    ) -> Result<Duration, TerminateError> {
        let first = deadline.at_most(FIRST_OPEN);
        let witness = self.open(Route::Private, first).await.ok();
        terminate_pid1(host)?;
        if let Some(witness) = witness {
            let closed = witness.wait_for_close(deadline).await;
            closed.map_err(TerminateError::NoAnswer)?;
        }
        let answer = self.wait_for_answer(None, deadline).await;
        answer.map_err(TerminateError::NoAnswer)?;
        Ok(clock::now().uptime.since(deadline.began()))
    }

    /// Waits until PID 1 answers by this way, or by any.
    ///
    /// *Errors*: [`BusError::Late`] if it does not until the deadline.
    pub async fn wait_for_answer(
        &self,
        route: Option<Route>,
        deadline: Deadline,
    ) -> Result<(), BusError> {
        let mut pause = FIRST_PAUSE;
        while !deadline.remaining().is_zero() {
            let attempt = deadline.at_most(ATTEMPT);
            let answer = async {
                let mut connection = match route {
                    Some(route) => self.open(route, attempt).await?,
                    None => self.open_any(attempt).await?,
                };
                connection.ping(attempt).await
            };
            if answer.await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(pause.min(deadline.remaining())).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Err(BusError::Late {
            phase: Phase::Call,
            after: deadline.span(),
        })
    }
}

/// Sends SIGTERM to PID 1, which systemd(1) defines as the same as `daemon-reexec`.
///
/// Only if process 1 of our own PID namespace is the systemd of `host`: in a container it is somebody else.
/// *Errors*: that, and a refused signal.
pub fn terminate_pid1(host: &Host) -> Result<(), TerminateError> {
    if !is_pid1_ours(host).map_err(TerminateError::Unreadable)? {
        return Err(TerminateError::NotSystemd);
    }
    kill(Pid::from_raw(1), Signal::SIGTERM)
        .map_err(|errno| TerminateError::Refused(io::Error::from(errno)))
}

/// Whether process 1 as we see it is the machine's PID 1, and systemd.
fn is_pid1_ours(host: &Host) -> io::Result<bool> {
    if !Systemd::of(host).is_booted() {
        return Ok(false);
    }
    let command = std::fs::read_to_string("/proc/1/comm")?;
    if command.trim_end() != "systemd" {
        return Ok(false);
    }
    let seen = std::fs::read_link("/proc/1/ns/pid")?;
    let own = std::fs::read_link("/proc/self/ns/pid")?;
    let machine = std::fs::read_link(host.path("/proc/1/ns/pid"))?;
    Ok(seen == machine && own == seen)
}
