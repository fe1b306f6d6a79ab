//! Real agent processes beside a real API server.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::fleet::{EVENTS, LEASES};
use crate::invariants::breaches;
use crate::matrix::case::{Scene, lease};
use crate::patients::{MENDED_WITHIN, Patient};
use crate::process::until;
use crate::rights::{granted, used};
use crate::steps;

fn auto() -> Value {
    json!({ "nodemend.io/mode": "auto", "nodemend.io/allow": "restart" })
}

fn condition(scene: &Scene, node: &str, kind: &str) -> Option<Value> {
    let object = scene
        .admin
        .get(&format!("/api/v1/nodes/{node}"))
        .expect("read the Node");
    let list = object["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    list.into_iter().find(|one| one["type"] == kind)
}

fn note(scene: &Scene, node: &str, key: &str) -> String {
    let object = scene
        .admin
        .get(&format!("/api/v1/nodes/{node}"))
        .expect("read the Node");
    object["metadata"]["annotations"][key]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn leases(scene: &Scene) -> Vec<String> {
    let list = scene.admin.get(LEASES).expect("list leases");
    let items = list["items"].as_array().cloned().unwrap_or_default();
    items
        .iter()
        .filter_map(|one| one["metadata"]["name"].as_str().map(str::to_owned))
        .collect()
}

#[test]
fn an_agent_takes_a_slot_mends_frees_it_and_tells_the_node() {
    let scene = Scene::new("one-agent");
    scene.set_limits(&json!({ "cluster": "1", "zone-a": "1" }));
    let mut patient = Patient::admit(&scene.plane, "node-p", &auto());
    until(
        "the agent says that the node is healthy",
        MENDED_WITHIN,
        || {
            patient.process.ensure_alive();
            note(&scene, "node-p", "nodemend.io/state") == "healthy"
        },
    );
    patient.fall_sick();
    until("the condition is set", MENDED_WITHIN, || {
        condition(&scene, "node-p", "KernelSettingsDrift")
            .is_some_and(|one| one["status"] == "True")
    });
    let closed = patient.await_told("run-closed", MENDED_WITHIN);
    assert_eq!(closed["outcome"], "mended", "{closed:#}");
    assert!(patient.is_well());
    until("the condition is cleared", MENDED_WITHIN, || {
        condition(&scene, "node-p", "KernelSettingsDrift")
            .is_some_and(|one| one["status"] == "False")
    });
    until("slots and claim are freed", MENDED_WITHIN, || {
        leases(&scene).is_empty()
    });
    until("the node is healthy again", MENDED_WITHIN, || {
        note(&scene, "node-p", "nodemend.io/state") == "healthy"
    });

    let began = patient.told("step-began").pop().expect("a step");
    let version = began["opt_in"].as_str().expect("the opt-in's version");
    assert!(
        version.parse::<u64>().is_ok(),
        "a resourceVersion: {began:#}"
    );
    assert!(
        began["slot"]
            .as_str()
            .is_some_and(|slot| slot.starts_with("slot.cluster.0/")),
        "{began:#}"
    );
    let calls = scene.plane.audit().calls();
    let at = |verb: &str, name: &str| {
        calls
            .iter()
            .position(|call| call.verb == verb && call.name == name && call.is_done())
    };
    let (read, got) = (at("get", "node-p"), at("create", "slot.cluster.0"));
    assert!(
        read.is_some() && got.is_some(),
        "the Node is read, the slot created"
    );
    assert!(
        at("update", "slot.cluster.0").is_some(),
        "renewed by PUT before the step"
    );
    let caps = BTreeMap::from([("cluster", 1), ("zone-a", 1)]);
    assert_eq!(breaches(&calls, &caps), Vec::<String>::new());
    let unproved = steps::breaches("node-p", &patient.audit(), &calls);
    assert_eq!(unproved, Vec::<String>::new());
    let (rights, refused) = used(&calls);
    assert_eq!(refused, Vec::<String>::new(), "RBAC refused nothing");
    assert!(rights.is_subset(&granted()), "{rights:?}");
    let events = scene.admin.get(EVENTS).expect("list events");
    assert!(
        !events["items"].as_array().expect("a list").is_empty(),
        "an event was told"
    );
}

#[test]
fn agents_that_are_all_sick_never_hold_more_slots_than_the_cap_and_all_are_mended() {
    let scene = Scene::new("many-agents");
    scene.set_limits(
        &json!({ "cluster": "2", "zone-a": "2", "storm-nodes": "100", "storm-nodes-any": "100" }),
    );
    let mut patients: Vec<Patient> = (0..8)
        .map(|i| Patient::admit(&scene.plane, &format!("node-{i}"), &auto()))
        .collect();
    for patient in &patients {
        patient.fall_sick();
    }
    for patient in &mut patients {
        let closed = patient.await_told("run-closed", Duration::from_secs(400));
        assert_eq!(closed["outcome"], "mended", "{closed:#}");
    }
    let caps = BTreeMap::from([("cluster", 2), ("zone-a", 2)]);
    assert_eq!(
        breaches(&scene.plane.audit().calls(), &caps),
        Vec::<String>::new()
    );
    let calls = scene.plane.audit().calls();
    for patient in &patients {
        let unproved = steps::breaches(&patient.agent.node, &patient.audit(), &calls);
        assert_eq!(unproved, Vec::<String>::new());
    }
    until("all slots and claims are freed", MENDED_WITHIN, || {
        leases(&scene).is_empty()
    });
}

#[test]
fn garbage_in_an_annotation_is_observe_and_the_node_says_why() {
    let scene = Scene::new("garbage");
    scene.set_limits(&json!({ "cluster": "1", "zone-a": "1" }));
    let notes = json!({ "nodemend.io/mode": "Auto", "nodemend.io/allow": "restart" });
    let mut patient = Patient::admit(&scene.plane, "node-p", &notes);
    patient.fall_sick();
    until(
        "the node says what is not understood",
        MENDED_WITHIN,
        || {
            patient.process.ensure_alive();
            note(&scene, "node-p", "nodemend.io/blocked").contains("nodemend.io/mode")
        },
    );
    assert!(!patient.is_well() && leases(&scene).is_empty());
    // Put right by a person, it acts without a restart.
    scene
        .admin
        .merge(
            &patient.agent.node_path(),
            &json!({ "metadata": { "annotations": auto() } }),
        )
        .expect("opt in");
    patient.await_told("run-closed", MENDED_WITHIN);
    assert!(patient.is_well());
}

#[test]
fn while_the_api_server_is_away_no_step_begins() {
    let mut scene = Scene::new("away");
    scene.set_limits(&json!({ "cluster": "1", "zone-a": "1" }));
    let mut patient = Patient::admit(&scene.plane, "node-p", &auto());
    until("the agent has seen its node", MENDED_WITHIN, || {
        note(&scene, "node-p", "nodemend.io/state") == "healthy"
    });
    scene.plane.api.kill();
    patient.fall_sick();
    let opened = patient.await_told("case-opened", MENDED_WITHIN);
    assert_eq!(
        opened["signature"], "kernel-sysctl-drift",
        "detection goes on"
    );
    until(
        "it says that it waits for the server",
        MENDED_WITHIN,
        || {
            patient.process.ensure_alive();
            let waits = |record: &Value| record["decision"] == "wait" && !record["run"].is_null();
            patient.told("decided").iter().any(waits)
        },
    );
    patient.process.ensure_alive();
    assert!(!patient.is_well(), "nothing was touched");
    assert!(patient.told("step-began").is_empty());
    scene.plane.api.restart();
    scene.plane.await_ready();
    let closed = patient.await_told("run-closed", Duration::from_secs(300));
    assert_eq!(closed["outcome"], "mended", "{closed:#}");
    // The record is on the disk before the slot is freed.
    until("the slot is freed", MENDED_WITHIN, || {
        scene.admin.get(&lease("slot.cluster.0")).code == 404
    });
}

#[test]
fn a_breaker_stops_a_sick_node_and_its_removal_lets_it_go_on() {
    let scene = Scene::new("cord");
    scene.set_limits(&json!({ "cluster": "1", "zone-a": "1" }));
    let breaker = json!({ "metadata": { "name": "breaker-stop", "namespace": "nodemend" }, "data": { "reason": "audit week" } });
    scene
        .admin
        .create(crate::fleet::CONFIG_MAPS, &breaker)
        .expect("pull the cord");
    let mut patient = Patient::admit(&scene.plane, "node-p", &auto());
    patient.fall_sick();
    until("the node says why it waits", MENDED_WITHIN, || {
        patient.process.ensure_alive();
        note(&scene, "node-p", "nodemend.io/blocked").contains("audit week")
    });
    assert_eq!(note(&scene, "node-p", "nodemend.io/state"), "waiting");
    assert!(!patient.is_well() && leases(&scene).is_empty());
    scene
        .admin
        .delete(&format!("{}/breaker-stop", crate::fleet::CONFIG_MAPS))
        .expect("let go");
    patient.await_told("run-closed", Duration::from_secs(300));
    assert!(patient.is_well());
}

#[test]
fn a_node_that_is_deleted_while_it_holds_a_slot_frees_it_and_does_nothing_more() {
    let scene = Scene::with_controllers("deleted");
    // The DaemonSet's pods have no kubelet here, so none of its agents is ever available.
    scene.set_limits(&json!({ "cluster": "1", "zone-a": "1", "storm-unavailable": "999" }));
    let mut patient = Patient::admit(&scene.plane, "node-p", &auto());
    until("the agent has seen its node", MENDED_WITHIN, || {
        patient.process.ensure_alive();
        note(&scene, "node-p", "nodemend.io/state") == "healthy"
    });
    patient.fall_sick();
    // The soak of five seconds begins here; the slot is held through it.
    patient.await_told("step-applied", MENDED_WITHIN);
    scene
        .admin
        .delete(&patient.agent.node_path())
        .expect("remove the Node");
    until("the slots of the lost Node are gone", MENDED_WITHIN, || {
        leases(&scene).is_empty()
    });
    patient.process.ensure_alive();
    assert_eq!(patient.told("step-began").len(), 1, "one step and no more");
}
