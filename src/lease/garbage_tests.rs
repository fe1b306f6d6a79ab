//! Values of absurd length, versions that nobody knows, and clocks an hour apart, against a fake API server.

use super::api::ApiSlots;
use super::api_tests::{INSTANCE, Scene, Silent, get};
use super::fixture::cleared;
use super::keeper::Keeper;
use super::{Grounds, Lease};
use crate::host::cluster::{Cluster, NodeView, Resource};
use crate::host::fake::HandClock;
use crate::policy::RunId;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const HOUR_US: i64 = 3_600_000_000;

fn huge(start: &str) -> String {
    format!("{start}{}", "9".repeat(1 << 20))
}

/// The slot of another node, with one of its parts as given.
fn slot_with(pointer: &str, value: Value) -> Value {
    let mut object = json!({
        "kind": "Lease", "apiVersion": "coordination.k8s.io/v1",
        "metadata": { "name": "slot.cluster.0", "uid": "u", "resourceVersion": "5",
            "labels": { "nodemend.io/kind": "slot" },
            "annotations": { "nodemend.io/phase": "failed", "nodemend.io/failed": "d1" },
            "ownerReferences": [{ "uid": "node-uid-b" }] },
        "spec": { "holderIdentity": "b" } });
    *object.pointer_mut(pointer).expect("it is there") = value;
    object
}

fn claim_with(pointer: &str, value: Value) -> Value {
    let mut object = json!({
        "kind": "Lease", "apiVersion": "coordination.k8s.io/v1",
        "metadata": { "name": "b", "uid": "c", "creationTimestamp": "2026-11-22T08:59:00Z",
            "annotations": { "nodemend.io/instance": INSTANCE },
            "labels": { "nodemend.io/kind": "claim", "nodemend.io/signature": "s" } } });
    *object.pointer_mut(pointer).expect("it is there") = value;
    object
}

/// With these objects there is no slot, and the sentence says which object and field in a few words.
async fn refuses(resource: Resource, object: Value, parts: &[&str]) {
    let scene = Scene::with_limits(json!({ "cluster": "1", "storm-casualties": "0" }));
    scene.server.plant(resource, object);
    let agent = scene.agent("a");
    let error = get(&agent, 1).await.expect_err("no slot").to_string();
    for part in parts {
        assert!(error.contains(part), "{part}: {error:.300}");
    }
    assert!(error.len() < 700, "{parts:?}: {} bytes", error.len());
    // Nor is what it did not understand its own, to be freed.
    agent
        .recover(cleared(), RunId(1))
        .await
        .expect_err("no slot");
}

#[tokio::test]
async fn an_unknown_version_of_any_object_gives_no_slot_and_is_named() {
    let version = "/apiVersion";
    let field = "apiVersion is";
    for (resource, object, name) in [
        (
            Resource::ConfigMaps,
            json!({ "apiVersion": "v2", "metadata": { "name": "limits" }, "data": { "cluster": "1" } }),
            "ConfigMap limits",
        ),
        (
            Resource::ConfigMaps,
            json!({ "apiVersion": 1, "metadata": { "name": "other" } }),
            "ConfigMap other",
        ),
        (
            Resource::Leases,
            slot_with(version, json!("coordination.k8s.io/v1beta1")),
            "Lease slot.cluster.0",
        ),
        (
            Resource::Leases,
            claim_with(version, json!("coordination.k8s.io/v2")),
            "Lease b",
        ),
        (
            Resource::Leases,
            claim_with(version, json!(huge("v"))),
            "Lease b",
        ),
        (
            Resource::DaemonSets,
            json!({ "apiVersion": "apps/v2", "metadata": { "name": "nodemend" },
                "status": { "desiredNumberScheduled": 3, "numberUnavailable": 0 } }),
            "DaemonSet nodemend",
        ),
    ] {
        refuses(resource, object, &[name, field]).await;
    }
}

#[tokio::test]
async fn huge_values_give_no_slot_and_a_short_sentence() {
    let note = |key: &str| format!("/metadata/annotations/nodemend.io~1{key}");
    let casualty = "slots of failed runs";
    for (object, parts) in [
        (
            slot_with("/metadata/name", json!(huge("slot.cluster."))),
            ["Lease slot.cluster.9", "metadata.name"],
        ),
        (
            slot_with("/spec/holderIdentity", json!(huge("b"))),
            [casualty, "slot.cluster.0 (b9"],
        ),
        (
            slot_with(&note("phase"), json!(huge("p"))),
            [casualty, "(b)"],
        ),
        (
            slot_with(&note("failed"), json!(huge("d,").replace('9', "9,"))),
            [casualty, "(b)"],
        ),
        (
            claim_with("/metadata/creationTimestamp", json!(huge("2"))),
            ["Lease b", "metadata.creationTimestamp"],
        ),
        (
            claim_with(
                "/metadata/labels",
                json!({ "nodemend.io/kind": "claim", huge("k"): 7 }),
            ),
            ["Lease b", "metadata.labels"],
        ),
    ] {
        refuses(Resource::Leases, object, &parts).await;
    }
    for (data, parts) in [
        (
            json!({ "cluster": huge("1") }),
            ["domain cluster", "limit is 0"],
        ),
        (
            json!({ huge("zone-"): 1, "cluster": "1" }),
            ["domain cluster", "limit is 0"],
        ),
    ] {
        let object = json!({ "metadata": { "name": "limits" }, "data": data });
        refuses(Resource::ConfigMaps, object.clone(), &parts).await;
        let scene = Scene::with_limits(data);
        let limits = scene.agent("a").store().limits().await.expect("reads");
        let trouble = limits.trouble.first().expect("it is told").to_string();
        assert!(
            trouble.starts_with("ConfigMap limits: data"),
            "{trouble:.200}"
        );
        assert!(trouble.len() < 300, "{} bytes", trouble.len());
    }
    let breaker =
        json!({ "metadata": { "name": huge("breaker-") }, "data": { "reason": huge("r") } });
    refuses(
        Resource::ConfigMaps,
        breaker,
        &["ConfigMap breaker-9", "r9"],
    )
    .await;
}

/// Clocks as the machines have them: one is right, one an hour ahead, one an hour behind.
#[tokio::test]
async fn agents_whose_clocks_are_an_hour_apart_share_the_cap_and_keep_what_they_hold() {
    let scene = Scene::with_limits(json!({ "cluster": "2", "storm-nodes": "50" }));
    let agents = [("right", 0), ("ahead", HOUR_US), ("behind", -HOUR_US)].map(|(node, off)| {
        let clock = Arc::new(HandClock::at(100));
        clock.set_wall_off_by(off);
        let cluster: Arc<dyn Cluster> = scene.server.clone();
        let slots = ApiSlots::new(cluster, "nodemend", node, INSTANCE, Arc::new(Silent));
        let slots = slots.timed_by(clock.clone());
        slots.meet(&NodeView {
            name: node.to_owned(),
            uid: format!("node-uid-{node}"),
            ..NodeView::default()
        });
        (Keeper::new(Arc::new(slots), clock.clone()), clock)
    });
    let mut held = Vec::new();
    for (agent, _) in &agents {
        held.extend(get(agent, 1).await.ok().map(|permit| (agent, permit)));
    }
    assert_eq!(held.len(), 2, "the cap holds for all of them");
    let (_, last) = &agents[2];
    // Each renews by its own clock, and neither the time in the other's slot nor a clock that is set again changes a thing.
    for turn in 0..8_u32 {
        for (_, clock) in &agents {
            clock.turn(Duration::from_secs(15));
        }
        last.set_wall_off_by(if turn % 2 == 0 { HOUR_US } else { -HOUR_US });
        for (agent, permit) in &held {
            agent.renew(permit).await.expect("its own");
        }
        let (third, _) = &agents[2];
        let error = get(third, 2).await.expect_err("all are taken").to_string();
        assert!(error.contains("all 2 slots of domain cluster"), "{error}");
    }
    for (agent, permit) in held {
        agent.release(permit, Grounds::Soaked).await.expect("freed");
    }
    get(&agents[2].0, 3).await.expect("now there is one");
}
