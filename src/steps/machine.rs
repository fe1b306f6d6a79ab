//! The steps' ports on a real machine.

use super::site::{Commands, HostTask, Pong, PortError, Services, TaskEnd, UnitNow, Way};
use crate::document::in_full;
use crate::host::command::{self, CommandError, CommandState, HostCommand};
use crate::host::systemd::{BusError, Exit, Route, Systemd, UnitState, UnitVerb, terminate_pid1};
use crate::host::{BoxFuture, Deadline, Host};
use std::path::PathBuf;
use std::time::Duration;

/// Where commands leave their output on the host until it is read: gone at the next boot, as the commands are.
const OUTPUT_FOLDER: &str = "/run/nodemend/output";
/// One question about a command.
const ASK_LIMIT: Duration = Duration::from_secs(10);
/// What a command gets beyond its own limit until systemd must have ended it: SIGTERM, its grace, SIGKILL.
const END_SLACK: Duration = Duration::from_secs(30);

/// PID 1 of this machine, and its units.
#[derive(Debug, Clone)]
pub struct HostServices {
    host: Host,
    systemd: Systemd,
}

impl HostServices {
    /// PID 1 of `host`.
    pub fn of(host: &Host) -> Self {
        Self {
            host: host.clone(),
            systemd: Systemd::of(host),
        }
    }
}

fn bus_error(error: &BusError, was_sent: bool) -> PortError {
    PortError {
        kind: error.kind().into(),
        message: in_full(error),
        // An answer that was refused is an answer; silence and a cut connection are not.
        may_be_done: was_sent && matches!(error, BusError::Late { .. } | BusError::Closed { .. }),
    }
}

fn unit_now(state: UnitState) -> UnitNow {
    let micros =
        |at: crate::signal::Uptime| u64::try_from(at.since_boot().as_micros()).unwrap_or(u64::MAX);
    UnitNow {
        load: state.load,
        active: state.active,
        main_pid: state.main_pid,
        active_since_us: state.active_since.map(micros),
        has_job: state.has_job,
    }
}

impl Services for HostServices {
    fn ping(&self, way: Way, limit: Duration) -> BoxFuture<'_, Result<Pong, PortError>> {
        let route = match way {
            Way::Private => Route::Private,
            Way::Bus => Route::Bus,
        };
        Box::pin(async move {
            let deadline = Deadline::after(limit);
            let mut connection = self
                .systemd
                .open(route, deadline)
                .await
                .map_err(|error| bus_error(&error, false))?;
            let reply = connection.ping(deadline).await;
            let reply = reply.map_err(|error| bus_error(&error, true))?;
            Ok(Pong {
                sender: reply.sender,
                serial: reply.serial,
            })
        })
    }

    fn reexecute(&self, limit: Duration) -> BoxFuture<'_, Result<(), PortError>> {
        Box::pin(async move {
            // Whether the socket can be opened at all decides between "not asked" and "asked, and no answer".
            let greeting = Deadline::after(limit / 2);
            let opened = self.systemd.open(Route::Private, greeting).await;
            drop(opened.map_err(|error| bus_error(&error, false))?);
            let done = self
                .systemd
                .reexecute(Route::Private, Deadline::after(limit))
                .await;
            done.map(drop).map_err(|error| bus_error(&error, true))
        })
    }

    fn terminate_pid1(&self) -> BoxFuture<'_, Result<(), PortError>> {
        Box::pin(async move {
            terminate_pid1(&self.host).map_err(|error| PortError {
                kind: error.kind().into(),
                message: in_full(&error),
                may_be_done: false,
            })
        })
    }

    fn unit<'a>(
        &'a self,
        unit: &'a str,
        limit: Duration,
    ) -> BoxFuture<'a, Result<UnitNow, PortError>> {
        Box::pin(async move {
            let deadline = Deadline::after(limit);
            let failed = |error: BusError| bus_error(&error, false);
            let mut connection = self.systemd.open_any(deadline).await.map_err(failed)?;
            let state = connection.unit_state(unit, deadline).await;
            state.map(unit_now).map_err(failed)
        })
    }

    fn restart<'a>(
        &'a self,
        unit: &'a str,
        limit: Duration,
    ) -> BoxFuture<'a, Result<UnitNow, PortError>> {
        Box::pin(async move {
            let deadline = Deadline::after(limit);
            let opened = self.systemd.open_any(deadline).await;
            let mut connection = opened.map_err(|error| bus_error(&error, false))?;
            let state = connection.run_job(UnitVerb::Restart, unit, deadline).await;
            state.map(unit_now).map_err(|error| bus_error(&error, true))
        })
    }
}

/// Commands on this machine, as transient units.
#[derive(Debug, Clone)]
pub struct HostCommands {
    host: Host,
}

impl HostCommands {
    /// Commands on `host`.
    pub fn of(host: &Host) -> Self {
        Self { host: host.clone() }
    }
}

fn command_of(task: &HostTask) -> HostCommand {
    HostCommand {
        unit: task.unit.clone(),
        description: task.description.clone(),
        arguments: task.arguments.clone(),
        environment: task.environment.clone(),
        time_limit: task.time_limit,
        output: Some(PathBuf::from(OUTPUT_FOLDER)),
    }
}

fn command_error(error: &CommandError) -> PortError {
    PortError {
        kind: error.kind().into(),
        message: in_full(error),
        may_be_done: error.may_be_done(),
    }
}

impl Commands for HostCommands {
    fn run<'a>(&'a self, task: &'a HostTask) -> BoxFuture<'a, Result<TaskEnd, PortError>> {
        Box::pin(async move {
            let command = command_of(task);
            let failed = |error: CommandError| command_error(&error);
            command::start(&self.host, &command, Deadline::after(ASK_LIMIT))
                .await
                .map_err(failed)?;
            let until = Deadline::after(task.time_limit.saturating_add(END_SLACK));
            let end = command::wait(&self.host, &command.unit, until)
                .await
                .map_err(failed)?;
            let output = command::output(&self.host, &command)
                .await
                .map_err(failed)?;
            Ok(TaskEnd {
                status: match end.exit {
                    Some(Exit::Code(status)) => Some(status),
                    Some(Exit::Signal(_)) | None => None,
                },
                result: end.result,
                stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            })
        })
    }

    fn is_running<'a>(
        &'a self,
        task: &'a HostTask,
    ) -> BoxFuture<'a, Result<Option<bool>, PortError>> {
        Box::pin(async move {
            match command::state(&self.host, &task.unit, Deadline::after(ASK_LIMIT)).await {
                Ok(CommandState::Running { .. }) => Ok(Some(true)),
                Ok(CommandState::Ended(_)) => Ok(Some(false)),
                Err(CommandError::Gone { .. }) => Ok(None),
                Err(error) => Err(command_error(&error)),
            }
        })
    }

    fn remove<'a>(&'a self, task: &'a HostTask) -> BoxFuture<'a, Result<(), PortError>> {
        Box::pin(async move {
            let command = command_of(task);
            let removed = command::remove(&self.host, &command, Deadline::after(ASK_LIMIT));
            removed.await.map_err(|error| command_error(&error))
        })
    }
}
