//! Has nobody and nothing stopped all runs?

use crate::policy::clearance::{Gate, Ruling};
use crate::policy::facts::Facts;
use crate::policy::terms::Proposal;

/// Has nobody and nothing stopped all runs?
pub(super) struct StopCordGate;

impl Gate for StopCordGate {
    fn name(&self) -> &'static str {
        "stop-cord"
    }

    fn check(&self, proposal: &Proposal, facts: &Facts) -> Ruling {
        debug_assert!(
            !proposal.signature.is_empty(),
            "a proposal names its signature"
        );
        match &facts.stop_cord {
            Some(reason) => Ruling::Refuse {
                why: format!("no run may start: {reason}"),
            },
            None => Ruling::Pass {
                why: "not pulled".to_owned(),
            },
        }
    }
}
