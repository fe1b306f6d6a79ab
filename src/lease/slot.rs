//! The slot protocol as a pure machine: what to ask the store next, and what its answers mean.
//!
//! ```text
//! claiming -> queueing -> proving (own slots found) -> acquiring (domain by domain) -> held <-> renewing -> releasing
//!                 |            |                           | refused: what was created is freed in reverse
//!                 v            v                           v
//!              refused      unproved                    refused          held, renewing -> lost
//! ```
//! Time is an argument, on CLOCK_BOOTTIME. A proof counts from just *before* its request was sent: the answer may have
//! been under way for long.

use super::exchange::{Action, Answer, Found, Refusal, Request, Slot, Want};
use super::name::SlotName;
use crate::signal::Uptime;
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum State {
    Claiming,
    Queueing,
    Proving(usize),
    Acquiring {
        want: usize,
        tried: u32,
    },
    BackingOut {
        why: Refusal,
        doubt: Option<SlotName>,
    },
    Refused(Refusal),
    Held,
    Renewing {
        at: usize,
        reread: bool,
    },
    Rereading {
        at: usize,
    },
    RenewalFailed(String),
    Releasing {
        reread: bool,
    },
    RereadingToRelease,
    Unclaiming,
    Unproved(String),
    Freed,
    Lost(String),
}

/// The protocol for one run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SlotMachine {
    wants: Vec<Want>,
    slots: Vec<Slot>,
    claims: bool,
    state: State,
    sent: Option<(Request, Uptime)>,
    /// Of the renewal under way: only every second slot, from this one on.
    every_second: Option<usize>,
}

impl SlotMachine {
    /// A machine that will get a slot in every domain of `wants`, in that order. `own` are slots of this node that a read
    /// showed; they must be written before they count. `claims`: whether nodes queue up in this store.
    pub fn new(wants: Vec<Want>, own: Vec<Found>, claims: bool) -> Self {
        let mut slots: Vec<Slot> = Vec::with_capacity(wants.len());
        for want in &wants {
            let mine = own
                .iter()
                .find(|found| found.name.domain() == &*want.domain);
            slots.extend(mine.map(|found| Slot {
                name: found.name.clone(),
                uid: Arc::clone(&found.uid),
                version: Arc::clone(&found.version),
                proved_at: None,
                created: false,
            }));
        }
        // A node that has slots already is counted already: it does not queue again.
        let state = if claims && slots.is_empty() {
            State::Claiming
        } else {
            State::Proving(0)
        };
        Self {
            wants,
            slots,
            claims,
            state,
            sent: None,
            every_second: None,
        }
    }

    /// The slots, in the order of the domains.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// When the weakest of the proofs was sent. `None` unless every domain has a slot that was written and none is lost.
    pub fn proved_at(&self) -> Option<Uptime> {
        let complete = self.slots.len() == self.wants.len();
        match self.state {
            State::Held
            | State::Renewing { .. }
            | State::Rereading { .. }
            | State::RenewalFailed(_)
                if complete =>
            {
                self.slots.iter().map(|slot| slot.proved_at).min().flatten()
            }
            _ => None,
        }
    }

    /// Begins a renewal of all slots. Does nothing unless they are held.
    pub fn ask_renewal(&mut self) {
        self.begin_renewal(None);
    }

    /// Begins a renewal between steps: of every second slot, so that each is written at every second `turn`, in half of the
    /// hold. One slot is written at each. Proves as much as its oldest slot; before a step it takes [`Self::ask_renewal`].
    pub fn ask_upkeep(&mut self, turn: u32) {
        let half = (self.slots.len() > 1).then_some((turn % 2) as usize);
        self.begin_renewal(half);
    }

    fn begin_renewal(&mut self, every_second: Option<usize>) {
        if matches!(self.state, State::Held | State::RenewalFailed(_)) {
            self.every_second = every_second;
            self.state = State::Renewing {
                at: 0,
                reread: false,
            };
        }
    }

    /// Begins to free everything. Does nothing unless the slots are held or were only found.
    pub fn ask_release(&mut self) {
        if matches!(
            self.state,
            State::Held | State::RenewalFailed(_) | State::Proving(_) | State::Unproved(_)
        ) {
            self.state = State::Releasing { reread: false };
        }
    }

    /// Gives up on an answer that nobody waits for any more (a dropped call): it counts as silence.
    pub fn forget_call(&mut self) {
        if self.sent.is_some() {
            self.answer(Answer::Silent("the call was dropped".into()));
        }
    }

    /// What to do at `now`.
    pub fn next(&mut self, now: Uptime) -> Action {
        if self.sent.is_some() {
            return Action::Await;
        }
        self.settle();
        match self.request() {
            Some(request) => {
                self.sent = Some((request.clone(), now));
                Action::Send(request)
            }
            None => self.standing(),
        }
    }

    /// Passes through states that need no request.
    fn settle(&mut self) {
        if let State::Proving(at) = self.state
            && at >= self.slots.len()
        {
            self.state = State::Acquiring { want: 0, tried: 0 };
        }
        while let State::Acquiring { want, .. } = self.state {
            let Some(wanted) = self.wants.get(want) else {
                self.state = State::Held;
                break;
            };
            if !self
                .slots
                .iter()
                .any(|s| s.name.domain() == &*wanted.domain)
            {
                break;
            }
            self.state = State::Acquiring {
                want: want + 1,
                tried: 0,
            };
        }
        if let State::Acquiring { want, tried } = self.state
            && let Some(wanted) = self.wants.get(want)
            && tried >= wanted.cap
        {
            let why = Refusal::Full {
                domain: Arc::clone(&wanted.domain),
                cap: wanted.cap,
            };
            self.state = State::BackingOut { why, doubt: None };
        }
        if let State::BackingOut { why, doubt: None } = &self.state
            && !self.slots.iter().any(|slot| slot.created)
        {
            self.state = State::Refused(why.clone());
        }
        if let (State::Renewing { at, reread }, Some(first)) = (&mut self.state, self.every_second)
            && !*reread
            && *at % 2 != first
        {
            *at += 1;
        }
        if let State::Renewing { at, .. } = self.state
            && at >= self.slots.len()
        {
            self.state = State::Held;
        }
        if let State::Releasing { .. } = self.state
            && self.slots.is_empty()
        {
            self.state = if self.claims {
                State::Unclaiming
            } else {
                State::Freed
            };
        }
    }

    fn request(&self) -> Option<Request> {
        let slot = |at: usize| self.slots.get(at).map(Slot::found);
        match &self.state {
            State::Claiming => Some(Request::CreateClaim),
            State::Queueing => Some(Request::AskTurn),
            State::Proving(at) => slot(*at).map(Request::RenewSlot),
            State::Acquiring { want, tried } => {
                let want = self.wants.get(*want)?;
                let first = want.first.checked_rem(want.cap)?;
                let index = first.wrapping_add(*tried).checked_rem(want.cap)?;
                Some(Request::CreateSlot(SlotName::of(&want.domain, index)))
            }
            State::BackingOut {
                doubt: Some(name), ..
            } => Some(Request::ReadSlot(name.clone())),
            State::BackingOut { doubt: None, .. } => {
                let created = self.slots.iter().rev().find(|slot| slot.created)?;
                Some(Request::DeleteSlot(created.found()))
            }
            State::Renewing { at, .. } => slot(*at).map(Request::RenewSlot),
            State::Rereading { at } => slot(*at).map(|found| Request::ReadSlot(found.name)),
            State::Releasing { .. } => self.slots.last().map(|s| Request::DeleteSlot(s.found())),
            State::RereadingToRelease => {
                self.slots.last().map(|s| Request::ReadSlot(s.name.clone()))
            }
            State::Unclaiming => Some(Request::DeleteClaim),
            State::Refused(_)
            | State::Held
            | State::RenewalFailed(_)
            | State::Unproved(_)
            | State::Freed
            | State::Lost(_) => None,
        }
    }

    fn standing(&self) -> Action {
        match &self.state {
            State::Held => Action::Held,
            State::Refused(why) => Action::Refused(why.clone()),
            State::RenewalFailed(why) | State::Unproved(why) => Action::Unproved(why.clone()),
            State::Freed => Action::Freed,
            State::Lost(why) => Action::Lost(why.clone()),
            // Every other state has a request; a state without one is a defect and must stop the run, not the process.
            other => Action::Lost(format!("the slot protocol has no move in {other:?}")),
        }
    }

    /// Takes the answer to the request that is under way. An answer to nothing is ignored.
    pub fn answer(&mut self, answer: Answer) {
        let Some((request, sent)) = self.sent.take() else {
            return;
        };
        self.state = match std::mem::replace(&mut self.state, State::Held) {
            State::Claiming => claimed(answer),
            State::Queueing => queued(answer),
            State::Proving(at) => self.proved(at, sent, answer),
            State::Acquiring { want, tried } => self.created(want, tried, (request, sent), answer),
            State::BackingOut { why, doubt } => self.backed_out(why, doubt, answer),
            State::Renewing { at, reread } => self.renewed(at, reread, sent, answer),
            State::Rereading { at } => self.reread(at, answer),
            State::Releasing { reread } => self.released(reread, answer),
            State::RereadingToRelease => self.reread_to_release(answer),
            State::Unclaiming => match answer {
                Answer::Deleted | Answer::Gone => State::Freed,
                other => State::Unproved(other.why()),
            },
            other => other,
        };
    }

    fn note_proof(&mut self, at: usize, sent: Uptime, version: Arc<str>) {
        if let Some(slot) = self.slots.get_mut(at) {
            slot.version = version;
            slot.proved_at = Some(sent);
        }
    }

    fn uid_of(&self, at: usize) -> Option<Arc<str>> {
        self.slots.get(at).map(|slot| Arc::clone(&slot.uid))
    }

    fn proved(&mut self, at: usize, sent: Uptime, answer: Answer) -> State {
        match answer {
            Answer::Written { uid, version } if Some(&uid) == self.uid_of(at).as_ref() => {
                self.note_proof(at, sent, version);
                State::Proving(at + 1)
            }
            // It was deleted since it was read: nothing to keep, a new one has to be created.
            Answer::Gone => {
                self.slots.remove(at);
                State::Proving(at)
            }
            other => State::Unproved(other.why()),
        }
    }

    fn created(
        &mut self,
        want: usize,
        tried: u32,
        (request, sent): (Request, Uptime),
        answer: Answer,
    ) -> State {
        let Request::CreateSlot(name) = request else {
            return State::Unproved("the slot protocol lost its place".into());
        };
        match answer {
            Answer::Written { uid, version } => {
                self.slots.push(Slot {
                    name,
                    uid,
                    version,
                    proved_at: Some(sent),
                    created: true,
                });
                State::Acquiring {
                    want: want + 1,
                    tried: 0,
                }
            }
            Answer::Taken => State::Acquiring {
                want,
                tried: tried + 1,
            },
            Answer::Denied(why) => State::BackingOut {
                why: Refusal::Denied(why),
                doubt: None,
            },
            // The write may have been made: look before leaving, else the slot stays behind without an owner at work.
            other => State::BackingOut {
                why: Refusal::Silent(other.why()),
                doubt: Some(name),
            },
        }
    }

    fn backed_out(&mut self, why: Refusal, doubt: Option<SlotName>, answer: Answer) -> State {
        match (doubt, answer) {
            (Some(_), Answer::Ours(found)) => {
                self.slots.push(Slot {
                    name: found.name,
                    uid: found.uid,
                    version: found.version,
                    proved_at: None,
                    created: true,
                });
            }
            (Some(_), _) => {}
            (None, Answer::Deleted | Answer::Gone) => {
                if let Some(at) = self.slots.iter().rposition(|slot| slot.created) {
                    self.slots.remove(at);
                }
            }
            // It cannot be freed now. It is found as our own the next time, so leaving it is safe: it only costs a slot.
            (None, _) => return State::Refused(why),
        }
        State::BackingOut { why, doubt: None }
    }

    fn renewed(&mut self, at: usize, reread: bool, sent: Uptime, answer: Answer) -> State {
        match answer {
            Answer::Written { uid, version } if Some(&uid) == self.uid_of(at).as_ref() => {
                self.note_proof(at, sent, version);
                State::Renewing {
                    at: at + 1,
                    reread: false,
                }
            }
            Answer::Written { .. } => State::Lost("the slot has another uid".into()),
            Answer::Gone => State::Lost("the slot was deleted or has another holder".into()),
            Answer::Changed if !reread => State::Rereading { at },
            other => State::RenewalFailed(other.why()),
        }
    }

    fn reread(&mut self, at: usize, answer: Answer) -> State {
        match answer {
            Answer::Ours(found) if Some(&found.uid) == self.uid_of(at).as_ref() => {
                if let Some(slot) = self.slots.get_mut(at) {
                    slot.version = found.version;
                }
                State::Renewing { at, reread: true }
            }
            Answer::Ours(_) => State::Lost("the slot was created anew by somebody else".into()),
            Answer::Gone => State::Lost("the slot was deleted or has another holder".into()),
            other => State::RenewalFailed(other.why()),
        }
    }

    fn released(&mut self, reread: bool, answer: Answer) -> State {
        match answer {
            Answer::Deleted | Answer::Gone => {
                self.slots.pop();
                State::Releasing { reread: false }
            }
            Answer::Changed if !reread => State::RereadingToRelease,
            other => State::Unproved(other.why()),
        }
    }

    fn reread_to_release(&mut self, answer: Answer) -> State {
        let uid = self.slots.last().map(|slot| Arc::clone(&slot.uid));
        match answer {
            Answer::Ours(found) if Some(&found.uid) == uid.as_ref() => {
                if let Some(slot) = self.slots.last_mut() {
                    slot.version = found.version;
                }
                State::Releasing { reread: true }
            }
            // Not ours any more: there is nothing left for us to free.
            Answer::Ours(_) | Answer::Gone => {
                self.slots.pop();
                State::Releasing { reread: false }
            }
            other => State::Unproved(other.why()),
        }
    }
}

fn claimed(answer: Answer) -> State {
    match answer {
        // A claim is named after its node, so one that is there is ours.
        Answer::Written { .. } | Answer::Taken => State::Queueing,
        Answer::Denied(why) => State::Refused(Refusal::Denied(why)),
        other => State::Refused(Refusal::Silent(other.why())),
    }
}

fn queued(answer: Answer) -> State {
    match answer {
        Answer::Turn(Ok(())) => State::Proving(0),
        Answer::Turn(Err(why)) => State::Refused(Refusal::NotYourTurn(why)),
        Answer::Denied(why) => State::Refused(Refusal::Denied(why)),
        other => State::Refused(Refusal::Silent(other.why())),
    }
}
