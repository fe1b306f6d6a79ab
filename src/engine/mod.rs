//! All of the agent's decisions, one turn at a time: `turn(now, input) -> commands`.
//!
//! Pure: owns the timeline, the case book and what is known of runs; reads no clock and touches nothing. Tests simulate
//! days of it in a second.

mod ledger;
mod limits;
mod news;
mod remedy;
mod stance;
mod turn;
#[cfg(test)]
mod turn_tests;
#[cfg(test)]
mod week;

pub use ledger::{KnownAttempt, Ledger, LedgerCase, LedgerError};
pub use limits::Limits;
pub use news::{Ending, RunNews};
pub use remedy::{Remedies, Remedy, remedies_of};
pub use stance::Stance;
pub use turn::{Command, Engine, Input};
