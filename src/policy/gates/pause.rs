//! Is the node paused?

use crate::policy::clearance::{Gate, Ruling};
use crate::policy::facts::Facts;
use crate::policy::terms::Proposal;

/// Is the node paused?
pub(super) struct PauseGate;

impl Gate for PauseGate {
    fn name(&self) -> &'static str {
        "pause"
    }

    fn check(&self, proposal: &Proposal, facts: &Facts) -> Ruling {
        debug_assert!(
            !proposal.signature.is_empty(),
            "a proposal names its signature"
        );
        match &facts.opt_in.pause {
            Some(reason) => Ruling::Hold {
                why: format!("paused: {reason}; end it with nodemend resume"),
                until: None,
            },
            None => Ruling::Pass {
                why: "not paused".to_owned(),
            },
        }
    }
}
