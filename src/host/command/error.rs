//! Why a command could not be run or watched.

use crate::host::systemd::BusError;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A command on the host was refused, or could not be watched.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The command itself is not acceptable.
    #[error("the command {unit} is not acceptable: {reason}")]
    Invalid {
        /// Its unit.
        unit: String,
        /// Why.
        reason: &'static str,
    },
    /// systemd could not be asked, or refused.
    #[error("{doing} {unit} failed")]
    Systemd {
        /// What was being done.
        doing: &'static str,
        /// The command's unit.
        unit: String,
        /// Why.
        #[source]
        source: BusError,
    },
    /// It was asked for and the answer got lost: it may run. Starting it again is safe, its name decides.
    #[error("whether {unit} was started is not known")]
    Unsure {
        /// The command's unit.
        unit: String,
        /// How the answer got lost.
        #[source]
        source: BusError,
    },
    /// It is still running at the end of our patience. It goes on until its own time limit.
    #[error("{unit} still runs after {} s", .after.as_secs())]
    StillRunning {
        /// The command's unit.
        unit: String,
        /// How long was waited.
        after: Duration,
    },
    /// No unit of this name exists: never started, read and removed, or the machine was booted since.
    #[error("there is no unit {unit}")]
    Gone {
        /// The command's unit.
        unit: String,
    },
    /// Its output could not be kept or read.
    #[error("the output file {} cannot be used", .path.display())]
    Output {
        /// The file, as seen from here.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl CommandError {
    /// A short stable word: the metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            CommandError::Invalid { .. } => "invalid",
            CommandError::Systemd { source, .. } | CommandError::Unsure { source, .. } => {
                source.kind()
            }
            CommandError::StillRunning { .. } => "still-running",
            CommandError::Gone { .. } => "gone",
            CommandError::Output { .. } => "output",
        }
    }

    /// Whether the command may be running, or have run, in spite of this error.
    pub fn may_be_done(&self) -> bool {
        matches!(
            self,
            CommandError::StillRunning { .. } | CommandError::Unsure { .. }
        )
    }
}
