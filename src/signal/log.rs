//! Lines of a log, as the rules see them.

use super::time::{Timestamp, Wall};
use std::sync::Arc;

/// The longest text of a line that is looked at; the rest is cut off (safety.md, T10).
pub const MAX_LOG_TEXT_BYTES: usize = 64 * 1024;

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogSource {
    /// The kernel's ring buffer, and in it only what the kernel itself wrote.
    Kernel,
    /// The systemd journal.
    Journal,
}

impl LogSource {
    /// All sources, in the order in which pages list them.
    pub const ALL: [LogSource; 2] = [LogSource::Kernel, LogSource::Journal];

    /// The word in rule files, metric labels and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            LogSource::Kernel => "kernel",
            LogSource::Journal => "journal",
        }
    }
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Where it came from.
    pub source: LogSource,
    /// When it was written, as far as known. Uptime is of the present boot.
    pub at: Timestamp,
    /// The line's own wall clock where it has one.
    pub written: Option<Wall>,
    /// Who wrote it: `SYSLOG_IDENTIFIER` or the comm; empty for the kernel.
    pub identifier: Arc<str>,
    /// The systemd unit it belongs to, empty if none.
    pub unit: Arc<str>,
    /// The text.
    pub text: Arc<str>,
    /// Whether it was written before the agent looked for the first time: such a line never counts as new.
    pub history: bool,
}
