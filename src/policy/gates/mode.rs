//! May the agent act on this node at all?

use crate::policy::clearance::{Gate, Ruling};
use crate::policy::facts::Facts;
use crate::policy::terms::Mode;
use crate::policy::terms::Proposal;

/// May the agent act on this node at all?
pub(super) struct ModeGate;

impl Gate for ModeGate {
    fn name(&self) -> &'static str {
        "mode"
    }

    fn check(&self, proposal: &Proposal, facts: &Facts) -> Ruling {
        let opt_in = &facts.opt_in;
        if let Some(trouble) = opt_in.trouble.first() {
            return Ruling::Refuse {
                why: format!(
                    "mode is observe, because {trouble}; correct it in {}",
                    opt_in.source
                ),
            };
        }
        match opt_in.mode {
            Mode::Auto => Ruling::Pass {
                why: format!("auto ({}, version {})", opt_in.source, opt_in.version),
            },
            Mode::Approve if opt_in.approved.contains(&proposal.case) => Ruling::Pass {
                why: format!("a person approved {}", proposal.case),
            },
            Mode::Approve => Ruling::Hold {
                why: format!("waits for a person: nodemend approve {}", proposal.case),
                until: None,
            },
            Mode::Observe => Ruling::Refuse {
                why: format!("mode is observe ({})", opt_in.source),
            },
        }
    }
}
