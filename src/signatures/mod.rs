//! The rule language and the rules: documents -> verdicts.
//!
//! Pure. A signature is data (`remediations/signatures/<subsystem>/<id>.yaml`); to add one, write its file and add its
//! line in [`shipped`]. Three answers, never two: a verdict that cannot be reached is `Unknown`.

mod answers;
mod cases;
mod depth;
mod document;
mod expression;
mod hold;
mod judge;
mod log_book;
mod question;
mod read;
mod rulebook;
pub mod shipped;
mod template;

pub use answers::{Scene, Verdicts};
pub use cases::{CaseResult, run_cases};
pub use document::{Condition, Example, Given, LogRule, Severity, Signature};
pub use expression::{Answers, Expression};
pub use hold::{Hold, Streak};
pub use judge::{Judge, Judgement, Verdict};
pub use log_book::{LogBook, LogMatch};
pub use question::{QUESTIONS, Question, Topic};
pub use rulebook::{Rule, Rulebook, Source};
pub use template::Template;
