//! Starting, watching and removing a command.

use super::error::CommandError;
use super::model::{CommandEnd, CommandState, HostCommand, Started, check_unit};
use super::output::{prepare_output, remove_file};
use crate::host::systemd::{BusError, Connection, Systemd, UnitState, UnitVerb};
use crate::host::{Deadline, Host};
use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Starts a command unless a unit of its name exists already.
///
/// *Errors*: systemd's. When the answer is lost (late, closed) it may have been started: call again, the name decides.
/// *Cancel safety*: as for a lost answer.
pub async fn start(
    host: &Host,
    command: &HostCommand,
    deadline: Deadline,
) -> Result<Started, CommandError> {
    command.check()?;
    let fail = |doing| {
        let unit = command.unit.clone();
        move |source| CommandError::Systemd {
            doing,
            unit,
            source,
        }
    };
    let systemd = Systemd::of(host);
    let mut connection = systemd.open_any(deadline).await.map_err(fail("starting"))?;
    let is_there = connection.is_loaded(&command.unit, deadline).await;
    if is_there.map_err(fail("looking for"))? {
        return Ok(Started::Before);
    }
    prepare_output(host, command).await?;
    match launch(&mut connection, command, deadline).await {
        Ok(()) => {
            wait_for_process(&mut connection, &command.unit, deadline).await;
            Ok(Started::Now)
        }
        Err(error) if error.kind() == "unit-exists" => Ok(Started::Before),
        Err(source @ (BusError::Late { .. } | BusError::Closed { .. })) => {
            Err(CommandError::Unsure {
                unit: command.unit.clone(),
                source,
            })
        }
        Err(error) => Err(fail("starting")(error)),
    }
}

/// Waits until the job is done, so that PID 1 re-executed right after this (by a step of ours) does not start the command from
/// its unit file in place of our request. That it was asked for is known already, so a failure here changes nothing.
async fn wait_for_process(connection: &mut Connection, unit: &str, deadline: Deadline) {
    let mut pause = FIRST_PAUSE;
    while let Ok(state) = connection.unit_state(unit, deadline).await {
        if !state.has_job || deadline.remaining().is_zero() {
            return;
        }
        tokio::time::sleep(pause.min(deadline.remaining())).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn launch(
    connection: &mut Connection,
    command: &HostCommand,
    deadline: Deadline,
) -> Result<(), BusError> {
    let with_files = command.output.is_some();
    let settings = command.settings(with_files);
    let first = connection
        .start_transient(&command.unit, &settings, deadline)
        .await;
    match first {
        // Output files are younger than systemd 236: there the output is in the journal only.
        Err(error) if with_files && error.is_unknown_here() => {
            let settings = command.settings(false);
            connection
                .start_transient(&command.unit, &settings, deadline)
                .await
        }
        other => other,
    }
}

/// How far the command of this unit is.
///
/// *Errors*: [`CommandError::Gone`], or systemd's.
pub async fn state(
    host: &Host,
    unit: &str,
    deadline: Deadline,
) -> Result<CommandState, CommandError> {
    check_unit(unit)?;
    let systemd = Systemd::of(host);
    let open = systemd.open_any(deadline).await;
    let mut connection = open.map_err(|source| asking(unit, source))?;
    state_on(&mut connection, unit, deadline).await
}

async fn state_on(
    connection: &mut Connection,
    unit: &str,
    deadline: Deadline,
) -> Result<CommandState, CommandError> {
    let state = connection.unit_state(unit, deadline).await;
    let state = state.map_err(|source| asking(unit, source))?;
    state_of(unit, state)
}

fn state_of(unit: &str, state: UnitState) -> Result<CommandState, CommandError> {
    if state.load == "not-found" {
        return Err(CommandError::Gone {
            unit: unit.to_owned(),
        });
    }
    let is_over = matches!(
        (state.active.as_str(), state.sub.as_str()),
        ("active", "exited") | ("failed", _) | ("inactive", _)
    ) && !state.has_job;
    if !is_over {
        return Ok(CommandState::Running {
            since: state.main_started,
        });
    }
    Ok(CommandState::Ended(CommandEnd {
        exit: state.exit,
        result: state.result,
        started: state.main_started,
        ended: state.main_ended,
    }))
}

/// Waits until the command has ended.
///
/// *Errors*: [`CommandError::StillRunning`] at the deadline, [`CommandError::Gone`], or systemd's once it does not answer until
/// the deadline: a package upgrade re-executes PID 1 meanwhile, so a lost connection alone is no error.
pub async fn wait(host: &Host, unit: &str, deadline: Deadline) -> Result<CommandEnd, CommandError> {
    check_unit(unit)?;
    let systemd = Systemd::of(host);
    let mut pause = FIRST_PAUSE;
    let mut kept: Option<Connection> = None;
    loop {
        let attempt = deadline.at_most(Duration::from_secs(10));
        let result = match kept.take() {
            Some(connection) => Ok(connection),
            None => systemd.open_any(attempt).await,
        };
        let failure = match result {
            Ok(mut connection) => match state_on(&mut connection, unit, attempt).await {
                Ok(CommandState::Ended(end)) => return Ok(end),
                Ok(CommandState::Running { .. }) => {
                    kept = Some(connection);
                    None
                }
                Err(gone @ (CommandError::Gone { .. } | CommandError::Invalid { .. })) => {
                    return Err(gone);
                }
                Err(error) => Some(error),
            },
            Err(source) => Some(asking(unit, source)),
        };
        if deadline.remaining().is_zero() {
            return Err(failure.unwrap_or_else(|| CommandError::StillRunning {
                unit: unit.to_owned(),
                after: deadline.span(),
            }));
        }
        tokio::time::sleep(pause.min(deadline.remaining())).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Stops the command if it runs, and removes its unit and its output files. After that its name is free again.
///
/// *Errors*: systemd's. A unit that is gone is fine.
pub async fn remove(
    host: &Host,
    command: &HostCommand,
    deadline: Deadline,
) -> Result<(), CommandError> {
    command.check()?;
    let unit = command.unit.as_str();
    let fail = |source| CommandError::Systemd {
        doing: "removing",
        unit: unit.to_owned(),
        source,
    };
    let systemd = Systemd::of(host);
    let mut connection = systemd.open_any(deadline).await.map_err(fail)?;
    if connection.is_loaded(unit, deadline).await.map_err(fail)? {
        let stopped = connection.run_job(UnitVerb::Stop, unit, deadline).await;
        match stopped {
            Ok(_) => {}
            Err(error) if error.is_no_such_unit() => {}
            Err(error) => return Err(fail(error)),
        }
        let reset = connection.reset_failed(unit, deadline).await;
        reset.map_err(fail)?;
    }
    for file in command.output_files().into_iter().flatten() {
        remove_file(&host.path(file)).await?;
    }
    Ok(())
}

fn asking(unit: &str, source: BusError) -> CommandError {
    CommandError::Systemd {
        doing: "asking about",
        unit: unit.to_owned(),
        source,
    }
}
