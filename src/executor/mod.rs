//! Carries out a plan: a pure machine replayed from its journal, and a short loop that obeys it.

mod course;
#[cfg(test)]
mod crash_tests;
mod disk;
mod entry;
mod journal;
#[cfg(test)]
mod journal_tests;
mod machine;
#[cfg(test)]
mod machine_lives;
#[cfg(test)]
mod machine_tests;
mod outline;
mod questions;
mod record;
mod ride;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod rig_lease;
mod runner;
#[cfg(test)]
mod runner_tests;
mod soak;
mod witness;

pub use course::{Course, Leg};
pub use disk::{Disk, HostDisk, JournalFile, Work};
pub use entry::{
    BootId, Entry, FAILED_UNITS_BEFORE, Fault, MAX_FAULT_BYTES, MAX_RECEIPT_BYTES, Next, Opening,
    Outcome, Receipt, StepIx,
};
pub use journal::{Journal, JournalError, MAX_JOURNAL_BYTES, PastRun, Shelf};
pub use machine::{IllegalEntry, Run};
pub use outline::{Outline, StepShape, UndoWay};
pub use record::{Damage, Record};
pub use runner::{Halt, Rein, RunEnd, Runner};
pub use soak::{SETTLE, Soak, SoakState};
pub use witness::{RunEvent, Witness, WitnessError};
