//! The audit log: what was decided and done, and why, in a chain that shows every later change (interface.md, section 3).
//!
//! [`AuditLog`] appends, [`Reader`] streams, [`verify`] proves. A record is on the disk before the thing it announces is
//! done: the caller writes first and acts only after [`AuditLog::append`] returned `Ok`.

mod chain;
mod error;
mod files;
mod log;
mod reader;
mod record;
mod redact;
mod render;
mod runs;
mod tail;
mod verify;

pub use chain::{Chain, Link};
pub use error::AuditError;
pub use files::Head;
pub use log::{AuditLog, Limits, Opening};
pub use reader::{Filter, Line, LineFault, Reader};
pub use record::{Decision, Entry, GENESIS, MAX_LINE_BYTES, Record, RecordKind};
pub use render::{describe, line};
pub use runs::{of_run, outcome_text};
pub use verify::{Fault, Verification, verify};

#[cfg(test)]
mod tamper;
#[cfg(test)]
mod tests;
