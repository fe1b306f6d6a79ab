//! The Node: each of its fields, own and foreign, by both resources.

use serde_json::{Value, json};

use super::case::Want::{Allow, Deny};
use super::case::{Case, RBAC, Scene, run};
use crate::api::Answer;
use crate::fleet::Agent;

const OWN: &str = "its own Node only";
const NOTES: &str = "of the annotations an agent writes";
const META: &str = "labels, owners and finalizers";
const SPEC: &str = "of spec an agent writes";
const CORDON: &str = "a cordon of somebody else stays";
const TAINT: &str = "only taints whose key begins with nodemend.io/";
const CONDITION: &str = "an agent writes only the conditions";
const STATUS: &str = "of status an agent writes conditions only";

#[test]
fn an_agent_writes_its_own_fields_of_its_own_node_only() {
    let scene = Scene::new("nodes");
    run(&scene, METADATA_AND_SPEC);
    run(&scene, STATUS_CASES);
    status_beside_the_status_resource_changes_nothing(&scene);
}

/// The server drops it before admission is asked, so it is no refusal and no row of the table.
fn status_beside_the_status_resource_changes_nothing(scene: &Scene) {
    let before = scene
        .admin
        .get(&scene.own.node_path())
        .expect("read the Node");
    let patch = json!({ "status": { "capacity": { "cpu": "99" },
        "conditions": [{ "type": "Ready", "status": "False" }] } });
    let answer = scene.own.caller.patch(&scene.own.node_path(), &patch);
    answer.expect("the server drops the status");
    let after = scene
        .admin
        .get(&scene.own.node_path())
        .expect("read the Node");
    assert_eq!(before["status"], after["status"]);
}

const METADATA_AND_SPEC: &[Case] = &[
    ("read the own Node", Allow, |s| {
        s.own.caller.get(&s.own.node_path())
    }),
    ("watch the own Node", Allow, |s| {
        s.own
            .caller
            .get("/api/v1/nodes?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Dnode-a")
    }),
    ("list the Nodes", Deny(RBAC), |s| {
        s.own.caller.get("/api/v1/nodes")
    }),
    ("register a Node", Deny(RBAC), |s| {
        s.own.caller.create(
            "/api/v1/nodes",
            &json!({ "metadata": { "name": "node-c" } }),
        )
    }),
    ("remove the own Node", Deny(RBAC), |s| {
        s.own.caller.delete(&s.own.node_path())
    }),
    ("remove a foreign Node", Deny(RBAC), |s| {
        s.own.caller.delete(&s.foreign.node_path())
    }),
    ("remove all Nodes", Deny(RBAC), |s| {
        s.own.caller.delete("/api/v1/nodes")
    }),
    ("replace the own Node", Deny(RBAC), |s| {
        let node = s.own.caller.get(&s.own.node_path()).expect("read the Node");
        s.own.caller.replace(&s.own.node_path(), &node)
    }),
    ("ask the kubelet through the server", Deny(RBAC), |s| {
        s.own
            .caller
            .get(&format!("{}/proxy/pods", s.own.node_path()))
    }),
    ("write the state", Allow, |s| {
        note(s, &s.own, "nodemend.io/state", json!("waiting"))
    }),
    ("write the case", Allow, |s| {
        note(s, &s.own, "nodemend.io/case", json!("case-41"))
    }),
    ("write why it is blocked", Allow, |s| {
        note(s, &s.own, "nodemend.io/blocked", json!("mode"))
    }),
    ("remove the state", Allow, |s| {
        note(s, &s.own, "nodemend.io/state", json!("healthy")).expect("write the state");
        note(s, &s.own, "nodemend.io/state", json!(null))
    }),
    ("write a state of 1025 characters", Deny("1024"), |s| {
        note(s, &s.own, "nodemend.io/state", json!("x".repeat(1025)))
    }),
    ("opt in by mode", Deny(NOTES), |s| {
        note(s, &s.own, "nodemend.io/mode", json!("auto"))
    }),
    ("opt in by allow", Deny(NOTES), |s| {
        note(s, &s.own, "nodemend.io/allow", json!("reboot"))
    }),
    ("approve a case", Deny(NOTES), |s| {
        note(s, &s.own, "nodemend.io/approve", json!("case-41"))
    }),
    ("write a pause", Deny(NOTES), |s| {
        note(s, &s.own, "nodemend.io/pause", json!("x"))
    }),
    ("lift a pause", Deny(NOTES), |s| {
        let pause = json!({ "metadata": { "annotations": { "nodemend.io/pause": "no" } } });
        s.admin
            .merge(&s.own.node_path(), &pause)
            .expect("a person pauses the node");
        note(s, &s.own, "nodemend.io/pause", json!(null))
    }),
    ("remove the mode", Deny(NOTES), |s| {
        note(s, &s.own, "nodemend.io/mode", json!(null))
    }),
    ("write an unknown key of ours", Deny(NOTES), |s| {
        note(s, &s.own, "nodemend.io/x", json!("1"))
    }),
    ("write a foreign annotation", Deny(NOTES), |s| {
        note(s, &s.own, "other.io/note", json!("y"))
    }),
    ("remove a foreign annotation", Deny(NOTES), |s| {
        note(s, &s.own, "other.io/note", json!(null))
    }),
    ("write the state of a foreign Node", Deny(OWN), |s| {
        note(s, &s.foreign, "nodemend.io/state", json!("healthy"))
    }),
    ("opt a foreign Node in", Deny(OWN), |s| {
        note(s, &s.foreign, "nodemend.io/mode", json!("auto"))
    }),
    ("add a label", Deny(META), |s| {
        meta(s, json!({ "labels": { "x": "y" } }))
    }),
    ("move to another zone", Deny(META), |s| {
        meta(
            s,
            json!({ "labels": { "topology.kubernetes.io/zone": "b" } }),
        )
    }),
    ("remove a label", Deny(META), |s| {
        meta(
            s,
            json!({ "labels": { "topology.kubernetes.io/zone": null } }),
        )
    }),
    ("add a finalizer", Deny(META), |s| {
        meta(s, json!({ "finalizers": ["x.io/keep"] }))
    }),
    ("add an owner", Deny(META), |s| {
        meta(s, json!({ "ownerReferences": [s.foreign.owner()] }))
    }),
    ("cordon, with the note", Allow, |s| {
        cordon(s, json!(true), json!("run-1"))
    }),
    ("cordon without the note", Deny(CORDON), |s| {
        cordon(s, json!(true), json!(null))
    }),
    ("write the note without a cordon", Deny(CORDON), |s| {
        cordon(s, json!(null), json!("run-1"))
    }),
    ("lift the own cordon", Allow, |s| {
        cordon(s, json!(true), json!("run-1")).expect("cordon");
        cordon(s, json!(null), json!(null))
    }),
    ("lift the own cordon and keep the note", Deny(CORDON), |s| {
        cordon(s, json!(true), json!("run-1")).expect("cordon");
        cordon(s, json!(null), json!("run-1"))
    }),
    ("drop the note of the own cordon", Deny(CORDON), |s| {
        cordon(s, json!(true), json!("run-1")).expect("cordon");
        cordon(s, json!(true), json!(null))
    }),
    ("lift a person's cordon", Deny(CORDON), |s| {
        cordoned_by_a_person(s);
        cordon(s, json!(null), json!(null))
    }),
    ("claim a person's cordon", Deny(CORDON), |s| {
        cordoned_by_a_person(s);
        cordon(s, json!(true), json!("run-1"))
    }),
    ("cordon a foreign Node", Deny(OWN), |s| {
        let patch = json!({ "spec": { "unschedulable": true },
            "metadata": { "annotations": { "nodemend.io/cordoned": "run-1" } } });
        s.own.caller.patch(&s.foreign.node_path(), &patch)
    }),
    ("write the pod range", Deny(""), |s| {
        spec(
            s,
            json!({ "podCIDR": "10.9.0.0/24", "podCIDRs": ["10.9.0.0/24"] }),
        )
    }),
    ("write the provider's id", Deny(SPEC), |s| {
        spec(s, json!({ "providerID": "x://1" }))
    }),
    ("add an own taint", Allow, |s| {
        taint(s, "nodemend.io/quarantine", "NoSchedule")
    }),
    ("add an own taint that evicts", Deny("evicts nobody"), |s| {
        taint(s, "nodemend.io/quarantine", "NoExecute")
    }),
    ("add a foreign taint", Deny(TAINT), |s| {
        taint(s, "x.io/y", "NoSchedule")
    }),
    (
        "add the taint of a node that is out of service",
        Deny(TAINT),
        |s| taint(s, "node.kubernetes.io/out-of-service", "NoExecute"),
    ),
    ("change a foreign taint", Deny(TAINT), |s| {
        taint(s, "other.io/taint", "PreferNoSchedule")
    }),
    ("remove all taints", Deny(TAINT), |s| {
        spec(s, json!({ "taints": null }))
    }),
    ("taint a foreign Node", Deny(OWN), |s| {
        let taints = json!([{ "key": "nodemend.io/quarantine", "effect": "NoSchedule" }]);
        s.own.caller.patch(
            &s.foreign.node_path(),
            &json!({ "spec": { "taints": taints } }),
        )
    }),
];

const STATUS_CASES: &[Case] = &[
    ("set an own condition", Allow, |s| {
        condition(s, "SystemdUnresponsive")
    }),
    ("change an own condition", Allow, |s| {
        condition(s, "SystemdUnresponsive").expect("set it");
        let patch = json!({ "conditions": [{ "type": "SystemdUnresponsive", "status": "False" }] });
        status(s, patch)
    }),
    ("remove an own condition", Allow, |s| {
        condition(s, "SystemdUnresponsive").expect("set it");
        status(
            s,
            json!({ "conditions": [{ "type": "SystemdUnresponsive", "$patch": "delete" }] }),
        )
    }),
    ("set Ready", Deny(CONDITION), |s| condition(s, "Ready")),
    ("set MemoryPressure", Deny(CONDITION), |s| {
        condition(s, "MemoryPressure")
    }),
    ("set DiskPressure", Deny(CONDITION), |s| {
        condition(s, "DiskPressure")
    }),
    ("set PIDPressure", Deny(CONDITION), |s| {
        condition(s, "PIDPressure")
    }),
    ("set NetworkUnavailable", Deny(CONDITION), |s| {
        condition(s, "NetworkUnavailable")
    }),
    ("set an unlisted condition", Deny(CONDITION), |s| {
        condition(s, "OtherProblem")
    }),
    ("remove Ready", Deny(CONDITION), |s| {
        status(
            s,
            json!({ "conditions": [{ "type": "Ready", "$patch": "delete" }] }),
        )
    }),
    (
        "replace the whole list of conditions",
        Deny(CONDITION),
        |s| {
            let list = json!([{ "type": "SystemdUnresponsive", "status": "True" }]);
            let path = format!("{}/status", s.own.node_path());
            s.own
                .caller
                .merge(&path, &json!({ "status": { "conditions": list } }))
        },
    ),
    ("set an own condition of a foreign Node", Deny(OWN), |s| {
        let list = json!([{ "type": "SystemdUnresponsive", "status": "True" }]);
        let path = format!("{}/status", s.foreign.node_path());
        s.own
            .caller
            .patch(&path, &json!({ "status": { "conditions": list } }))
    }),
    ("write addresses", Deny(STATUS), |s| {
        status(
            s,
            json!({ "addresses": [{ "type": "InternalIP", "address": "192.0.2.9" }] }),
        )
    }),
    ("write capacity", Deny(STATUS), |s| {
        status(s, json!({ "capacity": { "x.io/gpu": "8" } }))
    }),
    ("write allocatable", Deny(STATUS), |s| {
        status(s, json!({ "allocatable": { "cpu": "8" } }))
    }),
    ("write the daemon's endpoints", Deny(STATUS), |s| {
        status(
            s,
            json!({ "daemonEndpoints": { "kubeletEndpoint": { "Port": 1 } } }),
        )
    }),
    ("write images", Deny(STATUS), |s| {
        status(s, json!({ "images": [{ "names": ["x"], "sizeBytes": 1 }] }))
    }),
    ("write node info", Deny(STATUS), |s| {
        status(s, json!({ "nodeInfo": { "kubeletVersion": "v9" } }))
    }),
    ("write phase", Deny(STATUS), |s| {
        status(s, json!({ "phase": "Terminated" }))
    }),
    ("write attached volumes", Deny(STATUS), |s| {
        status(
            s,
            json!({ "volumesAttached": [{ "name": "x", "devicePath": "y" }] }),
        )
    }),
    ("write volumes in use", Deny(STATUS), |s| {
        status(s, json!({ "volumesInUse": ["x"] }))
    }),
    ("write runtime handlers", Deny(STATUS), |s| {
        status(s, json!({ "runtimeHandlers": [{ "name": "x" }] }))
    }),
    ("write features", Deny(STATUS), |s| {
        status(
            s,
            json!({ "features": { "supplementalGroupsPolicy": true } }),
        )
    }),
    ("opt in by the status resource", Deny(NOTES), |s| {
        through_status(s, json!({ "annotations": { "nodemend.io/mode": "auto" } }))
    }),
    ("label by the status resource", Deny(META), |s| {
        through_status(s, json!({ "labels": { "x": "y" } }))
    }),
    ("replace the own status", Deny(RBAC), |s| {
        let node = s.own.caller.get(&s.own.node_path()).expect("read the Node");
        s.own
            .caller
            .replace(&format!("{}/status", s.own.node_path()), &node)
    }),
];

fn note(scene: &Scene, agent: &Agent, key: &str, value: Value) -> Answer {
    let patch = json!({ "metadata": { "annotations": { key: value } } });
    scene.own.caller.patch(&agent.node_path(), &patch)
}

fn meta(scene: &Scene, metadata: Value) -> Answer {
    scene
        .own
        .caller
        .patch(&scene.own.node_path(), &json!({ "metadata": metadata }))
}

fn spec(scene: &Scene, spec: Value) -> Answer {
    scene
        .own
        .caller
        .patch(&scene.own.node_path(), &json!({ "spec": spec }))
}

/// Taints are one atomic list: whoever adds one writes the others again.
fn taint(scene: &Scene, key: &str, effect: &str) -> Answer {
    let node = scene
        .own
        .caller
        .get(&scene.own.node_path())
        .expect("read the Node");
    let mut taints = node["spec"]["taints"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    taints.retain(|taint| taint["key"] != key);
    taints.push(json!({ "key": key, "effect": effect }));
    let version = json!({ "resourceVersion": node["metadata"]["resourceVersion"] });
    let patch = json!({ "metadata": version, "spec": { "taints": taints } });
    scene.own.caller.patch(&scene.own.node_path(), &patch)
}

fn cordon(scene: &Scene, unschedulable: Value, note: Value) -> Answer {
    let patch = json!({ "spec": { "unschedulable": unschedulable },
        "metadata": { "annotations": { "nodemend.io/cordoned": note } } });
    scene.own.caller.patch(&scene.own.node_path(), &patch)
}

fn cordoned_by_a_person(scene: &Scene) {
    let patch = json!({ "spec": { "unschedulable": true } });
    scene
        .admin
        .patch(&scene.own.node_path(), &patch)
        .expect("a person cordons the node");
}

fn status(scene: &Scene, status: Value) -> Answer {
    let path = format!("{}/status", scene.own.node_path());
    scene.own.caller.patch(&path, &json!({ "status": status }))
}

fn condition(scene: &Scene, kind: &str) -> Answer {
    let condition = json!({ "type": kind, "status": "False", "reason": "Test" });
    status(scene, json!({ "conditions": [condition] }))
}

fn through_status(scene: &Scene, metadata: Value) -> Answer {
    let path = format!("{}/status", scene.own.node_path());
    scene
        .own
        .caller
        .patch(&path, &json!({ "metadata": metadata }))
}
