//! The API server, as far as slots are concerned.

use super::protocol::Flaw;
use nodemend::lease::{Answer, Found, Request, SlotName};
use std::sync::Arc;

/// A slot on the server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record {
    pub name: SlotName,
    pub node: u8,
    /// Which life of the Node object owns it.
    pub life: u8,
    pub uid: u8,
    pub version: u8,
    /// When the last write that arrived was sent.
    pub written: u8,
}

impl Record {
    pub fn found(&self) -> Found {
        Found {
            name: self.name.clone(),
            uid: word(self.uid),
            version: word(self.version),
        }
    }
}

fn word(number: u8) -> Arc<str> {
    Arc::from(number.to_string().as_str())
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    pub node: u8,
    pub life: u8,
    pub is_registered: bool,
    /// When the request was sent.
    pub sent: u8,
    pub now: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    pub slots: Vec<Record>,
    /// The slots before the last write: what a stale read shows.
    pub before: Vec<Record>,
    pub has_breaker: bool,
    pub made: u8,
    /// A slot was created while a breaker stood.
    pub broke_breaker: bool,
    /// A slot was created whose number is not below the cap.
    pub broke_cap: bool,
    /// A slot was freed by another node than its holder.
    pub broke_holder: bool,
}

impl Server {
    pub fn empty() -> Self {
        Self {
            slots: Vec::new(),
            before: Vec::new(),
            has_breaker: false,
            made: 0,
            broke_breaker: false,
            broke_cap: false,
            broke_holder: false,
        }
    }

    /// The slots of a node, as a read shows them.
    pub fn own(&self, node: u8, is_stale: bool) -> Vec<Found> {
        let slots = if is_stale { &self.before } else { &self.slots };
        let own = slots.iter().filter(|slot| slot.node == node);
        own.map(Record::found).collect()
    }

    pub fn collect(&mut self, node: u8, life: u8) {
        self.before = self.slots.clone();
        self.slots
            .retain(|slot| slot.node != node || slot.life != life);
    }

    fn at(&self, name: &SlotName) -> Option<usize> {
        self.slots.iter().position(|slot| slot.name == *name)
    }

    pub fn obey(
        &mut self,
        request: &Request,
        caller: Caller,
        cap: u32,
        flaw: Option<Flaw>,
    ) -> Answer {
        match request {
            Request::CreateSlot(name) => self.create(name, caller, cap, flaw),
            Request::ReadSlot(name) => match self.at(name).map(|at| &self.slots[at]) {
                Some(slot) if slot.node == caller.node => Answer::Ours(slot.found()),
                _ => Answer::Gone,
            },
            Request::RenewSlot(held) => self.renew(held, caller, flaw),
            Request::DeleteSlot(held) => {
                let Some(at) = self.at(&held.name) else {
                    return Answer::Gone;
                };
                let slot = &self.slots[at];
                let is_ours = slot.node == caller.node && word(slot.uid) == held.uid;
                if flaw != Some(Flaw::LateFree) {
                    if !is_ours {
                        return Answer::Gone;
                    }
                    if word(slot.version) != held.version {
                        return Answer::Changed;
                    }
                }
                self.broke_holder |= !is_ours;
                self.before = self.slots.clone();
                self.slots.remove(at);
                Answer::Deleted
            }
            Request::AskTurn if self.has_breaker && flaw != Some(Flaw::NoBreaker) => {
                Answer::Turn(Err("a breaker is open".into()))
            }
            Request::AskTurn => Answer::Turn(Ok(())),
            Request::CreateClaim => Answer::Written {
                uid: word(0),
                version: word(0),
            },
            Request::DeleteClaim => Answer::Deleted,
        }
    }

    fn create(&mut self, name: &SlotName, caller: Caller, cap: u32, flaw: Option<Flaw>) -> Answer {
        // The admission policies: own Node only, names below the cap, nothing while a breaker stands.
        if !caller.is_registered {
            return Answer::Denied("no such Node".into());
        }
        if name.index() >= cap && flaw != Some(Flaw::NameOutsideCap) {
            return Answer::Denied("no such slot".into());
        }
        if self.has_breaker && flaw != Some(Flaw::NoBreaker) {
            return Answer::Denied("a breaker is open".into());
        }
        if let Some(at) = self.at(name) {
            let age = caller.now - self.slots[at].written;
            let may_replace = match flaw {
                // Somebody read that it was free, and writes without a condition.
                Some(Flaw::CheckThenAct) => true,
                Some(Flaw::TakeOver) => age >= super::protocol::HOLD_TICKS,
                _ => false,
            };
            if !may_replace {
                return Answer::Taken;
            }
            self.slots.remove(at);
        }
        self.broke_breaker |= self.has_breaker;
        self.broke_cap |= name.index() >= cap;
        self.made += 1;
        self.before = self.slots.clone();
        let record = Record {
            name: name.clone(),
            node: caller.node,
            life: caller.life,
            uid: self.made,
            version: 1,
            written: caller.sent,
        };
        let found = record.found();
        self.slots.push(record);
        self.slots.sort_by(|one, other| one.name.cmp(&other.name));
        Answer::Written {
            uid: found.uid,
            version: found.version,
        }
    }

    fn renew(&mut self, held: &Found, caller: Caller, flaw: Option<Flaw>) -> Answer {
        let at = self.at(&held.name);
        let slot = at.map(|at| self.slots[at].clone());
        match slot {
            Some(slot) if slot.node == caller.node && word(slot.uid) == held.uid => {
                if word(slot.version) != held.version && flaw != Some(Flaw::ReadForWrite) {
                    return Answer::Changed;
                }
                if flaw != Some(Flaw::ReadForWrite) {
                    self.before = self.slots.clone();
                    let slot = &mut self.slots[at.expect("found above")];
                    slot.version += 1;
                    slot.written = caller.sent;
                    return Answer::Written {
                        uid: word(slot.uid),
                        version: word(slot.version),
                    };
                }
                Answer::Written {
                    uid: held.uid.clone(),
                    version: held.version.clone(),
                }
            }
            _ => Answer::Gone,
        }
    }
}
