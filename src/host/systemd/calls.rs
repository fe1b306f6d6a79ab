//! What PID 1 and the bus daemon are asked: one function a method.

use super::connection::{Connection, Pending, Reply, SYSTEMD};
use super::error::BusError;
use super::unit::unit_path;
use crate::host::deadline::Deadline;
use serde::de::DeserializeOwned;
use zvariant::{OwnedObjectPath, OwnedValue, Type, Value};

const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PEER: &str = "org.freedesktop.DBus.Peer";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// The interface of what all units have.
pub const UNIT: &str = "org.freedesktop.systemd1.Unit";

/// The interface of what services have.
pub const SERVICE: &str = "org.freedesktop.systemd1.Service";

/// A unit as the list of units shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedUnit {
    /// Its name with suffix.
    pub name: String,
    /// `loaded`, `not-found`, `masked` and so on.
    pub load: String,
    /// `active`, `activating`, `failed` and so on.
    pub active: String,
    /// The finer state of its kind: `running`, `auto-restart` and so on.
    pub sub: String,
}

type UnitRow = (
    String,
    String,
    String,
    String,
    String,
    String,
    OwnedObjectPath,
    u32,
    String,
    OwnedObjectPath,
);

/// A job in PID 1's queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its number, unique within a boot until PID 1 is executed anew.
    pub id: u32,
    /// The unit it is for.
    pub unit: String,
    /// `start`, `stop`, `restart` and so on.
    pub kind: String,
    /// `waiting` or `running`.
    pub state: String,
}

type JobRow = (
    u32,
    String,
    String,
    String,
    OwnedObjectPath,
    OwnedObjectPath,
);

/// What is done to a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitVerb {
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Stop and start it.
    Restart,
}

impl UnitVerb {
    fn method(self) -> &'static str {
        match self {
            UnitVerb::Start => "StartUnit",
            UnitVerb::Stop => "StopUnit",
            UnitVerb::Restart => "RestartUnit",
        }
    }
}

/// Properties of a transient unit, as D-Bus wants them.
pub type Settings<'a> = Vec<(&'a str, Value<'a>)>;

fn read<T: DeserializeOwned + Type>(reply: &Reply) -> Result<T, BusError> {
    Ok(reply.body.read()?)
}

impl Connection {
    /// Sends `Ping` to PID 1; any answer, even an error of its own, proves that it reads and writes.
    ///
    /// *Errors*: those of sending.
    pub async fn send_ping(&mut self, deadline: Deadline) -> Result<Pending, BusError> {
        let call = self.systemd_call(MANAGER_PATH, PEER, "Ping", &())?;
        self.send(&call, deadline).await
    }

    /// Asks PID 1 for a sign of life.
    ///
    /// *Errors*: as [`Connection::call`].
    pub async fn ping(&mut self, deadline: Deadline) -> Result<Reply, BusError> {
        let pending = self.send_ping(deadline).await?;
        self.receive(&pending, deadline).await
    }

    /// Sends `GetId` to the bus daemon: the cheapest question that it answers itself.
    ///
    /// *Errors*: those of sending.
    pub async fn send_get_id(&mut self, deadline: Deadline) -> Result<Pending, BusError> {
        let call = self.bus_call("GetId", &())?;
        self.send(&call, deadline).await
    }

    /// A property of PID 1's manager object, such as `Version`, `SystemState` or `NFailedUnits`.
    ///
    /// *Errors*: as [`Connection::call`]; a value of another type is [`BusError::BadMessage`].
    pub async fn manager_property<T>(
        &mut self,
        name: &str,
        deadline: Deadline,
    ) -> Result<T, BusError>
    where
        T: TryFrom<OwnedValue>,
    {
        let call = self.systemd_call(MANAGER_PATH, PROPERTIES, "Get", &(MANAGER, name))?;
        property(&self.call(&call, deadline).await?)
    }

    /// Asks for a property of a unit; the answer is read by [`property`].
    ///
    /// *Errors*: those of sending.
    pub async fn send_unit_property(
        &mut self,
        unit: &str,
        interface: &str,
        name: &str,
        deadline: Deadline,
    ) -> Result<Pending, BusError> {
        let path = unit_path(unit);
        let call = self.systemd_call(&path, PROPERTIES, "Get", &(interface, name))?;
        self.send(&call, deadline).await
    }

    /// Loaded units whose state is one of `states` (all if empty) and whose name fits one of `patterns` (all if empty).
    ///
    /// `ListUnitsByPatterns` is younger than systemd 219; there the whole list is read and filtered here, by suffix only.
    /// *Errors*: as [`Connection::call`].
    pub async fn list_units(
        &mut self,
        states: &[&str],
        suffix: Option<&str>,
        deadline: Deadline,
    ) -> Result<Vec<ListedUnit>, BusError> {
        let patterns: Vec<String> = suffix.iter().map(|suffix| format!("*{suffix}")).collect();
        let args = (states.to_vec(), patterns);
        let call = self.systemd_call(MANAGER_PATH, MANAGER, "ListUnitsByPatterns", &args)?;
        let reply = match self.call(&call, deadline).await {
            Err(error) if error.is_unknown_here() => {
                let old = (states.to_vec(),);
                let call = self.systemd_call(MANAGER_PATH, MANAGER, "ListUnitsFiltered", &old)?;
                self.call(&call, deadline).await?
            }
            other => other?,
        };
        let rows: Vec<UnitRow> = read(&reply)?;
        let units = rows.into_iter().map(|row| ListedUnit {
            name: row.0,
            load: row.2,
            active: row.3,
            sub: row.4,
        });
        Ok(units
            .filter(|unit| suffix.is_none_or(|suffix| unit.name.ends_with(suffix)))
            .collect())
    }

    /// PID 1's job queue.
    ///
    /// *Errors*: as [`Connection::call`].
    pub async fn list_jobs(&mut self, deadline: Deadline) -> Result<Vec<Job>, BusError> {
        let call = self.systemd_call(MANAGER_PATH, MANAGER, "ListJobs", &())?;
        let rows: Vec<JobRow> = read(&self.call(&call, deadline).await?)?;
        let jobs = rows.into_iter().map(|row| Job {
            id: row.0,
            unit: row.1,
            kind: row.2,
            state: row.3,
        });
        Ok(jobs.collect())
    }

    /// Whether a unit of this name is loaded. Asks only; nothing is loaded by asking.
    ///
    /// *Errors*: as [`Connection::call`].
    pub async fn is_loaded(&mut self, unit: &str, deadline: Deadline) -> Result<bool, BusError> {
        let call = self.systemd_call(MANAGER_PATH, MANAGER, "GetUnit", &(unit,))?;
        match self.call(&call, deadline).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_no_such_unit() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Queues a job for a unit, replacing jobs that conflict with it.
    ///
    /// *Errors*: as [`Connection::call`]. When it is [`BusError::Late`] or [`BusError::Closed`] the job may have been queued.
    pub async fn queue_job(
        &mut self,
        verb: UnitVerb,
        unit: &str,
        deadline: Deadline,
    ) -> Result<(), BusError> {
        let args = (unit, "replace");
        let call = self.systemd_call(MANAGER_PATH, MANAGER, verb.method(), &args)?;
        self.call(&call, deadline).await.map(drop)
    }

    /// Forgets that a unit failed. A unit that is not loaded is fine.
    ///
    /// *Errors*: as [`Connection::call`].
    pub async fn reset_failed(&mut self, unit: &str, deadline: Deadline) -> Result<(), BusError> {
        let call = self.systemd_call(MANAGER_PATH, MANAGER, "ResetFailedUnit", &(unit,))?;
        match self.call(&call, deadline).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_no_such_unit() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Creates and starts a unit that lives in memory only.
    ///
    /// *Errors*: as [`Connection::call`]; `UnitExists` if the name is taken.
    pub async fn start_transient(
        &mut self,
        unit: &str,
        settings: &Settings<'_>,
        deadline: Deadline,
    ) -> Result<(), BusError> {
        let auxiliary: Vec<(&str, Settings<'_>)> = Vec::new();
        let args = (unit, "fail", settings, auxiliary);
        let call = self.systemd_call(MANAGER_PATH, MANAGER, "StartTransientUnit", &args)?;
        self.call(&call, deadline).await.map(drop)
    }

    /// Sends `Reexecute`. PID 1 never answers it: it closes the connection when it executes itself.
    ///
    /// *Errors*: those of sending.
    pub async fn send_reexecute(&mut self, deadline: Deadline) -> Result<Pending, BusError> {
        let call = self.systemd_call(MANAGER_PATH, MANAGER, "Reexecute", &())?;
        self.send(&call, deadline).await
    }
}

/// The value of a property from the answer to `Get`.
///
/// *Errors*: [`BusError::BadMessage`] if it has another type.
pub fn property<T>(reply: &Reply) -> Result<T, BusError>
where
    T: TryFrom<OwnedValue>,
{
    let value: OwnedValue = read(reply)?;
    let found = value.value_signature().to_string();
    T::try_from(value).map_err(|_error| {
        super::message::Malformed::BodyType {
            wanted: std::any::type_name::<T>().to_owned(),
            found,
        }
        .into()
    })
}

/// Whether this error reply came from PID 1 itself and not from the bus daemon in its place.
pub fn is_from_systemd(sender: Option<&str>) -> bool {
    match sender {
        Some(sender) => sender.starts_with(':') || sender == SYSTEMD,
        None => false,
    }
}
