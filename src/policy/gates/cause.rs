//! Is this the cause, and not the symptom of another case?

use crate::policy::clearance::{Gate, Ruling};
use crate::policy::facts::Facts;
use crate::policy::terms::Proposal;

/// Is this the cause, and not the symptom of another case?
pub(super) struct CauseGate;

impl Gate for CauseGate {
    fn name(&self) -> &'static str {
        "cause"
    }

    fn check(&self, proposal: &Proposal, facts: &Facts) -> Ruling {
        match facts.hidden.get(&proposal.case) {
            Some(cause) => Ruling::Hold {
                why: format!("{cause} is its cause and comes first"),
                until: None,
            },
            None => Ruling::Pass {
                why: "no other case explains it".to_owned(),
            },
        }
    }
}
