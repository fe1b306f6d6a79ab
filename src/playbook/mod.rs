//! Playbooks: versioned, signed lists of typed steps.
//!
//! Pure: texts, keys and the time are arguments. A document becomes a [`Playbook`] with all its problems at once; a playbook
//! with a subject becomes a [`Plan`]; the [`Catalogue`] holds every playbook that could be read and says which of them may
//! run (safety.md, I15).

mod args;
mod catalogue;
mod document;
mod floors;
mod identity;
mod keys;
mod kinds;
mod plan;
mod shipped;
mod steps;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod trust;

pub use args::{Arg, ArgError, ArgProblem, ArgReader, ArgValue, Args, SUBJECT, signal_of};
pub use catalogue::{Catalogue, CatalogueError, Listed, Source, Trust, TrustRoot};
pub use document::{
    Attempts, Checks, MAX_ATTEMPTS, MAX_STEPS, OnFailure, Playbook, StepSpec, Verify,
};
pub use floors::{FloorsError, floors_to_text, parse_floors};
pub use identity::identity;
pub use keys::{KeyError, PinnedKey, PrivateKey};
pub use kinds::{StepKinds, StepSummary};
pub use plan::{Guard, Plan, PlanError, PlannedStep};
pub use shipped::{RELEASE_KEYS, SHIPPED, release_keys};
pub use trust::{MAX_SIGNATURE_BYTES, SignatureError, Vouched, sign, verify};
