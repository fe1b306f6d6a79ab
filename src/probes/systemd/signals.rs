//! The signals of systemd.

use crate::signal::{Key, KeySpec, Unit};
use std::sync::Arc;
use std::time::Duration;

type Text = Arc<str>;

/// Three periods of the probe `systemd-bus`.
const BUS_AGE: Duration = Duration::from_secs(30);

/// Three periods of the probe `systemd-units`.
const UNITS_AGE: Duration = Duration::from_secs(45);

/// Whether the bus daemon itself answers.
pub const BUS_DAEMON_ANSWERS: Key<bool> = Key::new(
    "systemd.bus.daemon.answers",
    Unit::None,
    BUS_AGE,
    "The D-Bus daemon answers a call to itself.",
    "org.freedesktop.DBus.GetId on /run/dbus/system_bus_socket",
);

/// How fast the bus daemon answers.
pub const BUS_DAEMON_LATENCY: Key<Duration> = Key::new(
    "systemd.bus.daemon.latency",
    Unit::Seconds,
    BUS_AGE,
    "Time until the D-Bus daemon answered a call to itself.",
    "org.freedesktop.DBus.GetId on /run/dbus/system_bus_socket",
);

/// Whether PID 1 answers on the system bus.
pub const BUS_MANAGER_ANSWERS: Key<bool> = Key::new(
    "systemd.bus.manager.answers",
    Unit::None,
    BUS_AGE,
    "PID 1 answers on the system bus.",
    "org.freedesktop.DBus.Peer.Ping to org.freedesktop.systemd1 on the system bus",
);

/// How fast PID 1 answers on the system bus.
pub const BUS_MANAGER_LATENCY: Key<Duration> = Key::new(
    "systemd.bus.manager.latency",
    Unit::Seconds,
    BUS_AGE,
    "Time until PID 1 answered on the system bus.",
    "org.freedesktop.DBus.Peer.Ping to org.freedesktop.systemd1 on the system bus",
);

/// How long PID 1's answer on the bus is waited for.
pub const BUS_MANAGER_DEADLINE: Key<Duration> = Key::new(
    "systemd.bus.manager.deadline",
    Unit::Seconds,
    BUS_AGE,
    "How long an answer of PID 1 is waited for, connecting included.",
    "a constant of the agent",
);

/// How PID 1's answer on the bus failed.
pub const BUS_MANAGER_ERROR: Key<Text> = Key::new(
    "systemd.bus.manager.error",
    Unit::None,
    BUS_AGE,
    "Why PID 1 gave no answer on the system bus (late, no-reply, no-owner, closed, refused ...); empty when it answered.",
    "org.freedesktop.DBus.Peer.Ping to org.freedesktop.systemd1 on the system bus",
);

/// Whether PID 1 answers on its private socket.
pub const PRIVATE_ANSWERS: Key<bool> = Key::new(
    "systemd.private.answers",
    Unit::None,
    BUS_AGE,
    "PID 1 answers on its private socket, asked twice on fresh connections before it counts as silent.",
    "org.freedesktop.DBus.Peer.Ping on /run/systemd/private",
);

/// How fast PID 1 answers on its private socket.
pub const PRIVATE_LATENCY: Key<Duration> = Key::new(
    "systemd.private.latency",
    Unit::Seconds,
    BUS_AGE,
    "Time until PID 1 answered on its private socket, connecting not included.",
    "org.freedesktop.DBus.Peer.Ping on /run/systemd/private",
);

/// PID 1's message counter on the bus.
pub const BUS_SERIAL: Key<i64> = Key::new(
    "systemd.bus.serial",
    Unit::None,
    BUS_AGE,
    "PID 1's message counter on the system bus; systemd before 242 falls silent when it passes 2^32.",
    "serial of the reply to Ping (sd-bus cookie, systemd #11809)",
);

/// How fast that counter grows.
pub const BUS_SERIAL_RATE: Key<f64> = Key::new(
    "systemd.bus.serial.rate",
    Unit::PerSecond,
    BUS_AGE,
    "Messages a second that PID 1 sends on the system bus, between the last two readings.",
    "serial of the reply to Ping",
);

/// When that counter passes its end.
pub const BUS_DAYS_TO_OVERRUN: Key<f64> = Key::new(
    "systemd.bus.days_to_overrun",
    Unit::None,
    BUS_AGE,
    "Days until PID 1's message counter passes 2^32 at the rate of the last ten minutes (days, not seconds).",
    "serial of the reply to Ping",
);

/// All signals of the probe `systemd-bus`.
pub const BUS_KEYS: &[&KeySpec] = &[
    &BUS_DAEMON_ANSWERS.spec,
    &BUS_DAEMON_LATENCY.spec,
    &BUS_MANAGER_ANSWERS.spec,
    &BUS_MANAGER_LATENCY.spec,
    &BUS_MANAGER_DEADLINE.spec,
    &BUS_MANAGER_ERROR.spec,
    &PRIVATE_ANSWERS.spec,
    &PRIVATE_LATENCY.spec,
    &BUS_SERIAL.spec,
    &BUS_SERIAL_RATE.spec,
    &BUS_DAYS_TO_OVERRUN.spec,
];

/// systemd's version.
pub const VERSION: Key<Text> = Key::new(
    "systemd.version",
    Unit::None,
    UNITS_AGE,
    "Version of the systemd that runs as PID 1; distributions often say only the major version here.",
    "org.freedesktop.systemd1.Manager.Version",
);

/// The state of the whole system.
pub const STATE: Key<Text> = Key::new(
    "systemd.state",
    Unit::None,
    UNITS_AGE,
    "State of the system: starting, running, degraded, maintenance, stopping.",
    "org.freedesktop.systemd1.Manager.SystemState",
);

/// How many units have failed.
pub const FAILED_UNITS: Key<i64> = Key::new(
    "systemd.failed_units",
    Unit::None,
    UNITS_AGE,
    "Units that have failed.",
    "org.freedesktop.systemd1.Manager.NFailedUnits",
);

/// How many jobs are queued.
pub const JOBS: Key<i64> = Key::new(
    "systemd.jobs",
    Unit::None,
    UNITS_AGE,
    "Jobs in PID 1's queue, running ones included.",
    "org.freedesktop.systemd1.Manager.ListJobs",
);

/// How old the oldest job is.
pub const JOBS_OLDEST: Key<Duration> = Key::new(
    "systemd.jobs.oldest",
    Unit::Seconds,
    UNITS_AGE,
    "Age of the oldest job in PID 1's queue, counted from when the agent first saw it; 0 without jobs.",
    "org.freedesktop.systemd1.Manager.ListJobs",
);

/// Whether PID 1 runs a program that was replaced on disk.
pub const PID1_EXE_DELETED: Key<bool> = Key::new(
    "systemd.pid1.exe_deleted",
    Unit::None,
    UNITS_AGE,
    "PID 1 runs a program or library of systemd that was replaced on disk: upgraded, not re-executed.",
    "/proc/1/exe, /proc/1/maps",
);

/// Automatic restarts of a unit.
pub const UNIT_RESTARTS: Key<i64> = Key::<i64>::new(
    "systemd.unit.restarts",
    Unit::None,
    UNITS_AGE,
    "Automatic restarts of the service since it was last started by hand (systemd 235 and later).",
    "org.freedesktop.systemd1.Service.NRestarts",
)
.per("unit");

/// The state of a unit.
pub const UNIT_ACTIVE: Key<Text> = Key::<Text>::new(
    "systemd.unit.active",
    Unit::None,
    UNITS_AGE,
    "State of the unit: active, activating, deactivating, failed, inactive, reloading.",
    "org.freedesktop.systemd1.Unit.ActiveState",
)
.per("unit");

/// How a service's last run ended.
pub const UNIT_RESULT: Key<Text> = Key::<Text>::new(
    "systemd.unit.result",
    Unit::None,
    UNITS_AGE,
    "How the service's last run ended: success, exit-code, signal, core-dump, timeout, watchdog, start-limit-hit, oom-kill.",
    "org.freedesktop.systemd1.Service.Result",
)
.per("unit");

/// When a service's main process was started.
pub const UNIT_STARTED: Key<Duration> = Key::<Duration>::new(
    "systemd.unit.started",
    Unit::Seconds,
    UNITS_AGE,
    "When the service's main process was last started, in seconds since boot.",
    "org.freedesktop.systemd1.Service.ExecMainStartTimestampMonotonic",
)
.per("unit");

/// All signals of the probe `systemd-units`.
pub const UNITS_KEYS: &[&KeySpec] = &[
    &VERSION.spec,
    &STATE.spec,
    &FAILED_UNITS.spec,
    &JOBS.spec,
    &JOBS_OLDEST.spec,
    &PID1_EXE_DELETED.spec,
    &UNIT_RESTARTS.spec,
    &UNIT_ACTIVE.spec,
    &UNIT_RESULT.spec,
    &UNIT_STARTED.spec,
];
