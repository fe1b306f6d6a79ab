//! Was the fault seen by this agent in this boot, and lately?

use crate::document::format_span;
use crate::policy::clearance::{Gate, Ruling};
use crate::policy::facts::Facts;
use crate::policy::terms::Proposal;
use std::time::Duration;

/// How old the last sight of a fault may be: three runs of the slowest probe that a mending signature looks at.
const MAX_EVIDENCE_AGE: Duration = Duration::from_secs(90);

/// Was the fault seen by this agent in this boot, and lately?
pub(super) struct EvidenceGate;

impl Gate for EvidenceGate {
    fn name(&self) -> &'static str {
        "evidence"
    }

    fn check(&self, proposal: &Proposal, facts: &Facts) -> Ruling {
        match facts.evidence_at.get(&proposal.case) {
            Some(at) if *at < facts.watching_since => Ruling::Hold {
                why: "the evidence is from before the agent started; waiting to see it again"
                    .to_owned(),
                until: None,
            },
            Some(at) if facts.now.uptime.since(*at) > MAX_EVIDENCE_AGE => Ruling::Hold {
                why: format!(
                    "last seen {} ago; waiting to see it again",
                    format_span(facts.now.uptime.since(*at))
                ),
                until: None,
            },
            Some(at) => Ruling::Pass {
                why: format!("seen {} ago", format_span(facts.now.uptime.since(*at))),
            },
            None => Ruling::Refuse {
                why: "no evidence for this case".to_owned(),
            },
        }
    }
}
