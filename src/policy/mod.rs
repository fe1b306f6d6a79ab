//! May we act? One gate per file; all are asked, and only [`Gates::decide`] makes a [`Cleared`].
//!
//! Pure. To add a gate: its file in `gates/`, and one line in that folder's table.

pub mod annotations;
mod approvals;
mod clearance;
mod facts;
pub mod gates;
mod schedule;
mod terms;
#[cfg(test)]
pub mod testing;

pub use approvals::{Approvals, Approved};
pub use clearance::{Answer, Blocked, Cleared, Gate, Gates, Ruling};
pub use facts::{Attempt, Facts, OptIn};
pub use schedule::{Window, WindowError};
pub use terms::{CaseId, Disruption, Mode, PlaybookRef, Proposal, RunId, UnknownWord};
