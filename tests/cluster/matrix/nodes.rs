//! The Node: each of its fields, own and foreign, by both resources.

use std::time::Duration;

use serde_json::{Value, json};

use super::case::Want::{Allow, Deny};
use super::case::{Case, RBAC, Scene, run};
use crate::api::Answer;
use crate::fleet::Agent;
use crate::process::throughout;

const OWN: &str = "its own Node only";
const NOTES: &str = "of the annotations an agent writes";
const META: &str = "labels, owners and finalizers";
const CONDITION: &str = "an agent writes only the conditions";
const KUBERNETES: &str = "never those of Kubernetes";
const STATUS: &str = "of status an agent writes conditions only";

#[test]
fn an_agent_writes_its_own_fields_of_its_own_node_only() {
    let scene = Scene::new("nodes");
    run(&scene, METADATA_AND_SPEC);
    run(&scene, STATUS_CASES);
    conditions_and_annotations_are_one_request(&scene);
    spec_by_the_status_resource_changes_nothing(&scene);
}

/// What the agent does on the leading edge of a case.
fn conditions_and_annotations_are_one_request(scene: &Scene) {
    let patch = json!({
        "metadata": { "annotations": { "nodemend.io/state": "case", "nodemend.io/case": "case-9" } },
        "status": { "conditions": [{ "type": "SystemdUnresponsive", "status": "True", "reason": "Test" }] } });
    let path = format!("{}/status", scene.own.node_path());
    let answer = scene.own.caller.patch(&path, &patch);
    answer.expect("both are its own");
    let node = scene
        .admin
        .get(&scene.own.node_path())
        .expect("read the Node");
    assert_eq!(
        node["metadata"]["annotations"]["nodemend.io/case"],
        "case-9"
    );
    let conditions = node["status"]["conditions"].as_array().expect("a list");
    let is_set = |one: &&Value| one["type"] == "SystemdUnresponsive" && one["status"] == "True";
    assert_eq!(
        conditions.iter().filter(is_set).count(),
        1,
        "{conditions:#?}"
    );
    // One part that is not its own, and nothing of it is written.
    let mut forged = patch.clone();
    forged["metadata"]["annotations"] =
        json!({ "nodemend.io/state": "x", "nodemend.io/mode": "auto" });
    let answer = scene.own.caller.patch(&path, &forged);
    assert_eq!(answer.code, 403, "{}", answer.message());
    let after = scene
        .admin
        .get(&scene.own.node_path())
        .expect("read the Node");
    assert_eq!(
        after["metadata"]["annotations"],
        node["metadata"]["annotations"]
    );
}

/// The server drops it before admission is asked, so it is no refusal and no row of the table.
fn spec_by_the_status_resource_changes_nothing(scene: &Scene) {
    let before = scene
        .admin
        .get(&scene.own.node_path())
        .expect("read the Node");
    let patch = json!({ "spec": { "unschedulable": true, "podCIDR": "10.9.0.0/24", "providerID": "x://1",
        "taints": [{ "key": "nodemend.io/quarantine", "effect": "NoExecute" }] } });
    let path = format!("{}/status", scene.own.node_path());
    let answer = scene.own.caller.patch(&path, &patch);
    answer.expect("the server drops the spec");
    let after = scene
        .admin
        .get(&scene.own.node_path())
        .expect("read the Node");
    assert_eq!(before["spec"], after["spec"]);
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
    ("write the note of a cordon", Deny(NOTES), |s| {
        note(s, &s.own, "nodemend.io/cordoned", json!("run-1"))
    }),
    ("annotate the own Node beside its status", Deny(RBAC), |s| {
        beside(
            s,
            json!({ "metadata": { "annotations": { "nodemend.io/state": "healthy" } } }),
        )
    }),
    ("opt in beside the status", Deny(RBAC), |s| {
        beside(
            s,
            json!({ "metadata": { "annotations": { "nodemend.io/mode": "auto" } } }),
        )
    }),
    ("set a condition beside the status", Deny(RBAC), |s| {
        let list = json!([{ "type": "SystemdUnresponsive", "status": "True" }]);
        beside(s, json!({ "status": { "conditions": list } }))
    }),
    ("cordon", Deny(RBAC), |s| {
        beside(s, json!({ "spec": { "unschedulable": true } }))
    }),
    ("lift a person's cordon", Deny(RBAC), |s| {
        let patch = json!({ "spec": { "unschedulable": true } });
        let cordoned = s.admin.patch(&s.own.node_path(), &patch);
        cordoned.expect("a person cordons the node");
        beside(s, json!({ "spec": { "unschedulable": null } }))
    }),
    ("cordon a foreign Node", Deny(RBAC), |s| {
        let patch = json!({ "spec": { "unschedulable": true } });
        s.own.caller.patch(&s.foreign.node_path(), &patch)
    }),
    ("write the pod range", Deny(RBAC), |s| {
        beside(s, json!({ "spec": { "podCIDR": "10.9.0.0/24" } }))
    }),
    ("write the provider's id", Deny(RBAC), |s| {
        beside(s, json!({ "spec": { "providerID": "x://1" } }))
    }),
    ("add a taint of our prefix", Deny(RBAC), |s| {
        taint(s, "nodemend.io/quarantine", "NoSchedule")
    }),
    ("add a taint that evicts", Deny(RBAC), |s| {
        taint(s, "nodemend.io/quarantine", "NoExecute")
    }),
    (
        "add the taint of a node that is out of service",
        Deny(RBAC),
        |s| taint(s, "node.kubernetes.io/out-of-service", "NoExecute"),
    ),
    ("remove all taints", Deny(RBAC), |s| {
        beside(s, json!({ "spec": { "taints": null } }))
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
    (
        "put a condition twice in the place of Ready",
        Deny(CONDITION),
        |s| {
            let node = s.admin.get(&s.own.node_path()).expect("the Node");
            let list = node["status"]["conditions"].as_array().expect("a list");
            let other = list.iter().find(|one| one["type"] == "OtherToolProblem");
            let other = other.expect("another tool's");
            let path = format!("{}/status", s.own.node_path());
            let twice = json!({ "status": { "conditions": [other, other] } });
            s.own.caller.merge(&path, &twice)
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
    ("replace the own status", Deny(RBAC), |s| {
        let node = s.own.caller.get(&s.own.node_path()).expect("read the Node");
        s.own
            .caller
            .replace(&format!("{}/status", s.own.node_path()), &node)
    }),
];

fn note(scene: &Scene, agent: &Agent, key: &str, value: Value) -> Answer {
    let patch = json!({ "metadata": { "annotations": { key: value } } });
    let path = format!("{}/status", agent.node_path());
    scene.own.caller.patch(&path, &patch)
}

fn meta(scene: &Scene, metadata: Value) -> Answer {
    let path = format!("{}/status", scene.own.node_path());
    scene
        .own
        .caller
        .patch(&path, &json!({ "metadata": metadata }))
}

/// A write to the Node and not to its status.
fn beside(scene: &Scene, patch: Value) -> Answer {
    scene.own.caller.patch(&scene.own.node_path(), &patch)
}

fn taint(scene: &Scene, key: &str, effect: &str) -> Answer {
    beside(
        scene,
        json!({ "spec": { "taints": [{ "key": key, "effect": effect }] } }),
    )
}

fn status(scene: &Scene, status: Value) -> Answer {
    let path = format!("{}/status", scene.own.node_path());
    scene.own.caller.patch(&path, &json!({ "status": status }))
}

fn condition(scene: &Scene, kind: &str) -> Answer {
    let condition = json!({ "type": kind, "status": "False", "reason": "Test" });
    status(scene, json!({ "conditions": [condition] }))
}

/// Rules with a parameter that is missing refuse the writes of everybody whom they match, before they ask who it is: an operator
/// who removes our namespace must not cut every kubelet off from its Node.
#[test]
fn without_the_list_of_conditions_nobody_but_agents_is_held_up() {
    let scene = Scene::new("nodes-listless");
    let path = format!("{}/status", scene.own.node_path());
    let beat = json!({ "status": { "conditions": [
        { "type": "Ready", "status": "True", "reason": "KubeletReady" }] } });
    let list = format!("{}/conditions", crate::fleet::CONFIG_MAPS);
    let removed = scene.admin.delete(&list);
    removed.expect("an operator removes the list");
    throughout("a kubelet reports", Duration::from_secs(5), || {
        let answer = scene.admin.patch(&path, &beat);
        !answer.expect("a kubelet reports").is_null()
    });
    // What is Kubernetes' own is refused to agents all the same.
    run(
        &scene,
        &[
            ("set Ready without the list", Deny(KUBERNETES), |s| {
                condition(s, "Ready")
            }),
            ("opt in without the list", Deny(NOTES), |s| {
                note(s, &s.own, "nodemend.io/mode", json!("auto"))
            }),
        ],
    );
}
