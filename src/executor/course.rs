//! A plan made ready to run: its steps as things that can act.

use super::entry::{FAILED_UNITS_BEFORE, Opening, StepIx};
use super::outline::Outline;
use crate::playbook::{ArgError, Guard, OnFailure, Plan};
use crate::policy::Proposal;
use crate::steps::{Step, build};
use std::sync::Arc;
use std::time::Duration;

/// One step with everything that is asked around it.
pub struct Leg {
    /// Its kind.
    pub kind: Arc<str>,
    /// What must hold right before it.
    pub guard: Guard,
    /// The time for each of: looking, applying, undoing.
    pub timeout: Duration,
    /// The step itself.
    pub step: Box<dyn Step>,
}

/// A plan made ready to run.
pub struct Course {
    /// What the journal says about it.
    pub opening: Arc<Opening>,
    /// What the run machine knows about it.
    pub outline: Outline,
    /// Its steps.
    pub legs: Vec<Leg>,
    /// The condition of a mended case.
    pub condition: Arc<str>,
    /// How long that must hold.
    pub soak: Duration,
}

impl Course {
    /// The plan for this proposal, ready to run. `failed_units` is how many units have failed by now, if that is known.
    ///
    /// # Errors
    /// A step that this build cannot carry out.
    pub fn of(
        plan: &Plan,
        proposal: &Proposal,
        failed_units: Option<i64>,
    ) -> Result<Self, ArgError> {
        let mut values = plan.bound.clone();
        values
            .extend(failed_units.map(|count| (FAILED_UNITS_BEFORE.to_owned(), count.to_string())));
        let opening = Opening {
            case: proposal.case.0,
            signature: proposal.signature.to_string(),
            subject: plan.subject.as_str().to_owned(),
            playbook: plan.playbook.id.to_string(),
            version: plan.playbook.version.to_string(),
            digest: plan.playbook.digest.to_string(),
            plan: plan.digest.to_string(),
            values,
        };
        Self::again(plan, opening)
    }

    /// The plan for a run that was opened before; the plan was made with [`Opening::values`]. The run machine refuses a journal of another plan.
    ///
    /// # Errors
    /// A step that this build cannot carry out.
    pub fn again(plan: &Plan, opening: Opening) -> Result<Self, ArgError> {
        let mut legs = Vec::with_capacity(plan.steps.len());
        for planned in &plan.steps {
            legs.push(Leg {
                kind: Arc::clone(&planned.kind),
                guard: planned.guard.clone(),
                timeout: planned.timeout,
                step: build(&planned.kind, &planned.args)?,
            });
        }
        let outline = Outline {
            plan: plan.digest.to_string(),
            steps: legs.iter().map(|leg| leg.step.shape()).collect(),
            needs_human_on_failure: plan.on_failure == OnFailure::NeedsHuman,
        };
        Ok(Self {
            opening: Arc::new(opening),
            outline,
            legs,
            condition: Arc::clone(&plan.verify.condition),
            soak: plan.verify.soak,
        })
    }

    /// This step.
    pub fn leg(&self, step: StepIx) -> Option<&Leg> {
        self.legs.get(step.index())
    }
}
