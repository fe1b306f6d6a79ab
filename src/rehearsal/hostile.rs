//! Somebody with root on one node uses the agent's token (safety.md, T1 to T5): hogs, steals, frees, forges.

use super::line::{NAMESPACE, serve};
use super::world::World;
use crate::host::cluster::{Call, Resource, Verb};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How often everything is tried again.
const EVERY: Duration = Duration::from_secs(20);

/// Tries everything, for as long as it lasts. What is let through must not break anything; the jury watches.
pub(super) async fn attack(world: Arc<World>, node: usize, lasts: Duration) {
    let end = world.hall.now().saturating_add(lasts);
    world.tell(node, "turns hostile");
    let mut own: Vec<(String, Value)> = Vec::new();
    while world.hall.now() < end {
        let who = world.agent(node);
        for call in calls(&world, node) {
            let is_create = call.verb == Verb::Create && call.resource == Resource::Leases;
            if let Ok((object, _)) = serve(&world, node, &who, &call)
                && is_create
            {
                own.push((super::server::name_of(&object).to_owned(), object));
            }
        }
        let rest = world.spread(node, EVERY);
        world
            .hall
            .sleep(None, rest.max(Duration::from_secs(1)))
            .await;
    }
    // People find it and delete what it took.
    let now = world.hall.now();
    world.with(|state| {
        for (name, object) in own {
            let uid = object.pointer("/metadata/uid");
            let is_same = state
                .server
                .leases
                .get(&name)
                .is_some_and(|lease| lease.pointer("/metadata/uid") == uid);
            if is_same {
                state.server.put(now, Resource::Leases, &name, None);
                let change = super::server::Change::Deleted(name);
                state.jury.wrote(
                    now,
                    &super::admission::Who::People,
                    node,
                    &change,
                    &state.server,
                );
            }
        }
    });
    world.tell(node, "is stopped");
}

fn lease(name: &str, holder: &str, owner: &str, uid: &str) -> Value {
    json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": name, "namespace": NAMESPACE, "labels": { "nodemend.io/kind": "slot" },
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": owner, "uid": uid }],
            "annotations": { "nodemend.io/run": "run-999999" } },
        "spec": { "holderIdentity": holder, "leaseDurationSeconds": 60 } })
}

fn calls(world: &World, node: usize) -> Vec<Call> {
    let name = world.name(node).to_owned();
    let other = world.name(usize::from(node == 0)).to_owned();
    let (uid, other_uid, leases) = world.with(|state| {
        let uid_of = |index: usize| {
            state
                .server
                .nodes
                .get(index)
                .map(|node| node.uid.clone())
                .unwrap_or_default()
        };
        let token = state
            .bodies
            .get(node)
            .map(|body| body.token_uid.clone())
            .unwrap_or_default();
        let leases: Vec<(String, Value)> = state
            .server
            .leases
            .iter()
            .map(|(name, lease)| (name.clone(), lease.clone()))
            .collect();
        (token, uid_of(usize::from(node == 0)), leases)
    });
    let create =
        |object: Value| Call::new(Verb::Create, Resource::Leases, NAMESPACE, "").sending(object);
    let mut calls = vec![
        // T3: beyond the cap, in another spelling, for another node, in another domain.
        create(lease("slot.cluster.999", &name, &name, &uid)),
        create(lease("slot.cluster.00", &name, &name, &uid)),
        create(lease("slot.nowhere.0", &name, &name, &uid)),
        create(lease("slot.cluster.0", &other, &name, &uid)),
        create(lease("slot.cluster.0", &name, &other, &other_uid)),
        create(lease(&other, &name, &name, &uid)),
        // T4: hogs.
        create(lease("slot.cluster.0", &name, &name, &uid)),
    ];
    for (slot, held) in &leases {
        calls.extend(theft(&name, slot, held));
    }
    calls.extend(trespass(&name, &other));
    calls
}

/// T3 with a slot of somebody else: take it over, write it as it is, free it.
fn theft(name: &str, slot: &str, held: &Value) -> Vec<Call> {
    if held.pointer("/spec/holderIdentity").and_then(Value::as_str) == Some(name) {
        return Vec::new();
    }
    let mut stolen = held.clone();
    if let Some(holder) = stolen.pointer_mut("/spec/holderIdentity") {
        *holder = json!(name);
    }
    let part = |pointer: &str| held.pointer(pointer).cloned().unwrap_or(Value::Null);
    let options = json!({ "preconditions": { "uid": part("/metadata/uid"),
        "resourceVersion": part("/metadata/resourceVersion") } });
    let call =
        |verb: Verb, body: Value| Call::new(verb, Resource::Leases, NAMESPACE, slot).sending(body);
    vec![
        call(Verb::Update, stolen),
        call(Verb::Update, held.clone()),
        call(Verb::Delete, options),
    ]
}

/// T2 and T5: other Nodes, its own opt-in, the limits, the breakers.
fn trespass(name: &str, other: &str) -> Vec<Call> {
    let notes = |key: &str, value: &str| json!({ "metadata": { "annotations": { key: value } } });
    let limits = json!({ "metadata": { "name": "limits" }, "data": { "cluster": "999" } });
    let patch = |whom: &str, body: Value| {
        Call::new(Verb::Patch, Resource::NodeStatus, "", whom).sending(body)
    };
    vec![
        patch(other, notes("nodemend.io/state", "healthy")),
        patch(name, notes("nodemend.io/mode", "auto")),
        patch(
            name,
            json!({ "metadata": { "labels": { "topology.kubernetes.io/zone": "elsewhere" } } }),
        ),
        Call::new(Verb::Update, Resource::ConfigMaps, NAMESPACE, "limits").sending(limits.clone()),
        Call::new(Verb::Create, Resource::ConfigMaps, NAMESPACE, "").sending(limits),
        Call::new(
            Verb::Delete,
            Resource::ConfigMaps,
            NAMESPACE,
            "breaker-stop",
        ),
        Call::new(Verb::Delete, Resource::ConfigMaps, NAMESPACE, "limits"),
    ]
}
