//! Why a step could not be carried out, seen or undone.

use super::site::PortError;
use std::io;
use std::path::PathBuf;

/// A step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// It would do something that it must not, or cannot tell. Nothing was changed.
    #[error("{why}")]
    Refused {
        /// What was seen and what to do.
        why: String,
    },
    /// systemd or a command could not be asked, or refused.
    #[error("{doing} {on} failed")]
    Port {
        /// What was tried: `restarting`.
        doing: &'static str,
        /// On what.
        on: String,
        /// Why.
        #[source]
        source: PortError,
    },
    /// A file could not be read or written.
    #[error("{doing} {path} failed")]
    File {
        /// What was tried: `reading`.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A command ended with an error.
    #[error("{what} failed ({how}): {last_words}")]
    Command {
        /// The command, in words.
        what: String,
        /// Its end: `exit-code 100`.
        how: String,
        /// The end of what it wrote.
        last_words: String,
    },
    /// A receipt is not one of this kind of step.
    #[error("the journal's receipt for {kind} cannot be understood")]
    Receipt {
        /// The kind of step.
        kind: &'static str,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// Something did not come true in time.
    #[error("{what}")]
    Late {
        /// What was waited for, and for how long.
        what: String,
    },
}

impl StepError {
    /// A short stable word: the metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            StepError::Refused { .. } => "refused",
            StepError::Port { .. } => "port",
            StepError::File { .. } => "file",
            StepError::Command { .. } => "command",
            StepError::Receipt { .. } => "receipt",
            StepError::Late { .. } => "late",
        }
    }

    /// The error with its causes in one line: a fault in the journal has no other place for them.
    pub fn in_full(&self) -> String {
        crate::document::in_full(self)
    }
}
