//! Is no other run under way on this node?

use crate::policy::clearance::{Gate, Ruling};
use crate::policy::facts::Facts;
use crate::policy::terms::Proposal;

/// Is no other run under way on this node?
pub(super) struct OneRunGate;

impl Gate for OneRunGate {
    fn name(&self) -> &'static str {
        "run"
    }

    fn check(&self, proposal: &Proposal, facts: &Facts) -> Ruling {
        debug_assert!(
            !proposal.playbook.id.is_empty(),
            "a proposal names its playbook"
        );
        if facts.run_in_flight {
            return Ruling::Hold {
                why: "another run is under way on this node".to_owned(),
                until: None,
            };
        }
        Ruling::Pass {
            why: "no other run on this node".to_owned(),
        }
    }
}
