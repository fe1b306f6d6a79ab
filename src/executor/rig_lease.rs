//! A lease for the executor's tests: the slots of one machine, with breakers that a test opens.

use crate::host::BoxFuture;
use crate::lease::{Grounds, Keeper, Lease, LeaseError, LocalSlots, Permit, Phase};
use crate::policy::{Cleared, RunId};
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};

/// What the breakers say, one answer at each question; silence once they are used up is "none is open".
pub(super) type Breakers = Arc<Mutex<VecDeque<Result<Option<String>, String>>>>;

/// The slots of one machine, with the breakers of a cluster.
pub(super) struct Guarded {
    pub inner: Keeper<LocalSlots>,
    pub breakers: Breakers,
    /// How many times a slot cannot be freed, or told how its run ended, because the store is away.
    pub stuck: Arc<Mutex<usize>>,
}

impl Guarded {
    fn is_stuck(&self) -> bool {
        let mut stuck = self.stuck.lock().expect("stuck");
        let left = stuck.checked_sub(1);
        *stuck = left.unwrap_or(0);
        left.is_some()
    }
}

fn away<'a>() -> BoxFuture<'a, Result<(), LeaseError>> {
    let why = "the API server is away".to_owned();
    Box::pin(async move { Err(LeaseError::Unproved { why }) })
}

impl Lease for Guarded {
    fn acquire(&self, cleared: Cleared, run: RunId) -> BoxFuture<'_, Result<Permit, LeaseError>> {
        self.inner.acquire(cleared, run)
    }

    fn renew<'a>(&'a self, permit: &'a Permit) -> BoxFuture<'a, Result<(), LeaseError>> {
        self.inner.renew(permit)
    }

    fn keep_up<'a>(
        &'a self,
        permit: &'a Permit,
        turn: u32,
    ) -> BoxFuture<'a, Result<(), LeaseError>> {
        self.inner.keep_up(permit, turn)
    }

    fn breakers<'a>(
        &'a self,
        _permit: &'a Permit,
    ) -> BoxFuture<'a, Result<Option<String>, LeaseError>> {
        let next = self.breakers.lock().expect("breakers").pop_front();
        let answer = next.unwrap_or(Ok(None));
        Box::pin(async move { answer.map_err(|why| LeaseError::Unproved { why }) })
    }

    fn keep<'a>(
        &'a self,
        permit: &'a Permit,
        phase: Phase,
    ) -> BoxFuture<'a, Result<(), LeaseError>> {
        if self.is_stuck() {
            return away();
        }
        self.inner.keep(permit, phase)
    }

    fn release(&self, permit: Permit, grounds: Grounds) -> BoxFuture<'_, Result<(), LeaseError>> {
        if self.is_stuck() {
            return away();
        }
        self.inner.release(permit, grounds)
    }

    fn recover(&self, cleared: Cleared, run: RunId) -> BoxFuture<'_, Result<Permit, LeaseError>> {
        self.inner.recover(cleared, run)
    }

    fn tidy_up(&self, run: RunId, grounds: Grounds) -> BoxFuture<'_, Result<(), LeaseError>> {
        if self.is_stuck() {
            return away();
        }
        self.inner.tidy_up(run, grounds)
    }

    fn tidy_unbegun(&self, runs: RangeInclusive<u64>) -> BoxFuture<'_, Result<(), LeaseError>> {
        self.inner.tidy_unbegun(runs)
    }

    fn unclaim(&self) -> BoxFuture<'_, Result<(), LeaseError>> {
        if self.is_stuck() {
            return away();
        }
        self.inner.unclaim()
    }
}
