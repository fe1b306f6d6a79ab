//! Events: an agent speaks about its own Node, in its own name.

use serde_json::{Value, json};

use super::case::Want::{Allow, Conflict, Deny, Invalid};
use super::case::{Case, RBAC, Scene, run, with};
use crate::api::Answer;
use crate::fleet::EVENTS;

const REGARDING: &str = "regarding its own Node only";
const REPORTER: &str = "reportingController is";

#[test]
fn an_agent_reports_events_about_its_own_node_only() {
    let scene = Scene::new("events");
    run(&scene, CASES);
}

const CASES: &[Case] = &[
    ("report an event", Allow, |s| {
        event(s, "own.1", "/note", json!("x"))
    }),
    ("report the same event object twice", Conflict, |s| {
        event(s, "own.2", "/note", json!("x")).expect("the first");
        event(s, "own.2", "/note", json!("x"))
    }),
    ("continue an own series", Allow, |s| {
        event(s, "own.3", "/note", json!("x")).expect("the first");
        series(s, "own.3")
    }),
    ("report about a foreign Node", Deny(REGARDING), |s| {
        event(s, "own.4", "/regarding/name", json!("node-b"))
    }),
    ("report about a Pod", Deny(REGARDING), |s| {
        event(s, "own.5", "/regarding/kind", json!("Pod"))
    }),
    ("report about nothing", Deny(REGARDING), |s| {
        event(s, "own.6", "/regarding", json!(null))
    }),
    ("report in the name of the kubelet", Deny(REPORTER), |s| {
        event(s, "own.7", "/reportingController", json!("kubelet"))
    }),
    (
        "report in the name of a foreign agent",
        Deny(REPORTER),
        |s| event(s, "own.8", "/reportingInstance", json!("node-b")),
    ),
    (
        "continue the series of a foreign agent",
        Deny(REGARDING),
        |s| {
            s.foreign
                .caller
                .create(EVENTS, &s.foreign.event("foreign.1"))
                .expect("a foreign event");
            series(s, "foreign.1")
        },
    ),
    (
        "turn a foreign event into an own one",
        Invalid("field is immutable"),
        |s| {
            s.foreign
                .caller
                .create(EVENTS, &s.foreign.event("foreign.2"))
                .expect("a foreign event");
            let patch = json!({ "regarding": { "name": "node-a" }, "reportingInstance": "node-a" });
            s.own.caller.merge(&format!("{EVENTS}/foreign.2"), &patch)
        },
    ),
    ("replace an event", Deny(RBAC), |s| {
        s.own
            .caller
            .replace(&format!("{EVENTS}/own.1"), &s.own.event("own.1"))
    }),
    ("remove an event", Deny(RBAC), |s| {
        s.own.caller.delete(&format!("{EVENTS}/own.1"))
    }),
    ("read an event", Deny(RBAC), |s| {
        s.own.caller.get(&format!("{EVENTS}/own.1"))
    }),
    ("list events", Deny(RBAC), |s| s.own.caller.get(EVENTS)),
    ("report a core event", Deny(RBAC), |s| {
        let event = json!({ "metadata": { "name": "own.9" },
            "involvedObject": { "kind": "Node", "name": "node-a" } });
        s.own
            .caller
            .create("/api/v1/namespaces/default/events", &event)
    }),
    ("report an event in its own namespace", Deny(RBAC), |s| {
        s.own.caller.create(
            "/apis/events.k8s.io/v1/namespaces/nodemend/events",
            &s.own.event("e"),
        )
    }),
];

fn event(scene: &Scene, name: &str, pointer: &str, value: Value) -> Answer {
    scene
        .own
        .caller
        .create(EVENTS, &with(scene.own.event(name), pointer, value))
}

fn series(scene: &Scene, name: &str) -> Answer {
    let series = json!({ "count": 2, "lastObservedTime": "2026-11-22T08:01:00.000000Z" });
    scene
        .own
        .caller
        .merge(&format!("{EVENTS}/{name}"), &json!({ "series": series }))
}
