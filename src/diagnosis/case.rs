//! One case.

use super::state::CaseState;
use crate::policy::{CaseId, RunId};
use crate::signal::{Subject, Timestamp};
use crate::signatures::Streak;
use std::sync::Arc;

/// A fault on this node, from its first sight to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Its number; `None` while it is only suspected.
    pub id: Option<CaseId>,
    /// The signature that sees it.
    pub signature: Arc<str>,
    /// What it is about.
    pub subject: Subject,
    /// Where it stands.
    pub state: CaseState,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// When it was confirmed.
    pub opened: Option<Timestamp>,
    /// When it was last seen.
    pub last_seen: Timestamp,
    /// What was seen last.
    pub evidence: Vec<String>,
    /// Why the latest evaluation could not tell, if it could not.
    pub unknown: Option<String>,
    /// How long it has been seen, or not seen, in a row.
    pub streak: Streak,
    /// Whether it was carried over from before a restart and not seen since.
    pub restored: bool,
    /// Runs for it, oldest first.
    pub runs: Vec<RunId>,
    /// Whether the latest evaluation that could tell saw the fault gone.
    pub is_seen_gone: bool,
    /// Whether a run ended well in this case.
    pub mended: bool,
}

impl Case {
    /// What people call it: its number, or its signature while it is only suspected.
    pub fn name(&self) -> Arc<str> {
        match self.id {
            Some(id) => Arc::from(id.to_string()),
            None => Arc::from(format!("{} (suspected)", self.signature)),
        }
    }
}
