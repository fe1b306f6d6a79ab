//! The slot protocol: every answer in every state, and many nodes against one store with every kind of bad luck.

use super::exchange::{Action, Answer, Found, HOLD, Refusal, Request, Want};
use super::name::SlotName;
use super::slot::SlotMachine;
use crate::signal::Uptime;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

fn at(seconds: u64) -> Uptime {
    Uptime::new(Duration::from_secs(seconds))
}

fn want(domain: &str, cap: u32, first: u32) -> Want {
    Want {
        domain: Arc::from(domain),
        cap,
        first,
    }
}

fn name(text: &str) -> SlotName {
    text.parse().expect("a name")
}

fn written(uid: &str, version: &str) -> Answer {
    Answer::Written {
        uid: Arc::from(uid),
        version: Arc::from(version),
    }
}

fn found(slot: &str, uid: &str, version: &str) -> Found {
    Found {
        name: name(slot),
        uid: Arc::from(uid),
        version: Arc::from(version),
    }
}

fn silent() -> Answer {
    Answer::Silent("no answer".into())
}

/// Sends what is due at `second` and says what it was.
fn due(machine: &mut SlotMachine, second: u64) -> Request {
    match machine.next(at(second)) {
        Action::Send(request) => request,
        other => panic!("nothing to send: {other:?}"),
    }
}

fn held() -> SlotMachine {
    let mut machine = SlotMachine::new(vec![want("cluster", 2, 0)], Vec::new(), false);
    due(&mut machine, 100);
    machine.answer(written("u1", "1"));
    assert_eq!(machine.next(at(101)), Action::Held);
    machine
}

#[test]
fn domains_are_taken_in_order_and_freed_in_reverse() {
    let wants = vec![
        want("cluster", 3, 2),
        want("zone-a", 2, 0),
        want("pool-b", 1, 0),
    ];
    let mut machine = SlotMachine::new(wants, Vec::new(), true);
    assert_eq!(due(&mut machine, 0), Request::CreateClaim);
    machine.answer(written("c", "1"));
    assert_eq!(due(&mut machine, 1), Request::AskTurn);
    machine.answer(Answer::Turn(Ok(())));
    assert_eq!(
        due(&mut machine, 2),
        Request::CreateSlot(name("slot.cluster.2"))
    );
    machine.answer(Answer::Taken);
    assert_eq!(
        due(&mut machine, 3),
        Request::CreateSlot(name("slot.cluster.0"))
    );
    machine.answer(written("u0", "1"));
    assert_eq!(
        due(&mut machine, 4),
        Request::CreateSlot(name("slot.zone-a.0"))
    );
    machine.answer(written("u1", "1"));
    assert_eq!(
        due(&mut machine, 5),
        Request::CreateSlot(name("slot.pool-b.0"))
    );
    assert_eq!(machine.proved_at(), None, "not before the last domain");
    machine.answer(Answer::Taken);
    assert_eq!(
        due(&mut machine, 6),
        Request::DeleteSlot(found("slot.zone-a.0", "u1", "1"))
    );
    machine.answer(Answer::Deleted);
    assert_eq!(
        due(&mut machine, 7),
        Request::DeleteSlot(found("slot.cluster.0", "u0", "1"))
    );
    machine.answer(Answer::Gone);
    let full = Refusal::Full {
        domain: Arc::from("pool-b"),
        cap: 1,
    };
    assert_eq!(machine.next(at(8)), Action::Refused(full));
    assert!(machine.slots().is_empty());
}

#[test]
fn a_domain_without_a_limit_has_no_slot() {
    let mut machine = SlotMachine::new(vec![want("cluster", 0, 7)], Vec::new(), false);
    assert!(matches!(
        machine.next(at(0)),
        Action::Refused(Refusal::Full { cap: 0, .. })
    ));
}

#[test]
fn no_name_beyond_the_cap_is_ever_asked_for() {
    for first in [0, 1, 4, 5, u32::MAX - 1, u32::MAX] {
        let mut machine = SlotMachine::new(vec![want("cluster", 3, first)], Vec::new(), false);
        let mut tried = Vec::new();
        while let Action::Send(Request::CreateSlot(name)) = machine.next(at(0)) {
            tried.push(name.index());
            machine.answer(Answer::Taken);
        }
        tried.sort_unstable();
        assert_eq!(tried, [0, 1, 2], "I1, first {first}");
    }
}

#[test]
fn a_proof_counts_from_before_it_was_sent_and_the_weakest_counts() {
    let wants = vec![want("cluster", 1, 0), want("zone-a", 1, 0)];
    let mut machine = SlotMachine::new(wants, Vec::new(), false);
    due(&mut machine, 10);
    machine.answer(written("u0", "1"));
    due(&mut machine, 14);
    machine.answer(written("u1", "1"));
    assert_eq!(machine.next(at(18)), Action::Held);
    assert_eq!(machine.proved_at(), Some(at(10)));
    machine.ask_renewal();
    due(&mut machine, 30);
    machine.answer(written("u0", "2"));
    assert_eq!(
        machine.proved_at(),
        Some(at(14)),
        "the second one was not written yet"
    );
    due(&mut machine, 33);
    machine.answer(silent());
    assert!(matches!(machine.next(at(38)), Action::Unproved(_)));
    assert_eq!(
        machine.proved_at(),
        Some(at(14)),
        "silence proves nothing, and takes nothing away"
    );
}

#[test]
fn what_a_read_found_counts_only_after_a_write() {
    let own = vec![found("slot.cluster.1", "u9", "4")];
    let mut machine = SlotMachine::new(vec![want("cluster", 2, 0)], own.clone(), true);
    assert_eq!(machine.proved_at(), None, "I6");
    assert_eq!(due(&mut machine, 50), Request::RenewSlot(own[0].clone()));
    assert_eq!(machine.proved_at(), None, "I6");
    machine.answer(written("u9", "5"));
    assert_eq!(machine.next(at(51)), Action::Held);
    assert_eq!(machine.proved_at(), Some(at(50)));
}

#[test]
fn own_slots_that_cannot_be_written_stay_and_prove_nothing() {
    for answer in [
        silent(),
        Answer::Changed,
        Answer::Denied("no".into()),
        Answer::Taken,
    ] {
        let own = vec![found("slot.cluster.1", "u9", "4")];
        let mut machine = SlotMachine::new(vec![want("cluster", 2, 0)], own, false);
        due(&mut machine, 50);
        machine.answer(answer);
        assert!(matches!(machine.next(at(51)), Action::Unproved(_)));
        assert_eq!((machine.proved_at(), machine.slots().len()), (None, 1));
    }
}

#[test]
fn an_own_slot_that_is_gone_is_created_anew() {
    let own = vec![found("slot.cluster.1", "u9", "4")];
    let mut machine = SlotMachine::new(vec![want("cluster", 2, 0)], own, false);
    due(&mut machine, 50);
    machine.answer(Answer::Gone);
    assert_eq!(
        due(&mut machine, 51),
        Request::CreateSlot(name("slot.cluster.0"))
    );
}

#[test]
fn after_a_silent_create_it_looks_and_frees_what_arrived() {
    let mut machine = SlotMachine::new(vec![want("cluster", 2, 0)], Vec::new(), false);
    due(&mut machine, 0);
    machine.answer(silent());
    assert_eq!(
        due(&mut machine, 5),
        Request::ReadSlot(name("slot.cluster.0"))
    );
    machine.answer(Answer::Ours(found("slot.cluster.0", "u1", "1")));
    assert_eq!(
        due(&mut machine, 6),
        Request::DeleteSlot(found("slot.cluster.0", "u1", "1"))
    );
    machine.answer(Answer::Deleted);
    assert!(matches!(
        machine.next(at(7)),
        Action::Refused(Refusal::Silent(_))
    ));
}

#[test]
fn a_lost_slot_stays_lost() {
    for answer in [Answer::Gone, written("u2", "9")] {
        let mut machine = held();
        machine.ask_renewal();
        due(&mut machine, 110);
        machine.answer(answer);
        assert!(matches!(machine.next(at(111)), Action::Lost(_)));
        assert_eq!(machine.proved_at(), None);
        machine.ask_renewal();
        assert!(matches!(machine.next(at(112)), Action::Lost(_)));
    }
}

#[test]
fn a_changed_slot_is_read_once_and_written_again_if_it_is_still_ours() {
    let mut machine = held();
    machine.ask_renewal();
    due(&mut machine, 110);
    machine.answer(Answer::Changed);
    assert_eq!(
        due(&mut machine, 111),
        Request::ReadSlot(name("slot.cluster.0"))
    );
    machine.answer(Answer::Ours(found("slot.cluster.0", "u1", "7")));
    assert_eq!(
        due(&mut machine, 112),
        Request::RenewSlot(found("slot.cluster.0", "u1", "7"))
    );
    machine.answer(Answer::Changed);
    assert!(
        matches!(machine.next(at(113)), Action::Unproved(_)),
        "not for ever"
    );
    let mut machine = held();
    machine.ask_renewal();
    due(&mut machine, 110);
    machine.answer(Answer::Changed);
    due(&mut machine, 111);
    machine.answer(Answer::Ours(found("slot.cluster.0", "u2", "1")));
    assert!(
        matches!(machine.next(at(112)), Action::Lost(_)),
        "somebody created it anew"
    );
}

#[test]
fn a_dropped_call_counts_as_silence() {
    let mut machine = held();
    machine.ask_renewal();
    due(&mut machine, 110);
    assert_eq!(machine.next(at(111)), Action::Await);
    machine.forget_call();
    assert_eq!(machine.proved_at(), Some(at(100)));
    machine.ask_renewal();
    assert!(matches!(due(&mut machine, 112), Request::RenewSlot(_)));
}

#[test]
fn whose_turn_it_is_not_leaves_without_a_slot() {
    for (answers, is_refused) in [
        (vec![Answer::Denied("breaker".into())], true),
        (vec![silent()], true),
        (
            vec![Answer::Taken, Answer::Turn(Err("two are first".into()))],
            true,
        ),
        (vec![Answer::Taken, silent()], true),
        (vec![Answer::Taken, Answer::Turn(Ok(()))], false),
    ] {
        let mut machine = SlotMachine::new(vec![want("cluster", 2, 0)], Vec::new(), true);
        for answer in answers.clone() {
            due(&mut machine, 0);
            machine.answer(answer);
        }
        let refused = matches!(machine.next(at(1)), Action::Refused(_));
        assert_eq!(refused, is_refused, "{answers:?}");
    }
}

/// A store in memory that many nodes use.
#[derive(Default)]
struct Store {
    slots: BTreeMap<String, (usize, String, u64)>,
    uids: u64,
    most: usize,
}

impl Store {
    fn obey(&mut self, node: usize, request: &Request) -> Answer {
        let key = |name: &SlotName| name.to_string();
        match request {
            Request::CreateSlot(name) if self.slots.contains_key(&key(name)) => Answer::Taken,
            Request::CreateSlot(name) => {
                self.uids += 1;
                let uid = format!("u{}", self.uids);
                self.slots.insert(key(name), (node, uid.clone(), 1));
                let used = self
                    .slots
                    .keys()
                    .filter(|name| name.contains("cluster"))
                    .count();
                self.most = self.most.max(used);
                written(&uid, "1")
            }
            Request::ReadSlot(name) => match self.slots.get(&key(name)) {
                Some((owner, uid, version)) if *owner == node => {
                    Answer::Ours(found(&key(name), uid, &version.to_string()))
                }
                _ => Answer::Gone,
            },
            Request::RenewSlot(held) | Request::DeleteSlot(held) => {
                let name = key(&held.name);
                match self.slots.get_mut(&name) {
                    Some((owner, uid, _)) if *owner != node || **uid != *held.uid => Answer::Gone,
                    Some((_, _, version)) if version.to_string() != *held.version => {
                        Answer::Changed
                    }
                    Some((_, uid, version)) if matches!(request, Request::RenewSlot(_)) => {
                        *version += 1;
                        written(&uid.clone(), &version.to_string())
                    }
                    Some(_) => {
                        self.slots.remove(&name);
                        Answer::Deleted
                    }
                    None => Answer::Gone,
                }
            }
            Request::CreateClaim => Answer::Taken,
            Request::AskTurn => Answer::Turn(Ok(())),
            Request::DeleteClaim => Answer::Deleted,
        }
    }

    fn own(&self, node: usize) -> Vec<Found> {
        let mine = self
            .slots
            .iter()
            .filter(|(_, (owner, _, _))| *owner == node);
        mine.map(|(name, (_, uid, version))| found(name, uid, &version.to_string()))
            .collect()
    }
}

proptest! {
    /// I1, I2, I5, I6 over random interleavings of five nodes: lost requests, lost answers, crashes, restarts, pauses.
    #[test]
    fn whoever_may_act_holds_a_slot_and_the_cap_holds(moves in prop::collection::vec((0usize..5, 0u8..12), 1..400)) {
        let wants = || vec![want("cluster", 2, 0), want("zone-a", 2, 1)];
        let mut store = Store::default();
        let mut nodes: Vec<SlotMachine> = (0..5).map(|_| SlotMachine::new(wants(), Vec::new(), true)).collect();
        let mut second = 0;
        for (node, luck) in moves {
            second += u64::from(luck);
            let machine = &mut nodes[node];
            if luck == 11 {
                // A crash and a restart: only what a read shows is known.
                *machine = SlotMachine::new(wants(), store.own(node), true);
                prop_assert_eq!(machine.proved_at(), None, "I6");
                continue;
            }
            match machine.next(at(second)) {
                Action::Send(_) if luck == 0 => machine.answer(silent()),
                Action::Send(request) => {
                    let answer = store.obey(node, &request);
                    machine.answer(if luck == 1 { silent() } else { answer });
                }
                Action::Held if luck < 6 => machine.ask_renewal(),
                Action::Held => machine.ask_release(),
                Action::Unproved(_) => machine.ask_renewal(),
                Action::Refused(_) | Action::Freed | Action::Lost(_) => {
                    *machine = SlotMachine::new(wants(), store.own(node), true);
                }
                Action::Await => machine.forget_call(),
            }
            prop_assert!(store.most <= 2, "I1");
            for (node, machine) in nodes.iter().enumerate() {
                let is_live = machine.proved_at().is_some_and(|proved| at(second).since(proved) < HOLD);
                if is_live {
                    for slot in machine.slots() {
                        let (owner, uid, _) = &store.slots[&slot.name.to_string()];
                        prop_assert_eq!((*owner, uid.as_str()), (node, &*slot.uid), "I2");
                    }
                    prop_assert_eq!(machine.slots().len(), 2);
                }
            }
        }
    }
}
