//! The probe `systemd-units`: version, state, failed units, jobs, and the units worth watching.

use super::pid1::{exe_is_deleted, maps_has_deleted};
use super::signals::{
    FAILED_UNITS, JOBS, JOBS_OLDEST, PID1_EXE_DELETED, STATE, UNIT_ACTIVE, UNIT_RESTARTS,
    UNIT_RESULT, UNIT_STARTED, UNITS_KEYS, VERSION,
};
use super::watch::{JobAges, Watch};
use crate::host::systemd::{
    BusError, Connection, Line, ListedUnit, Route, SERVICE, Systemd, monotonic, property,
};
use crate::host::{BoxFuture, Deadline, Host, clock};
use crate::probes::{Probe, ProbeError, ProbeSpec};
use crate::signal::{Batch, MissingReason, Subject};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How long one run may ask PID 1.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long the private socket is waited for before the bus is asked instead.
const PRIVATE_SHARE: Duration = Duration::from_secs(3);

/// How long the two reads below `/proc/1` may take. `maps` waits for a lock of PID 1's memory.
const PROC_DEADLINE: Duration = Duration::from_secs(1);

/// Three questions a unit; together they stay below the connection's limit of calls on their way.
const UNITS_AT_ONCE: usize = 20;

/// The longest text of a signal.
const MAX_TEXT_BYTES: usize = 200;

/// The probe `systemd-units`.
pub(crate) const SPEC: ProbeSpec = ProbeSpec {
    name: "systemd-units",
    title: "systemd units",
    period: Duration::from_secs(15),
    timeout: Duration::from_secs(14),
    keys: UNITS_KEYS,
    cost: "6.4 ms wall, 2.7 ms CPU, and 2.7 ms CPU of PID 1; debug build, systemd 252 in a container, 2 cores",
};

/// Reads the state of PID 1 and of the units worth watching.
#[derive(Debug)]
pub(crate) struct UnitsProbe {
    private: Line,
    bus: Line,
    watch: Watch,
    jobs: JobAges,
    /// A read of `/proc/1` hung once: it still holds a thread, and another one would hold one more.
    proc_hung: bool,
}

/// What was asked about one unit.
struct Details {
    restarts: Option<u32>,
    result: Option<String>,
    started: Option<u64>,
}

impl UnitsProbe {
    /// A probe that has asked nobody yet.
    pub(crate) fn new() -> Self {
        Self {
            private: Line::new(Route::Private),
            bus: Line::new(Route::Bus),
            watch: Watch::default(),
            jobs: JobAges::default(),
            proc_hung: false,
        }
    }

    /// By the private socket, which works while the bus is mute; else by the bus.
    async fn open(
        &mut self,
        systemd: &Systemd,
        deadline: Deadline,
    ) -> Result<Connection, BusError> {
        let share = deadline.at_most(PRIVATE_SHARE);
        let first = match self.private.open(systemd, share).await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        match self.bus.open(systemd, deadline).await {
            Err(BusError::NoSocket { .. }) => Err(first),
            other => other,
        }
    }

    async fn read(
        &mut self,
        host: &Host,
        systemd: &Systemd,
        deadline: Deadline,
    ) -> Result<Batch, BusError> {
        let mut batch = Batch::of(SPEC.name);
        self.read_pid1(host, &mut batch).await;
        let mut connection = self.open(systemd, deadline).await?;
        self.read_manager(&mut connection, &mut batch, deadline)
            .await?;
        self.read_units(&mut connection, &mut batch, deadline)
            .await?;
        // The bus's connection is kept, because a new one costs PID 1 and the bus daemon more than the questions do.
        if connection.route() == Route::Bus {
            self.bus.keep(connection);
        }
        Ok(batch)
    }

    async fn read_manager(
        &mut self,
        connection: &mut Connection,
        batch: &mut Batch,
        deadline: Deadline,
    ) -> Result<(), BusError> {
        let version: String = connection.manager_property("Version", deadline).await?;
        batch.set(&VERSION, short(&version));
        let state: String = connection.manager_property("SystemState", deadline).await?;
        batch.set(&STATE, short(&state));
        match connection
            .manager_property::<u32>("NFailedUnits", deadline)
            .await
        {
            Ok(count) => batch.set(&FAILED_UNITS, i64::from(count)),
            Err(error) if error.is_unknown_here() => {
                let reason =
                    MissingReason::NotHere("this systemd does not count failed units".into());
                batch.missing(&FAILED_UNITS.spec, reason);
            }
            Err(error) => return Err(error),
        }
        let jobs = connection.list_jobs(deadline).await?;
        batch.set(&JOBS, i64::try_from(jobs.len()).unwrap_or(i64::MAX));
        let oldest = self.jobs.note(clock::now().uptime, &jobs);
        batch.set(&JOBS_OLDEST, oldest);
        Ok(())
    }

    async fn read_units(
        &mut self,
        connection: &mut Connection,
        batch: &mut Batch,
        deadline: Deadline,
    ) -> Result<(), BusError> {
        let services = connection
            .list_units(&[], Some(".service"), deadline)
            .await?;
        let failed = connection.list_units(&["failed"], None, deadline).await?;
        let choice = self.watch.choose(&services, &failed);
        let chosen = choice
            .reported
            .iter()
            .map(|unit| (unit, true))
            .chain(choice.asked.iter().map(|unit| (unit, false)))
            .collect::<Vec<_>>();
        for units in chosen.chunks(UNITS_AT_ONCE) {
            let details = ask_details(connection, units, deadline).await?;
            for ((unit, always), details) in units.iter().zip(details) {
                let restarted = self.watch.learn(&unit.name, details.restarts);
                if *always || restarted {
                    report(batch, unit, &details);
                }
            }
        }
        if !choice.is_cut {
            batch.lists_all(&UNIT_ACTIVE);
            batch.lists_all(&UNIT_RESTARTS);
            batch.lists_all(&UNIT_RESULT);
            batch.lists_all(&UNIT_STARTED);
        }
        Ok(())
    }

    async fn read_pid1(&mut self, host: &Host, batch: &mut Batch) {
        if self.proc_hung {
            let reason = MissingReason::Late("reading /proc/1 hung before".into());
            batch.missing(&PID1_EXE_DELETED.spec, reason);
            return;
        }
        match Deadline::after(PROC_DEADLINE)
            .bound(pid1_is_replaced(host))
            .await
        {
            Ok(Ok(is_deleted)) => batch.set(&PID1_EXE_DELETED, is_deleted),
            Ok(Err(reason)) => batch.missing(&PID1_EXE_DELETED.spec, reason),
            Err(elapsed) => {
                self.proc_hung = true;
                let reason = MissingReason::Late(elapsed.to_string().into());
                batch.missing(&PID1_EXE_DELETED.spec, reason);
            }
        }
    }
}

impl Probe for UnitsProbe {
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
            let deadline = Deadline::after(DEADLINE);
            let was_kept = self.bus.is_open();
            let result = match self.read(host, &systemd, deadline).await {
                // The kept connection died since the last run: the bus daemon was restarted.
                Err(BusError::Closed { .. }) if was_kept => {
                    self.read(host, &systemd, deadline).await
                }
                other => other,
            };
            result.map_err(probe_error)
        })
    }
}

async fn ask_details(
    connection: &mut Connection,
    units: &[(&ListedUnit, bool)],
    deadline: Deadline,
) -> Result<Vec<Details>, BusError> {
    const ASKED: [&str; 3] = ["NRestarts", "Result", "ExecMainStartTimestampMonotonic"];
    let mut waiting = Vec::with_capacity(units.len() * ASKED.len());
    for (unit, _) in units {
        for name in ASKED {
            let is_service = unit.name.ends_with(".service");
            waiting.push(if is_service {
                Some(
                    connection
                        .send_unit_property(&unit.name, SERVICE, name, deadline)
                        .await?,
                )
            } else {
                None
            });
        }
    }
    let mut answers = Vec::with_capacity(waiting.len());
    for pending in &waiting {
        let Some(pending) = pending else {
            answers.push(None);
            continue;
        };
        match connection.receive(pending, deadline).await {
            Ok(reply) => answers.push(Some(reply)),
            // Gone since the list was read, or not known to this systemd.
            Err(BusError::Reply { .. }) => answers.push(None),
            Err(error) => return Err(error),
        }
    }
    let mut answers = answers.into_iter();
    let mut details = Vec::with_capacity(units.len());
    for _ in units {
        let (restarts, result, started) = (answers.next(), answers.next(), answers.next());
        details.push(Details {
            restarts: restarts.flatten().and_then(|reply| property(&reply).ok()),
            result: result.flatten().and_then(|reply| property(&reply).ok()),
            started: started.flatten().and_then(|reply| property(&reply).ok()),
        });
    }
    Ok(details)
}

fn report(batch: &mut Batch, unit: &ListedUnit, details: &Details) {
    let subject = Subject::named(&unit.name);
    batch.set_for(&UNIT_ACTIVE, subject.clone(), short(&unit.active));
    if !unit.name.ends_with(".service") {
        return;
    }
    match details.restarts {
        Some(count) => batch.set_for(&UNIT_RESTARTS, subject.clone(), i64::from(count)),
        None => batch.missing_for(
            &UNIT_RESTARTS.spec,
            subject.clone(),
            MissingReason::NotHere("systemd before 235 does not count restarts".into()),
        ),
    }
    if let Some(result) = &details.result {
        batch.set_for(&UNIT_RESULT, subject.clone(), short(result));
    }
    if let Some(started) = details.started.and_then(monotonic) {
        batch.set_for(&UNIT_STARTED, subject, started.since_boot());
    }
}

/// Whether PID 1 runs a program or library of systemd that is no longer on disk.
async fn pid1_is_replaced(host: &Host) -> Result<bool, MissingReason> {
    let link = tokio::fs::read_link(host.path("/proc/1/exe"))
        .await
        .map_err(|error| unreadable("/proc/1/exe", &error))?;
    if exe_is_deleted(&link.to_string_lossy())? {
        return Ok(true);
    }
    let maps = tokio::fs::read(host.path("/proc/1/maps"))
        .await
        .map_err(|error| unreadable("/proc/1/maps", &error))?;
    Ok(maps_has_deleted(&String::from_utf8_lossy(&maps)))
}

fn unreadable(file: &str, error: &io::Error) -> MissingReason {
    let text: Arc<str> = Arc::from(format!("{file}: {error}"));
    match error.kind() {
        io::ErrorKind::PermissionDenied => MissingReason::NoRights(text),
        io::ErrorKind::NotFound => MissingReason::NotHere(text),
        _ => MissingReason::Unreadable(text),
    }
}

fn probe_error(error: BusError) -> ProbeError {
    let what = "systemd over D-Bus".to_owned();
    match error {
        BusError::Late { .. } => ProbeError::Late { what },
        BusError::NoSocket { .. } => ProbeError::Unsupported { what },
        BusError::NoRights { source, .. } => ProbeError::NoRights { what, source },
        BusError::Rejected { .. } | BusError::Foreign { .. } => ProbeError::NoRights {
            what,
            source: io::Error::new(io::ErrorKind::PermissionDenied, error),
        },
        other => ProbeError::Read {
            what,
            source: Box::new(other),
        },
    }
}

fn short(text: &str) -> Arc<str> {
    let mut end = text.len().min(MAX_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Arc::from(text.get(..end).unwrap_or_default())
}
