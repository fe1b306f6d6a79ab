//! Is the playbook one that somebody vouches for?

use crate::policy::clearance::{Gate, Ruling};
use crate::policy::facts::Facts;
use crate::policy::terms::Proposal;

/// Is the playbook one that somebody vouches for?
pub(super) struct TrustGate;

impl Gate for TrustGate {
    fn name(&self) -> &'static str {
        "trust"
    }

    fn check(&self, proposal: &Proposal, facts: &Facts) -> Ruling {
        match facts.trusted.get(&proposal.playbook.digest) {
            Some(voucher) => Ruling::Pass {
                why: voucher.to_string(),
            },
            None => Ruling::Refuse {
                why: format!(
                    "{} {} is neither signed by a known key nor named by digest in the configuration, or what vouched for it has expired (nodemend playbook list)",
                    proposal.playbook.id, proposal.playbook.version
                ),
            },
        }
    }
}
