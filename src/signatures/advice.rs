//! What version tables say about this machine.

use crate::signal::{MissingReason, Timeline};

/// Answers `advisory("id")`: whether the installed version is affected. Unknown is an honest answer.
pub trait Advice: Send + Sync {
    /// `true`: affected; `false`: fixed.
    ///
    /// # Errors
    /// Why it cannot be told: not listed, not installed, not readable.
    fn is_affected(&self, id: &str, timeline: &Timeline) -> Result<bool, MissingReason>;

    /// Whether there is such a table.
    fn has(&self, id: &str) -> bool;
}

/// No tables at all: every question is unknown.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoAdvice;

impl Advice for NoAdvice {
    fn is_affected(&self, id: &str, _timeline: &Timeline) -> Result<bool, MissingReason> {
        Err(MissingReason::NotHere(
            format!("no version table `{id}`").into(),
        ))
    }

    fn has(&self, _id: &str) -> bool {
        false
    }
}
