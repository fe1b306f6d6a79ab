//! What a playbook knows about kinds of steps: only this.

use super::args::{ArgError, Args};
use crate::policy::Disruption;
use serde::Serialize;
use std::time::Duration;

/// The kinds of steps that this build can carry out.
pub trait StepKinds {
    /// Checks the arguments of a step and says what the step would do.
    ///
    /// Called when a document is read, where an argument may still be `{{subject}}`, and again when a plan is made for a
    /// real subject.
    ///
    /// # Errors
    /// Everything that is wrong with the arguments, at once.
    fn check(&self, kind: &str, args: &Args) -> Result<StepSummary, ArgError>;

    /// The names of all kinds.
    fn known(&self) -> Vec<&'static str>;
}

/// What a step would do, for people and for the checks of a playbook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepSummary {
    /// What it changes on the machine, one sentence.
    pub effect: String,
    /// What a dry run says instead of doing it.
    pub dry_run: String,
    /// How it is verified.
    pub verify: String,
    /// How it is undone, or why it needs no undo.
    pub undo: String,
    /// The disruption class of the step. A playbook's own class must be at least this.
    pub disruption: Disruption,
    /// Whether it changes anything. A step that only looks needs no precondition.
    pub changes: bool,
    /// The time it gets unless the playbook says otherwise.
    pub timeout: Duration,
    /// Arguments that hold a condition (CEL): name and text.
    pub conditions: Vec<(&'static str, String)>,
}
