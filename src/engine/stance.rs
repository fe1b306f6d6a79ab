//! Where an open case stands.

use super::turn::Engine;
use crate::policy::{Blocked, Disruption, RunId};

/// What stands between an open case and its mend, or what is under way.
#[derive(Debug, Clone, PartialEq)]
pub enum Stance {
    /// Its signature names no playbook.
    ReportOnly,
    /// Its signature names a playbook that is not there.
    NoPlaybook(String),
    /// A run is under way.
    Treating(RunId),
    /// It is over, or going over, by itself.
    Clearing,
    /// The gates as they answer now, and what would be run.
    Gated(Box<Blocked>),
    /// Every gate passes; it will be carried out.
    Ready,
}

impl Engine {
    /// The class of the run under way; [`Disruption::None`] without one. A run that nobody can tell the class of, because its
    /// playbook went, counts as the most that is carried out.
    pub fn run_class(&self) -> Disruption {
        let Some((case, _)) = self.run() else {
            return Disruption::None;
        };
        let rules = self.judge().rulebook();
        let rule = self
            .book()
            .find(case)
            .and_then(|case| rules.find(&case.signature));
        let remedy = rule.and_then(|rule| self.remedies.get(rule.mend.as_deref()?));
        remedy.map_or(Disruption::Restart, |remedy| remedy.disruption)
    }
}
