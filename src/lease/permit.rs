//! The leave to disturb this node, dated.

use super::error::PermitExpired;
use super::exchange::HOLD;
use super::slot::SlotMachine;
use crate::policy::{Cleared, RunId};
use crate::signal::Uptime;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Leave to disturb this node now. Only the keeper of a lease makes one, after a write succeeded. It cannot be copied.
#[derive(Debug)]
pub struct Permit {
    cleared: Cleared,
    run: RunId,
    is_inherited: bool,
    has_others: bool,
    machine: Mutex<SlotMachine>,
}

impl Permit {
    pub(super) fn new(
        cleared: Cleared,
        run: RunId,
        machine: SlotMachine,
        (is_inherited, has_others): (bool, bool),
    ) -> Self {
        Self {
            cleared,
            run,
            is_inherited,
            has_others,
            machine: Mutex::new(machine),
        }
    }

    /// What every gate passed.
    pub fn cleared(&self) -> &Cleared {
        &self.cleared
    }

    /// The run it was given to.
    pub fn run(&self) -> RunId {
        self.run
    }

    /// Whether an earlier run kept the slot after a failure: then only a full soak frees it.
    pub fn is_inherited(&self) -> bool {
        self.is_inherited
    }

    /// Whether the node has slots besides these, of domains that it is not in any more.
    pub(super) fn has_others(&self) -> bool {
        self.has_others
    }

    /// The first slot's name and uid as the audit log writes them: `slot.cluster.1/6f0e...`.
    pub fn slot(&self) -> String {
        self.with(|machine| {
            machine
                .slots()
                .first()
                .map(|slot| format!("{}/{}", slot.name, slot.uid))
                .unwrap_or_default()
        })
    }

    /// The first slot's uid: the fencing token in the journal.
    pub fn uid(&self) -> Arc<str> {
        self.with(|machine| {
            machine
                .slots()
                .first()
                .map_or_else(|| Arc::from(""), |slot| Arc::clone(&slot.uid))
        })
    }

    /// When the proof was sent that the permit rests on.
    pub fn proved_at(&self) -> Option<Uptime> {
        self.with(|machine| machine.proved_at())
    }

    /// Whether something disruptive may start at `now`.
    ///
    /// # Errors
    /// The last proof is older than the hold, lies in the future (another boot), or there is none.
    pub fn ensure_live(&self, now: Uptime) -> Result<(), PermitExpired> {
        let age = match self.proved_at() {
            Some(proved) if proved <= now => now.since(proved),
            _ => Duration::MAX,
        };
        if age < HOLD {
            Ok(())
        } else {
            Err(PermitExpired { age, hold: HOLD })
        }
    }

    pub(super) fn with<T>(&self, ask: impl FnOnce(&mut SlotMachine) -> T) -> T {
        // The machine has no broken intermediate state to protect: a panic elsewhere leaves it as it was.
        let mut machine: MutexGuard<'_, SlotMachine> =
            self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        ask(&mut machine)
    }

    pub(super) fn machine(&self) -> &Mutex<SlotMachine> {
        &self.machine
    }

    pub(super) fn into_parts(self) -> (Cleared, RunId, SlotMachine) {
        let machine = self
            .machine
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        (self.cleared, self.run, machine)
    }
}
