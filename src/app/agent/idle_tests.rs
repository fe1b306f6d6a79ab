//! What a quiet hour costs the API server: the code of the product against a server that counts, in time that the test turns.

use super::boot::{self, Built, Plan};
use super::cluster::{follow, refresh};
use super::core::{Core, Message};
use super::ledger_tests::alone;
use super::reporter::report;
use super::sight::Seen;
use crate::host::clock::Clock;
use crate::host::cluster::{ApiError, Call, Cluster, Resource, Verb, Watching};
use crate::host::{BoxFuture, clock};
use crate::probes;
use crate::report::pace::{COALESCE, HEARTBEAT};
use crate::signal::{Batch, LogRecord, LogSource, Subject, Timestamp, Uptime};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

const HOUR: Duration = Duration::from_secs(3600);
const KEY: &str = "net.ipv4.ip_forward";

/// Time that stands until the test lets it run, and then jumps from one sleeper to the next.
struct Turned(Mutex<Slept>);

struct Slept {
    now: Timestamp,
    sleepers: BTreeMap<(Uptime, u64), oneshot::Sender<()>>,
    count: u64,
}

impl Turned {
    fn with<T>(&self, work: impl FnOnce(&mut Slept) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets `span` pass, with everything that happens in it.
    async fn pass(&self, span: Duration) {
        let end = self.now().uptime.plus(span);
        loop {
            settle().await;
            let next = self.with(|slept| {
                let first = slept.sleepers.first_key_value().map(|(key, _)| *key);
                let first = first.filter(|(at, _)| *at <= end)?;
                let gap = first.0.since(slept.now.uptime);
                slept.now = slept.now.plus(gap);
                slept.sleepers.remove(&first)
            });
            match next {
                // Whoever slept may have been dropped meanwhile.
                Some(sleeper) => drop(sleeper.send(())),
                None => break,
            }
        }
        self.with(|slept| slept.now = slept.now.plus(end.since(slept.now.uptime)));
    }
}

impl Clock for Turned {
    fn now(&self) -> Timestamp {
        self.with(|slept| slept.now)
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'_, ()> {
        let (wake, woken) = oneshot::channel();
        self.with(|slept| {
            slept.count += 1;
            let key = (slept.now.uptime.plus(span), slept.count);
            slept.sleepers.insert(key, wake)
        });
        Box::pin(async move { drop(woken.await) })
    }
}

/// Gives every task its turn, and the ledger and the audit log, which are written by threads, a moment.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
        tokio::task::spawn_blocking(|| ()).await.expect("a thread");
    }
}

/// One Node's server.
struct Server {
    clock: Arc<Turned>,
    node: Mutex<Value>,
    calls: Mutex<Vec<(Timestamp, Call)>>,
    /// Condition types that admission refuses.
    unwanted: &'static str,
    /// How many events are still lost on their way.
    lost: Mutex<usize>,
}

impl Server {
    fn calls_since(&self, since: Timestamp) -> Vec<(Timestamp, Call)> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let late = calls.iter().filter(|(at, _)| at.uptime > since.uptime);
        late.cloned().collect()
    }

    fn loses(&self) -> bool {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let left = lost.checked_sub(1);
        *lost = left.unwrap_or(0);
        left.is_some()
    }

    fn note(&self, call: &Call) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push((self.clock.now(), call.clone()));
    }

    fn refuse(call: &Call, code: u16) -> ApiError {
        ApiError::Refused {
            what: call.what(),
            verb: call.verb.word(),
            code,
            reason: "Forbidden".to_owned(),
            message: "not listed".to_owned(),
            retry_after: None,
        }
    }
}

impl Cluster for Server {
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Value, ApiError>> {
        self.note(&call);
        let node = || {
            self.node
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        };
        let answer = match (call.verb, call.resource) {
            (Verb::Get, Resource::Nodes) => Ok(node()),
            (Verb::Delete, Resource::Leases) => Err(Self::refuse(&call, 404)),
            (Verb::Patch, Resource::NodeStatus) => {
                let text = call.body.as_ref().map(Value::to_string).unwrap_or_default();
                let is_unwanted = !self.unwanted.is_empty() && text.contains(self.unwanted);
                if is_unwanted {
                    Err(Self::refuse(&call, 403))
                } else {
                    Ok(node())
                }
            }
            (Verb::Create, Resource::Events) if self.loses() => Err(ApiError::Late {
                what: call.what(),
                limit: Duration::from_secs(5),
            }),
            // A small cluster: nothing is spread over minutes.
            (Verb::Get, Resource::DaemonSets) => Ok(json!({ "metadata": { "name": "nodemend" },
                "status": { "desiredNumberScheduled": 3 } })),
            _ => Ok(json!({ "metadata": { "name": "x" }, "data": {} })),
        };
        Box::pin(async move { answer })
    }

    fn watch(&self, call: Call) -> BoxFuture<'_, Result<Box<dyn Watching>, ApiError>> {
        self.note(&call);
        let seconds = call.query.iter().find(|(key, _)| *key == "timeoutSeconds");
        let seconds: u64 = seconds
            .and_then(|(_, text)| text.parse().ok())
            .expect("a limit");
        let open = Open {
            clock: Arc::clone(&self.clock),
            node: self
                .node
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            minutes: 0,
            end: self.clock.now().uptime.plus(Duration::from_secs(seconds)),
        };
        Box::pin(async move { Ok(Box::new(open) as Box<dyn Watching>) })
    }
}

/// A bookmark every minute, the kubelet's status every five, and an end at its time: as the real one has it.
struct Open {
    clock: Arc<Turned>,
    node: Value,
    minutes: u64,
    end: Uptime,
}

impl Watching for Open {
    fn next(&mut self) -> BoxFuture<'_, Option<Result<Value, ApiError>>> {
        Box::pin(async move {
            let left = self.end.since(self.clock.now().uptime);
            self.clock.sleep(left.min(Duration::from_secs(60))).await;
            if self.clock.now().uptime >= self.end {
                return None;
            }
            self.minutes += 1;
            let kind = if self.minutes.is_multiple_of(5) {
                "MODIFIED"
            } else {
                "BOOKMARK"
            };
            Some(Ok(json!({ "type": kind, "object": self.node })))
        })
    }
}

struct Scene {
    clock: Arc<Turned>,
    server: Arc<Server>,
    news: mpsc::Sender<Message>,
    core: Arc<Core>,
    _home: tempfile::TempDir,
}

/// An agent beside such a server, after its start.
async fn scene(unwanted: &'static str) -> Scene {
    let clock = Arc::new(Turned(Mutex::new(Slept {
        now: clock::now(),
        sleepers: BTreeMap::new(),
        count: 0,
    })));
    let node = json!({ "kind": "Node",
        "metadata": { "name": "n", "uid": "u", "resourceVersion": "7", "annotations": {} },
        "status": { "conditions": [{ "type": "Ready", "status": "True", "reason": "x" }] } });
    let server = Arc::new(Server {
        clock: Arc::clone(&clock),
        node: Mutex::new(node),
        calls: Mutex::default(),
        unwanted,
        lost: Mutex::default(),
    });
    let home = tempfile::tempdir().expect("a temporary directory");
    let plan = Plan {
        standalone: false,
        cluster: Some((
            Arc::clone(&server) as Arc<dyn Cluster>,
            "nodemend".to_owned(),
        )),
        ..alone(home.path())
    };
    let Built { core, .. } = boot::build(&plan).expect("the shipped rules");
    let side = Arc::clone(core.cluster.as_ref().expect("there is a cluster"));
    let (news, inbox) = mpsc::channel(64);
    for input in boot::inputs_of(&plan.config, &core) {
        core.turn(input, &news).await;
    }
    let (engine, engine_news) = (Arc::clone(&core), news.clone());
    tokio::spawn(async move { engine.obey(inbox, engine_news).await });
    tokio::spawn(follow(Arc::clone(&core), Arc::clone(&side), news.clone()));
    tokio::spawn(report(
        Arc::clone(&core),
        side,
        Arc::clone(&clock) as Arc<dyn Clock>,
    ));
    clock.pass(Duration::from_secs(120)).await;
    Scene {
        clock,
        server,
        news,
        core,
        _home: home,
    }
}

impl Scene {
    /// The kernel's setting is looked at and differs.
    async fn fall_sick(&self) {
        let before = self.count("patch nodes/status");
        for _ in 0..2 {
            let mut batch = Batch::of(probes::kernel::SPEC.name);
            batch.at = clock::now();
            batch.set_for(&probes::kernel::MATCHES, Subject::named(KEY), false);
            let seen = Seen {
                spec: &probes::kernel::SPEC,
                result: Ok(batch),
            };
            self.news
                .send(Message::Seen(seen))
                .await
                .expect("the engine lives");
        }
        self.until_told("patch nodes/status", before + 1).await;
    }

    fn count(&self, call: &str) -> usize {
        let calls = words(&self.server.calls_since(Timestamp::default()));
        calls.iter().filter(|one| *one == call).count()
    }

    /// Waits for threads that write ledger and audit log, while the test's own time stands.
    async fn until_told(&self, call: &str, times: usize) {
        let told = async {
            while self.count(call) < times {
                settle().await;
            }
        };
        let limit = Duration::from_secs(10);
        tokio::time::timeout(limit, told).await.expect(call);
    }

    /// The kernel writes that a task hangs.
    async fn hang(&self) {
        let mut batch = Batch::of(probes::kernel_log::SPEC.name);
        batch.at = clock::now();
        batch.heard.push(LogSource::Kernel);
        batch.records.push(LogRecord {
            source: LogSource::Kernel,
            at: batch.at,
            written: None,
            identifier: "".into(),
            unit: "".into(),
            text: "INFO: task touch:3077 blocked for more than 122 seconds.".into(),
            history: false,
        });
        let seen = Seen {
            spec: &probes::kernel_log::SPEC,
            result: Ok(batch),
        };
        self.news
            .send(Message::Seen(seen))
            .await
            .expect("the engine lives");
    }
}

fn words(calls: &[(Timestamp, Call)]) -> Vec<String> {
    let word = |call: &Call| format!("{} {}", call.verb.word(), call.resource.word());
    calls.iter().map(|(_, call)| word(call)).collect()
}

#[tokio::test]
async fn a_healthy_node_costs_the_server_two_requests_an_hour_at_most() {
    let scene = scene("").await;
    let begun = scene.clock.now();
    assert!(!scene.server.calls_since(Timestamp::default()).is_empty());
    scene.clock.pass(HOUR).await;
    let calls = words(&scene.server.calls_since(begun));
    assert!((1..=2).contains(&calls.len()), "{calls:?}");
    assert!(calls.iter().all(|call| call == "watch nodes"), "{calls:?}");
}

#[tokio::test]
async fn a_standing_condition_costs_six_requests_an_hour_at_most_and_beats_slowly() {
    let scene = scene("").await;
    scene.fall_sick().await;
    let all = scene.server.calls_since(Timestamp::default());
    assert!(
        words(&all).contains(&"patch nodes/status".to_owned()),
        "{:?}",
        words(&all)
    );
    scene.clock.pass(Duration::from_secs(60)).await;
    let begun = scene.clock.now();
    scene.clock.pass(3 * HOUR).await;
    let calls = scene.server.calls_since(begun);
    assert!(calls.len() <= 18, "{:?}", words(&calls));
    let is_beat = |call: &Call| {
        let body = call.body.as_ref();
        body.is_some_and(|body| body.pointer("/status/conditions").is_some())
    };
    let beats: Vec<Uptime> = calls
        .iter()
        .filter(|(_, call)| is_beat(call))
        .map(|(at, _)| at.uptime)
        .collect();
    assert!(beats.len() >= 9, "it beats: {beats:?}");
    let gap = beats.windows(2).map(|two| two[1].since(two[0])).min();
    assert!(gap >= Some(Duration::from_secs(300)) && HEARTBEAT >= Duration::from_secs(300));
}

#[tokio::test]
async fn an_event_that_was_lost_on_its_way_is_sent_again_as_it_was() {
    let scene = scene("").await;
    *scene
        .server
        .lost
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = 2;
    scene.fall_sick().await;
    while scene.count("create events") < 3 {
        scene.clock.pass(Duration::from_secs(1)).await;
    }
    let calls = scene.server.calls_since(Timestamp::default());
    let bodies: Vec<_> = calls
        .iter()
        .filter(|(_, call)| call.resource == Resource::Events)
        .map(|(_, call)| call.body.clone())
        .collect();
    assert!(bodies.len() == 3 && bodies[0] == bodies[2], "{bodies:#?}");
    assert_eq!(
        scene.count("patch events"),
        0,
        "nothing is told of an event that is not there"
    );
}

#[tokio::test]
async fn an_event_of_before_a_read_never_brings_an_older_opt_in_back() {
    let scene = scene("").await;
    let side = scene.core.cluster.as_ref().expect("there is a cluster");
    {
        let mut node = scene
            .server
            .node
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        node["metadata"]["resourceVersion"] = json!("9");
        node["metadata"]["annotations"] = json!({ "nodemend.io/pause": "no" });
    }
    refresh(&scene.core, side, &scene.news)
        .await
        .expect("the Node is read");
    assert_eq!(&*side.opt_in().version, "9");
    // The open watch sends the Node as it was when it was opened, version 7.
    scene.clock.pass(Duration::from_secs(310)).await;
    assert_eq!(&*side.opt_in().version, "9");
    assert!(side.opt_in().pause.is_some());
}

#[tokio::test]
async fn a_condition_waits_for_no_event_that_the_one_before_it_made() {
    let scene = scene("").await;
    scene.fall_sick().await;
    while scene.count("create events") == 0 {
        scene.clock.pass(Duration::from_secs(1)).await;
    }
    scene.clock.pass(COALESCE).await;
    let (begun, before) = (scene.clock.now(), scene.count("patch nodes/status"));
    scene.hang().await;
    scene.until_told("patch nodes/status", before + 1).await;
    assert_eq!(scene.clock.now(), begun, "no time had to pass");
}

#[tokio::test]
async fn a_condition_that_admission_refuses_is_not_repeated_and_hides_nothing_else() {
    let scene = scene("KernelSettingsDrift").await;
    scene.fall_sick().await;
    // Together, the condition alone, the annotations alone.
    let has_case = |(_, call): &(Timestamp, Call)| {
        let text = call.body.as_ref().map(Value::to_string).unwrap_or_default();
        text.contains("case-1") && !text.contains("KernelSettingsDrift")
    };
    scene.clock.pass(Duration::from_secs(10)).await;
    let all = scene.server.calls_since(Timestamp::default());
    assert!(
        all.iter().any(has_case),
        "the annotation tells of the case: {:?}",
        words(&all)
    );
    let begun = scene.clock.now();
    scene.clock.pass(HOUR).await;
    let calls = words(&scene.server.calls_since(begun));
    let tries = calls
        .iter()
        .filter(|call| *call == "patch nodes/status")
        .count();
    assert!((1..=10).contains(&tries), "{calls:?}");
}
