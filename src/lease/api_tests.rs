//! Slots against a fake API server that can be told to fail.

use super::SlotWitness;
use super::api::ApiSlots;
use super::error::LeaseError;
use super::fixture::cleared;
use super::keeper::Keeper;
use super::{Grounds, Lease, Permit};
use crate::host::cluster::{Cluster, NodeView, Resource, Verb};
use crate::host::fake::{Failure, FakeCluster, HandClock};
use crate::policy::RunId;
use serde_json::{Value, json};
use std::sync::Arc;

/// The id of the agents that are meant to know each other's lives: one for each node name.
pub(super) const INSTANCE: &str = "0d4c7a1e-0000-4000-8000-000000000001";

pub(super) struct Silent;

impl SlotWitness for Silent {
    fn wrote(&self, _outcome: &'static str) {}
    fn holds(&self, _domain: &str, _held: bool) {}
    fn audit_head(&self) -> String {
        "7:abc".to_owned()
    }
}

pub(super) struct Scene {
    pub(super) server: Arc<FakeCluster>,
}

impl Scene {
    pub(super) fn with_limits(data: Value) -> Self {
        let server = Arc::new(FakeCluster::default());
        server.plant(
            Resource::ConfigMaps,
            json!({ "metadata": { "name": "limits" }, "data": data }),
        );
        let agents = json!({ "desiredNumberScheduled": 3, "numberUnavailable": 1 });
        server.plant(
            Resource::DaemonSets,
            json!({ "metadata": { "name": "nodemend" }, "status": agents }),
        );
        Self { server }
    }

    pub(super) fn agent(&self, node: &str) -> Keeper<Arc<ApiSlots>> {
        self.agent_called(node, INSTANCE)
    }

    fn agent_called(&self, node: &str, instance: &str) -> Keeper<Arc<ApiSlots>> {
        let cluster: Arc<dyn Cluster> = self.server.clone();
        let slots = ApiSlots::new(cluster, "nodemend", node, instance, Arc::new(Silent));
        slots.meet(&NodeView {
            name: node.to_owned(),
            uid: format!("node-uid-{node}"),
            ..NodeView::default()
        });
        Keeper::new(Arc::new(slots), Arc::new(HandClock::at(100)))
    }

    pub(super) fn leases(&self) -> Vec<String> {
        self.server.names(Resource::Leases)
    }
}

pub(super) async fn get(agent: &Keeper<Arc<ApiSlots>>, run: u64) -> Result<Permit, LeaseError> {
    agent.acquire(cleared(), RunId(run)).await
}

#[tokio::test]
async fn a_slot_is_taken_renewed_and_freed_and_the_claim_goes_with_it() {
    let scene = Scene::with_limits(json!({ "cluster": "1" }));
    let agent = scene.agent("a");
    let permit = get(&agent, 1).await.expect("a slot");
    let slot = scene
        .server
        .find(Resource::Leases, "slot.cluster.0")
        .expect("it is there");
    assert_eq!(slot["spec"]["holderIdentity"], "a");
    assert_eq!(slot["metadata"]["ownerReferences"][0]["uid"], "node-uid-a");
    assert_eq!(
        slot["metadata"]["annotations"]["nodemend.io/audit-head"],
        "7:abc"
    );
    assert_eq!(slot["metadata"]["annotations"]["nodemend.io/run"], "run-1");
    agent.renew(&permit).await.expect("renewed");
    let renewed = scene
        .server
        .find(Resource::Leases, "slot.cluster.0")
        .expect("it is there");
    assert_ne!(
        slot["metadata"]["resourceVersion"],
        renewed["metadata"]["resourceVersion"]
    );
    assert_eq!(slot["metadata"]["uid"], renewed["metadata"]["uid"]);
    agent.release(permit, Grounds::Soaked).await.expect("freed");
    assert_eq!(scene.leases(), Vec::<String>::new());
}

#[tokio::test]
async fn of_many_agents_no_more_than_the_cap_hold_a_slot() {
    let scene = Scene::with_limits(json!({ "cluster": "2", "storm-nodes": "50" }));
    let agents: Vec<_> = (0..10).map(|i| scene.agent(&format!("n{i}"))).collect();
    let mut permits = Vec::new();
    for agent in &agents {
        permits.extend(get(agent, 1).await.ok());
    }
    assert_eq!(permits.len(), 2);
    let slots = scene
        .leases()
        .into_iter()
        .filter(|name| name.starts_with("slot."))
        .count();
    assert_eq!(slots, 2);
}

#[tokio::test]
async fn whatever_is_garbled_or_missing_gives_no_slot_and_says_which_object() {
    for (resource, object, part) in [
        (
            Resource::ConfigMaps,
            json!({ "metadata": { "name": "limits" }, "data": { "cluster": "-1" } }),
            "cluster has no slots",
        ),
        (
            Resource::ConfigMaps,
            json!({ "metadata": { "name": "limits" }, "data": "all" }),
            "cluster has no slots",
        ),
        (
            Resource::ConfigMaps,
            json!({ "metadata": { "name": "limits" } }),
            "cluster has no slots",
        ),
        (
            Resource::ConfigMaps,
            json!({ "metadata": {} }),
            "metadata.name",
        ),
        (
            Resource::ConfigMaps,
            json!({ "metadata": { "name": "breaker-x" } }),
            "breaker-x",
        ),
        (
            Resource::Leases,
            json!({ "metadata": { "name": "slot.cluster.zero", "labels": { "nodemend.io/kind": "slot" } } }),
            "slot.cluster.zero",
        ),
        (
            Resource::Leases,
            json!({ "metadata": { "name": "slot.cluster.0", "labels": { "nodemend.io/kind": "slot" } } }),
            "metadata.uid",
        ),
        (
            Resource::Leases,
            json!({ "metadata": { "name": "z", "labels": { "nodemend.io/kind": "claim" } } }),
            "metadata.creationTimestamp",
        ),
    ] {
        let scene = Scene::with_limits(json!({ "cluster": "3" }));
        scene.server.plant(resource, object.clone());
        let error = get(&scene.agent("a"), 1)
            .await
            .expect_err("no slot")
            .to_string();
        assert!(error.contains(part), "{object}: {error}");
        assert!(
            !scene.leases().contains(&"slot.cluster.1".to_owned()),
            "{object}"
        );
    }
}

#[tokio::test]
async fn a_server_that_fails_gives_no_slot() {
    for (verb, resource) in [
        (Verb::List, Resource::ConfigMaps),
        (Verb::List, Resource::Leases),
        (Verb::Create, Resource::Leases),
    ] {
        for failure in [
            Failure::Lost,
            Failure::Garbled,
            Failure::Refuse(401, "Unauthorized"),
            Failure::Refuse(403, "Forbidden"),
            Failure::Refuse(429, "TooManyRequests"),
            Failure::Refuse(500, "InternalError"),
        ] {
            let scene = Scene::with_limits(json!({ "cluster": "1" }));
            scene.server.fail(verb, resource, failure.clone());
            let result = get(&scene.agent("a"), 1).await;
            assert!(result.is_err(), "{verb:?} {resource:?} {failure:?}");
        }
    }
}

#[tokio::test]
async fn a_create_that_was_made_in_silence_is_found_and_freed() {
    let scene = Scene::with_limits(json!({ "cluster": "1" }));
    let agent = scene.agent("a");
    // The first create is the claim's.
    scene.server.plant(
        Resource::Leases,
        json!({ "metadata": { "name": "a", "creationTimestamp": "2026-11-22T09:00:00Z",
            "annotations": { "nodemend.io/instance": INSTANCE },
            "labels": { "nodemend.io/kind": "claim", "nodemend.io/signature": "test-signature" } } }),
    );
    scene.server.fail(
        Verb::Create,
        Resource::Leases,
        Failure::Refuse(409, "AlreadyExists"),
    );
    scene
        .server
        .fail(Verb::Create, Resource::Leases, Failure::DoneInSilence);
    assert!(get(&agent, 1).await.is_err());
    assert_eq!(scene.leases(), ["a"], "the slot was looked for and freed");
}

#[tokio::test]
async fn a_renewal_that_fails_leaves_the_permit_to_expire_and_a_lost_slot_is_lost() {
    let scene = Scene::with_limits(json!({ "cluster": "1" }));
    let agent = scene.agent("a");
    let permit = get(&agent, 1).await.expect("a slot");
    let proved = permit.proved_at();
    for failure in [
        Failure::Lost,
        Failure::Garbled,
        Failure::Refuse(403, "Forbidden"),
        Failure::Refuse(503, "x"),
    ] {
        scene.server.fail(Verb::Update, Resource::Leases, failure);
        assert!(agent.renew(&permit).await.is_err());
        assert_eq!(permit.proved_at(), proved, "nothing new is proved");
    }
    // Written in silence: the version moved on, which a read shows, and the next write proves.
    scene
        .server
        .fail(Verb::Update, Resource::Leases, Failure::DoneInSilence);
    assert!(agent.renew(&permit).await.is_err());
    agent.renew(&permit).await.expect("proved again");
    scene.server.remove(Resource::Leases, "slot.cluster.0");
    assert!(matches!(
        agent.renew(&permit).await,
        Err(LeaseError::Lost { .. })
    ));
    assert_eq!(permit.proved_at(), None);
}

#[tokio::test]
async fn a_slot_that_somebody_else_made_anew_is_lost_and_is_not_freed() {
    let scene = Scene::with_limits(json!({ "cluster": "1" }));
    let agent = scene.agent("a");
    let permit = get(&agent, 1).await.expect("a slot");
    scene.server.remove(Resource::Leases, "slot.cluster.0");
    let other = get(&scene.agent("b"), 1).await.expect("the slot is free");
    assert!(matches!(
        agent.renew(&permit).await,
        Err(LeaseError::Lost { .. })
    ));
    agent.release(permit, Grounds::Soaked).await.ok();
    let slot = scene
        .server
        .find(Resource::Leases, "slot.cluster.0")
        .expect("still there");
    assert_eq!(slot["spec"]["holderIdentity"], "b");
    drop(other);
}

#[tokio::test]
async fn after_a_restart_the_own_slot_counts_only_once_it_is_written() {
    let scene = Scene::with_limits(json!({ "cluster": "1" }));
    let permit = get(&scene.agent("a"), 1).await.expect("a slot");
    drop(permit);
    let updates = || {
        let calls = scene.server.calls();
        calls
            .iter()
            .filter(|call| call.verb == Verb::Update)
            .count()
    };
    let before = updates();
    let again = scene
        .agent("a")
        .recover(cleared(), RunId(1))
        .await
        .expect("the same slot");
    assert_eq!(updates(), before + 1);
    assert!(again.proved_at().is_some() && !again.is_inherited());
}

#[tokio::test]
async fn a_slot_kept_by_an_earlier_run_is_inherited_for_good() {
    let scene = Scene::with_limits(json!({ "cluster": "1" }));
    drop(get(&scene.agent("a"), 1).await.expect("a slot"));
    let second = get(&scene.agent("a"), 2).await.expect("the same slot");
    assert!(second.is_inherited());
    drop(second);
    let again = get(&scene.agent("a"), 2).await.expect("the same slot");
    assert!(
        again.is_inherited(),
        "also after a restart within the second run"
    );
}

#[tokio::test]
async fn a_storm_opens_the_breaker_and_then_nobody_gets_a_slot() {
    let scene = Scene::with_limits(json!({ "cluster": "9", "storm-nodes": "2" }));
    for (node, has_slot) in [("a", true), ("b", true), ("c", false), ("d", false)] {
        let result = get(&scene.agent(node), 1).await;
        assert_eq!(result.is_ok(), has_slot, "{node}: {result:?}");
    }
    assert!(
        scene
            .server
            .names(Resource::ConfigMaps)
            .contains(&"breaker-storm-test-signature".to_owned())
    );
}

#[tokio::test]
async fn a_claim_of_another_case_is_made_anew() {
    let scene = Scene::with_limits(json!({ "cluster": "1" }));
    scene.server.plant(
        Resource::Leases,
        json!({ "metadata": { "name": "a", "uid": "u7", "creationTimestamp": "2026-11-22T08:00:00Z",
            "annotations": { "nodemend.io/instance": INSTANCE },
            "labels": { "nodemend.io/kind": "claim", "nodemend.io/signature": "other" } } }),
    );
    let agent = scene.agent("a");
    assert!(get(&agent, 1).await.is_err());
    get(&agent, 1).await.expect("with a claim of its own");
}

#[tokio::test]
async fn a_node_that_was_not_read_gets_nothing_and_asks_nothing() {
    let scene = Scene::with_limits(json!({ "cluster": "1" }));
    let cluster: Arc<dyn Cluster> = scene.server.clone();
    let slots = ApiSlots::new(cluster, "nodemend", "a", INSTANCE, Arc::new(Silent));
    let agent = Keeper::new(Arc::new(slots), Arc::new(HandClock::at(100)));
    assert!(get(&agent, 1).await.is_err());
    assert!(scene.server.calls().is_empty());
}

#[tokio::test]
async fn answers_of_the_wrong_kind_or_form_give_no_slot() {
    let nodes = json!({ "kind": "NodeList", "items": [] });
    let status = json!({ "kind": "Status", "status": "Success" });
    let answers = [
        json!(null),
        json!(7),
        json!("fine"),
        json!([]),
        json!({}),
        nodes,
        status,
        json!({ "items": {} }),
        json!({ "items": [7] }),
        json!({ "items": [{}] }),
        json!({ "items": [{ "kind": "Pod", "metadata": { "name": "limits" } }] }),
        json!({ "kind": 7, "items": [] }),
    ];
    for (verb, resource, what) in [
        (Verb::List, Resource::ConfigMaps, "ConfigMap"),
        (Verb::List, Resource::Leases, "Lease"),
        (Verb::Get, Resource::DaemonSets, "DaemonSet"),
    ] {
        for answer in &answers {
            let scene = Scene::with_limits(json!({ "cluster": "1" }));
            let says = Failure::Says(answer.clone());
            scene.server.fail(verb, resource, says);
            let error = get(&scene.agent("a"), 1).await.expect_err("no slot");
            let text = error.to_string();
            assert!(
                text.contains(what),
                "{verb:?} {resource:?} {answer}: {text}"
            );
            assert!(
                !scene.leases().contains(&"slot.cluster.0".to_owned()),
                "{answer}"
            );
        }
    }
}

#[tokio::test]
async fn a_write_that_is_answered_with_something_else_proves_nothing() {
    for answer in [
        json!(null),
        json!([]),
        json!({}),
        json!({ "kind": "Status", "status": "Success" }),
        json!({ "kind": "Pod", "metadata": { "uid": "u", "resourceVersion": "8" } }),
        json!({ "metadata": { "uid": 7, "resourceVersion": "8" } }),
        json!({ "metadata": { "uid": "u", "resourceVersion": 8 } }),
        json!({ "metadata": { "uid": "", "resourceVersion": "8" } }),
        json!({ "kind": "Lease", "metadata": { "uid": "another", "resourceVersion": "8" } }),
    ] {
        let scene = Scene::with_limits(json!({ "cluster": "1" }));
        let agent = scene.agent("a");
        let permit = get(&agent, 1).await.expect("a slot");
        let says = Failure::Says(answer.clone());
        scene.server.fail(Verb::Update, Resource::Leases, says);
        assert!(agent.renew(&permit).await.is_err(), "{answer}");
    }
}

#[tokio::test]
async fn fields_that_nobody_knows_are_ignored() {
    let scene = Scene::with_limits(json!({ "cluster": "1" }));
    for (resource, name) in [
        (Resource::ConfigMaps, "limits"),
        (Resource::DaemonSets, "nodemend"),
    ] {
        let mut object = scene.server.find(resource, name).expect("planted");
        object["metadata"]["managedFields"] = json!([{ "a": 1 }]);
        object["status"]["new"] = json!({ "deep": [[[]]] });
        object["fancy"] = json!(3);
        scene.server.plant(resource, object);
    }
    get(&scene.agent("a"), 1).await.expect("a slot");
}

fn taken(spec: Value) -> Value {
    json!({ "metadata": { "name": "slot.cluster.0", "uid": "u9", "resourceVersion": "5",
        "labels": { "nodemend.io/kind": "slot" }, "annotations": { "nodemend.io/phase": "mending" },
        "ownerReferences": [{ "kind": "Node", "name": "b", "uid": "node-uid-b" }] }, "spec": spec })
}

#[tokio::test]
async fn no_clock_and_no_garbage_in_a_slot_makes_it_free() {
    // An hour ago, in an hour, at the ends of time, and nonsense: a slot is taken as long as it is there.
    for spec in [
        json!({ "holderIdentity": "b", "renewTime": "2026-11-22T08:00:00.000000Z", "leaseDurationSeconds": 60 }),
        json!({ "holderIdentity": "b", "renewTime": "2026-11-22T10:00:00.000000Z", "leaseDurationSeconds": 60 }),
        json!({ "holderIdentity": "b", "renewTime": "1970-01-01T00:00:00Z", "leaseDurationSeconds": 0 }),
        json!({ "holderIdentity": "b", "renewTime": "9999-12-31T23:59:59Z" }),
        json!({ "holderIdentity": "b", "renewTime": "soon", "leaseDurationSeconds": -1 }),
        json!({ "holderIdentity": "b", "renewTime": 5, "leaseDurationSeconds": "long" }),
        json!({ "holderIdentity": "" }),
        json!({ "holderIdentity": "x".repeat(100_000) }),
        json!({}),
    ] {
        let scene = Scene::with_limits(json!({ "cluster": "1" }));
        scene.server.plant(Resource::Leases, taken(spec.clone()));
        let error = get(&scene.agent("a"), 1).await.expect_err("no slot");
        assert!(
            error.to_string().contains("slots of domain cluster"),
            "{error}"
        );
        let slot = scene.server.find(Resource::Leases, "slot.cluster.0");
        assert_eq!(slot, Some(taken(spec)));
    }
    // What is no holder at all is refused by object and field.
    let scene = Scene::with_limits(json!({ "cluster": "2" }));
    scene
        .server
        .plant(Resource::Leases, taken(json!({ "holderIdentity": ["b"] })));
    let error = get(&scene.agent("a"), 1)
        .await
        .expect_err("no slot")
        .to_string();
    assert!(
        error.contains("Lease slot.cluster.0: spec.holderIdentity is a list"),
        "{error}"
    );
}

#[tokio::test]
async fn two_agents_that_claim_one_node_end_with_one_slot_or_none() {
    // The second has a state directory of its own, so another instance.
    let scene = Scene::with_limits(json!({ "cluster": "2" }));
    let first = scene.agent("a");
    let second = scene.agent_called("a", "0d4c7a1e-0000-4000-8000-000000000002");
    let permit = get(&first, 1).await.expect("a slot");
    let error = get(&second, 1).await.expect_err("refused").to_string();
    assert!(error.contains("Lease nodemend/slot.cluster."), "{error}");
    assert!(second.recover(cleared(), RunId(1)).await.is_err());
    second
        .tidy_up(RunId(1), Grounds::Soaked)
        .await
        .expect_err("not its own");
    first.renew(&permit).await.expect("untouched");
    first.release(permit, Grounds::Soaked).await.expect("freed");
    get(&second, 2).await.expect("now it is free");
}
