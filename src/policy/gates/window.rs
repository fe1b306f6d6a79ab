//! Is it a time at which disruptive work may start?

use crate::document::format_span;
use crate::policy::clearance::{Gate, Ruling};
use crate::policy::facts::Facts;
use crate::policy::terms::Disruption;
use crate::policy::terms::Proposal;
use std::time::Duration;

/// Is it a time at which disruptive work may start?
pub(super) struct WindowGate;

impl Gate for WindowGate {
    fn name(&self) -> &'static str {
        "window"
    }

    fn check(&self, proposal: &Proposal, facts: &Facts) -> Ruling {
        if proposal.disruption == Disruption::None || facts.windows.is_empty() {
            let why = if facts.windows.is_empty() {
                "no windows set"
            } else {
                "disruption none needs no window"
            };
            return Ruling::Pass {
                why: why.to_owned(),
            };
        }
        if let Some(open) = facts
            .windows
            .iter()
            .find(|window| window.is_open(facts.now.wall))
        {
            return Ruling::Pass {
                why: format!("{} is open", open.as_str()),
            };
        }
        let next = facts
            .windows
            .iter()
            .filter_map(|w| Some((w.next_opening(facts.now.wall)?, w.as_str())))
            .min();
        match next {
            Some((at, name)) => {
                let micros = u64::try_from(at.0.saturating_sub(facts.now.wall.0)).unwrap_or(0);
                let wait = format_span(Duration::from_micros(micros));
                Ruling::Hold {
                    why: format!("{name} opens in {wait}"),
                    until: Some(at),
                }
            }
            None => Ruling::Hold {
                why: "no window ever opens by this clock; check the clock".to_owned(),
                until: None,
            },
        }
    }
}
