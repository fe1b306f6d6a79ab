//! The probe `systemd-bus`: who answers, the bus daemon, PID 1 on the bus, PID 1 on its private socket.

use super::answers::{Answer, Answers, fill};
use super::serial::SerialHistory;
use super::signals::BUS_KEYS;
use crate::host::systemd::{BusError, Connection, Line, Pending, Reply, Route, Systemd};
use crate::host::{BoxFuture, Deadline, Host, clock};
use crate::probes::{Probe, ProbeError, ProbeSpec};
use crate::signal::Batch;
use std::time::Duration;

/// How long each of the three is waited for, connecting included. A loaded PID 1 answers within a second; `busctl` gives up
/// after 25 s only.
const DEADLINE: Duration = Duration::from_secs(5);

/// The first of two tries on the private socket. One unanswered call proves nothing there (signatures.md 1.8).
const FIRST_PRIVATE_TRY: Duration = Duration::from_secs(2);

/// The probe `systemd-bus`.
pub(crate) const SPEC: ProbeSpec = ProbeSpec {
    name: "systemd-bus",
    title: "systemd bus",
    period: Duration::from_secs(10),
    timeout: Duration::from_secs(16),
    keys: BUS_KEYS,
    cost: "2.9 ms wall, 0.4 ms CPU, and 1.7 ms CPU of PID 1; debug build, systemd 252 in a container, 2 cores",
};

/// Asks the bus daemon and PID 1 for signs of life.
#[derive(Debug)]
pub(crate) struct BusProbe {
    bus: Line,
    private: Line,
    bus_was_there: bool,
    private_was_there: bool,
    serials: SerialHistory,
}

impl BusProbe {
    /// A probe that has asked nobody yet.
    pub(crate) fn new() -> Self {
        Self {
            bus: Line::new(Route::Bus),
            private: Line::new(Route::Private),
            bus_was_there: false,
            private_was_there: false,
            serials: SerialHistory::default(),
        }
    }

    async fn ask(&mut self, systemd: &Systemd, span: Duration) -> Answers {
        let ((daemon, manager), private) = tokio::join!(
            ask_bus(&mut self.bus, systemd, Deadline::after(span)),
            ask_private(&mut self.private, systemd, Deadline::after(span)),
        );
        let daemon = daemon.with_memory(self.bus_was_there);
        let manager = manager.with_memory(self.bus_was_there);
        let private = private.with_memory(self.private_was_there);
        self.bus_was_there |= daemon.was_there();
        self.private_was_there |= private.was_there();
        let growth = match &manager {
            Answer::Yes { serial, .. } => self.serials.note(clock::now().uptime, *serial),
            Answer::No { .. } | Answer::CannotTell(_) => None,
        };
        Answers {
            daemon,
            manager,
            private,
            deadline: span,
            growth,
        }
    }
}

impl Probe for BusProbe {
    fn spec(&self) -> &'static ProbeSpec {
        &SPEC
    }

    fn collect<'a>(&'a mut self, host: &'a Host) -> BoxFuture<'a, Result<Batch, ProbeError>> {
        Box::pin(async move {
            let systemd = Systemd::of(host);
            if !systemd.is_booted() {
                return Err(ProbeError::Unsupported {
                    what: "systemd".to_owned(),
                });
            }
            let answers = self.ask(&systemd, DEADLINE).await;
            let mut batch = Batch::of(SPEC.name);
            fill(&mut batch, &answers);
            Ok(batch)
        })
    }
}

/// Asks the bus daemon and PID 1 on one connection, which is kept for the next run.
async fn ask_bus(line: &mut Line, systemd: &Systemd, deadline: Deadline) -> (Answer, Answer) {
    let was_old = line.is_open() || line.is_waiting();
    let first = ask_on_bus(line, systemd, deadline).await;
    match first {
        // The connection of the last run died since: the bus daemon was restarted. That is no answer to our question.
        Err(BusError::Closed { .. }) if was_old => {
            let second = ask_on_bus(line, systemd, deadline).await;
            second.unwrap_or_else(|error| both(&error))
        }
        Err(error) => both(&error),
        Ok(answers) => answers,
    }
}

fn both(error: &BusError) -> (Answer, Answer) {
    let answer = Answer::of_error(error);
    (answer.clone(), answer)
}

/// One try. An error means that nobody was asked, or that the connection broke before anybody answered.
async fn ask_on_bus(
    line: &mut Line,
    systemd: &Systemd,
    deadline: Deadline,
) -> Result<(Answer, Answer), BusError> {
    let mut connection = line.open(systemd, deadline).await?;
    let to_daemon = connection.send_get_id(deadline).await?;
    let to_manager = connection.send_ping(deadline).await?;
    let daemon = connection.receive(&to_daemon, deadline).await;
    if let Err(error @ BusError::Closed { .. }) = daemon {
        return Err(error);
    }
    let manager = connection.receive(&to_manager, deadline).await;
    let usable = is_usable(&daemon) && is_usable(&manager);
    if usable {
        line.keep(connection);
    }
    Ok((
        answer(&to_daemon, daemon, false),
        answer(&to_manager, manager, true),
    ))
}

fn is_usable(result: &Result<Reply, BusError>) -> bool {
    match result {
        Ok(_) => true,
        Err(error) => error.leaves_connection_usable(),
    }
}

fn answer(pending: &Pending, result: Result<Reply, BusError>, to_manager: bool) -> Answer {
    match result {
        Ok(reply) => Answer::Yes {
            latency: reply.received.since(pending.sent()),
            serial: reply.serial,
        },
        Err(error) if to_manager => {
            Answer::of_manager_error(&error, clock::now().uptime.since(pending.sent()))
        }
        Err(error) => Answer::of_error(&error),
    }
}

/// Asks PID 1 on its private socket, twice on fresh connections before it counts as silent.
///
/// While a greeting of an earlier run is unanswered, only that one is waited for: it would be answered first anyway.
async fn ask_private(line: &mut Line, systemd: &Systemd, deadline: Deadline) -> Answer {
    let was_waiting = line.is_waiting();
    let first_deadline = if was_waiting {
        deadline
    } else {
        deadline.at_most(FIRST_PRIVATE_TRY)
    };
    let first = match ask_once(line, systemd, first_deadline).await {
        Ok(answer) => return answer,
        Err(error) => error,
    };
    let settled = !matches!(first, BusError::Late { .. } | BusError::Closed { .. });
    if settled || deadline.remaining().is_zero() || (was_waiting && line.is_waiting()) {
        return Answer::of_error(&first);
    }
    let mut fresh = Line::new(Route::Private);
    match ask_once(&mut fresh, systemd, deadline).await {
        Ok(answer) => {
            line.close();
            answer
        }
        Err(error) => Answer::of_error(&error),
    }
}

async fn ask_once(
    line: &mut Line,
    systemd: &Systemd,
    deadline: Deadline,
) -> Result<Answer, BusError> {
    let mut connection: Connection = line.open(systemd, deadline).await?;
    let pending = connection.send_ping(deadline).await?;
    match connection.receive(&pending, deadline).await {
        Ok(reply) => Ok(answer(&pending, Ok(reply), true)),
        // Nobody else is on this connection: an error reply is PID 1's own, whatever sender it names.
        Err(BusError::Reply { serial, .. }) => Ok(Answer::Yes {
            latency: clock::now().uptime.since(pending.sent()),
            serial,
        }),
        Err(error) => Err(error),
    }
}
