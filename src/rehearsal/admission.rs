//! The admission rules of `manifests/base/policies`, said again in Rust for the calls that the product and a hostile agent
//! make. The real ones are tested on a real API server (`tests/cluster/rights.rs`); these are what the simulated one obeys.

use super::flaw::Flaw;
use super::server::{Server, is_breaker, name_of};
use crate::host::cluster::{Call, Resource, Verb};
use crate::lease::SlotName;
use serde_json::Value;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Who {
    /// The agent on a node, by the node and the Node's uid in its token.
    Agent {
        /// The node.
        node: String,
        /// The uid of its Node when the pod began.
        uid: String,
    },
    /// People, and the controllers.
    People,
}

/// The annotations that an agent writes; `policies/nodes.yaml`.
const NOTES: [&str; 3] = [
    "nodemend.io/state",
    "nodemend.io/case",
    "nodemend.io/blocked",
];

/// Whether the rules let the call through.
pub(super) fn admit(server: &Server, who: &Who, call: &Call) -> Result<(), String> {
    if matches!(call.verb, Verb::Get | Verb::List | Verb::Watch) {
        return Ok(());
    }
    if let Who::Agent { node, uid } = who {
        match call.resource {
            Resource::Leases => own_lease(server, node, uid, call)?,
            Resource::NodeStatus => own_node(server, node, call)?,
            Resource::ConfigMaps => breaker_only(call)?,
            Resource::Events => {}
            // The Node is written by its status, which takes annotations along.
            Resource::Nodes | Resource::DaemonSets => {
                return Err("a nodemend agent never does this".to_owned());
            }
        }
    }
    match (call.resource, call.verb) {
        (Resource::Leases, Verb::Create) => slot(server, call),
        _ => Ok(()),
    }
}

fn text<'a>(object: Option<&'a Value>, pointer: &str) -> &'a str {
    object
        .and_then(|object| object.pointer(pointer))
        .and_then(Value::as_str)
        .unwrap_or("")
}

/// `policies/leases.yaml`
fn own_lease(server: &Server, node: &str, uid: &str, call: &Call) -> Result<(), String> {
    if server.flaw == Some(Flaw::TakesOver) {
        return Ok(());
    }
    let new = call.body.as_ref();
    let name = match call.verb {
        Verb::Create => new.map(name_of).unwrap_or(""),
        _ => call.name.as_str(),
    };
    let old = server.leases.get(name);
    if old.is_none() && call.verb != Verb::Create {
        // The store says that it is not there.
        return Ok(());
    }
    if !name.starts_with("slot.") && name != node {
        return Err(format!(
            "a Lease here is a slot or a claim named after the node, {node}"
        ));
    }
    let versions = match call.verb {
        Verb::Create => vec![new],
        Verb::Delete => vec![old],
        _ => vec![old, new],
    };
    for lease in versions {
        if text(lease, "/spec/holderIdentity") != node {
            return Err(format!(
                "spec.holderIdentity must be, and must have been, {node}"
            ));
        }
        let owners = lease.and_then(|lease| lease.pointer("/metadata/ownerReferences"));
        let is_one = owners
            .and_then(Value::as_array)
            .is_some_and(|list| list.len() == 1);
        let owner = text(lease, "/metadata/ownerReferences/0/uid");
        if !is_one || owner != uid || text(lease, "/metadata/ownerReferences/0/name") != node {
            return Err(format!(
                "metadata.ownerReferences must be one: Node {node} with uid {uid}"
            ));
        }
    }
    let is_bound = |field: &str| !text(new, &format!("/preconditions/{field}")).is_empty();
    if call.verb == Verb::Delete
        && name.starts_with("slot.")
        && !(is_bound("uid") && is_bound("resourceVersion"))
    {
        return Err("a slot is freed with preconditions on its uid and resourceVersion".to_owned());
    }
    Ok(())
}

/// `policies/slot-caps.yaml` and `policies/breaker.yaml`
fn slot(server: &Server, call: &Call) -> Result<(), String> {
    let name = call.body.as_ref().map(name_of).unwrap_or("");
    if !name.starts_with("slot.") {
        return Ok(());
    }
    let slot: SlotName = name
        .parse()
        .map_err(|_| "a slot is named slot.<domain>.<k>".to_owned())?;
    let domain = slot.domain();
    let is_known = ["cluster", "control-plane", "drain"].contains(&domain)
        || domain.starts_with("zone-")
        || domain.starts_with("pool-");
    let cap = server.cap(domain);
    let is_within = is_known && slot.index() < cap;
    if !is_within && server.flaw != Some(Flaw::BeyondTheCap) {
        return Err(format!(
            "{name} is beyond the cap of {cap} for domain {domain} (ConfigMap limits)"
        ));
    }
    match server.breaker() {
        Some(breaker) if server.flaw != Some(Flaw::IgnoresTheBreaker) => Err(format!(
            "no new slot while ConfigMap {breaker} exists (the breaker is open)"
        )),
        _ => Ok(()),
    }
}

/// `policies/configmaps.yaml`
fn breaker_only(call: &Call) -> Result<(), String> {
    match (&call.body, call.verb) {
        (Some(map), Verb::Create)
            if is_breaker(map) && map.pointer("/metadata/ownerReferences").is_none() =>
        {
            Ok(())
        }
        (_, Verb::Create) => Err("the only ConfigMap of an agent's making is a breaker".to_owned()),
        _ => {
            Err("an agent changes and removes no ConfigMap; only people close a breaker".to_owned())
        }
    }
}

/// `policies/nodes.yaml`
fn own_node(server: &Server, node: &str, call: &Call) -> Result<(), String> {
    if server.flaw == Some(Flaw::WritesAnyNode) {
        return Ok(());
    }
    if call.name != node {
        return Err(format!(
            "an agent writes its own Node only; the node of this token is {node}"
        ));
    }
    let patch = call.body.as_ref();
    let notes = patch.and_then(|body| body.pointer("/metadata/annotations")?.as_object());
    let is_ours = notes.is_none_or(|notes| notes.keys().all(|key| NOTES.contains(&key.as_str())));
    let labels = patch.and_then(|body| body.pointer("/metadata/labels"));
    if is_ours && labels.is_none() {
        Ok(())
    } else {
        Err(
            "of the annotations an agent writes nodemend.io/state, case and blocked only"
                .to_owned(),
        )
    }
}
