//! Two agents on one Node, each with a state directory of its own: what one made, the other neither uses nor frees.

use super::api_tests::{Scene, get};
use super::error::LeaseError;
use super::exchange::{Answer, Request};
use super::fixture::cleared;
use super::keeper::{Phase, SlotStore, Tag};
use super::look_tests::{claim, look, slot};
use super::name::SlotName;
use super::{Grounds, Lease};
use crate::host::cluster::{Resource, Verb};
use crate::policy::RunId;
use serde_json::{Value, json};

fn foreign() -> [(Value, &'static str); 3] {
    [
        (
            json!({ "nodemend.io/phase": "mending", "nodemend.io/instance": "another" }),
            "agent another of this node",
        ),
        (
            json!({ "nodemend.io/phase": "mending", "nodemend.io/instance": "" }),
            "does not say which agent",
        ),
        (
            json!({ "nodemend.io/phase": "mending" }),
            "does not say which agent",
        ),
    ]
}

#[tokio::test]
async fn a_slot_of_another_agent_of_this_node_is_neither_used_nor_freed() {
    for (notes, part) in foreign() {
        let scene = Scene::with_limits(json!({ "cluster": "2" }));
        slot(&scene, "slot.cluster.0", "a", notes);
        let planted = scene.server.find(Resource::Leases, "slot.cluster.0");
        let agent = scene.agent("a");
        let standing = look(&agent).await;
        let error = get(&agent, 1).await.expect_err("refused");
        assert!(matches!(error, LeaseError::OtherInstance { .. }), "{error}");
        for text in [standing.why().to_owned(), error.to_string()] {
            assert!(
                text.contains(part) && text.contains("Lease nodemend/slot.cluster.0"),
                "{text}"
            );
            assert!(
                text.contains("nodemend slot release slot.cluster.0"),
                "{text}"
            );
        }
        assert!(agent.recover(cleared(), RunId(1)).await.is_err());
        assert!(agent.tidy_up(RunId(1), Grounds::Soaked).await.is_err());
        assert_eq!(
            scene.server.find(Resource::Leases, "slot.cluster.0"),
            planted
        );
        let writes = scene
            .server
            .calls()
            .into_iter()
            .filter(|c| matches!(c.verb, Verb::Update | Verb::Delete));
        assert_eq!(writes.count(), 0);
    }
}

#[tokio::test]
async fn a_claim_of_another_agent_of_this_node_is_neither_used_nor_taken_back() {
    for (notes, part) in foreign() {
        let scene = Scene::with_limits(json!({ "cluster": "2" }));
        claim(&scene, "a", "2026-11-22T08:00:00Z");
        let mut lease = scene.server.find(Resource::Leases, "a").expect("planted");
        lease["metadata"]["annotations"] = notes;
        scene.server.plant(Resource::Leases, lease.clone());
        let agent = scene.agent("a");
        let error = get(&agent, 1).await.expect_err("refused").to_string();
        let standing = look(&agent).await;
        let withdrawn = agent
            .store()
            .withdraw()
            .await
            .expect_err("refused")
            .to_string();
        for text in [error, standing.why().to_owned(), withdrawn] {
            assert!(
                text.contains(part) && text.contains("kubectl -n nodemend delete lease a"),
                "{text}"
            );
        }
        assert_eq!(scene.server.find(Resource::Leases, "a"), Some(lease));
        assert_eq!(scene.leases(), ["a"], "no slot");
    }
}

#[tokio::test]
async fn a_slot_that_another_agent_of_this_node_made_anew_is_lost() {
    let scene = Scene::with_limits(json!({ "cluster": "1" }));
    let agent = scene.agent("a");
    let permit = get(&agent, 1).await.expect("a slot");
    slot(
        &scene,
        "slot.cluster.0",
        "a",
        json!({ "nodemend.io/instance": "another" }),
    );
    assert!(agent.renew(&permit).await.is_err());
    assert!(agent.release(permit, Grounds::Soaked).await.is_err());
    assert!(scene.leases().contains(&"slot.cluster.0".to_owned()));
}

#[tokio::test]
async fn what_a_newer_run_took_over_is_not_freed_in_the_name_of_an_older_one() {
    // `nodemend simulate` found this: after a restart the tidying of run 2 met run 3, which had begun meanwhile.
    let scene = Scene::with_limits(json!({ "cluster": "1" }));
    let agent = scene.agent("a");
    let permit = get(&agent, 3).await.expect("a slot");
    let name: SlotName = "slot.cluster.0".parse().expect("a name");
    for (run, is_ours) in [(2, false), (3, true), (4, true)] {
        let tag = Tag {
            run: RunId(run),
            digest: "".into(),
            phase: Phase::Mending,
        };
        let answer = agent
            .store()
            .send(Request::ReadSlot(name.clone()), &tag)
            .await;
        let found = matches!(answer, Answer::Ours(_));
        assert_eq!(found, is_ours, "run-{run}: {answer:?}");
    }
    drop(permit);
}
