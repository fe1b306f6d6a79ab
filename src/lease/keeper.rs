//! Obeys the slot machine against a store, and is the only maker of permits.

use super::error::LeaseError;
use super::exchange::{Action, Answer, CALL_LIMIT, Found, Request, Want};
use super::permit::Permit;
use super::slot::SlotMachine;
use super::{Grounds, Lease};
use crate::host::BoxFuture;
use crate::host::clock::{Clock, within};
use crate::policy::{Cleared, RunId};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

/// What is written into a slot beside its holder, for people and for recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// The run.
    pub run: RunId,
    /// The digest of its playbook, where the run is known.
    pub digest: Arc<str>,
    /// How far the run is.
    pub phase: Phase,
}

/// How far the run is that a slot was taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Under way.
    Mending,
    /// It ended without mending the node: a casualty.
    Failed,
    /// It was told to end before it was done.
    Stopped,
}

impl Phase {
    /// The word in the slot's annotation.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Mending => "mending",
            Phase::Failed => "failed",
            Phase::Stopped => "stopped",
        }
    }
}

/// Where slots are kept: files or Lease objects.
pub trait SlotStore: Send + Sync {
    /// The domains in which this work needs a slot, in the fixed order, with their caps as read now.
    ///
    /// # Errors
    /// The limits could not be read: no slot.
    fn wants<'a>(&'a self, cleared: &'a Cleared) -> BoxFuture<'a, Result<Vec<Want>, LeaseError>>;

    /// This node's own slots, by a read. `runs`: only those tagged with one of these runs.
    ///
    /// # Errors
    /// They could not be read.
    fn own(
        &self,
        runs: Option<RangeInclusive<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Found>, LeaseError>>;

    /// Whether a slot of this node was kept by a run other than these, whose disturbance nobody has verified away yet.
    ///
    /// # Errors
    /// It could not be read.
    fn is_inherited(&self, runs: RangeInclusive<u64>) -> BoxFuture<'_, Result<bool, LeaseError>>;

    /// Whether nodes queue up in this store.
    fn claims(&self) -> bool;

    /// Whether a breaker is open now, for a run that holds its slot; why.
    ///
    /// # Errors
    /// Nobody can tell: then nothing disruptive starts.
    fn breakers<'a>(&'a self, tag: &'a Tag) -> BoxFuture<'a, Result<Option<String>, LeaseError>>;

    /// Does what is asked. The keeper bounds it with [`CALL_LIMIT`] and never repeats it by itself.
    fn send<'a>(&'a self, request: Request, tag: &'a Tag) -> BoxFuture<'a, Answer>;
}

impl<S: SlotStore + ?Sized> SlotStore for Arc<S> {
    fn wants<'a>(&'a self, cleared: &'a Cleared) -> BoxFuture<'a, Result<Vec<Want>, LeaseError>> {
        (**self).wants(cleared)
    }

    fn own(
        &self,
        runs: Option<RangeInclusive<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Found>, LeaseError>> {
        (**self).own(runs)
    }

    fn is_inherited(&self, runs: RangeInclusive<u64>) -> BoxFuture<'_, Result<bool, LeaseError>> {
        (**self).is_inherited(runs)
    }

    fn claims(&self) -> bool {
        (**self).claims()
    }

    fn breakers<'a>(&'a self, tag: &'a Tag) -> BoxFuture<'a, Result<Option<String>, LeaseError>> {
        (**self).breakers(tag)
    }

    fn send<'a>(&'a self, request: Request, tag: &'a Tag) -> BoxFuture<'a, Answer> {
        (**self).send(request, tag)
    }
}

/// A lease over one store.
pub struct Keeper<S> {
    store: S,
    clock: Arc<dyn Clock>,
    // Two renewals at once would take each other's answers.
    turn: tokio::sync::Mutex<()>,
}

impl<S: SlotStore> Keeper<S> {
    /// The lease over `store`.
    pub fn new(store: S, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            turn: tokio::sync::Mutex::new(()),
        }
    }

    /// The store, for listings.
    pub fn store(&self) -> &S {
        &self.store
    }

    async fn obtain(&self, cleared: Cleared, run: RunId) -> Result<Permit, LeaseError> {
        let wants = self.store.wants(&cleared).await?;
        if wants.is_empty() {
            // No domain is no leave: an empty set is never read as "everything" (safety.md, section 1).
            return Err(LeaseError::Unproved {
                why: "no slot domain is configured for this node".into(),
            });
        }
        let own = self.store.own(None).await?;
        let found = own.len();
        let is_inherited = self.store.is_inherited(run.0..=run.0).await?;
        let tag = Tag {
            run,
            digest: Arc::clone(&cleared.proposal().playbook.digest),
            phase: Phase::Mending,
        };
        let machine = SlotMachine::new(wants, own, self.store.claims());
        // Of a domain that this node is not in any more: they are no leave, and a soak frees them with the others.
        let has_others = machine.slots().len() < found;
        let machine = Mutex::new(machine);
        match self.drive(&machine, &tag).await {
            Action::Held => {
                let machine = machine.into_inner().unwrap_or_else(PoisonError::into_inner);
                Ok(Permit::new(
                    cleared,
                    run,
                    machine,
                    (is_inherited, has_others),
                ))
            }
            other => Err(failure(other)),
        }
    }

    /// Sends what the machine asks for until it stands still. The lock is never held across a call.
    async fn drive(&self, machine: &Mutex<SlotMachine>, tag: &Tag) -> Action {
        let lock = || machine.lock().unwrap_or_else(PoisonError::into_inner);
        lock().forget_call();
        loop {
            let now = self.clock.now().uptime;
            let action = lock().next(now);
            let Action::Send(request) = action else {
                return action;
            };
            let call = within(&*self.clock, CALL_LIMIT, self.store.send(request, tag));
            let answer = call
                .await
                .unwrap_or_else(|| Answer::Silent(format!("no answer within {CALL_LIMIT:?}")));
            lock().answer(answer);
        }
    }

    async fn write(
        &self,
        permit: &Permit,
        tag: Tag,
        ask: impl FnOnce(&mut SlotMachine),
    ) -> Result<(), LeaseError> {
        let _turn = self.turn.lock().await;
        permit.with(|machine| {
            machine.forget_call();
            ask(machine);
        });
        match self.drive(permit.machine(), &tag).await {
            Action::Held => Ok(()),
            other => Err(failure(other)),
        }
    }

    /// Frees the slots that carry one of these runs.
    async fn free_of(&self, runs: RangeInclusive<u64>, grounds: Grounds) -> Result<(), LeaseError> {
        if runs.is_empty() {
            return Ok(());
        }
        let own = self.store.own(Some(runs.clone())).await?;
        let last = RunId(*runs.end());
        let is_kept = grounds == Grounds::Untouched && self.store.is_inherited(runs).await?;
        if own.is_empty() || is_kept {
            return Ok(());
        }
        tracing::info!(run = %last, ?grounds, slots = own.len(), "freeing what ended runs left");
        for found in own.into_iter().rev() {
            let tag = Tag {
                run: last,
                digest: Arc::from(""),
                phase: Phase::Mending,
            };
            // One at a time: of one domain there may be several. Without claims the machine begins at its found slot, from
            // where a release is legal.
            let wants = wants_of(std::slice::from_ref(&found));
            self.free(SlotMachine::new(wants, vec![found], false), tag)
                .await?;
        }
        Ok(())
    }

    async fn free(&self, mut machine: SlotMachine, tag: Tag) -> Result<(), LeaseError> {
        machine.forget_call();
        machine.ask_release();
        let machine = Mutex::new(machine);
        match self.drive(&machine, &tag).await {
            Action::Freed => Ok(()),
            other => Err(failure(other)),
        }
    }
}

fn tag_of(permit: &Permit) -> Tag {
    Tag {
        run: permit.run(),
        digest: Arc::clone(&permit.cleared().proposal().playbook.digest),
        phase: Phase::Mending,
    }
}

/// The domains of slots that are there; none is to be created.
fn wants_of(own: &[Found]) -> Vec<Want> {
    own.iter()
        .map(|found| Want {
            domain: Arc::from(found.name.domain()),
            cap: 0,
            first: 0,
        })
        .collect()
}

fn failure(action: Action) -> LeaseError {
    match action {
        Action::Refused(why) => LeaseError::Refused(why),
        Action::Lost(why) => LeaseError::Lost { why },
        Action::Unproved(why) => LeaseError::Unproved { why },
        other => LeaseError::Unproved {
            why: format!("the slot protocol stopped at {other:?}"),
        },
    }
}

impl<S: SlotStore> Lease for Keeper<S> {
    fn acquire(&self, cleared: Cleared, run: RunId) -> BoxFuture<'_, Result<Permit, LeaseError>> {
        Box::pin(self.obtain(cleared, run))
    }

    fn renew<'a>(&'a self, permit: &'a Permit) -> BoxFuture<'a, Result<(), LeaseError>> {
        Box::pin(self.write(permit, tag_of(permit), SlotMachine::ask_renewal))
    }

    fn keep_up<'a>(
        &'a self,
        permit: &'a Permit,
        turn: u32,
    ) -> BoxFuture<'a, Result<(), LeaseError>> {
        let tag = tag_of(permit);
        Box::pin(self.write(permit, tag, move |machine| machine.ask_upkeep(turn)))
    }

    fn release(&self, permit: Permit, grounds: Grounds) -> BoxFuture<'_, Result<(), LeaseError>> {
        if grounds == Grounds::Untouched && permit.is_inherited() {
            // This run did nothing, but the run that kept the slot did (I11).
            tracing::info!(run = %permit.run(), "slot kept: an earlier run disturbed this node");
            return Box::pin(async { Ok(()) });
        }
        let has_others = permit.has_others();
        let (cleared, run, machine) = permit.into_parts();
        tracing::info!(%run, ?grounds, "freeing the slot");
        let tag = Tag {
            run,
            digest: Arc::clone(&cleared.proposal().playbook.digest),
            phase: Phase::Mending,
        };
        Box::pin(async move {
            self.free(machine, tag).await?;
            match has_others {
                true => self.tidy_up(run, grounds).await,
                false => Ok(()),
            }
        })
    }

    fn breakers<'a>(
        &'a self,
        permit: &'a Permit,
    ) -> BoxFuture<'a, Result<Option<String>, LeaseError>> {
        Box::pin(async move { self.store.breakers(&tag_of(permit)).await })
    }

    fn keep<'a>(
        &'a self,
        permit: &'a Permit,
        phase: Phase,
    ) -> BoxFuture<'a, Result<(), LeaseError>> {
        let tag = Tag {
            phase,
            ..tag_of(permit)
        };
        Box::pin(self.write(permit, tag, SlotMachine::ask_renewal))
    }

    fn recover(&self, cleared: Cleared, run: RunId) -> BoxFuture<'_, Result<Permit, LeaseError>> {
        Box::pin(self.obtain(cleared, run))
    }

    fn tidy_up(&self, run: RunId, grounds: Grounds) -> BoxFuture<'_, Result<(), LeaseError>> {
        Box::pin(match grounds {
            // What runs before it kept is verified away, too.
            Grounds::Soaked => self.free_of(0..=run.0, grounds),
            Grounds::Untouched => self.free_of(run.0..=run.0, grounds),
        })
    }

    fn tidy_unbegun(&self, runs: RangeInclusive<u64>) -> BoxFuture<'_, Result<(), LeaseError>> {
        Box::pin(self.free_of(runs, Grounds::Untouched))
    }

    fn unclaim(&self) -> BoxFuture<'_, Result<(), LeaseError>> {
        Box::pin(async move {
            if !self.store.claims() {
                return Ok(());
            }
            let tag = Tag {
                run: RunId(0),
                digest: Arc::from(""),
                phase: Phase::Mending,
            };
            let send = self.store.send(Request::DeleteClaim, &tag);
            let answer = within(&*self.clock, CALL_LIMIT, send).await;
            match answer.unwrap_or_else(|| Answer::Silent("no answer in time".to_owned())) {
                Answer::Deleted | Answer::Gone => Ok(()),
                other => Err(LeaseError::Unproved { why: other.why() }),
            }
        })
    }
}
