//! Limits, conditions and breakers: an agent reads them, and may only pull the stop cord.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::case::Want::{Allow, Deny};
use super::case::{Case, DRY, RBAC, Scene, lease, run};
use crate::api::Answer;
use crate::fleet::{CONFIG_MAPS, LEASES};
use crate::process::until;

const NEVER: &str = "ValidatingAdmissionPolicy 'nodemend-agent-";
const MAKE: &str = "the only ConfigMap of an agent's making";
/// The server learns of a changed parameter by its own watch, not in the call itself.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn an_agent_pulls_the_stop_cord_and_changes_no_other_configmap() {
    let scene = Scene::new("configmaps");
    run(&scene, CASES);
}

const CASES: &[Case] = &[
    ("read the limits", Allow, |s| {
        s.own.caller.get(&map("limits"))
    }),
    ("list limits and breakers", Allow, |s| {
        s.own.caller.get(CONFIG_MAPS)
    }),
    ("watch limits and breakers", Deny(RBAC), |s| {
        s.own
            .caller
            .get(&format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=1"))
    }),
    ("pull the stop cord", Allow, |s| {
        create(s, &breaker("breaker-storm"))
    }),
    ("pull it with a reason", Allow, |s| {
        create(
            s,
            &with_data(json!({ "reason": "kernel-oops on 7 nodes in 10 min" })),
        )
    }),
    ("pull it without the label", Deny(MAKE), |s| {
        create(s, &json!({ "metadata": { "name": "breaker-storm" } }))
    }),
    (
        "make a labelled ConfigMap of another name",
        Deny(MAKE),
        |s| create(s, &breaker("stop")),
    ),
    ("make a ConfigMap named like the limits", Deny(MAKE), |s| {
        create(s, &breaker("limits"))
    }),
    ("make a breaker with a dot in its name", Deny(MAKE), |s| {
        create(s, &breaker("breaker-a.b"))
    }),
    (
        "make a breaker that falls with a Node",
        Deny("no owner"),
        |s| {
            let mut object = breaker("breaker-storm");
            object["metadata"]["ownerReferences"] = json!([s.own.owner()]);
            create(s, &object)
        },
    ),
    (
        "make a breaker with a finalizer",
        Deny("no finalizer"),
        |s| {
            let mut object = breaker("breaker-storm");
            object["metadata"]["finalizers"] = json!(["x.io/keep"]);
            create(s, &object)
        },
    ),
    ("make a breaker with a long reason", Deny("4096"), |s| {
        create(s, &with_data(json!({ "reason": "x".repeat(4097) })))
    }),
    ("make a breaker with many keys", Deny("16 keys"), |s| {
        let data: serde_json::Map<String, Value> = (0..17)
            .map(|key| (format!("key-{key}"), json!("")))
            .collect();
        create(s, &with_data(json!(data)))
    }),
    ("make a breaker with binary data", Deny("16 keys"), |s| {
        let mut object = breaker("breaker-storm");
        object["binaryData"] = json!({ "blob": "AAAA" });
        create(s, &object)
    }),
    ("pull the cord in namespace default", Deny(RBAC), |s| {
        s.own.caller.create(
            "/api/v1/namespaces/default/configmaps",
            &breaker("breaker-storm"),
        )
    }),
    ("raise the limits by PUT", Deny(RBAC), |s| {
        let object = json!({ "metadata": { "name": "limits" }, "data": { "cluster": "999" } });
        s.own.caller.replace(&map("limits"), &object)
    }),
    ("raise the limits by PATCH", Deny(RBAC), |s| {
        s.own
            .caller
            .merge(&map("limits"), &json!({ "data": { "cluster": "999" } }))
    }),
    ("remove the limits", Deny(RBAC), |s| {
        s.own.caller.delete(&map("limits"))
    }),
    ("extend the list of conditions", Deny(RBAC), |s| {
        s.own
            .caller
            .merge(&map("conditions"), &json!({ "data": { "Ready": "mine" } }))
    }),
    ("change a breaker", Deny(RBAC), |s| {
        s.own.caller.merge(
            &map("breaker-storm"),
            &json!({ "data": { "reason": "none" } }),
        )
    }),
    ("close a breaker", Deny(RBAC), |s| {
        s.own.caller.delete(&map("breaker-storm"))
    }),
    ("remove every ConfigMap", Deny(RBAC), |s| {
        s.own.caller.delete(CONFIG_MAPS)
    }),
];

/// RBAC refuses these before admission is asked; the policy stands behind it all the same.
#[test]
fn the_policy_refuses_what_a_role_granted_by_mistake_would_allow() {
    let scene = Scene::new("configmaps-granted");
    super::case::grant_everything(&scene);
    run(
        &scene,
        &[
            ("raise the limits", Deny(NEVER), |s| {
                s.own
                    .caller
                    .merge(&map("limits"), &json!({ "data": { "cluster": "999" } }))
            }),
            ("remove the limits", Deny(NEVER), |s| {
                s.own.caller.delete(&map("limits"))
            }),
            ("extend the list of conditions", Deny(NEVER), |s| {
                s.own
                    .caller
                    .merge(&map("conditions"), &json!({ "data": { "Ready": "mine" } }))
            }),
            ("close a breaker", Deny(NEVER), |s| {
                let object = breaker("breaker-not-enforced-yet");
                s.admin.create(CONFIG_MAPS, &object);
                let answer = s.own.caller.delete(&map("breaker-not-enforced-yet"));
                s.admin
                    .delete(&map("breaker-not-enforced-yet"))
                    .expect("close it again");
                answer
            }),
        ],
    );
}

#[test]
fn an_open_breaker_stops_new_slots_and_lets_held_ones_be_renewed_and_freed() {
    let scene = Scene::new("breaker");
    let held = scene.held(&scene.own, "slot.cluster.0");
    let named = json!({ "metadata": { "name": "breaker-stop" } });
    let labelled =
        json!({ "metadata": { "name": "stop", "labels": { "nodemend.io/breaker": "person" } } });
    let mut lags = Vec::new();
    for object in [named, labelled, breaker("breaker-storm")] {
        let name = object["metadata"]["name"]
            .as_str()
            .expect("a name")
            .to_owned();
        scene
            .admin
            .create(CONFIG_MAPS, &object)
            .expect("pull the cord");
        lags.push(settle(
            &scene,
            "slot.cluster.1",
            Some(&format!("ConfigMap {name} exists")),
        ));
        let renewed = scene
            .own
            .caller
            .replace(&lease("slot.cluster.0"), &held_now(&scene));
        renewed.expect("renew a held slot while the breaker is open");
        scene.held(&scene.own, "node-a");
        scene
            .own
            .caller
            .delete(&lease("node-a"))
            .expect("withdraw the claim");
        scene
            .admin
            .delete(&map(&name))
            .expect("a person closes the breaker");
        lags.push(settle(&scene, "slot.cluster.1", None));
    }
    assert_eq!(held["metadata"]["uid"], held_now(&scene)["metadata"]["uid"]);
    scene
        .admin
        .create(CONFIG_MAPS, &breaker("breaker-storm"))
        .expect("pull the cord");
    settle(&scene, "slot.cluster.1", Some("breaker-storm"));
    let freed = scene
        .own
        .caller
        .delete_exactly(&lease("slot.cluster.0"), &held_now(&scene));
    freed.expect("free a held slot while the breaker is open");
    eprintln!("from the answer to the change until it is enforced: {lags:?}");
}

#[test]
fn garbage_in_the_limits_means_that_nobody_is_disrupted() {
    let scene = Scene::new("limits");
    for cap in [
        "", " ", "many", "-1", "+1", "1.5", "1e2", "0x9", "01", "1000", " 3", "3\n", "٣",
    ] {
        scene.set_limits(&json!({ "cluster": cap, "zone-a": "1" }));
        settle(&scene, "slot.cluster.0", Some("cap of 0"));
        let other = scene
            .own
            .caller
            .create(DRY, &scene.own.lease("slot.zone-a.0"));
        other.expect("a domain beside the broken one still works");
        scene.set_limits(&json!({ "cluster": "1", "zone-a": "1" }));
        settle(&scene, "slot.cluster.0", None);
    }
}

#[test]
fn lowered_or_missing_limits_stop_new_slots_and_let_held_ones_end() {
    let scene = Scene::new("limits-lowered");
    scene.held(&scene.own, "slot.cluster.0");
    scene.held(&scene.own, "slot.cluster.1");
    scene.set_limits(&json!({ "cluster": "0" }));
    settle(&scene, "slot.cluster.2", Some("cap of 0"));
    scene
        .own
        .caller
        .replace(&lease("slot.cluster.0"), &held_now(&scene))
        .expect("renew");
    scene
        .own
        .caller
        .delete_exactly(&lease("slot.cluster.0"), &held_now(&scene))
        .expect("free");
    settle(&scene, "slot.cluster.0", Some("cap of 0"));
    scene
        .admin
        .delete(&map("limits"))
        .expect("an administrator removes the limits");
    settle(&scene, "slot.cluster.0", Some("no params found"));
    let object = json!({ "metadata": { "name": "limits" }, "data": { "cluster": "999" } });
    let forged = scene.own.caller.create(CONFIG_MAPS, &object);
    assert_eq!(
        forged.code,
        403,
        "an agent fills in missing limits: {}",
        forged.message()
    );
    let held = scene
        .own
        .caller
        .get(&lease("slot.cluster.1"))
        .expect("read the other slot");
    scene
        .own
        .caller
        .delete_exactly(&lease("slot.cluster.1"), &held)
        .expect("free without limits");
}

/// Waits until a new slot is refused with `word`, or allowed; the time that it took.
fn settle(scene: &Scene, slot: &str, word: Option<&str>) -> Duration {
    let (what, start) = (format!("{slot}: {word:?}"), Instant::now());
    until(&what, SETTLED_WITHIN, || {
        let answer = scene.own.caller.create(DRY, &scene.own.lease(slot));
        word.map_or(answer.is_success(), |word| answer.message().contains(word))
    });
    start.elapsed()
}

fn held_now(scene: &Scene) -> Value {
    scene
        .own
        .caller
        .get(&format!("{LEASES}/slot.cluster.0"))
        .expect("read the own slot")
}

fn map(name: &str) -> String {
    format!("{CONFIG_MAPS}/{name}")
}

fn create(scene: &Scene, object: &Value) -> Answer {
    // A real one would stop the slots of the cases after it.
    scene
        .own
        .caller
        .create(&format!("{CONFIG_MAPS}?dryRun=All"), object)
}

fn breaker(name: &str) -> Value {
    json!({ "metadata": { "name": name, "labels": { "nodemend.io/breaker": "storm" } } })
}

fn with_data(data: Value) -> Value {
    let mut object = breaker("breaker-storm");
    object["data"] = data;
    object
}
