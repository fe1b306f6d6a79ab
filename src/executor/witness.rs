//! Who is told what a run does: the audit log first of all.

use super::entry::{Entry, Opening};
use crate::host::BoxFuture;
use crate::policy::RunId;
use crate::signal::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// One thing that a run is about to do, or did.
#[derive(Debug, Clone, PartialEq)]
pub struct RunEvent {
    /// When.
    pub at: Timestamp,
    /// The run.
    pub run: RunId,
    /// What the run is about.
    pub opening: Arc<Opening>,
    /// What it does or did; `entry.kind()` is the audit record's kind.
    pub entry: Entry,
    /// The kind of the step it is about, if it is about one.
    pub step_kind: Option<Arc<str>>,
    /// The slot as `name/uid`; empty where none is held.
    pub slot: String,
    /// The version of the settings that allowed the run (I12); empty after a restart without clearance.
    pub opt_in: Arc<str>,
    /// How long the step took, for outcomes of steps.
    pub took: Option<Duration>,
}

impl RunEvent {
    /// The audit record's decision: `act` for an intent, `skip`, `withhold`, or none for an outcome.
    pub fn decision(&self) -> Option<&'static str> {
        match self.entry {
            Entry::Began { .. } | Entry::UndoBegan { .. } => Some("act"),
            Entry::Skipped { .. } => Some("skip"),
            Entry::Withheld { .. } => Some("withhold"),
            _ => None,
        }
    }
}

/// An event could not be written down. No step starts that is not in the audit log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the audit log could not be written: {why}")]
pub struct WitnessError {
    /// Why not.
    pub why: String,
}

/// Writes down what a run does.
pub trait Witness: Send + Sync {
    /// Returns when the event is durable.
    ///
    /// # Errors
    /// It may not be durable: the run stops.
    fn note<'a>(&'a self, event: &'a RunEvent) -> BoxFuture<'a, Result<(), WitnessError>>;
}
