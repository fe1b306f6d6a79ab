//! The slot: leave to disturb this node now. Created, never taken over; proved by a fresh *write* before every step.
//!
//! `slot.rs` is the pure protocol. `keeper.rs` obeys it against a [`SlotStore`]: files on one machine (`local.rs`), Lease
//! objects in a cluster (`api.rs`). Only the keeper makes a [`Permit`], and only after a write succeeded (safety.md,
//! section 2; invariants I2, I3, I5, I6, I11). In a cluster nodes wait for their turn: `waiting.rs` says how long and what
//! to look at, `look.rs` looks, `queue.rs` and `breakers.rs` judge, `limits.rs` is what people set.

mod api;
#[cfg(test)]
mod api_tests;
mod breakers;
mod domains;
mod error;
mod exchange;
#[cfg(test)]
pub mod fixture;
#[cfg(test)]
mod garbage_tests;
#[cfg(test)]
mod instance_tests;
mod keeper;
#[cfg(test)]
mod left_tests;
mod limits;
mod local;
#[cfg(test)]
mod local_tests;
mod look;
#[cfg(test)]
mod look_tests;
mod name;
mod objects;
mod pages;
mod permit;
mod queue;
mod slot;
#[cfg(test)]
mod slot_tests;
mod waiting;

pub use api::ApiSlots;
pub use breakers::{Agents, SlotFacts, absence, casualties, failed_version};
pub use domains::domains_of;
pub use error::{LeaseError, PermitExpired};
pub use exchange::{
    Action, Answer, CALL_LIMIT, Found, HOLD, RENEW_EVERY, Refusal, Request, Slot, Want,
};
pub use keeper::{Keeper, Phase, SlotStore, Tag};
pub use limits::Limits;
pub use local::{LOCAL_DOMAIN, LocalSlots, SlotNote};
pub use name::{NotASlotName, SlotName};
pub use permit::Permit;
pub use queue::{Claim, Place, place_of, storm};
pub use slot::SlotMachine;
pub use waiting::{CORD_PERIOD, GATES_PERIOD, Part, Standing};

use crate::host::BoxFuture;
use crate::policy::{Cleared, RunId};
use std::ops::RangeInclusive;

/// On what grounds a slot may be freed by its holder (safety.md, I11). There are no others: after a failure it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grounds {
    /// The verification held for the whole soak.
    Soaked,
    /// No step of the run had begun.
    Untouched,
}

/// The one way to get, prove and free a slot.
pub trait Lease: Send + Sync {
    /// Gets the node's slot for a new run. A slot that this node kept from a failed run serves again, after a write.
    ///
    /// # Errors
    /// Refused (no free slot, a breaker, another agent), or the store could not be asked.
    fn acquire(&self, cleared: Cleared, run: RunId) -> BoxFuture<'_, Result<Permit, LeaseError>>;

    /// Proves that the slot is still ours by writing it.
    ///
    /// *Cancel safety*: may be dropped; the write then counts as not made.
    ///
    /// # Errors
    /// The write did not succeed: nothing disruptive may start.
    fn renew<'a>(&'a self, permit: &'a Permit) -> BoxFuture<'a, Result<(), LeaseError>>;

    /// Renews between steps, every 15 s with a `turn` that counts up: keeps each slot's proof within the hold for half as many
    /// writes as [`Lease::renew`] where there are several. Never the proof for a step.
    ///
    /// # Errors
    /// As for [`Lease::renew`].
    fn keep_up<'a>(
        &'a self,
        permit: &'a Permit,
        turn: u32,
    ) -> BoxFuture<'a, Result<(), LeaseError>>;

    /// Whether a breaker is open, read now; why. Asked before each disruptive step of a run that holds its slot.
    ///
    /// # Errors
    /// Nobody can tell: nothing disruptive may start.
    fn breakers<'a>(
        &'a self,
        permit: &'a Permit,
    ) -> BoxFuture<'a, Result<Option<String>, LeaseError>>;

    /// Writes into a slot that is kept how its run ended, so that others can count what failed.
    ///
    /// # Errors
    /// The write did not succeed; the slot is kept all the same.
    fn keep<'a>(
        &'a self,
        permit: &'a Permit,
        phase: Phase,
    ) -> BoxFuture<'a, Result<(), LeaseError>>;

    /// Frees the slot.
    ///
    /// # Errors
    /// It could not be freed; the next `acquire` of this node finds it as its own.
    fn release(&self, permit: Permit, grounds: Grounds) -> BoxFuture<'_, Result<(), LeaseError>>;

    /// Gets the slot again for a run that a restart interrupted. Like [`Lease::acquire`], nothing counts before a write.
    ///
    /// # Errors
    /// As for [`Lease::acquire`].
    fn recover(&self, cleared: Cleared, run: RunId) -> BoxFuture<'_, Result<Permit, LeaseError>>;

    /// Frees what a run left behind that had ended, or that had not begun a step, when the process died. After a soak, what
    /// runs before it kept goes with it.
    ///
    /// # Errors
    /// The store could not be asked or refused.
    fn tidy_up(&self, run: RunId, grounds: Grounds) -> BoxFuture<'_, Result<(), LeaseError>>;

    /// Frees what runs left behind that never began: they had taken a slot, or its creation was under way, when the process
    /// died or the API server fell silent. Nothing is asked where there is no such run.
    ///
    /// # Errors
    /// The store could not be asked or refused.
    fn tidy_unbegun(&self, runs: RangeInclusive<u64>) -> BoxFuture<'_, Result<(), LeaseError>>;

    /// Takes this node's place in the queue back, where there is one: for a release that was cut short.
    ///
    /// # Errors
    /// The store could not be asked or refused.
    fn unclaim(&self) -> BoxFuture<'_, Result<(), LeaseError>>;
}

/// Who hears of slots beside the run, and what the slot carries for it.
pub trait SlotWitness: Send + Sync {
    /// A write that takes or renews a slot was `written`, `refused` or `failed`.
    fn wrote(&self, outcome: &'static str);

    /// A slot of this domain is held now, or not any more.
    fn holds(&self, domain: &str, held: bool);

    /// The head of the audit log as `SEQ:HASH`, to be anchored in the slot (safety.md, T14).
    fn audit_head(&self) -> String;
}
