//! Did the last attempt have time to show its effect?

use crate::document::format_span;
use crate::policy::clearance::{Gate, Ruling};
use crate::policy::facts::Facts;
use crate::policy::terms::Proposal;

/// Did the last attempt have time to show its effect?
pub(super) struct CooldownGate;

impl Gate for CooldownGate {
    fn name(&self) -> &'static str {
        "cooldown"
    }

    fn check(&self, proposal: &Proposal, facts: &Facts) -> Ruling {
        let Some(record) = &facts.attempts else {
            return Ruling::Refuse {
                why: "the record of attempts cannot be read; see nodemend audit verify".to_owned(),
            };
        };
        let youngest = record.get(&proposal.signature).and_then(|attempts| {
            attempts
                .iter()
                .map(|attempt| super::super::facts::age(attempt, facts.now))
                .min()
        });
        match youngest {
            Some(age) if age < facts.cooldown => Ruling::Hold {
                why: format!(
                    "the last attempt was {} ago, wait {}",
                    format_span(age),
                    format_span(facts.cooldown)
                ),
                until: Some(facts.now.plus(facts.cooldown.saturating_sub(age)).wall),
            },
            _ => Ruling::Pass {
                why: "no attempt lately".to_owned(),
            },
        }
    }
}
