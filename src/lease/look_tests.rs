//! What waiting costs, who is next, and what stops everybody, against a fake API server.

use super::api_tests::{INSTANCE, Scene, get};
use super::fixture::cleared;
use super::keeper::{Keeper, Phase};
use super::waiting::Standing;
use super::{ApiSlots, Grounds, Lease};
use crate::host::cluster::{NodeView, Resource, Verb};
use crate::host::fake::Failure;
use crate::policy::RunId;
use serde_json::{Value, json};
use std::sync::Arc;

type Agent = Keeper<Arc<ApiSlots>>;

pub(super) async fn look(agent: &Agent) -> Standing {
    agent.store().look(&cleared(), RunId(1)).await
}

fn words(scene: &Scene, from: usize) -> Vec<String> {
    let calls = scene.server.calls();
    calls[from..]
        .iter()
        .map(|call| {
            let selector = call.query.iter().find(|(key, _)| *key == "labelSelector");
            let of = selector.map_or("", |(_, text)| text.rsplit('=').next().unwrap_or(""));
            format!("{} {} {of}", call.verb.word(), call.resource.word())
                .trim()
                .to_owned()
        })
        .collect()
}

/// An agent that has counted its like, as it does at its start.
async fn started(scene: &Scene) -> Agent {
    let agent = scene.agent("a");
    agent.store().read_agents().await.expect("can be read");
    agent
}

/// The calls of one look.
async fn calls_of(scene: &Scene, agent: &Agent) -> (Standing, Vec<String>) {
    let before = scene.server.calls().len();
    let standing = look(agent).await;
    (standing, words(scene, before))
}

pub(super) fn claim(scene: &Scene, node: &str, time: &str) {
    scene.server.plant(
        Resource::Leases,
        json!({ "metadata": { "name": node, "uid": format!("claim-{node}"), "creationTimestamp": time,
            "annotations": { "nodemend.io/instance": INSTANCE },
            "labels": { "nodemend.io/kind": "claim", "nodemend.io/signature": "test-signature" } } }),
    );
}

pub(super) fn slot(scene: &Scene, name: &str, node: &str, notes: Value) {
    scene.server.plant(
        Resource::Leases,
        json!({ "metadata": { "name": name, "uid": format!("uid-{name}"), "resourceVersion": "5",
            "labels": { "nodemend.io/kind": "slot" }, "annotations": notes,
            "ownerReferences": [{ "kind": "Node", "name": node, "uid": format!("node-uid-{node}") }] },
            "spec": { "holderIdentity": node } }),
    );
}

#[tokio::test]
async fn while_everything_is_closed_a_look_is_one_call_and_no_claim_is_made() {
    for limits in [
        json!({ "cluster": "0" }),
        json!({}),
        json!({ "cluster": "-3" }),
    ] {
        let scene = Scene::with_limits(limits);
        let agent = started(&scene).await;
        for _ in 0..7 {
            let (standing, calls) = calls_of(&scene, &agent).await;
            assert!(matches!(standing, Standing::Stopped { .. }), "{standing:?}");
            assert_eq!(calls, ["list configmaps"]);
        }
        assert_eq!(scene.leases(), Vec::<String>::new());
    }
    let scene = Scene::with_limits(json!({ "cluster": "3" }));
    scene.server.plant(
        Resource::ConfigMaps,
        json!({ "metadata": { "name": "breaker-stop" } }),
    );
    let agent = started(&scene).await;
    let (standing, calls) = calls_of(&scene, &agent).await;
    assert!(standing.why().contains("breaker-stop"), "{standing:?}");
    assert_eq!(calls, ["list configmaps"]);
    assert_eq!(scene.leases(), Vec::<String>::new());
    // Nor does an attempt make one.
    assert!(get(&agent, 1).await.is_err());
    assert_eq!(scene.leases(), Vec::<String>::new());
    scene.server.remove(Resource::ConfigMaps, "breaker-stop");
    assert_eq!(look(&agent).await, Standing::Clear);
}

#[tokio::test]
async fn while_the_slots_are_full_a_look_is_one_call() {
    let scene = Scene::with_limits(json!({ "cluster": "1" }));
    let holder = scene.agent("h");
    let held = get(&holder, 1).await.expect("a slot");
    let agent = started(&scene).await;
    let (standing, calls) = calls_of(&scene, &agent).await;
    assert!(matches!(standing, Standing::Full { .. }), "{standing:?}");
    let first = [
        "list configmaps",
        "create leases",
        "list leases claim",
        "list leases slot",
    ];
    assert_eq!(calls, first);
    for n in 0..12 {
        let (standing, calls) = calls_of(&scene, &agent).await;
        assert!(matches!(standing, Standing::Full { .. }), "{standing:?}");
        let one = if n % 6 == 5 {
            "list configmaps"
        } else {
            "list leases slot"
        };
        assert_eq!(calls, [one], "look {n}");
    }
    // Room that people make is seen within six looks, and a slot that is freed at the next.
    holder.release(held, Grounds::Soaked).await.expect("freed");
    assert_eq!(look(&agent).await, Standing::Clear);
    get(&agent, 2).await.expect("a slot");
}

#[tokio::test]
async fn far_down_the_queue_a_look_is_one_call() {
    let scene =
        Scene::with_limits(json!({ "cluster": "1", "storm-nodes": "50", "storm-nodes-any": "50" }));
    let holder = scene.agent("h");
    let held = get(&holder, 1).await.expect("a slot");
    for i in 0..9 {
        claim(&scene, &format!("before-{i}"), "2026-11-22T08:59:00Z");
    }
    let agent = scene.agent("a");
    let (standing, _) = calls_of(&scene, &agent).await;
    assert!(matches!(standing, Standing::Far { .. }), "{standing:?}");
    for n in 0..6 {
        let (standing, calls) = calls_of(&scene, &agent).await;
        assert!(
            matches!(standing, Standing::Far { waiting, .. } if waiting >= 10),
            "{standing:?}"
        );
        assert_eq!(calls.len(), 1, "look {n}: {calls:?}");
    }
    // The nine are dead: a slot lies free, and they do not come.
    holder.release(held, Grounds::Soaked).await.expect("freed");
    let mut looks = 0;
    while look(&agent).await != Standing::Clear {
        looks += 1;
        assert!(looks < 6, "a dead queue blocks the living");
    }
    get(&agent, 2).await.expect("a slot");
}

#[tokio::test]
async fn a_cap_that_people_raise_is_seen_also_while_the_slots_are_full() {
    let scene = Scene::with_limits(json!({ "cluster": "1" }));
    slot(
        &scene,
        "slot.cluster.0",
        "h",
        json!({ "nodemend.io/phase": "mending" }),
    );
    let agent = scene.agent("a");
    assert!(matches!(look(&agent).await, Standing::Full { .. }));
    scene.server.plant(
        Resource::ConfigMaps,
        json!({ "metadata": { "name": "limits" }, "data": { "cluster": "2" } }),
    );
    let mut looks = 0;
    while look(&agent).await != Standing::Clear {
        looks += 1;
        assert!(looks <= 6);
    }
}

#[tokio::test]
async fn a_look_into_a_storm_opens_the_breaker() {
    let scene = Scene::with_limits(json!({ "cluster": "9" }));
    for i in 0..5 {
        claim(&scene, &format!("n{i}"), "2026-11-22T08:59:00Z");
    }
    let agent = scene.agent("a");
    let standing = look(&agent).await;
    assert!(
        standing.why().contains("the detector may be wrong"),
        "{standing:?}"
    );
    let breaker = scene
        .server
        .find(Resource::ConfigMaps, "breaker-storm-test-signature");
    assert_eq!(breaker.expect("is open")["data"]["opened-by"], "a");
}

#[tokio::test]
async fn a_storm_breaker_that_is_removed_opens_again_unless_its_line_was_raised() {
    let scene = Scene::with_limits(json!({ "cluster": "1", "storm-nodes": "2" }));
    for node in ["x", "y", "z"] {
        claim(&scene, node, "2026-11-22T08:59:00Z");
    }
    let agent = started(&scene).await;
    let breaker = "breaker-storm-test-signature";
    for _ in 0..2 {
        look(&agent).await;
        assert!(scene.server.find(Resource::ConfigMaps, breaker).is_some());
        scene.server.remove(Resource::ConfigMaps, breaker);
    }
    scene.server.plant(
        Resource::ConfigMaps,
        json!({ "metadata": { "name": "limits" }, "data": { "cluster": "9", "storm-nodes": "99999" } }),
    );
    let now = look(&agent).await;
    assert_eq!(now, Standing::Clear, "{}", now.why());
}

#[tokio::test]
async fn nodes_sick_of_different_things_at_once_open_a_breaker_too() {
    let scene = Scene::with_limits(json!({ "cluster": "9" }));
    for i in 0..5 {
        claim(&scene, &format!("n{i}"), "2026-11-22T08:59:00Z");
        let mut lease = scene
            .server
            .find(Resource::Leases, &format!("n{i}"))
            .expect("planted");
        lease["metadata"]["labels"]["nodemend.io/signature"] = json!(format!("other-{i}"));
        scene.server.plant(Resource::Leases, lease);
    }
    assert!(matches!(
        look(&scene.agent("a")).await,
        Standing::Stopped { .. }
    ));
    assert!(
        scene
            .server
            .names(Resource::ConfigMaps)
            .contains(&"breaker-storm-any".to_owned())
    );
}

#[tokio::test]
async fn a_failed_run_is_written_into_its_slot_and_stops_others() {
    let scene = Scene::with_limits(json!({ "cluster": "3" }));
    let failing = scene.agent("f");
    let permit = get(&failing, 1).await.expect("a slot");
    assert_eq!(failing.breakers(&permit).await.expect("can be read"), None);
    failing.keep(&permit, Phase::Failed).await.expect("written");
    drop(permit);
    let kept = scene
        .server
        .find(Resource::Leases, "slot.cluster.2")
        .or_else(|| scene.server.find(Resource::Leases, "slot.cluster.1"))
        .or_else(|| scene.server.find(Resource::Leases, "slot.cluster.0"))
        .expect("kept");
    assert_eq!(
        kept["metadata"]["annotations"]["nodemend.io/phase"],
        "failed"
    );
    assert_eq!(kept["metadata"]["annotations"]["nodemend.io/failed"], "d1");
    let other = scene.agent("o");
    let standing = look(&other).await;
    assert!(
        standing.why().contains("slots of failed runs"),
        "{standing:?}"
    );
    let error = get(&other, 1).await.expect_err("no slot").to_string();
    assert!(error.contains("slots of failed runs"), "{error}");
    // The casualty itself may try again, and what failed stays written until the node is mended.
    let again = get(&failing, 2).await.expect("its own slot");
    assert_eq!(failing.breakers(&again).await.expect("can be read"), None);
    failing.keep(&again, Phase::Failed).await.expect("written");
    let third = get(&failing, 3).await.expect("its own slot");
    let open = failing
        .breakers(&third)
        .await
        .expect("can be read")
        .expect("open");
    assert!(
        open.starts_with("2 runs of this version of the playbook (d1) failed"),
        "{open}"
    );
    failing
        .release(third, Grounds::Soaked)
        .await
        .expect("freed");
    assert_eq!(look(&other).await, Standing::Clear);
}

#[tokio::test]
async fn a_run_that_was_only_stopped_is_no_casualty() {
    let scene = Scene::with_limits(json!({ "cluster": "3" }));
    let stopped = scene.agent("s");
    let permit = get(&stopped, 1).await.expect("a slot");
    stopped
        .keep(&permit, Phase::Stopped)
        .await
        .expect("written");
    get(&scene.agent("o"), 1).await.expect("a slot");
}

#[tokio::test]
async fn a_run_under_way_sees_every_breaker() {
    let scene = Scene::with_limits(json!({ "cluster": "3" }));
    let agent = scene.agent("a");
    let permit = get(&agent, 1).await.expect("a slot");
    let open = |word: &'static str| {
        let (agent, permit) = (&agent, &permit);
        async move {
            let why = agent.breakers(permit).await.expect("can be read");
            assert!(
                why.as_ref().is_some_and(|why| why.contains(word)),
                "{word}: {why:?}"
            );
        }
    };
    scene.server.plant(
        Resource::ConfigMaps,
        json!({ "metadata": { "name": "breaker-x" } }),
    );
    open("breaker-x").await;
    scene.server.remove(Resource::ConfigMaps, "breaker-x");
    slot(
        &scene,
        "slot.cluster.7",
        "b",
        json!({ "nodemend.io/phase": "failed" }),
    );
    open("slot.cluster.7 (b)").await;
    // What is not understood counts as a casualty.
    slot(
        &scene,
        "slot.cluster.7",
        "b",
        json!({ "nodemend.io/phase": "dancing" }),
    );
    open("slot.cluster.7 (b)").await;
    scene.server.remove(Resource::Leases, "slot.cluster.7");
    let status = json!({ "desiredNumberScheduled": 30, "numberUnavailable": 2 });
    scene.server.plant(
        Resource::DaemonSets,
        json!({ "metadata": { "name": "nodemend" }, "status": status }),
    );
    open("2 of 30 agents are unavailable").await;
    scene.server.remove(Resource::DaemonSets, "nodemend");
    assert!(
        agent.breakers(&permit).await.is_err(),
        "without the DaemonSet nobody can tell"
    );
    let limits = json!({ "cluster": "3", "storm-unavailable": "999" });
    scene.server.plant(
        Resource::ConfigMaps,
        json!({ "metadata": { "name": "limits" }, "data": limits }),
    );
    assert_eq!(agent.breakers(&permit).await.expect("can be read"), None);
}

#[tokio::test]
async fn a_run_under_way_does_not_go_on_while_limits_or_slots_cannot_be_read() {
    let scene = Scene::with_limits(json!({ "cluster": "3", "storm-unavailable": "999" }));
    let agent = scene.agent("a");
    let permit = get(&agent, 1).await.expect("a slot");
    for (verb, resource) in [
        (Verb::List, Resource::ConfigMaps),
        (Verb::List, Resource::Leases),
    ] {
        for failure in [
            Failure::Lost,
            Failure::Garbled,
            Failure::Refuse(403, "Forbidden"),
            Failure::Refuse(500, "x"),
        ] {
            scene.server.fail(verb, resource, failure.clone());
            assert!(
                agent.breakers(&permit).await.is_err(),
                "{verb:?} {resource:?} {failure:?}"
            );
        }
    }
}

#[tokio::test]
async fn ten_runs_stay_within_their_figure() {
    // Cluster, zone and pool: the most domains that a worker has.
    let scene = Scene::with_limits(json!({ "cluster": "9", "zone-z": "9", "pool-p": "9" }));
    let agent = scene.agent("a");
    let labels = [
        ("topology.kubernetes.io/zone", "z"),
        ("nodemend.io/pool", "p"),
    ];
    agent.store().meet(&NodeView {
        name: "a".to_owned(),
        uid: "node-uid-a".to_owned(),
        labels: labels
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..NodeView::default()
    });
    let permit = get(&agent, 1).await.expect("slots");
    let from = scene.server.calls().len();
    // Five minutes: two steps, each with its questions and its proof; upkeep every 15 s; a look at the cord each minute.
    for _ in 0..2 {
        agent.breakers(&permit).await.expect("can be read");
        agent.renew(&permit).await.expect("renewed");
    }
    for turn in 0..20 {
        agent.keep_up(&permit, turn).await.expect("renewed");
    }
    let cord = 5;
    let calls = scene.server.calls().len() - from + cord;
    let per_minute_of_ten = calls * 10 / 5;
    println!("10 runs: {per_minute_of_ten} calls a minute");
    assert!(per_minute_of_ten <= 110, "{per_minute_of_ten}");
    // Each slot was written at every second turn.
    let updates = |name: &str| {
        let calls = scene.server.calls();
        let named = calls[from..]
            .iter()
            .filter(|call| call.verb == Verb::Update && call.name.contains(name));
        named.count()
    };
    assert_eq!(
        [
            updates(".cluster."),
            updates(".zone-z."),
            updates(".pool-p.")
        ],
        [12, 12, 12]
    );
}
