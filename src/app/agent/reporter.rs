//! Tells the API server how the node is: conditions at once on their leading edge and then coalesced, annotations, events.
//! While the server is away the latest state is kept, which is the engine's own, and sent on its return.

use super::cluster::ClusterSide;
use super::core::Core;
use super::sight::chain;
use crate::host::clock::Clock;
use crate::host::cluster::{ApiError, Call, Fields, NodeView, Resource, Verb};
use crate::host::retry::{self, MAX_REST, MIN_REST};
use crate::policy::annotations::{BLOCKED, CASE, STATE};
use crate::report::conditions::{
    COALESCE, HEARTBEAT, Telling, Told, annotations_patch, conditions_patch, telling,
};
use crate::report::events::{EventBook, Post, Regarding};
use crate::signal::Uptime;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The ConfigMap that lists the condition types that agents may write.
const CONDITIONS: &str = "conditions";

/// What the server is known to have.
#[derive(Default)]
struct Sent {
    uid: String,
    conditions: BTreeMap<String, (bool, String)>,
    notes: [Option<String>; 3],
    retired: Vec<String>,
    /// Types that the server refused for good, and when: they are tried again with the next heartbeat.
    refused: BTreeMap<String, Uptime>,
    beat: Uptime,
}

/// Whom the Node's state is told to, and by whose time.
struct Reporter {
    core: Arc<Core>,
    side: Arc<ClusterSide>,
    clock: Arc<dyn Clock>,
    sent: Sent,
    events: EventBook,
    /// An event that the server may not have yet.
    unsent: Option<Call>,
    /// When conditions were written last, and when anything was, by whatever outcome.
    edge: Option<Uptime>,
    wrote: Option<Uptime>,
    /// When the annotations were written last.
    noted: Option<Uptime>,
}

/// Reports for ever.
pub async fn report(core: Arc<Core>, side: Arc<ClusterSide>, clock: Arc<dyn Clock>) {
    let events = EventBook::new(clock.now());
    let mut reporter = Reporter {
        core,
        side,
        clock,
        sent: Sent::default(),
        events,
        unsent: None,
        edge: None,
        wrote: None,
        noted: None,
    };
    loop {
        reporter.await_work().await;
        reporter.tell_until_told().await;
    }
}

impl Reporter {
    /// Ends with a change, once it need not wait for others, or with the time for a heartbeat. What is due then is decided by
    /// what the server has.
    async fn await_work(&self) {
        let mut has_changed = false;
        loop {
            let rest = if has_changed { self.rest() } else { HEARTBEAT };
            if rest.is_zero() {
                return;
            }
            tokio::select! {
                () = self.side.changed.notified() => has_changed = true,
                () = self.clock.sleep(rest) => return,
            }
        }
    }

    /// How much longer a change waits for others to be written with it.
    fn rest(&self) -> Duration {
        let now = self.clock.now();
        let left = |since: Option<Uptime>| {
            since.map_or(Duration::ZERO, |since| {
                COALESCE.saturating_sub(now.uptime.since(since))
            })
        };
        let telling = telling(&self.core.engine(), now, self.side.waiting().as_deref());
        if self.due(&telling, now.uptime).is_empty() {
            left(self.wrote)
        } else {
            left(self.edge)
        }
    }

    /// Tells what is due, again and again until the server has it.
    async fn tell_until_told(&mut self) {
        let mut rest = MIN_REST;
        loop {
            let error = match self.tell().await {
                Ok(()) => return,
                Err(error) => error,
            };
            tracing::warn!(
                error = chain(&error),
                "the Node cannot be told how it is; trying again"
            );
            let wait = error.retry_after().unwrap_or(rest);
            let wait = wait + retry::spread(&self.side.node, wait);
            self.clock.sleep(wait).await;
            rest = (rest * 2).min(MAX_REST);
        }
    }

    async fn tell(&mut self) -> Result<(), ApiError> {
        let Some(view) = self.side.view() else {
            return Ok(());
        };
        let now = self.clock.now();
        let telling = telling(&self.core.engine(), now, self.side.waiting().as_deref());
        if self.sent.uid != view.uid {
            let retired = retired(&self.side, &view, &telling).await?;
            self.sent = known_of(&view, &telling, now.uptime);
            self.sent.retired = retired;
        }
        self.tell_conditions(&telling).await?;
        self.tell_notes(&telling).await?;
        self.tell_events(&view).await
    }

    /// The conditions that the server does not have as they are, or not lately, and whether their status flips.
    fn due<'a>(&self, telling: &'a Telling, now: Uptime) -> Vec<(&'a str, &'a Told, bool)> {
        let sent = &self.sent;
        let is_due = |since: Uptime| now.since(since) >= HEARTBEAT;
        let mut changed: Vec<(&str, &Told, bool)> = Vec::new();
        for (kind, told) in &telling.conditions {
            let before = sent.conditions.get(kind);
            let flips = before.map_or(told.is_problem, |(problem, _)| *problem != told.is_problem);
            // What was never a problem here is not written: a healthy node costs nothing.
            let is_news = flips || before.is_some_and(|(_, reason)| *reason != told.reason);
            let beats = told.is_problem && is_due(sent.beat);
            let is_refused = sent.refused.get(kind).is_some_and(|since| !is_due(*since));
            if (is_news || beats) && !is_refused {
                changed.push((kind, told, flips));
            }
        }
        changed
    }

    async fn tell_conditions(&mut self, telling: &Telling) -> Result<(), ApiError> {
        let now = self.clock.now();
        let changed = self.due(telling, now.uptime);
        if changed.is_empty() && self.sent.retired.is_empty() {
            return Ok(());
        }
        self.edge = Some(now.uptime);
        self.wrote = self.edge;
        let wall = now.wall.to_rfc3339();
        let retired = std::mem::take(&mut self.sent.retired);
        match write_conditions(&self.side, &changed, &retired, &wall).await {
            Ok(()) => self.keep(&changed, now.uptime),
            // Perhaps only one of them is not wanted: it must not keep the others from being seen.
            Err(error) if is_refusal(&error) => {
                tracing::warn!(
                    error = chain(&error),
                    "conditions are refused; each is tried alone"
                );
                for one in &changed {
                    match write_conditions(&self.side, &[*one], &[], &wall).await {
                        Ok(()) => self.keep(&[*one], now.uptime),
                        Err(error) if is_refusal(&error) => {
                            tracing::error!(
                                condition = one.0,
                                error = chain(&error),
                                "the condition is refused; add its type to the ConfigMap `{CONDITIONS}`"
                            );
                            self.sent.refused.insert(one.0.to_owned(), now.uptime);
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            Err(error) => {
                self.sent.retired = retired;
                return Err(error);
            }
        }
        Ok(())
    }

    fn keep(&mut self, written: &[(&str, &Told, bool)], now: Uptime) {
        for (kind, told, _) in written {
            let has = (told.is_problem, told.reason.clone());
            self.sent.conditions.insert((*kind).to_owned(), has);
            self.sent.refused.remove(*kind);
        }
        self.sent.beat = now;
    }

    async fn tell_notes(&mut self, telling: &Telling) -> Result<(), ApiError> {
        let notes = [
            Some(telling.state.clone()),
            telling.case.clone(),
            telling.blocked.clone(),
        ];
        let now = self.clock.now().uptime;
        let is_old = self.noted.is_none_or(|since| now.since(since) >= HEARTBEAT);
        let is_news = self.sent.notes.each_ref().map(said) != notes.each_ref().map(said);
        if self.sent.notes == notes || !(is_news || is_old) {
            return Ok(());
        }
        self.wrote = Some(now);
        let call = Call::new(Verb::Patch, Resource::Nodes, "", &self.side.node)
            .sending(annotations_patch(telling));
        self.side.api.call(call).await?;
        self.sent.notes = notes;
        self.noted = self.wrote;
        Ok(())
    }

    async fn tell_events(&mut self, view: &NodeView) -> Result<(), ApiError> {
        let about = Regarding {
            node: view.name.clone(),
            uid: view.uid.clone(),
        };
        loop {
            let call = match self.unsent.take() {
                Some(call) => call,
                None => match self.side.next_happening() {
                    Some(what) => match self.events.post(&about, &what) {
                        Post::Create(event) => {
                            Call::new(Verb::Create, Resource::Events, "default", "").sending(event)
                        }
                        Post::Again(name, patch) => {
                            Call::new(Verb::Patch, Resource::Events, "default", &name)
                                .sending(patch)
                        }
                        Post::Nothing => continue,
                    },
                    None => return Ok(()),
                },
            };
            self.wrote = Some(self.clock.now().uptime);
            match self.side.api.call(call.clone()).await {
                Ok(_) => {}
                // Made before, when only the answer was lost.
                Err(error) if error.reason() == "AlreadyExists" => {}
                // An event is told once or not at all: it must not hold up what comes after it.
                Err(error) if error.is_final() => tracing::warn!(%error, "an event was not told"),
                Err(error) => {
                    // As it is: to the book it is made, and it would be told as the second of an event that nobody has.
                    self.unsent = Some(call);
                    return Err(error);
                }
            }
        }
    }
}

/// What a note says apart from its numbers: a reason that counts seconds or places in a queue is not news each time it is asked.
fn said(note: &Option<String>) -> Option<String> {
    let text = note.as_ref()?;
    Some(text.chars().filter(|c| !c.is_ascii_digit()).collect())
}

/// A no to what was sent, and not to who sent it.
fn is_refusal(error: &ApiError) -> bool {
    error.is_final() && error.code() != Some(401)
}

async fn write_conditions(
    side: &ClusterSide,
    changed: &[(&str, &Told, bool)],
    retired: &[String],
    now: &str,
) -> Result<(), ApiError> {
    let call = Call::new(Verb::Patch, Resource::NodeStatus, "", &side.node)
        .strategically()
        .sending(conditions_patch(changed, retired, now));
    side.api.call(call).await.map(drop)
}

/// What the Node says already: of a process before this one.
fn known_of(view: &NodeView, telling: &Telling, now: Uptime) -> Sent {
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
        refused: BTreeMap::new(),
        beat: now,
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
    let fields = Fields::of(&object, "ConfigMap");
    let types = match fields.ensure_kind().and_then(|()| fields.texts("/data")) {
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
