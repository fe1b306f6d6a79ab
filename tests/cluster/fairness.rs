//! How long a slot that somebody could have had stayed unused (I19), from the server's audit log.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::audit::Call;
use crate::history::{Change, changes};

/// What only the test knows.
#[derive(Default)]
pub struct Scenery {
    /// The domains of each node beside `cluster`.
    pub domains: BTreeMap<String, Vec<String>>,
    /// When a node's agent could not have taken a slot, because the test kept it from doing so.
    pub troubled: Vec<(String, i64, i64)>,
    /// When nobody could, because the server or its store was away.
    pub away: Vec<(i64, i64)>,
}

/// Each free slot of the cluster: for how many microseconds it was unused while a node waited that could have had it. Those that
/// are still free at the end count, too.
pub fn unused(calls: &[Call], scenery: &Scenery) -> Vec<i64> {
    let changes = changes(calls);
    let last = calls.iter().map(|call| call.finished).max().unwrap_or(0);
    let mut moments: BTreeSet<i64> = changes.iter().map(|(at, _)| *at).collect();
    let of_test = scenery.troubled.iter().map(|(_, from, to)| (*from, *to));
    for (from, to) in of_test.chain(scenery.away.iter().copied()) {
        moments.extend([from, to]);
    }
    moments.insert(last);
    let mut state = State::default();
    let mut left = changes.into_iter().peekable();
    let mut before = 0;
    for moment in moments {
        if state.could_be_had(before, scenery) {
            state.idle += moment - before;
        }
        while let Some((_, change)) = left.next_if(|(at, _)| *at <= moment) {
            state.take(change);
        }
        before = moment;
        if moment >= last {
            break;
        }
    }
    let rest = std::mem::take(&mut state.free);
    let rest = rest.into_iter().map(|since| state.idle - since);
    state.unused.extend(rest);
    state.unused
}

#[derive(Default)]
struct State {
    caps: BTreeMap<String, u64>,
    /// Holder by domain and number.
    held: BTreeMap<(String, String), String>,
    claims: BTreeSet<String>,
    breakers: BTreeSet<String>,
    /// For how long something could be had so far: the clock of `free`.
    idle: i64,
    /// Since when each free slot of the cluster is free.
    free: VecDeque<i64>,
    unused: Vec<i64>,
}

impl State {
    fn take(&mut self, change: Change) {
        match change {
            Change::Taken(domain, k, holder) => {
                if domain == "cluster"
                    && let Some(since) = self.free.pop_front()
                {
                    self.unused.push(self.idle - since);
                }
                self.held.insert((domain, k), holder);
            }
            Change::Freed(domain, k) => {
                let is_ours = self.held.remove(&(domain.clone(), k)).is_some();
                if is_ours && domain == "cluster" && self.used(&domain) < self.cap(&domain) {
                    self.free.push_back(self.idle);
                }
            }
            Change::Claimed(node) => drop(self.claims.insert(node)),
            Change::Withdrawn(node) => drop(self.claims.remove(&node)),
            Change::Broken(name) => drop(self.breakers.insert(name)),
            Change::Whole(name) => drop(self.breakers.remove(&name)),
            Change::Caps(caps) => {
                self.caps = caps;
                let free = self.cap("cluster").saturating_sub(self.used("cluster"));
                self.free =
                    std::iter::repeat_n(self.idle, usize::try_from(free).unwrap_or(0)).collect();
            }
        }
    }

    fn cap(&self, domain: &str) -> u64 {
        self.caps.get(domain).copied().unwrap_or(0)
    }

    fn used(&self, domain: &str) -> u64 {
        self.held.keys().filter(|(of, _)| of == domain).count() as u64
    }

    /// Whether a node waits whose slots are all free, and nothing keeps it from taking them.
    fn could_be_had(&self, at: i64, scenery: &Scenery) -> bool {
        let within = |from: i64, to: i64| from <= at && at < to;
        if !self.breakers.is_empty() || scenery.away.iter().any(|(from, to)| within(*from, *to)) {
            return false;
        }
        self.claims.iter().any(|node| {
            let holds = self.held.values().any(|holder| holder == node);
            let is_troubled = scenery
                .troubled
                .iter()
                .any(|(whose, from, to)| whose == node && within(*from, *to));
            let domains = scenery.domains.get(node).into_iter().flatten();
            let mut domains = domains.map(String::as_str).chain(["cluster"]);
            !holds && !is_troubled && domains.all(|domain| self.used(domain) < self.cap(domain))
        })
    }
}

#[test]
fn a_free_slot_is_unused_only_while_somebody_could_have_it() {
    use crate::history::made::{breaker, cap, gone, lease};
    let seconds = |calls: &[Call], scenery: &Scenery| -> Vec<i64> {
        unused(calls, scenery)
            .iter()
            .map(|micros| micros / 1_000_000)
            .collect()
    };
    let at = |second: i64| (1_764_000_000 + second) * 1_000_000;
    let plain = Scenery::default();
    // Free from the start, nobody waits until 10; taken at 14; freed at 20, taken by the next, who waits since 12, at 27.
    let two = || {
        vec![
            cap("1", 0),
            lease("a", 10, "a"),
            lease("b", 12, "b"),
            lease("slot.cluster.0", 14, "a"),
            gone("slot.cluster.0", 20),
            gone("a", 20),
            lease("slot.cluster.0", 27, "b"),
        ]
    };
    assert_eq!(seconds(&two(), &plain), [4, 7]);
    let troubled = Scenery {
        troubled: vec![("b".to_owned(), at(0), at(25))],
        ..Scenery::default()
    };
    assert_eq!(seconds(&two(), &troubled), [4, 2]);
    let away = Scenery {
        away: vec![(at(22), at(26))],
        ..Scenery::default()
    };
    assert_eq!(seconds(&two(), &away), [4, 3]);
    let mut broken = two();
    broken.splice(6..6, [breaker("create", 21), breaker("delete", 24)]);
    assert_eq!(seconds(&broken, &plain), [4, 4]);
    // The cap of the zone keeps b from it, whatever the cluster's says.
    let mut zoned = two();
    zoned.insert(1, lease("slot.zone-a.0", 1, "other"));
    let zones = Scenery {
        domains: BTreeMap::from([("b".to_owned(), vec!["zone-a".to_owned()])]),
        ..Scenery::default()
    };
    assert_eq!(seconds(&zoned, &zones), [4, 0]);
    // Never taken.
    let left = [cap("2", 0), lease("a", 10, "a"), lease("b", 300, "b")];
    assert_eq!(seconds(&left, &plain), [290, 290]);
}
