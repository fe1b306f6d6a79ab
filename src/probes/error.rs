//! Why a probe could not read anything.

use crate::signal::MissingReason;
use std::sync::Arc;

/// A probe as a whole could not read.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The thing is not on this machine; the probe rests until it appears.
    #[error("{what} is not on this machine")]
    Unsupported {
        /// What was looked for.
        what: String,
    },
    /// The rights to read it are missing.
    #[error("no rights to read {what}")]
    NoRights {
        /// What was to be read.
        what: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Reading failed.
    #[error("reading {what} failed")]
    Read {
        /// What was to be read.
        what: String,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It did not end within its deadline.
    #[error("{what} did not answer within its deadline")]
    Late {
        /// What was asked.
        what: String,
    },
}

impl ProbeError {
    /// A short stable word: the metric label, and the class in the start summary.
    pub fn kind(&self) -> &'static str {
        match self {
            ProbeError::Unsupported { .. } => "unsupported",
            ProbeError::NoRights { .. } => "no-rights",
            ProbeError::Read { .. } => "failed",
            ProbeError::Late { .. } => "late",
        }
    }

    /// What its signals answer from now on.
    pub fn missing_reason(&self) -> MissingReason {
        let text: Arc<str> = Arc::from(self.to_string());
        match self {
            ProbeError::Unsupported { .. } => MissingReason::NotHere(text),
            ProbeError::NoRights { .. } => MissingReason::NoRights(text),
            ProbeError::Read { .. } => MissingReason::ProbeFailed(text),
            ProbeError::Late { .. } => MissingReason::Late(text),
        }
    }
}
