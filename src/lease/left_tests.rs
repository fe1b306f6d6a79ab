//! Slots that nobody works under any more: they must not be lost to everybody else.

use super::api_tests::{INSTANCE, Scene, Silent, get};
use super::error::LeaseError;
use super::exchange::Refusal;
use super::fixture::cleared;
use super::look_tests::{claim, slot};
use super::{ApiSlots, Grounds, Lease};
use crate::host::BoxFuture;
use crate::host::cluster::{ApiError, Call, Cluster, NodeView, Resource, Verb, Watching};
use crate::host::fake::Failure;
use crate::policy::RunId;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const CLUSTER: &str = "slot.cluster.0";
const OLD_ZONE: &str = "slot.zone-old.0";

/// A slot of node `a` that its own agent took.
fn own(scene: &Scene, name: &str, run: u64, phase: &str, is_inherited: bool) {
    let notes = json!({ "nodemend.io/instance": INSTANCE, "nodemend.io/run": format!("run-{run}"),
        "nodemend.io/phase": phase, "nodemend.io/inherited": is_inherited.to_string() });
    slot(scene, name, "a", notes);
}

#[tokio::test]
async fn a_slot_of_a_run_that_never_began_is_freed_and_no_other() {
    for (run, phase, is_inherited, runs, is_free) in [
        (6, "mending", false, 5..=6, true),
        (5, "mending", false, 5..=6, true),
        // Of an older run that began, of a newer one that is under way, and kept by one before it.
        (4, "mending", false, 5..=6, false),
        (7, "mending", false, 5..=6, false),
        (6, "mending", true, 5..=6, false),
    ] {
        let scene = Scene::with_limits(json!({ "cluster": "1" }));
        own(&scene, CLUSTER, run, phase, is_inherited);
        let agent = scene.agent("a");
        agent.tidy_unbegun(runs).await.expect("asked");
        assert_eq!(scene.leases().is_empty(), is_free, "run-{run}");
    }
}

#[tokio::test]
async fn where_no_run_can_be_left_behind_nothing_is_asked() {
    let scene = Scene::with_limits(json!({ "cluster": "1" }));
    let (first, last) = (1, 0);
    scene
        .agent("a")
        .tidy_unbegun(first..=last)
        .await
        .expect("nothing");
    assert!(scene.server.calls().is_empty());
}

#[tokio::test]
async fn a_slot_that_a_try_left_behind_is_given_back_when_the_node_waits_no_longer() {
    let scene = Scene::with_limits(json!({ "cluster": "1" }));
    let agent = scene.agent("a");
    claim(&scene, "a", "2026-11-22T09:00:00Z");
    // The claim's; then the slot's, whose answer is lost, and so is that to the question whether it is there.
    let taken = Failure::Refuse(409, "AlreadyExists");
    for failure in [taken, Failure::DoneInSilence] {
        scene.server.fail(Verb::Create, Resource::Leases, failure);
    }
    scene
        .server
        .fail(Verb::Get, Resource::Leases, Failure::Lost);
    let error = get(&agent, 3).await.expect_err("silence");
    assert!(
        matches!(error, LeaseError::Refused(Refusal::Silent(_))),
        "{error}"
    );
    assert!(scene.leases().contains(&CLUSTER.to_owned()), "it is there");
    agent
        .tidy_up(RunId(3), Grounds::Untouched)
        .await
        .expect("given back");
    assert_eq!(scene.leases(), ["a"]);
}

#[tokio::test]
async fn a_soak_frees_what_the_node_kept_in_a_zone_that_it_left() {
    for (grounds, left) in [
        (Grounds::Soaked, &[][..]),
        (Grounds::Untouched, &[CLUSTER, OLD_ZONE][..]),
    ] {
        let scene = Scene::with_limits(json!({ "cluster": "1", "zone-old": "1" }));
        own(&scene, CLUSTER, 1, "failed", false);
        own(&scene, OLD_ZONE, 1, "failed", false);
        let agent = scene.agent("a");
        let permit = get(&agent, 2).await.expect("its own slot");
        agent.release(permit, grounds).await.expect("asked");
        assert_eq!(scene.leases(), left, "{grounds:?}");
    }
}

#[tokio::test]
async fn two_slots_of_one_domain_are_both_freed() {
    let scene = Scene::with_limits(json!({ "cluster": "2" }));
    own(&scene, CLUSTER, 1, "mending", false);
    own(&scene, "slot.cluster.1", 2, "mending", false);
    let agent = scene.agent("a");
    agent.tidy_unbegun(1..=2).await.expect("freed");
    assert_eq!(scene.leases(), Vec::<String>::new());
}

#[tokio::test]
async fn a_write_to_a_slot_that_is_being_deleted_proves_nothing() {
    // A person deleted it while a finalizer held it: the agent's write takes the finalizer off, and the server answers with the
    // object as it was in its last moment. Somebody else may have the slot by now.
    let scene = Scene::with_limits(json!({ "cluster": "1" }));
    let agent = scene.agent("a");
    let permit = get(&agent, 1).await.expect("a slot");
    let mut last = scene.server.find(Resource::Leases, CLUSTER).expect("held");
    last["metadata"]["resourceVersion"] = json!("99");
    last["metadata"]["deletionTimestamp"] = json!("2026-11-22T09:00:00Z");
    scene
        .server
        .fail(Verb::Update, Resource::Leases, Failure::Says(last));
    let error = agent.renew(&permit).await.expect_err("no proof");
    assert!(matches!(error, LeaseError::Lost { .. }), "{error}");
    assert_eq!(permit.proved_at(), None);
}

#[tokio::test]
async fn a_slot_remembers_the_newest_failures() {
    let scene = Scene::with_limits(json!({ "cluster": "9" }));
    let old = ["old"; 8].join(",");
    let notes =
        |failed: String| json!({ "nodemend.io/phase": "failed", "nodemend.io/failed": failed });
    for (node, k) in [("b", 0), ("c", 1)] {
        let name = format!("slot.cluster.{k}");
        slot(&scene, &name, node, notes(format!("{old},{}", digest())));
    }
    let error = get(&scene.agent("a"), 1).await.expect_err("stopped");
    assert!(
        error.to_string().contains("runs of this version"),
        "{error}"
    );
}

/// The digest of the playbook in the fixture.
fn digest() -> String {
    let cleared = cleared();
    cleared.proposal().playbook.digest.to_string()
}

/// Serves page after page and notes how much memory the process has at each.
struct Pages(Mutex<Vec<u64>>);

fn resident_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("this kernel has it");
    let pages: u64 = text
        .split(' ')
        .nth(1)
        .expect("resident")
        .parse()
        .expect("a number");
    pages * 4
}

impl Cluster for Pages {
    fn call(&self, _call: Call) -> BoxFuture<'_, Result<Value, ApiError>> {
        let mut seen = self.0.lock().expect("seen");
        seen.push(resident_kib());
        let page = seen.len();
        let items: Vec<Value> = (0..500)
            .map(|k| {
                json!({ "metadata": { "name": format!("slot.cluster.{k}"), "uid": "u", "resourceVersion": "1",
                    "managedFields": "x".repeat(20_000) } })
            })
            .collect();
        let more = if page < 20 { "more" } else { "" };
        let answer = json!({ "items": items, "metadata": { "continue": more } });
        Box::pin(async move { Ok(answer) })
    }

    fn watch(&self, _call: Call) -> BoxFuture<'_, Result<Box<dyn Watching>, ApiError>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_long_list_takes_no_more_memory_than_a_page_of_it() {
    // 20 pages of 10 MB. Of each object a name and a few words are kept; the container may take 64 MiB.
    let server = Arc::new(Pages(Mutex::default()));
    let cluster: Arc<dyn Cluster> = server.clone();
    let slots = ApiSlots::new(cluster, "nodemend", "a", INSTANCE, Arc::new(Silent));
    slots.meet(&NodeView::default());
    assert!(slots.read_slots().await.expect("reads").is_empty());
    let seen = server.0.lock().expect("seen").clone();
    let (first, last) = (seen[1], seen[seen.len() - 1]);
    assert!(
        last.saturating_sub(first) < 100_000,
        "{first} KiB after the first page, {last} KiB before the last"
    );
}
