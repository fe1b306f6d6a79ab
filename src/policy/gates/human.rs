//! Did an earlier run leave the case to a person?

use crate::policy::clearance::{Gate, Ruling};
use crate::policy::facts::Facts;
use crate::policy::terms::Proposal;

/// Did an earlier run leave the case to a person?
pub(super) struct HumanGate;

impl Gate for HumanGate {
    fn name(&self) -> &'static str {
        "human"
    }

    fn check(&self, proposal: &Proposal, facts: &Facts) -> Ruling {
        if facts.needs_human.contains(&proposal.case) {
            return Ruling::Refuse {
                why: format!(
                    "needs a human; when it is settled: nodemend approve {}",
                    proposal.case
                ),
            };
        }
        Ruling::Pass {
            why: "no run of this case is left to a person".to_owned(),
        }
    }
}
