//! What can go wrong with the audit log.

use std::io;
use std::path::PathBuf;

/// Why the audit log cannot be written or read. Every one of these stops what needed the record.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Its directory cannot be made or read.
    #[error("audit directory {}: cannot be used; check that it exists, is a directory and belongs to this user", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process writes it.
    #[error("audit directory {}: another process writes it; stop that one, or give this one its own --state-dir", path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// A file cannot be opened, read or made.
    #[error("audit file {}: cannot be {action}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried: `read`, `made`, `cut`.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A record could not be written and synced. The log takes no further record: a sync that failed once proves nothing
    /// when it succeeds later.
    #[error("audit record {seq} could not be written to {}; nothing that needs a record is done until the agent is restarted with a writable disk", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The record's number.
        seq: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// An earlier record could not be written.
    #[error("the audit log takes no records since one could not be written: {first}")]
    Stopped {
        /// What the first failure was.
        first: String,
    },
    /// The end of the log is not what was written.
    #[error("audit file {}, line {line}: {what}; the log is not continued. Look with `nodemend audit verify`, keep the directory as evidence, and give the agent an empty one", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 0 for the file as a whole.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A record has no canonical form or is too long even after its texts were cut.
    #[error("audit record {seq} has no valid form: {what}")]
    Form {
        /// The record's number.
        seq: u64,
        /// What is wrong with it.
        what: String,
    },
}

impl AuditError {
    /// A short stable word: metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            AuditError::Directory { .. } => "directory",
            AuditError::Busy { .. } => "busy",
            AuditError::File { .. } => "file",
            AuditError::Write { .. } => "write",
            AuditError::Stopped { .. } => "stopped",
            AuditError::Damaged { .. } => "damaged",
            AuditError::Form { .. } => "form",
        }
    }
}
