//! What the server's audit log tells of slots over time: who held what when, what the limits were, when a breaker stood. Shares
//! nothing with the agent.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::audit::Call;

const AGENTS: &str = "system:serviceaccount:nodemend:nodemend-agent";
/// How far admission may lag behind a write of limits or breakers: it reads them from the API server's own watch of them, and
/// this machine is busy. In microseconds.
pub const ADMISSION_LAG: i64 = 2_000_000;
const SECOND: i64 = 1_000_000;

/// Something that changed, in the order of the server's answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A slot, as `(domain, k)`, is this node's.
    Taken(String, String, String),
    /// The slot of this domain and number is nobody's.
    Freed(String, String),
    /// This node waits.
    Claimed(String),
    /// This node waits no longer.
    Withdrawn(String),
    /// The caps are these.
    Caps(BTreeMap<String, u64>),
    /// This breaker stands.
    Broken(String),
    /// This breaker stands no longer.
    Whole(String),
}

/// What changed, each with its time in microseconds since 1970.
pub fn changes(calls: &[Call]) -> Vec<(i64, Change)> {
    let mut list: Vec<(i64, Change)> = calls
        .iter()
        .filter(|call| call.is_done() && !call.is_dry())
        .filter_map(|call| Some((call.finished, change(call)?)))
        .collect();
    list.sort_by_key(|(at, _)| *at);
    list
}

fn change(call: &Call) -> Option<Change> {
    let name = name_of(call);
    match (call.resource.as_str(), call.verb.as_str()) {
        ("leases", "create") => {
            let holder = call.text("/requestObject/spec/holderIdentity").to_owned();
            Some(match slot(name) {
                Some((domain, k)) => Change::Taken(domain.to_owned(), k.to_owned(), holder),
                None => Change::Claimed(holder),
            })
        }
        ("leases", "delete") => Some(match slot(name) {
            Some((domain, k)) => Change::Freed(domain.to_owned(), k.to_owned()),
            None => Change::Withdrawn(name.to_owned()),
        }),
        ("configmaps", "create") if name.starts_with("breaker-") => {
            Some(Change::Broken(name.to_owned()))
        }
        ("configmaps", "delete") if name.starts_with("breaker-") => {
            Some(Change::Whole(name.to_owned()))
        }
        ("configmaps", "create" | "update" | "patch") if name == "limits" => {
            Some(Change::Caps(caps(&call.record["responseObject"]["data"])))
        }
        _ => None,
    }
}

fn name_of(call: &Call) -> &str {
    match call.text("/requestObject/metadata/name") {
        "" => &call.name,
        name => name,
    }
}

fn slot(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("slot.")?.rsplit_once('.')
}

fn caps(data: &Value) -> BTreeMap<String, u64> {
    let all = data.as_object().into_iter().flatten();
    all.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.parse().ok()?)))
        .collect()
}

/// Every slot that was created with a number that no cap of that moment allowed (I1), or while a breaker stood (I4). A slot that
/// may have been created without an answer counts.
pub fn breaches(calls: &[Call]) -> Vec<String> {
    let mut limits: Vec<(i64, BTreeMap<String, u64>)> = Vec::new();
    let mut breakers: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    let mut stood: Vec<(String, i64, i64)> = Vec::new();
    for (at, change) in changes(calls) {
        match change {
            Change::Caps(caps) => limits.push((at, caps)),
            Change::Broken(name) => drop(breakers.insert(name, (at, i64::MAX))),
            Change::Whole(name) => {
                let from = breakers.remove(&name).map_or(0, |(from, _)| from);
                stood.push((name, from, at));
            }
            _ => {}
        }
    }
    stood.extend(
        breakers
            .into_iter()
            .map(|(name, (from, to))| (name, from, to)),
    );
    let mut found = Vec::new();
    for call in calls
        .iter()
        .filter(|call| call.is_perhaps_done() && !call.is_dry())
    {
        let Some((domain, k)) = slot(name_of(call)) else {
            continue;
        };
        if (call.resource.as_str(), call.verb.as_str()) != ("leases", "create") {
            continue;
        }
        let cap = cap_at(&limits, domain, call.received);
        if k.parse::<u64>()
            .map_or(true, |k_| k_ >= cap || k_.to_string() != k)
        {
            found.push(format!(
                "I1: {} created slot.{domain}.{k}, cap {cap}",
                call.who()
            ));
        }
        for (name, from, to) in &stood {
            // What was deleted before the answer may have been deleted before the check.
            if from + ADMISSION_LAG < call.received && call.finished < *to && call.is_done() {
                found.push(format!(
                    "I4: {} created slot.{domain}.{k} under {name}",
                    call.who()
                ));
            }
        }
    }
    found
}

/// The largest cap that admission may have seen at `at`.
fn cap_at(limits: &[(i64, BTreeMap<String, u64>)], domain: &str, at: i64) -> u64 {
    let mut cap = 0;
    for (index, (from, caps)) in limits.iter().enumerate() {
        let to = limits.get(index + 1).map_or(i64::MAX, |(next, _)| *next);
        // In force at some moment since `at - ADMISSION_LAG`; a change that came during the call counts, too.
        if *from <= at + SECOND && to.saturating_add(ADMISSION_LAG) >= at {
            cap = cap.max(caps.get(domain).copied().unwrap_or(0));
        }
    }
    cap
}

/// The most slots of `domain` that were held at one moment.
pub fn most_held(calls: &[Call], domain: &str) -> usize {
    let (mut held, mut most) = (BTreeSet::new(), 0);
    for (_, change) in changes(calls) {
        match change {
            Change::Taken(of, k, _) if of == domain => {
                held.insert(k);
                most = most.max(held.len());
            }
            Change::Freed(of, k) if of == domain => drop(held.remove(&k)),
            _ => {}
        }
    }
    most
}

/// The most of these spans of time that overlap at one moment.
pub fn most_at_once(spans: &[(i64, i64)]) -> usize {
    let at = |moment: i64| {
        let over = spans
            .iter()
            .filter(|(from, to)| *from <= moment && moment < *to);
        over.count()
    };
    spans.iter().map(|(from, _)| at(*from)).max().unwrap_or(0)
}

/// Requests of all agents by minute since the first.
pub fn by_minute(requests: &[Call]) -> Vec<usize> {
    let times: Vec<i64> = requests
        .iter()
        .filter(|call| call.user == AGENTS)
        .map(|call| call.received)
        .collect();
    let first = times.iter().min().copied().unwrap_or(0);
    let mut minutes = Vec::new();
    for time in times {
        let minute = usize::try_from((time - first) / (60 * SECOND)).unwrap_or(0);
        minutes.resize(minutes.len().max(minute + 1), 0);
        minutes[minute] += 1;
    }
    minutes
}

/// Lines of an audit log for the tests of what reads it; times in seconds.
#[cfg(test)]
pub mod made {
    use serde_json::{Value, json};

    use crate::audit::{Call, parse};

    fn call(verb: &str, resource: &str, name: &str, at: i64, node: &str, object: &Value) -> Call {
        let time = jiff::Timestamp::from_second(1_764_000_000 + at).expect("a time");
        let time = format!("{time:.6}");
        let line = json!({
            "verb": verb, "stage": "ResponseComplete", "requestURI": "/x",
            "user": { "username": super::AGENTS, "extra": {
                "authentication.kubernetes.io/node-name": [node] } },
            "objectRef": { "resource": resource, "name": name },
            "responseStatus": { "code": 200 },
            "requestReceivedTimestamp": time, "stageTimestamp": time,
            "requestObject": object, "responseObject": object,
        });
        parse(&line.to_string())
    }

    /// `node` creates the Lease `name`.
    pub fn lease(name: &str, at: i64, node: &str) -> Call {
        let object = json!({ "metadata": { "name": name }, "spec": { "holderIdentity": node } });
        call("create", "leases", "", at, node, &object)
    }

    /// The Lease `name` is deleted.
    pub fn gone(name: &str, at: i64) -> Call {
        call("delete", "leases", name, at, "", &Value::Null)
    }

    /// The cap of the cluster is set, and that of zone `a` to 1.
    pub fn cap(cluster: &str, at: i64) -> Call {
        let object = json!({ "data": { "cluster": cluster, "zone-a": "1" } });
        call("patch", "configmaps", "limits", at, "", &object)
    }

    /// A breaker comes or goes.
    pub fn breaker(verb: &str, at: i64) -> Call {
        call(verb, "configmaps", "breaker-x", at, "", &Value::Null)
    }
}

#[test]
fn a_slot_beyond_the_cap_of_its_moment_or_under_a_breaker_is_found() {
    use made::{breaker, cap, gone, lease};
    let sound = || {
        vec![
            cap("2", 0),
            lease("slot.cluster.0", 10, "a"),
            lease("slot.cluster.1", 11, "b"),
        ]
    };
    let with =
        |more: Vec<Call>| breaches(&sound().into_iter().chain(more).collect::<Vec<_>>()).join("\n");
    assert_eq!(with(vec![]), "");
    assert_eq!(
        with(vec![breaker("create", 12), lease("x", 20, "c")]),
        "",
        "a claim is no slot"
    );
    assert_eq!(
        with(vec![
            gone("slot.cluster.0", 12),
            breaker("create", 13),
            breaker("delete", 30),
            lease("slot.cluster.0", 31, "c")
        ]),
        ""
    );
    assert_eq!(
        with(vec![cap("0", 20), lease("slot.cluster.0", 21, "c")]),
        "",
        "lag of admission"
    );
    for (more, word) in [
        (vec![lease("slot.cluster.2", 12, "c")], "I1"),
        (vec![lease("slot.cluster.00", 12, "c")], "I1"),
        (vec![lease("slot.zone-b.0", 12, "c")], "I1"),
        (vec![lease("slot.zone-a.1", 12, "c")], "I1"),
        (vec![cap("0", 20), lease("slot.cluster.0", 30, "c")], "I1"),
        (vec![cap("9", 20), lease("slot.cluster.5", 12, "c")], "I1"),
        (
            vec![breaker("create", 12), lease("slot.cluster.0", 20, "c")],
            "I4",
        ),
        (
            vec![
                breaker("create", 12),
                lease("slot.cluster.0", 20, "c"),
                breaker("delete", 30),
            ],
            "I4",
        ),
    ] {
        let said = with(more);
        assert!(said.contains(word), "«{said}» for {word}");
    }
    // A slot that may be there counts like one that is.
    let mut perhaps = sound();
    let mut lost = lease("slot.cluster.7", 12, "c");
    lost.code = 504;
    perhaps.push(lost);
    assert_eq!(breaches(&perhaps).len(), 1);
}

#[test]
fn the_most_slots_and_spans_at_one_moment_are_counted() {
    use made::{cap, gone, lease};
    let calls = [
        cap("9", 0),
        lease("slot.cluster.0", 1, "a"),
        lease("slot.cluster.1", 2, "b"),
        lease("slot.zone-a.0", 2, "b"),
        gone("slot.cluster.0", 3),
        lease("slot.cluster.2", 4, "c"),
        lease("slot.cluster.0", 5, "d"),
    ];
    assert_eq!(most_held(&calls, "cluster"), 3);
    assert_eq!(most_at_once(&[(0, 5), (5, 9), (1, 6), (2, 3)]), 3);
    assert_eq!(
        by_minute(&[
            lease("x", 0, "a"),
            lease("x", 59, "a"),
            lease("x", 130, "a")
        ]),
        [2, 0, 1]
    );
}
