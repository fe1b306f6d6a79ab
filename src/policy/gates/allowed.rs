//! Is a playbook of this disruption class allowed here, and can this build carry it out?

use crate::policy::clearance::{Gate, Ruling};
use crate::policy::facts::Facts;
use crate::policy::terms::Proposal;

/// Is a playbook of this disruption class allowed here, and can this build carry it out?
pub(super) struct AllowedGate;

impl Gate for AllowedGate {
    fn name(&self) -> &'static str {
        "allowed"
    }

    fn check(&self, proposal: &Proposal, facts: &Facts) -> Ruling {
        let (wanted, allowed) = (proposal.disruption, facts.opt_in.allow);
        let (capable, limit) = &facts.capable;
        if wanted > *capable {
            return Ruling::Refuse {
                why: format!("disruption {wanted} cannot be carried out: {limit}"),
            };
        }
        if wanted > allowed {
            return Ruling::Refuse {
                why: format!(
                    "disruption {wanted} is more than the allowed {allowed} ({})",
                    facts.opt_in.source
                ),
            };
        }
        Ruling::Pass {
            why: format!("{wanted} ≤ {allowed}"),
        }
    }
}
