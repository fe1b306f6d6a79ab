//! What the executor tells the engine.

use crate::policy::{CaseId, RunId};

/// What the executor says of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunNews {
    /// A run that was open before a restart goes on.
    Resumed {
        /// The case.
        case: CaseId,
        /// The run.
        run: RunId,
    },
    /// It ended.
    Ended {
        /// The case.
        case: CaseId,
        /// The run.
        run: RunId,
        /// How.
        ending: Ending,
    },
}

/// How a run ended, as far as the case is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It did what it should, and that was verified.
    Mended,
    /// It left nothing behind and may be tried again.
    Undone,
    /// It never got as far as a slot: that was no attempt.
    NeverBegan,
    /// Only a person can go on.
    NeedsHuman,
}
