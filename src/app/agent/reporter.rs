//! Tells the API server how the node is: conditions at once on their leading edge and then coalesced, annotations, events.
//! While the server is away the latest state is kept, which is the engine's own, and sent on its return.

use super::cluster::ClusterSide;
use super::core::Core;
use super::sight::chain;
use crate::host::cluster::{ApiError, Call, Fields, NodeView, Resource, Verb};
use crate::host::{clock, retry};
use crate::policy::annotations::{BLOCKED, CASE, STATE};
use crate::report::conditions::{Telling, Told, annotations_patch, conditions_patch, telling};
use crate::report::events::{EventBook, Post, Regarding};
use crate::signal::Uptime;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Changes within this time after a write are written together.
const COALESCE: Duration = Duration::from_secs(5);
/// How often a condition that stands is written again.
const HEARTBEAT: Duration = Duration::from_secs(300);
/// After a failed write, doubled each time up to the second.
const MIN_REST: Duration = Duration::from_secs(2);
const MAX_REST: Duration = Duration::from_secs(120);
/// The ConfigMap that lists the condition types that agents may write.
const CONDITIONS: &str = "conditions";

/// What the server is known to have.
#[derive(Default)]
struct Sent {
    uid: String,
    conditions: BTreeMap<String, (bool, String)>,
    notes: [Option<String>; 3],
    retired: Vec<String>,
    beat: Uptime,
}

/// Reports for ever.
pub async fn report(core: Arc<Core>, side: Arc<ClusterSide>) {
    let mut sent = Sent::default();
    let mut events = EventBook::new(clock::now());
    let mut rest = MIN_REST;
    loop {
        let idle = tokio::time::timeout(HEARTBEAT, side.changed.notified());
        // Woken by a change or by the time for a heartbeat: what is due is decided by what the server has.
        idle.await.ok();
        loop {
            match tell(&core, &side, &mut sent, &mut events).await {
                Ok(()) => {
                    rest = MIN_REST;
                    break;
                }
                Err(error) => {
                    tracing::warn!(
                        error = chain(&error),
                        "the Node cannot be told how it is; trying again"
                    );
                    let wait = error.retry_after().unwrap_or(rest);
                    tokio::time::sleep(wait + retry::spread(&side.node, wait)).await;
                    rest = (rest * 2).min(MAX_REST);
                }
            }
        }
        tokio::time::sleep(COALESCE).await;
    }
}

async fn tell(
    core: &Core,
    side: &ClusterSide,
    sent: &mut Sent,
    events: &mut EventBook,
) -> Result<(), ApiError> {
    let Some(view) = side.view() else {
        return Ok(());
    };
    let telling = telling(&core.engine(), clock::now(), side.waiting().as_deref());
    if sent.uid != view.uid {
        *sent = known_of(&view, &telling);
        sent.retired = retired(side, &view, &telling).await?;
    }
    tell_conditions(side, &telling, sent).await?;
    tell_notes(side, &telling, sent).await?;
    tell_events(side, &view, events).await
}

/// What the Node says already: of a process before this one.
fn known_of(view: &NodeView, telling: &Telling) -> Sent {
    let conditions = view
        .conditions
        .iter()
        .filter(|one| telling.conditions.contains_key(&one.kind))
        .map(|one| (one.kind.clone(), (one.status == "True", one.reason.clone())))
        .collect();
    Sent {
        uid: view.uid.clone(),
        conditions,
        notes: [STATE, CASE, BLOCKED].map(|key| view.annotations.get(key).cloned()),
        retired: Vec::new(),
        beat: clock::now().uptime,
    }
}

/// Types that were ours, stand on the Node, and are named by no signature any more.
async fn retired(
    side: &ClusterSide,
    view: &NodeView,
    telling: &Telling,
) -> Result<Vec<String>, ApiError> {
    let call = Call::new(Verb::Get, Resource::ConfigMaps, &side.namespace, CONDITIONS);
    let object = match retry::persist(&*side.api, call).await {
        Err(error) if error.is_missing() => return Ok(Vec::new()),
        other => other?,
    };
    let types = match Fields::of(&object, "ConfigMap").texts("/data") {
        Ok(types) => types,
        Err(error) => {
            tracing::warn!(%error, "retired conditions stay");
            return Ok(Vec::new());
        }
    };
    let ours = |kind: &String| types.get(kind).is_some_and(|by| !by.starts_with("npd "));
    Ok(view
        .conditions
        .iter()
        .map(|one| &one.kind)
        .filter(|kind| ours(kind) && !telling.conditions.contains_key(*kind))
        .cloned()
        .collect())
}

async fn tell_conditions(
    side: &ClusterSide,
    telling: &Telling,
    sent: &mut Sent,
) -> Result<(), ApiError> {
    let now = clock::now();
    let beats = now.uptime.since(sent.beat) >= HEARTBEAT;
    let mut changed: Vec<(&str, &Told, bool)> = Vec::new();
    for (kind, told) in &telling.conditions {
        let before = sent.conditions.get(kind);
        let flips = before.map_or(told.is_problem, |(problem, _)| *problem != told.is_problem);
        // What was never a problem here is not written: a healthy node costs nothing.
        let is_news = flips || before.is_some_and(|(_, reason)| *reason != told.reason);
        if is_news || (beats && told.is_problem) {
            changed.push((kind, told, flips));
        }
    }
    if changed.is_empty() && sent.retired.is_empty() {
        return Ok(());
    }
    let patch = conditions_patch(&changed, &sent.retired, &now.wall.to_rfc3339());
    let call = Call::new(Verb::Patch, Resource::NodeStatus, "", &side.node)
        .strategically()
        .sending(patch);
    side.api.call(call).await?;
    for (kind, told, _) in changed {
        sent.conditions
            .insert(kind.to_owned(), (told.is_problem, told.reason.clone()));
    }
    sent.retired.clear();
    sent.beat = now.uptime;
    Ok(())
}

async fn tell_notes(
    side: &ClusterSide,
    telling: &Telling,
    sent: &mut Sent,
) -> Result<(), ApiError> {
    let notes = [
        Some(telling.state.clone()),
        telling.case.clone(),
        telling.blocked.clone(),
    ];
    if sent.notes == notes {
        return Ok(());
    }
    let call =
        Call::new(Verb::Patch, Resource::Nodes, "", &side.node).sending(annotations_patch(telling));
    side.api.call(call).await?;
    sent.notes = notes;
    Ok(())
}

async fn tell_events(
    side: &ClusterSide,
    view: &NodeView,
    events: &mut EventBook,
) -> Result<(), ApiError> {
    let about = Regarding {
        node: view.name.clone(),
        uid: view.uid.clone(),
    };
    while let Some(what) = side.next_happening() {
        let call = match events.post(&about, &what) {
            Post::Create(event) => {
                Call::new(Verb::Create, Resource::Events, "default", "").sending(event)
            }
            Post::Again(name, patch) => {
                Call::new(Verb::Patch, Resource::Events, "default", &name).sending(patch)
            }
            Post::Nothing => continue,
        };
        match side.api.call(call).await {
            Ok(_) => {}
            // An event is told once or not at all: it must not hold up what comes after it.
            Err(error) if error.is_final() => tracing::warn!(%error, "an event was not told"),
            Err(error) => {
                side.happened(what);
                return Err(error);
            }
        }
    }
    Ok(())
}
