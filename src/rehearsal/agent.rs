//! The tasks of one agent's process: the watch of its own Node, its probes, what it tells the server.

use super::flaw::Flaw;
use super::mind::Mind;
use super::turn::{put_in_force, recall, refresh, resume};
use super::world::{World, lock};
use crate::diagnosis::CaseState;
use crate::engine::Input;
use crate::host::cluster::{Call, Cluster, NodeView, Resource, Verb};
use crate::host::retry::{MAX_REST, Rests, WATCH_FOR};
use crate::report::audit::{Entry as Audited, RecordKind};
use crate::report::conditions::{Telling, telling};
use crate::report::desk::{Facts, Next};
use crate::simulate::PROBES;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// How often an agent looks that has nothing to see: looks that find what the last one found are folded into one. The gate
/// `evidence` takes no sight that is older than 90 s.
const CALM: Duration = Duration::from_secs(60);

/// Begins the agent's process on `node`.
pub(super) fn begin(world: &Arc<World>, node: usize) {
    let now = world.hall.now();
    world.with(|state| {
        let wall = super::imagined::wall_of(state, node, now);
        state.jury.process_began(now, node, wall);
        let uid = state.server.nodes.get(node).map(|node| node.uid.clone());
        if let Some(body) = state.bodies.get_mut(node) {
            body.token_uid = uid.unwrap_or_default();
            body.clear_since = now;
            body.waiting = None;
        }
    });
    world.tell(node, "the agent begins");
    let mind = Mind::of(world, node);
    mind.record(&Audited::of(RecordKind::AgentStarted));
    let hall = &world.hall;
    hall.spawn(Some(node), follow(Arc::clone(&mind)));
    hall.spawn(Some(node), tell(Arc::clone(&mind)));
    hall.spawn(Some(node), look(mind));
}

/// Follows the own Node for ever.
async fn follow(mind: Arc<Mind>) {
    let mut rests = Rests::default();
    let mut is_first = true;
    loop {
        match refresh(&mind).await {
            Ok(()) => {
                if std::mem::take(&mut is_first) {
                    mind.slots.withdraw().await.ok();
                }
                mind.slots.count_agents().await;
                mind.changed.notify_one();
                let began = mind.now().uptime;
                watch(&mind).await;
                if mind.now().uptime.since(began) >= MAX_REST {
                    rests.reset();
                }
            }
            Err(why) => {
                if lock(&mind.view).is_none() {
                    *lock(&mind.failure) = Some(why);
                    mind.apply_opt_in();
                }
            }
        }
        let rest = rests.next(None, mind.world.draw(mind.node));
        mind.sleep(rest).await;
    }
}

/// Watches until something breaks; from 0, as the agent does.
async fn watch(mind: &Arc<Mind>) {
    let mut version = "0".to_owned();
    loop {
        let limit = WATCH_FOR.saturating_add(mind.world.spread(mind.node, WATCH_FOR));
        let call = Call::new(Verb::Watch, Resource::Nodes, "", "")
            .with("resourceVersion", version.clone())
            .with("timeoutSeconds", limit.as_secs().to_string());
        let Ok(mut events) = mind.line.watch(call).await else {
            return;
        };
        loop {
            match events.next().await {
                Some(Ok(event)) => match take(mind, &event) {
                    Some(seen) => version = seen,
                    None => return,
                },
                Some(Err(_)) => return,
                None => break,
            }
        }
    }
}

/// Takes one event; the version that it brings.
fn take(mind: &Arc<Mind>, event: &Value) -> Option<String> {
    let object = event.get("object").unwrap_or(&Value::Null);
    let view = NodeView::read(object).ok()?;
    let is_behind = lock(&mind.view)
        .as_ref()
        .is_some_and(|known| view.is_older_than(known));
    if event.get("type").and_then(Value::as_str) == Some("DELETED") {
        if !is_behind {
            *lock(&mind.view) = None;
            *lock(&mind.failure) = Some("the Node was deleted".to_owned());
            mind.apply_opt_in();
        }
        return None;
    }
    let version = view.version.clone();
    if !is_behind {
        put_in_force(mind, view);
    }
    Some(version)
}

/// The probes: looks closely while there is something to see.
async fn look(mind: Arc<Mind>) {
    let (world, node) = (Arc::clone(&mind.world), mind.node);
    let Some(alarm) = world.alarms.get(node) else {
        return;
    };
    mind.sleep(world.spread(node, Duration::from_secs(5))).await;
    let has_past = world.body(node, |body| body.ledger.is_some() || !body.files.is_empty());
    let is_ill = world.body(node, |body| !body.ill.is_empty());
    if has_past == Some(true) || is_ill == Some(true) {
        mind.wake();
        see(&mind);
    }
    if mind.world.flaw != Some(Flaw::RecallsTooLate) {
        recall(&mind);
    }
    *lock(&mind.has_looked) = true;
    mind.turn(Input::StopCord(None));
    if mind.world.flaw == Some(Flaw::RecallsTooLate) {
        recall(&mind);
    }
    let resuming = Arc::clone(&mind);
    if has_past == Some(true) {
        world
            .hall
            .spawn(Some(node), async move { resume(&resuming).await });
    }
    loop {
        match pace(&mind) {
            Some(span) => {
                tokio::select! {
                    biased;
                    () = alarm.notified() => {}
                    () = mind.sleep(span) => {}
                }
            }
            None => alarm.notified().await,
        }
        mind.wake();
        see(&mind);
    }
}

/// When to look next; `None`: when something happens.
fn pace(mind: &Mind) -> Option<Duration> {
    let is_ill = mind
        .world
        .body(mind.node, |body| !body.ill.is_empty())
        .unwrap_or(false);
    let (has_case, is_unsettled) = mind
        .engine(|engine| {
            let mut current = engine.book().current().peekable();
            let has_case = current.peek().is_some();
            let is_unsettled = current.any(|case| {
                !matches!(
                    case.state,
                    CaseState::Confirmed | CaseState::NeedsHuman | CaseState::Treating
                )
            });
            (has_case, is_unsettled)
        })
        .unwrap_or_default();
    let quick = PROBES.first().map_or(CALM, |(_, period)| *period);
    match (is_ill, has_case) {
        (false, false) => None,
        (true, true) if !is_unsettled => Some(CALM),
        _ => Some(quick),
    }
}

/// One look at what matters on this machine.
fn see(mind: &Arc<Mind>) {
    let now = mind.now();
    let batches = mind.world.body(mind.node, |body| {
        let probes = mind.world.probes.iter();
        probes
            .filter(|probe| body.seen_by.contains(*probe))
            .map(|probe| body.machine.read(probe, now, &mut body.chance))
            .collect::<Vec<_>>()
    });
    for batch in batches.unwrap_or_default() {
        mind.turn(Input::Batch(batch));
    }
}

/// Tells the server how the node is, for ever: `app::agent::reporter` in virtual time.
async fn tell(mind: Arc<Mind>) {
    loop {
        let (now, view) = (mind.now(), lock(&mind.view).clone());
        let told = mind.engine(|engine| {
            let run = engine.run();
            telling(engine, now, lock(&mind.desk).waiting(run))
        });
        let telling = told.unwrap_or_else(|| Telling {
            state: "healthy".to_owned(),
            ..Telling::default()
        });
        let facts = Facts {
            now,
            view: view.as_ref(),
            telling: &telling,
            agents: mind.slots.agents_known(),
        };
        let next = lock(&mind.desk).next(&facts);
        match next {
            Next::Send(call) => {
                let answer = mind.line.call(call).await;
                let now = mind.now();
                lock(&mind.desk).heard(&Facts { now, ..facts }, answer);
            }
            Next::Rest(span) => tokio::select! {
                biased;
                () = mind.changed.notified() => {}
                () = mind.sleep(span) => {}
            },
        }
    }
}
