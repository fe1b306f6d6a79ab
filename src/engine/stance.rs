//! Where an open case stands.

use crate::policy::{Blocked, RunId};

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
