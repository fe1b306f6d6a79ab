//! The slot invariants, checked on the server's audit log by code that shares nothing with the
//! agent.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

use crate::audit::Call;

const AGENTS: &str = "system:serviceaccount:nodemend:nodemend-agent";
const COLLECTOR: &str = "system:serviceaccount:kube-system:generic-garbage-collector";

/// Every breach of I1, I3 and I16 in `calls`, in words; empty when all is well.
///
/// Two holders of one domain beyond its cap would need a name beyond the cap or two objects of one
/// name, so the names are checked and the server's own uniqueness is taken as given.
pub fn breaches(calls: &[Call], caps: &BTreeMap<&str, u64>) -> Vec<String> {
    let mut found = Vec::new();
    // Holders of each lease name so far: who may delete it depends on them.
    let mut holders: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.is_done() && !call.is_dry()) {
        match call.resource.as_str() {
            "leases" => lease(call, caps, &mut holders, &mut found),
            "nodes" | "nodes/status"
                if call.user == AGENTS
                    && call.is_write()
                    && call.node.as_deref() != Some(call.name.as_str()) =>
            {
                found.push(format!("I16: {} wrote Node {}", call.who(), call.name));
            }
            _ if call.user == AGENTS && call.resource.starts_with("pods") => {
                found.push(format!(
                    "T1: {} did {} {}",
                    call.who(),
                    call.verb,
                    call.resource
                ));
            }
            _ => {}
        }
    }
    found
}

fn lease<'a>(
    call: &'a Call,
    caps: &BTreeMap<&str, u64>,
    holders: &mut BTreeMap<&'a str, BTreeSet<&'a str>>,
    found: &mut Vec<String>,
) {
    let holder = call
        .record
        .pointer("/requestObject/spec/holderIdentity")
        .and_then(Value::as_str);
    match call.verb.as_str() {
        "create" => {
            let name = call
                .record
                .pointer("/requestObject/metadata/name")
                .and_then(Value::as_str);
            let name = name.unwrap_or(call.name.as_str());
            if let Some(slot) = name.strip_prefix("slot.") {
                let (domain, k) = slot.rsplit_once('.').unwrap_or((slot, ""));
                let cap = caps.get(domain).copied().unwrap_or(0);
                if k.parse::<u64>()
                    .map_or(true, |number| number >= cap || number.to_string() != k)
                {
                    found.push(format!("I1: {} created {name}, cap {cap}", call.who()));
                }
            }
            if call.user == AGENTS && holder != call.node.as_deref() {
                found.push(format!(
                    "I3: {} created {name} held by {holder:?}",
                    call.who()
                ));
            }
            holders.entry(name).or_default().extend(holder);
        }
        "update" | "patch" if call.user == AGENTS && holder != call.node.as_deref() => {
            found.push(format!(
                "I3: {} changed {} of {holder:?}",
                call.who(),
                call.name
            ));
        }
        "delete" if call.user == AGENTS => {
            let own = call.node.as_deref().unwrap_or_default();
            if !holders
                .get(call.name.as_str())
                .is_some_and(|known| known.contains(own))
            {
                found.push(format!(
                    "I3: {} freed {}, never its own",
                    call.who(),
                    call.name
                ));
            }
        }
        "delete" | "deletecollection"
            if call.user != COLLECTOR && call.user != "admin" && call.user != AGENTS =>
        {
            found.push(format!("I3: {} freed {}", call.who(), call.name));
        }
        _ => {}
    }
}

#[test]
fn the_checker_finds_each_kind_of_breach() {
    let caps = BTreeMap::from([("cluster", 2)]);
    let lease = |verb: &str, node: &str, name: &str, holder: &str| {
        format!(
            r#"{{"stage":"ResponseComplete","verb":"{verb}","requestURI":"/x","user":{{"username":"{AGENTS}","extra":{{"authentication.kubernetes.io/node-name":["{node}"]}}}},"objectRef":{{"resource":"leases","name":"{name}"}},"responseStatus":{{"code":200}},"requestObject":{{"spec":{{"holderIdentity":"{holder}"}}}}}}"#
        )
    };
    let node = |node: &str, name: &str| {
        lease("patch", node, name, "")
            .replace("leases", "nodes/status")
            .replace("requestO", "o")
    };
    let sound = [lease("create", "a", "slot.cluster.1", "a"), node("a", "a")];
    assert_eq!(breaches(&read(&sound), &caps), Vec::<String>::new());
    for broken in [
        vec![lease("create", "a", "slot.cluster.2", "a")],
        vec![lease("create", "a", "slot.cluster.00", "a")],
        vec![lease("create", "a", "slot.other.0", "a")],
        vec![lease("create", "a", "slot.cluster.0", "b")],
        vec![lease("update", "a", "slot.cluster.0", "b")],
        vec![
            lease("create", "a", "slot.cluster.0", "a"),
            lease("delete", "b", "slot.cluster.0", ""),
        ],
        vec![node("a", "b")],
        vec![lease("delete", "a", "x", "").replace("leases", "pods")],
    ] {
        assert_eq!(breaches(&read(&broken), &caps).len(), 1, "{broken:?}");
    }
}

fn read(lines: &[String]) -> Vec<Call> {
    lines.iter().map(|line| crate::audit::parse(line)).collect()
}
