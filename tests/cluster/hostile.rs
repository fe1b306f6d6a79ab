//! An agent whose node an attacker owns: with its token it hogs, steals, frees and forges.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::Answer;
use crate::fleet::{Agent, CONFIG_MAPS, LEASES};
use crate::invariants::breaches;
use crate::matrix::case::{Scene, lease, with};

#[test]
fn a_hostile_agent_gets_what_the_caps_leave_and_nothing_of_anybody_else() {
    let scene = Scene::new("hostile");
    let (honest, hostile) = (&scene.foreign, &scene.own);
    let slot = scene.held(honest, "slot.cluster.1");
    let claim = scene.held(honest, "node-b");
    let node = scene
        .admin
        .get(&honest.node_path())
        .expect("read the honest Node");

    // Hog: every name it can think of. The caps leave it cluster 0 and 2, zone a, and the pool.
    let mut hogged: Vec<String> = names()
        .filter(|name| create(hostile, name).is_success())
        .collect();
    hogged.sort();
    let mut wanted = vec!["slot.cluster.0".to_owned(), "slot.cluster.2".to_owned()];
    wanted.extend((0..10).map(|k| format!("slot.pool-gpu.{k}")));
    wanted.push("slot.zone-a.0".to_owned());
    assert_eq!(
        hogged, wanted,
        "a hostile agent holds at most what the caps leave"
    );

    for held in [&slot, &claim] {
        steal(hostile, held);
    }
    forge(hostile);

    let name = |object: &Value| {
        object["metadata"]["name"]
            .as_str()
            .expect("a name")
            .to_owned()
    };
    for held in [&slot, &claim] {
        let now = honest
            .caller
            .get(&lease(&name(held)))
            .expect("it is still there");
        assert_eq!(held, &now, "{} is as its holder left it", name(held));
    }
    let now = scene
        .admin
        .get(&honest.node_path())
        .expect("read the honest Node");
    assert_eq!(node, now, "the honest Node is untouched");
    // The honest agent is not locked in: it renews and frees what it holds.
    let renewed = honest
        .caller
        .replace(&lease("slot.cluster.1"), &slot)
        .expect("renew");
    honest
        .caller
        .delete_exactly(&lease("slot.cluster.1"), &renewed)
        .expect("free");

    let caps = BTreeMap::from([("cluster", 3), ("zone-a", 1), ("pool-gpu", 10)]);
    assert_eq!(
        breaches(&scene.plane.audit().calls(), &caps),
        Vec::<String>::new()
    );
}

/// Well-formed and malformed slot names in every domain.
fn names() -> impl Iterator<Item = String> {
    let domains = [
        "cluster",
        "zone-a",
        "zone-b",
        "pool-gpu",
        "control-plane",
        "drain",
        "x",
    ];
    domains.into_iter().flat_map(|domain| {
        let plain = (0..12).map(move |k| format!("slot.{domain}.{k}"));
        let odd = [
            "00",
            "01",
            "0.0",
            "0x0",
            "1e0",
            "999",
            "1000",
            "99999999999999999999",
            "a",
        ];
        plain.chain(odd.into_iter().map(move |k| format!("slot.{domain}.{k}")))
    })
}

fn create(agent: &Agent, name: &str) -> Answer {
    agent.caller.create(LEASES, &agent.lease(name))
}

/// Every way to change or remove `held`, which is somebody else's.
fn steal(agent: &Agent, held: &Value) {
    let path = lease(
        held["metadata"]["name"]
            .as_str()
            .expect("a lease has a name"),
    );
    let taken = with(held.clone(), "/spec/holderIdentity", json!(agent.node));
    let tied = with(
        held.clone(),
        "/metadata/ownerReferences",
        json!([agent.owner()]),
    );
    let both = with(
        taken.clone(),
        "/metadata/ownerReferences",
        json!([agent.owner()]),
    );
    let locked = with(held.clone(), "/metadata/finalizers", json!(["x.io/keep"]));
    let unversioned = with(both.clone(), "/metadata/resourceVersion", json!(null));
    for forged in [held, &taken, &tied, &both, &locked, &unversioned] {
        refused(&agent.caller.replace(&path, forged), &path);
        refused(&agent.caller.merge(&path, forged), &path);
        refused(&agent.caller.delete_exactly(&path, forged), &path);
    }
    refused(&agent.caller.delete(&path), &path);
    refused(&agent.caller.delete(LEASES), LEASES);
}

/// What would make more room: limits, breakers of others, its own opt-in, other nodes.
fn forge(agent: &Agent) {
    let limits = format!("{CONFIG_MAPS}/limits");
    refused(
        &agent
            .caller
            .merge(&limits, &json!({ "data": { "cluster": "999" } })),
        &limits,
    );
    refused(&agent.caller.delete(&limits), &limits);
    let opted = json!({ "metadata": { "annotations": { "nodemend.io/mode": "auto" } } });
    for node in ["node-a", "node-b"] {
        let path = format!("/api/v1/nodes/{node}");
        refused(&agent.caller.merge(&path, &opted), &path);
        refused(
            &agent.caller.merge(&format!("{path}/status"), &opted),
            &path,
        );
    }
    let evicted = json!({ "metadata": { "name": "nodemend-agent-node-b" } });
    let pod = "/api/v1/namespaces/nodemend/pods/nodemend-agent-node-b";
    refused(
        &agent.caller.create(&format!("{pod}/eviction"), &evicted),
        pod,
    );
}

fn refused(answer: &Answer, what: &str) {
    let code = answer.code;
    assert!(
        matches!(code, 403 | 409 | 422),
        "{what}: {code} {}",
        answer.message()
    );
}
