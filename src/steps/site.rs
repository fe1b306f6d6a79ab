//! What a step may touch: the machine's files and a few ports, each of which a test can make fail.

use crate::executor::Opening;
use crate::host::clock::Clock;
use crate::host::{BoxFuture, Host};
use std::sync::Arc;
use std::time::Duration;

/// Where a step works.
#[derive(Clone)]
pub struct Site {
    /// The machine's files.
    pub host: Host,
    /// PID 1 and its units.
    pub services: Arc<dyn Services>,
    /// Commands on the host.
    pub commands: Arc<dyn Commands>,
    /// Conditions over signals.
    pub oracle: Arc<dyn Oracle>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// The answer to a condition. Only `Yes` is a reason to act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tri {
    /// It holds.
    Yes,
    /// It does not hold.
    No,
    /// Nobody can tell, and why.
    Unknown(String),
}

/// Judges conditions (CEL) over the signals as they are now. The engine is behind it.
pub trait Oracle: Send + Sync {
    /// Whether `condition` holds now, for the subject of the run with this opening.
    fn condition(&self, condition: &str, opening: &Opening) -> Tri;
}

/// A port could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PortError {
    /// A short stable word: metric label.
    pub kind: String,
    /// What happened, with its causes.
    pub message: String,
    /// Whether the request may have been carried out all the same (an answer was lost).
    pub may_be_done: bool,
}

/// How PID 1 is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By its private socket.
    Private,
    /// By the system bus.
    Bus,
}

/// A sign of life of PID 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pong {
    /// The name it answered under: on the bus, a new one for every connection.
    pub sender: Option<String>,
    /// Its message counter.
    pub serial: u32,
}

/// What a step needs to know of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnitNow {
    /// `loaded`, `not-found`, `masked`.
    pub load: String,
    /// `active`, `failed` and so on.
    pub active: String,
    /// The main process, if one runs.
    pub main_pid: Option<u32>,
    /// When it last became active, in microseconds since boot; `None` for never.
    pub active_since_us: Option<u64>,
    /// Whether a job for it is queued or running.
    pub has_job: bool,
}

/// PID 1 and its units. Every call ends within its limit, connecting included.
pub trait Services: Send + Sync {
    /// Asks for a sign of life.
    fn ping(&self, way: Way, limit: Duration) -> BoxFuture<'_, Result<Pong, PortError>>;

    /// Asks PID 1 to execute itself anew, by its private socket, and waits until it answers there.
    fn reexecute(&self, limit: Duration) -> BoxFuture<'_, Result<(), PortError>>;

    /// Sends SIGTERM to PID 1, which means the same. Refused where PID 1 as seen from here is not the machine's systemd.
    fn terminate_pid1(&self) -> BoxFuture<'_, Result<(), PortError>>;

    /// The state of a unit.
    fn unit<'a>(
        &'a self,
        unit: &'a str,
        limit: Duration,
    ) -> BoxFuture<'a, Result<UnitNow, PortError>>;

    /// Restarts a unit and waits for the job to end.
    fn restart<'a>(
        &'a self,
        unit: &'a str,
        limit: Duration,
    ) -> BoxFuture<'a, Result<UnitNow, PortError>>;
}

/// A command on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostTask {
    /// Its transient unit: `nodemend-<run>-<step>...service`. The name decides whether it was started already.
    pub unit: String,
    /// What people see.
    pub description: String,
    /// Program (absolute path) and arguments.
    pub arguments: Vec<String>,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// When systemd ends it.
    pub time_limit: Duration,
}

/// How a command on the host ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskEnd {
    /// Its exit status, if it returned one.
    pub status: Option<i32>,
    /// systemd's word: `success`, `exit-code`, `timeout` and so on.
    pub result: String,
    /// The end of its standard output.
    pub stdout: String,
    /// The end of its standard error.
    pub stderr: String,
}

impl TaskEnd {
    /// Whether it returned 0 within its time.
    pub fn is_success(&self) -> bool {
        self.status == Some(0) && self.result == "success"
    }
}

/// Commands on the host, as transient units: they outlive the agent.
pub trait Commands: Send + Sync {
    /// Starts a command unless a unit of its name exists already, and waits for its end. The unit stays.
    ///
    /// *Cancel safety*: may be dropped; the command goes on until its own limit, and the same call finds it again.
    fn run<'a>(&'a self, task: &'a HostTask) -> BoxFuture<'a, Result<TaskEnd, PortError>>;

    /// Whether the command still runs; `None`: there is no unit of this name.
    fn is_running<'a>(
        &'a self,
        task: &'a HostTask,
    ) -> BoxFuture<'a, Result<Option<bool>, PortError>>;

    /// Removes an ended command's unit and output.
    fn remove<'a>(&'a self, task: &'a HostTask) -> BoxFuture<'a, Result<(), PortError>>;
}
