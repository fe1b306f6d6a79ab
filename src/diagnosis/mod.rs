//! Cases: verdicts over time -> what is the matter, since when, because of what, and how it ended.
//!
//! Pure. Unknown never opens and never closes a case; every closing has a reason.

mod book;
#[cfg(test)]
mod book_tests;
mod case;
mod state;

pub use book::{CaseBook, CaseChange, ChangeKind, KnownCase, MAX_OPEN_CASES, SignatureTerms};
pub use case::Case;
pub use state::{CaseEvent, CaseState, ClosingReason, IllegalEdge};
