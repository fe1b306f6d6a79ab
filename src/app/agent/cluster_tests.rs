//! The agent beside an API server in memory: what it frees, what stops a run under way, how often it asks.

use super::boot::{self, Built, Plan};
use super::cluster::{follow, refresh, watch};
use super::core::{Core, Message};
use super::ledger_tests::alone;
use super::runs::Runs;
use super::{instance, store};
use crate::engine::{Input, Ledger, RunNews};
use crate::executor::{Rein, Shelf};
use crate::host::BoxFuture;
use crate::host::cluster::{ApiError, Call, Cluster, Resource, Verb, Watching};
use crate::host::fake::{Failure, FakeCluster};
use crate::policy::{CaseId, Disruption, Mode, OptIn, RunId};
use crate::report::audit::{Entry, RecordKind};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

const SLOT: &str = "slot.cluster.0";

struct Agent {
    core: Arc<Core>,
    shelf: Shelf,
    news: mpsc::Sender<Message>,
    _inbox: mpsc::Receiver<Message>,
}

fn node() -> Value {
    json!({ "metadata": { "name": "n", "uid": "u", "resourceVersion": "7" } })
}

/// An agent in `home` that has not read its Node yet; `next_run`: how many runs took a number here, and one more.
fn agent(home: &Path, api: Arc<dyn Cluster>, next_run: u64) -> Agent {
    let state_dir = alone(home).state_dir;
    store::make_dir(&state_dir).expect("a state directory");
    let ledger = Ledger {
        next_run,
        ..Ledger::empty("unknown")
    };
    store::write(&state_dir.join("ledger.json"), &ledger).expect("a ledger");
    let plan = Plan {
        standalone: false,
        cluster: Some((api, "nodemend".to_owned())),
        ..alone(home)
    };
    let Built { core, shelf, .. } = boot::build(&plan).expect("the shipped rules");
    let (news, inbox) = mpsc::channel(64);
    Agent {
        core,
        shelf,
        news,
        _inbox: inbox,
    }
}

/// The slot that the agent of `home` took for a run before it was killed.
fn left_behind(home: &Path, run: u64) -> Value {
    let state_dir = home.join("state");
    store::make_dir(&state_dir).expect("a state directory");
    let instance = instance::instance(&state_dir).expect("an id");
    json!({ "metadata": { "name": SLOT, "uid": "s", "resourceVersion": "3",
            "labels": { "nodemend.io/kind": "slot" },
            "annotations": { "nodemend.io/instance": instance, "nodemend.io/run": format!("run-{run}"),
                "nodemend.io/phase": "mending", "nodemend.io/inherited": "false" },
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u" }] },
        "spec": { "holderIdentity": "n" } })
}

#[tokio::test]
async fn a_slot_that_was_taken_right_before_the_agent_was_killed_is_freed_by_the_next_one() {
    // The API server answers nothing to the first question: it is asked again.
    for (run, silences, is_free) in [(2, 0, true), (2, 1, true), (3, 0, false)] {
        let home = tempfile::tempdir().expect("a temporary directory");
        let server = Arc::new(FakeCluster::default());
        server.plant(Resource::Nodes, node());
        server.plant(Resource::Leases, left_behind(home.path(), run));
        let Agent {
            core, shelf, news, ..
        } = agent(home.path(), server.clone(), 3);
        let side = core.cluster.as_ref().expect("there is a cluster");
        refresh(&core, side, &news).await.expect("the Node is read");
        for _ in 0..silences {
            server.fail(Verb::List, Resource::Leases, Failure::Lost);
        }
        let unbegun = Runs::unbegun(&core, &shelf).await;
        assert_eq!(unbegun, 1..=2);
        Runs::resume(Arc::clone(&core), shelf, unbegun, news).await;
        let is_there = server.find(Resource::Leases, SLOT).is_some();
        assert_eq!(is_there, !is_free, "run-{run} after {silences} silences");
    }
}

#[tokio::test]
async fn a_run_that_the_audit_log_saw_begin_keeps_its_slot_without_its_journal() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let Agent { core, shelf, .. } = agent(home.path(), Arc::new(FakeCluster::default()), 3);
    let mut opened = Entry::of(RecordKind::RunOpened);
    opened.run = Some(RunId(2));
    core.scribe.write(opened).await.expect("recorded");
    // Somebody moved its journal away.
    assert!(Runs::unbegun(&core, &shelf).await.is_empty());
}

#[tokio::test]
async fn a_run_under_way_ends_at_its_boundary_when_its_class_or_mode_is_taken_back() {
    for (mode, allow, approved, goes_on) in [
        (Mode::Auto, Disruption::Restart, vec![], true),
        (Mode::Auto, Disruption::None, vec![], false),
        (Mode::Approve, Disruption::Restart, vec![], false),
        (Mode::Approve, Disruption::Restart, vec![CaseId(8)], false),
        (Mode::Approve, Disruption::Restart, vec![CaseId(7)], true),
        (Mode::Observe, Disruption::Restart, vec![], false),
    ] {
        let home = tempfile::tempdir().expect("a temporary directory");
        let agent = agent(home.path(), Arc::new(FakeCluster::default()), 3);
        let (core, news) = (&agent.core, &agent.news);
        let settings = |mode, allow, approved| OptIn {
            mode,
            allow,
            approved,
            ..OptIn::default()
        };
        let before = settings(Mode::Auto, Disruption::Restart, vec![]);
        core.turn(Input::OptIn(before), news).await;
        let begun = RunNews::Resumed {
            case: CaseId(7),
            run: RunId(2),
        };
        core.turn(Input::Run(begun), news).await;
        let told = format!("{mode} {allow} {approved:?}");
        core.apply_opt_in(settings(mode, allow, approved), news)
            .await;
        let rein = core.reins.borrow().clone();
        assert_eq!(rein == Rein::Go, goes_on, "{told}: {rein:?}");
    }
}

/// A server, or a proxy before it, that ends each watch at once, or refuses it and asks to be left alone.
#[derive(Default)]
struct Curt {
    server: FakeCluster,
    watches: AtomicUsize,
    leave_alone: Option<Duration>,
}

struct Ended;

impl Watching for Ended {
    fn next(&mut self) -> BoxFuture<'_, Option<Result<Value, ApiError>>> {
        Box::pin(async { None })
    }
}

impl Cluster for Curt {
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Value, ApiError>> {
        self.server.call(call)
    }

    fn watch(&self, call: Call) -> BoxFuture<'_, Result<Box<dyn Watching>, ApiError>> {
        self.watches.fetch_add(1, Ordering::Relaxed);
        let busy = self.leave_alone.map(|wait| ApiError::Refused {
            what: call.what(),
            verb: call.verb.word(),
            code: 429,
            reason: "TooManyRequests".to_owned(),
            message: "later".to_owned(),
            retry_after: Some(wait),
        });
        Box::pin(async move {
            tokio::task::yield_now().await;
            match busy {
                Some(error) => Err(error),
                None => Ok(Box::new(Ended) as Box<dyn Watching>),
            }
        })
    }
}

#[tokio::test]
async fn a_watch_that_ends_at_once_is_not_opened_again_at_once() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let server = FakeCluster::default();
    server.plant(Resource::Nodes, node());
    let curt = Arc::new(Curt {
        server,
        ..Curt::default()
    });
    let agent = agent(home.path(), curt.clone(), 1);
    let side = Arc::clone(agent.core.cluster.as_ref().expect("there is a cluster"));
    let following = tokio::spawn(follow(Arc::clone(&agent.core), side, agent.news.clone()));
    let count = || curt.watches.load(Ordering::Relaxed);
    while count() == 0 {
        tokio::task::spawn_blocking(|| ()).await.expect("a thread");
    }
    for _ in 0..500 {
        tokio::task::yield_now().await;
    }
    following.abort();
    assert_eq!(count(), 1, "it rests for 2 s or more");
}

#[tokio::test]
async fn a_watch_that_is_refused_says_how_long_the_server_wants_to_be_left_alone() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let wait = Some(Duration::from_secs(300));
    let curt = Arc::new(Curt {
        leave_alone: wait,
        ..Curt::default()
    });
    let agent = agent(home.path(), curt, 1);
    let side = agent.core.cluster.as_ref().expect("there is a cluster");
    let (why, asked) = watch(&agent.core, side, &agent.news).await;
    assert_eq!(asked, wait, "{why}");
}
