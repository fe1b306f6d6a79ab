//! Are attempts at this signature left?

use crate::document::format_span;
use crate::policy::clearance::{Gate, Ruling};
use crate::policy::facts::Facts;
use crate::policy::terms::Proposal;

/// Are attempts at this signature left?
pub(super) struct AttemptsGate;

impl Gate for AttemptsGate {
    fn name(&self) -> &'static str {
        "attempts"
    }

    fn check(&self, proposal: &Proposal, facts: &Facts) -> Ruling {
        let Some(record) = &facts.attempts else {
            return Ruling::Refuse {
                why: "the record of attempts cannot be read; see nodemend audit verify".to_owned(),
            };
        };
        let attempts = record
            .get(&proposal.signature)
            .map_or(&[][..], Vec::as_slice);
        let counted = attempts
            .iter()
            .filter(|attempt| super::super::facts::age(attempt, facts.now) < facts.attempts_span)
            .count();
        let most = usize::try_from(facts.max_attempts).unwrap_or(0);
        let span = format_span(facts.attempts_span);
        if counted < most {
            Ruling::Pass {
                why: format!("{counted} of {most} in {span}"),
            }
        } else {
            Ruling::Refuse {
                why: format!(
                    "{counted} of {most} attempts in {span} are used up; look at the case yourself"
                ),
            }
        }
    }
}
