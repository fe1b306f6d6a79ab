//! Where an open case stands.

use super::turn::Engine;
use crate::policy::{Blocked, CaseId, Disruption, Mode, OptIn, RunId};

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
    /// Why the run under way must stop at its next boundary once these settings are in force; `None`: there is none, or it may
    /// go on.
    pub fn why_to_stop(&self, opt_in: &OptIn) -> Option<String> {
        opt_in.stop().or_else(|| self.outgrown(opt_in))
    }

    /// Why the run under way is more than these settings allow, if it is.
    fn outgrown(&self, opt_in: &OptIn) -> Option<String> {
        let (case, _) = self.run()?;
        let class = self.run_class(case);
        if class > opt_in.allow {
            return Some(format!(
                "disruption {class} is more than the allowed {} now",
                opt_in.allow
            ));
        }
        // A run that began with an approval goes on; one that began without is asked for now.
        let is_asked_for = self.opt_in().mode == Mode::Auto && opt_in.mode == Mode::Approve;
        (is_asked_for && !opt_in.approved.contains(&case))
            .then(|| format!("the mode is approve now and nobody approved {case}"))
    }

    /// The class of the run of this case. One that nobody can tell the class of, because its playbook went, counts as the most
    /// that is carried out.
    fn run_class(&self, case: CaseId) -> Disruption {
        let remedy = self.book().find(case).and_then(|case| self.remedy_of(case));
        remedy.map_or(Disruption::Restart, |remedy| remedy.disruption)
    }
}
