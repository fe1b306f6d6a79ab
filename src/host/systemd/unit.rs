//! One unit: its object path, its state, and jobs for it.

use super::calls::{SERVICE, UNIT, UnitVerb, property};
use super::connection::Connection;
use super::error::BusError;
use crate::host::deadline::Deadline;
use crate::signal::Uptime;
use std::fmt::Write;
use std::time::Duration;
use zvariant::OwnedValue;

/// How often a job is looked at: quick at first because most end at once, then once a second.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The D-Bus object of a unit. Letters and digits stay, everything else and a leading digit is escaped (`sd_bus_path_encode`).
pub fn unit_path(unit: &str) -> String {
    let mut path = String::from("/org/freedesktop/systemd1/unit/");
    if unit.is_empty() {
        path.push('_');
    }
    for (at, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && at > 0) {
            path.push(char::from(byte));
        } else if write!(path, "_{byte:02x}").is_err() {
            // Writing to a String cannot fail; if it ever did, the short path names no unit and the call is refused.
            break;
        }
    }
    path
}

/// How the main process of a service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It returned this status.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// What PID 1 says about a unit. Fields that its kind or this systemd does not have are `None` or empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnitState {
    /// `loaded`, `not-found`, `masked` and so on.
    pub load: String,
    /// `active`, `activating`, `failed`, `inactive` and so on.
    pub active: String,
    /// `running`, `exited`, `auto-restart` and so on.
    pub sub: String,
    /// The file it was read from.
    pub fragment: String,
    /// When it last became active (CLOCK_MONOTONIC), if ever.
    pub active_since: Option<Uptime>,
    /// Whether a job for it is queued or running.
    pub has_job: bool,
    /// `success`, `exit-code`, `timeout`, `signal` and so on.
    pub result: String,
    /// The main process, if one runs.
    pub main_pid: Option<u32>,
    /// Automatic restarts since it was last started by hand; since systemd 235.
    pub restarts: Option<u32>,
    /// When its main process was last started (CLOCK_MONOTONIC), if ever.
    pub main_started: Option<Uptime>,
    /// When its main process ended (CLOCK_MONOTONIC), if it has.
    pub main_ended: Option<Uptime>,
    /// How its main process ended, if it has.
    pub exit: Option<Exit>,
}

impl UnitState {
    /// Whether it does what a started service does.
    pub fn is_active(&self) -> bool {
        self.active == "active"
    }
}

/// The properties that [`UnitState`] is read from.
const PROPERTIES: [(&str, &str); 13] = [
    (UNIT, "LoadState"),
    (UNIT, "ActiveState"),
    (UNIT, "SubState"),
    (UNIT, "FragmentPath"),
    (UNIT, "ActiveEnterTimestampMonotonic"),
    (UNIT, "Job"),
    (SERVICE, "Result"),
    (SERVICE, "MainPID"),
    (SERVICE, "NRestarts"),
    (SERVICE, "ExecMainStartTimestampMonotonic"),
    (SERVICE, "ExecMainExitTimestampMonotonic"),
    (SERVICE, "ExecMainCode"),
    (SERVICE, "ExecMainStatus"),
];

/// Values by name, as far as this unit has them.
struct Values(Vec<(&'static str, OwnedValue)>);

impl Values {
    fn take<T: TryFrom<OwnedValue>>(&mut self, name: &str) -> Option<T> {
        let at = self.0.iter().position(|(given, _)| *given == name)?;
        let (_, value) = self.0.swap_remove(at);
        T::try_from(value).ok()
    }

    fn text(&mut self, name: &str) -> String {
        self.take(name).unwrap_or_default()
    }

    fn moment(&mut self, name: &str) -> Option<Uptime> {
        monotonic(self.take(name)?)
    }
}

/// A `...TimestampMonotonic` property: microseconds on CLOCK_MONOTONIC, 0 for never.
///
/// It equals our uptime as long as the machine was never suspended, which servers are not.
pub fn monotonic(micros: u64) -> Option<Uptime> {
    (micros > 0).then(|| Uptime::new(Duration::from_micros(micros)))
}

impl Connection {
    /// The state of a unit. A unit that does not exist is `not-found`, `inactive`.
    ///
    /// *Source*: D-Bus properties of `org.freedesktop.systemd1.Unit` and `.Service`, one `Get` each: `GetAll` would make PID 1
    /// read the unit's cgroup counters. *Cost*: 13 small calls in one round trip.
    /// *Errors*: as [`Connection::call`].
    pub async fn unit_state(
        &mut self,
        unit: &str,
        deadline: Deadline,
    ) -> Result<UnitState, BusError> {
        let mut waiting = Vec::with_capacity(PROPERTIES.len());
        for (interface, name) in PROPERTIES {
            let pending = self
                .send_unit_property(unit, interface, name, deadline)
                .await?;
            waiting.push((name, pending));
        }
        let mut values = Values(Vec::with_capacity(waiting.len()));
        for (name, pending) in waiting {
            match self.receive(&pending, deadline).await {
                Ok(reply) => values.0.push((name, property::<OwnedValue>(&reply)?)),
                Err(error) if error.is_unknown_here() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(state_of(values))
    }

    /// Queues a job and waits until the unit has none any more; then says in what state the unit is.
    ///
    /// *Errors*: as [`Connection::call`]; [`BusError::Late`] when the job still runs at the deadline.
    pub async fn run_job(
        &mut self,
        verb: UnitVerb,
        unit: &str,
        deadline: Deadline,
    ) -> Result<UnitState, BusError> {
        self.queue_job(verb, unit, deadline).await?;
        let mut pause = FIRST_PAUSE;
        loop {
            let state = self.unit_state(unit, deadline).await?;
            if !state.has_job {
                return Ok(state);
            }
            if deadline.remaining().is_zero() {
                return Err(BusError::Late {
                    phase: super::error::Phase::Call,
                    after: deadline.span(),
                });
            }
            tokio::time::sleep(pause.min(deadline.remaining())).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn state_of(mut values: Values) -> UnitState {
    let code: Option<i32> = values.take("ExecMainCode");
    let status: Option<i32> = values.take("ExecMainStatus");
    // si_code of waitid(2): 1 exited, 2 killed, 3 dumped; 0 while it runs or never ran.
    let exit = match (code, status) {
        (Some(1), Some(status)) => Some(Exit::Code(status)),
        (Some(2 | 3), Some(signal)) => Some(Exit::Signal(signal)),
        _ => None,
    };
    let job: Option<OwnedValue> = values.take("Job");
    UnitState {
        load: values.text("LoadState"),
        active: values.text("ActiveState"),
        sub: values.text("SubState"),
        fragment: values.text("FragmentPath"),
        active_since: values.moment("ActiveEnterTimestampMonotonic"),
        has_job: job.is_some_and(|job| job_number(&job) != Some(0)),
        result: values.text("Result"),
        main_pid: values.take("MainPID").filter(|pid| *pid > 0),
        restarts: values.take("NRestarts"),
        main_started: values.moment("ExecMainStartTimestampMonotonic"),
        main_ended: values.moment("ExecMainExitTimestampMonotonic"),
        exit,
    }
}

/// The number in a unit's `Job` property `(uo)`; 0 means that there is none.
fn job_number(job: &OwnedValue) -> Option<u32> {
    let zvariant::Value::Structure(pair) = &**job else {
        return None;
    };
    match pair.fields().first() {
        Some(zvariant::Value::U32(number)) => Some(*number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_paths_are_escaped_as_systemd_does_it() {
        for (unit, path) in [
            ("kubelet.service", "kubelet_2eservice"),
            ("0ad.service", "_30ad_2eservice"),
            ("a0.service", "a0_2eservice"),
            ("dev-sda1.device", "dev_2dsda1_2edevice"),
            ("getty@tty1.service", "getty_40tty1_2eservice"),
            ("é.mount", "_c3_a9_2emount"),
            ("", "_"),
        ] {
            assert_eq!(
                unit_path(unit),
                format!("/org/freedesktop/systemd1/unit/{path}")
            );
        }
    }

    #[test]
    fn a_timestamp_of_zero_means_never() {
        assert_eq!(monotonic(0), None);
        assert_eq!(
            monotonic(1_500_000),
            Some(Uptime::new(Duration::from_millis(1500)))
        );
    }
}
