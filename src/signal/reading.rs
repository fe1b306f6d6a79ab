//! What the timeline answers when asked for a signal.

use super::key::Value;
use super::time::Timestamp;
use std::fmt;
use std::sync::Arc;

/// Why there is no value. Each makes a verdict Unknown; none of them is ever read as "healthy".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MissingReason {
    /// The thing is not on this machine (no systemd, no such file): unsupported, not broken.
    NotHere(Arc<str>),
    /// The agent lacks the rights to read it.
    NoRights(Arc<str>),
    /// It did not answer within its deadline.
    Late(Arc<str>),
    /// It answered something that could not be understood.
    Unreadable(Arc<str>),
    /// The probe that reads it failed as a whole.
    ProbeFailed(Arc<str>),
    /// Nobody has read it yet.
    NotYet,
    /// The last reading is older than the key allows.
    Stale,
    /// A rule asked something its inputs cannot answer.
    Rule(Arc<str>),
}

impl MissingReason {
    /// A short stable word: metric label and JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            MissingReason::NotHere(_) => "not-here",
            MissingReason::NoRights(_) => "no-rights",
            MissingReason::Late(_) => "late",
            MissingReason::Unreadable(_) => "unreadable",
            MissingReason::ProbeFailed(_) => "probe-failed",
            MissingReason::NotYet => "not-yet",
            MissingReason::Stale => "stale",
            MissingReason::Rule(_) => "rule",
        }
    }
}

impl fmt::Display for MissingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MissingReason::NotHere(what)
            | MissingReason::NoRights(what)
            | MissingReason::Late(what)
            | MissingReason::Unreadable(what)
            | MissingReason::ProbeFailed(what)
            | MissingReason::Rule(what) => f.write_str(what),
            MissingReason::NotYet => f.write_str("not read yet"),
            MissingReason::Stale => f.write_str("the last reading is too old"),
        }
    }
}

/// The latest word on a signal.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading<'a> {
    /// Read recently enough.
    Fresh {
        /// The value.
        value: &'a Value,
        /// When it was read.
        at: Timestamp,
    },
    /// Read, but too long ago to decide anything.
    Stale {
        /// The old value, for messages only.
        value: &'a Value,
        /// When it was read.
        at: Timestamp,
    },
    /// Not read.
    Missing(MissingReason),
}
