//! May we act? One gate per file; all are asked, and only [`decide`] makes a [`Cleared`].
//!
//! Pure. To add a gate: its file in `gates/`, and one line in `gates::all`.

mod clearance;
mod facts;
pub mod gates;
mod schedule;
mod terms;

pub use clearance::{Answer, Blocked, Cleared, Gate, Ruling, decide};
pub use facts::{Attempt, Facts, OptIn};
pub use schedule::{Window, WindowError};
pub use terms::{CaseId, Disruption, Mode, PlaybookRef, Proposal, RunId, UnknownWord};
