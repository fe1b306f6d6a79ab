//! Playbooks: versioned, signed lists of typed steps.
//!
//! Pure: texts, keys and the time are arguments. A document becomes a [`Playbook`] with all its problems at once; a playbook
//! with a subject becomes a [`Plan`]; the [`Catalogue`] holds every playbook that could be read and says which of them may
//! run (safety.md, I15).

mod args;
mod document;
mod kinds;
mod plan;

pub use args::{Arg, ArgError, ArgProblem, ArgReader, ArgValue, Args, SUBJECT};
pub use document::{
    Attempts, Checks, MAX_ATTEMPTS, MAX_STEPS, OnFailure, Playbook, StepSpec, Verify,
};
pub use kinds::{StepKinds, StepSummary};
pub use plan::{Guard, Plan, PlanError, PlannedStep};
