//! What a playbook may do: one file per kind of step.
//!
//! To add a kind: its file here, and one line in [`table`]'s list.

mod apt;
mod error;
#[cfg(test)]
pub mod fake;
mod machine;
mod reexec_systemd;
mod restart_unit;
mod site;
mod table;
#[cfg(test)]
mod tests;
mod upgrade_package;
#[cfg(test)]
mod upgrade_tests;
mod wait_until;
mod write_sysctl;

pub use error::StepError;
pub use machine::{HostCommands, HostServices};
pub use site::{
    Commands, HostTask, Oracle, Pong, PortError, Services, Site, TaskEnd, Tri, UnitNow, Way,
};
pub use table::{Kinds, build};

use crate::executor::{Opening, Receipt, StepIx, StepShape};
use crate::host::BoxFuture;
use crate::lease::Permit;
use crate::policy::RunId;
use std::sync::Arc;

/// Which step of which run: the names of its transient units are derived from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: StepIx,
    /// What the run is about.
    pub opening: Arc<Opening>,
}

/// What looking for a step's effect showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// The effect is there; what was seen.
    Yes(String),
    /// Not there, or not yet; what was seen.
    NotYet(String),
}

/// One step, ready to be carried out. The runner bounds every call by the step's time.
pub trait Step: Send + Sync {
    /// What the run machine needs to know.
    fn shape(&self) -> StepShape;

    /// Reads the prior state: all that `verify` and `undo` need. Changes nothing. A step that finds that it must not run
    /// says so here, before its intent is written.
    ///
    /// # Errors
    /// The prior state cannot be read, or the step refuses.
    fn capture<'a>(
        &'a self,
        site: &'a Site,
        ticket: &'a Ticket,
    ) -> BoxFuture<'a, Result<Receipt, StepError>>;

    /// Does it.
    ///
    /// *Cancel safety*: may be dropped when its time is up; what is then left is said by each kind.
    ///
    /// # Errors
    /// It was not done, or nobody knows.
    fn apply<'a>(
        &'a self,
        site: &'a Site,
        ticket: &'a Ticket,
        permit: &'a Permit,
        prior: &'a Receipt,
    ) -> BoxFuture<'a, Result<(), StepError>>;

    /// Looks whether the effect is there. Changes nothing; also asked after a crash in the middle of `apply`.
    ///
    /// # Errors
    /// It cannot be seen.
    fn verify<'a>(
        &'a self,
        site: &'a Site,
        ticket: &'a Ticket,
        prior: &'a Receipt,
    ) -> BoxFuture<'a, Result<Verified, StepError>>;

    /// Brings the prior state back.
    ///
    /// # Errors
    /// It could not be brought back: a person has to look.
    fn undo<'a>(
        &'a self,
        site: &'a Site,
        ticket: &'a Ticket,
        permit: &'a Permit,
        prior: &'a Receipt,
    ) -> BoxFuture<'a, Result<(), StepError>>;
}
