//! `systemd`: units and their states, asked of PID 1 by its private socket, else by the bus.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use regex::bytes::Regex;
use zvariant::OwnedValue;

use crate::collectors::entry::{Collector, Entry, Flag, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::class::shared;
use crate::exposition::family::Family;
use crate::exposition::label::Labels;
use crate::exposition::number::parse_f64;
use crate::exposition::sheet::Sheet;
use crate::host::systemd::{BusError, Connection, ListedUnit, SERVICE, Systemd, UNIT, property};
use crate::host::{Deadline, Host};

const INCLUDE: &str = "collector.systemd.unit-include";
const EXCLUDE: &str = "collector.systemd.unit-exclude";
const TASKS: &str = "collector.systemd.enable-task-metrics";
const RESTARTS: &str = "collector.systemd.enable-restarts-metrics";
const START_TIME: &str = "collector.systemd.enable-start-time-metrics";
const MOUNT: &str = "org.freedesktop.systemd1.Mount";
const TIMER: &str = "org.freedesktop.systemd1.Timer";
const SOCKET: &str = "org.freedesktop.systemd1.Socket";
/// The longest wait for all of PID 1's answers; less than a worker may take.
const MAX_WAIT: Duration = Duration::from_millis(1500);
/// What systemd shows for a count that it does not have.
const NOT_COUNTED: u64 = u64::MAX;

const fn gauge(name: &'static str, help: &'static str, source: &'static str) -> Family {
    Family::gauge(name, help).from(source)
}

const FAMILIES: [Family; 13] = [
    gauge("node_systemd_unit_state", "Systemd unit", "ListUnits"),
    gauge(
        "node_systemd_units",
        "Summary of systemd unit states",
        "ListUnits",
    ),
    gauge(
        "node_systemd_version",
        "Detected systemd version",
        "Manager.Version",
    ),
    gauge(
        "node_systemd_virtualization_info",
        "Detected virtualization technology",
        "Manager.Virtualization",
    )
    .differs("not in node_exporter 1.5"),
    gauge(
        "node_systemd_system_running",
        "Whether the system is operational (see 'systemctl is-system-running')",
        "Manager.SystemState",
    ),
    gauge(
        "node_systemd_timer_last_trigger_seconds",
        "Seconds since epoch of last trigger.",
        "Timer.LastTriggerUSec",
    ),
    Family::counter(
        "node_systemd_socket_accepted_connections_total",
        "Total number of accepted socket connections",
    )
    .from("Socket.NAccepted"),
    gauge(
        "node_systemd_socket_current_connections",
        "Current number of socket connections",
        "Socket.NConnections",
    ),
    gauge(
        "node_systemd_socket_refused_connections_total",
        "Total number of refused socket connections",
        "Socket.NRefused",
    ),
    Family::counter(
        "node_systemd_service_restart_total",
        "Service unit count of Restart triggers",
    )
    .from("Service.NRestarts"),
    gauge(
        "node_systemd_unit_start_time_seconds",
        "Start time of the unit since unix epoch in seconds.",
        "Unit.ActiveEnterTimestamp",
    ),
    gauge(
        "node_systemd_unit_tasks_current",
        "Current number of tasks per Systemd unit",
        "Service.TasksCurrent",
    ),
    gauge(
        "node_systemd_unit_tasks_max",
        "Maximum number of tasks per Systemd unit",
        "Service.TasksMax",
    ),
];
const STATES: [&str; 5] = ["active", "activating", "deactivating", "inactive", "failed"];

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "systemd",
    enabled: false,
    lane: Lane::Apart,
    flags: &[
        Flag::value(
            INCLUDE,
            ".+",
            "Regexp of systemd units to include. Units must both match include and not match exclude to be included.",
        ),
        Flag::value(
            EXCLUDE,
            r".+\.(automount|device|mount|scope|slice)",
            "Regexp of systemd units to exclude. Units must both match include and not match exclude to be included.",
        ),
        Flag::off(
            TASKS,
            "Enables service unit tasks metrics unit_tasks_current and unit_tasks_max",
        ),
        Flag::off(
            RESTARTS,
            "Enables service unit metric service_restart_total",
        ),
        Flag::off(
            START_TIME,
            "Enables service unit metric unit_start_time_seconds",
        ),
    ],
    families: &FAMILIES,
    open,
};

struct Units {
    systemd: Systemd,
    asks: Asks,
    epoch: u64,
    known: BTreeMap<String, UnitLabels>,
    sheet: Sheet,
}

/// What the operator asked for.
struct Asks {
    include: Regex,
    exclude: Option<Regex>,
    tasks: bool,
    restarts: bool,
    start_time: bool,
}

/// What is kept of a unit within an epoch, so that PID 1 is not asked for its type on each page.
struct UnitLabels {
    name: Arc<Labels>,
    states: [Arc<Labels>; 5],
}

fn open(settings: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let asks = Asks {
        include: whole(INCLUDE, settings.text(INCLUDE).unwrap_or_default())?,
        exclude: settings
            .text(EXCLUDE)
            .map(|pattern| whole(EXCLUDE, pattern))
            .transpose()?,
        tasks: settings.is_on(TASKS),
        restarts: settings.is_on(RESTARTS),
        start_time: settings.is_on(START_TIME),
    };
    Ok(Box::new(Units {
        systemd: Systemd::of(&Host::at(sources.roots.rootfs.path())),
        asks,
        epoch: 0,
        known: BTreeMap::new(),
        sheet: Sheet::of(&FAMILIES),
    }))
}

/// The pattern must fit the whole name.
fn whole(flag: &str, pattern: &str) -> Result<Regex, SetupError> {
    Regex::new(&format!("^(?:{pattern})$")).map_err(|source| SetupError::Pattern {
        flag: flag.to_owned(),
        source,
    })
}

impl Collector for Units {
    /// *Cost*: one connection, and one call for each timer, socket and (where asked) service.
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        if !self.systemd.is_booted() {
            return Err(CollectError::NoData("systemd"));
        }
        if self.epoch != turn.epoch {
            self.epoch = turn.epoch;
            self.known.clear();
        }
        // A worker is a plain thread, so it may wait for a small runtime of its own.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|_| CollectError::System {
                call: "epoll_create",
                source: nix::errno::Errno::last(),
            })?;
        let asked = runtime.block_on(Box::pin(self.ask()));
        self.sheet.write(turn.page);
        // Not `NoData`, so that it is asked again on the next page and not in the next epoch. What
        // ails PID 1 is told by the probe of systemd, with its evidence.
        asked.map_err(|_| CollectError::System {
            call: "asking systemd over D-Bus",
            source: nix::errno::Errno::EIO,
        })
    }
}

impl Units {
    async fn ask(&mut self) -> Result<(), BusError> {
        let deadline = Deadline::after(MAX_WAIT);
        let mut pid1 = self.systemd.open_any(deadline).await?;
        let version: String = pid1.manager_property("Version", deadline).await?;
        self.put_word(2, "version", &version, version_number(&version));
        let virtualization: String = pid1.manager_property("Virtualization", deadline).await?;
        let technology = match virtualization.as_str() {
            "" => "none",
            technology => technology,
        };
        self.put_word(3, "virtualization_type", technology, 1.0);
        let state: String = pid1.manager_property("SystemState", deadline).await?;
        let running = f64::from(u8::from(state == "running"));
        self.sheet.put(4, &shared(&[]), running);
        let units = pid1.list_units(&[], None, deadline).await?;
        self.summarize(&units);
        let mut talk = Talk { pid1, deadline };
        for unit in &units {
            if self.asks.shows(unit) {
                self.put_unit(unit, &mut talk).await;
            }
        }
        Ok(())
    }

    fn put_word(&mut self, column: usize, label: &str, word: &str, value: f64) {
        self.sheet
            .put(column, &shared(&[(label, word.as_bytes())]), value);
    }

    fn summarize(&mut self, units: &[ListedUnit]) {
        for state in STATES {
            let count = units.iter().filter(|unit| unit.active == state).count();
            self.put_word(1, "state", state, count as f64);
        }
    }

    async fn put_unit(&mut self, unit: &ListedUnit, talk: &mut Talk) {
        let kind = match unit.name.rsplit('.').next() {
            Some("service") => SERVICE,
            Some("mount") => MOUNT,
            Some("timer") => TIMER,
            Some("socket") => SOCKET,
            _ => UNIT,
        };
        if !self.known.contains_key(&unit.name) {
            let sub_type = match kind {
                SERVICE | MOUNT => talk.ask::<String>(unit, kind, "Type").await,
                _ => None,
            };
            let labels = UnitLabels::new(
                unit.name.as_bytes(),
                sub_type.unwrap_or_default().as_bytes(),
            );
            self.known.insert(unit.name.clone(), labels);
        }
        let Some(labels) = self.known.get(&unit.name) else {
            return;
        };
        for (state, labels) in STATES.iter().zip(&labels.states) {
            let is = f64::from(u8::from(unit.active == *state));
            self.sheet.put(0, labels, is);
        }
        let labels = Arc::clone(&labels.name);
        match kind {
            SERVICE => self.put_service(unit, &labels, talk).await,
            TIMER => {
                if let Some(micros) = talk.ask::<u64>(unit, TIMER, "LastTriggerUSec").await {
                    self.sheet.put(5, &labels, micros as f64 / 1e6);
                }
            }
            SOCKET => {
                for (column, name) in [(6, "NAccepted"), (7, "NConnections"), (8, "NRefused")] {
                    if let Some(count) = talk.ask::<u32>(unit, SOCKET, name).await {
                        self.sheet.put(column, &labels, f64::from(count));
                    }
                }
            }
            _ => {}
        }
        if self.asks.start_time {
            let micros = match unit.active.as_str() {
                "active" => talk.ask::<u64>(unit, UNIT, "ActiveEnterTimestamp").await,
                _ => Some(0),
            };
            if let Some(micros) = micros {
                self.sheet.put(10, &labels, micros as f64 / 1e6);
            }
        }
    }

    async fn put_service(&mut self, unit: &ListedUnit, labels: &Arc<Labels>, talk: &mut Talk) {
        if self.asks.restarts
            && let Some(count) = talk.ask::<u32>(unit, SERVICE, "NRestarts").await
        {
            self.sheet.put(9, labels, f64::from(count));
        }
        if self.asks.tasks {
            for (column, name) in [(11, "TasksCurrent"), (12, "TasksMax")] {
                let count = talk.ask::<u64>(unit, SERVICE, name).await;
                if let Some(count) = count.filter(|count| *count != NOT_COUNTED) {
                    self.sheet.put(column, labels, count as f64);
                }
            }
        }
    }
}

impl Asks {
    fn shows(&self, unit: &ListedUnit) -> bool {
        let name = unit.name.as_bytes();
        unit.load == "loaded"
            && self.include.is_match(name)
            && !self.exclude.as_ref().is_some_and(|no| no.is_match(name))
    }
}

impl UnitLabels {
    fn new(name: &[u8], kind: &[u8]) -> UnitLabels {
        let state =
            |state: &str| shared(&[("name", name), ("state", state.as_bytes()), ("type", kind)]);
        UnitLabels {
            name: shared(&[("name", name)]),
            states: STATES.map(state),
        }
    }
}

/// A conversation with PID 1 that ends by a deadline.
struct Talk {
    pid1: Connection,
    deadline: Deadline,
}

impl Talk {
    /// A property of a unit; `None` if this version of systemd has none, or the unit went.
    async fn ask<T>(&mut self, unit: &ListedUnit, interface: &str, name: &str) -> Option<T>
    where
        T: TryFrom<OwnedValue>,
    {
        let (pid1, deadline) = (&mut self.pid1, self.deadline);
        let asked = pid1.send_unit_property(&unit.name, interface, name, deadline);
        let pending = asked.await.ok()?;
        property(&pid1.receive(&pending, deadline).await.ok()?).ok()
    }
}

/// `252.38-1~deb12u1` is 252.38; 0 for what has no number of three digits.
fn version_number(text: &str) -> f64 {
    let bytes = text.as_bytes();
    let digits = |from: usize| {
        let rest = bytes.get(from..).unwrap_or_default();
        rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let start = (0..bytes.len()).find(|&at| digits(at) >= 3);
    let Some(start) = start else { return 0.0 };
    let mut end = start + digits(start);
    let fraction = digits(end + 1);
    if bytes.get(end) == Some(&b'.') && fraction > 0 {
        end += 1 + fraction;
    }
    let number = bytes.get(start..end).and_then(parse_f64);
    number.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Asks, ListedUnit, version_number, whole};

    #[test]
    fn versions_are_numbers_of_three_digits_or_more() {
        for (text, want) in [
            ("252.38-1~deb12u1", 252.38),
            ("257", 257.0),
            ("v255-rc1", 255.0),
            ("219.", 219.0),
            ("12", 0.0),
            ("", 0.0),
        ] {
            assert!((version_number(text) - want).abs() < 1e-9, "{text}");
        }
    }

    #[test]
    fn patterns_fit_whole_names_of_loaded_units() {
        let asks = Asks {
            include: whole("i", "ssh|cron.*").unwrap(),
            exclude: Some(whole("e", r".+\.timer").unwrap()),
            tasks: false,
            restarts: false,
            start_time: false,
        };
        for (name, load, want) in [
            ("ssh", "loaded", true),
            ("sshd.service", "loaded", false),
            ("cron.service", "loaded", true),
            ("cron.timer", "loaded", false),
            ("cron.service", "not-found", false),
        ] {
            let unit = ListedUnit {
                name: name.into(),
                load: load.into(),
                active: "active".into(),
                sub: String::new(),
            };
            assert_eq!(asks.shows(&unit), want, "{name} {load}");
        }
    }
}
