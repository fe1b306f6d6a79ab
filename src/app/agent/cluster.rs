//! The agent's side of the cluster: the own Node, fresh before each run and followed by a watch in between.

use super::core::{Core, Message};
use super::scribe::Scribe;
use super::sight::{Seen, chain};
use crate::app::config::Ceiling;
use crate::engine::Input;
use crate::host::cluster::{ApiError, Call, Cluster, NodeView, Resource, Verb};
use crate::host::retry::{MAX_REST, Rests, WATCH_FOR};
use crate::host::{clock, retry};
use crate::lease::{ApiSlots, SlotWitness};
use crate::policy::annotations::{Notes, read_annotations, unread};
use crate::policy::{Approvals, Approved, CaseId, Mode, OptIn, RunId};
use crate::probes::node_status;
use crate::report::desk::Desk;
use crate::report::events::Happening;
use crate::report::metrics::AgentMetrics;
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// The cluster as this agent needs it.
pub struct ClusterSide {
    /// The API server.
    pub api: Arc<dyn Cluster>,
    /// The own Node's name.
    pub node: String,
    /// The slots.
    pub slots: Arc<ApiSlots>,
    /// Wakes the reporter.
    pub changed: Notify,
    state: Mutex<Known>,
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Known {
    ceiling: Option<Ceiling>,
    view: Option<NodeView>,
    failure: Option<String>,
    approvals: Approvals,
}

impl Known {
    /// What the annotations of `node` ask for, approvals that are used up among it.
    fn asked(&self, node: &str) -> OptIn {
        let Some(view) = &self.view else {
            let why = self.failure.clone();
            let why = why.unwrap_or_else(|| format!("Node {node} was not read yet"));
            return unread(&why);
        };
        let notes = Notes {
            node: &view.name,
            version: &view.version,
            annotations: &view.annotations,
            taints: &view.taints,
            is_going: view.is_going,
        };
        let ceiling = self
            .ceiling
            .map_or_else(Default::default, |c| (c.mode, c.allow));
        read_annotations(notes, ceiling)
    }
}

impl ClusterSide {
    /// Beside this API server, for `node`, as its agent `instance`.
    pub fn new(
        api: Arc<dyn Cluster>,
        namespace: &str,
        node: &str,
        instance: &str,
        witness: Arc<dyn SlotWitness>,
    ) -> Self {
        let slots = ApiSlots::new(Arc::clone(&api), namespace, node, instance, witness);
        let salt = node.to_owned();
        let draw = Box::new(move || retry::share(&salt));
        Self {
            api,
            node: node.to_owned(),
            slots: Arc::new(slots),
            changed: Notify::new(),
            state: Mutex::new(Known::default()),
            desk: Mutex::new(Desk::new(namespace, draw)),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The Node as last seen.
    pub fn view(&self) -> Option<NodeView> {
        self.known().view.clone()
    }

    /// The most that annotations may ask for.
    pub fn set_ceiling(&self, ceiling: Ceiling) {
        self.known().ceiling = Some(ceiling);
    }

    /// What the server is told, and what it was told.
    pub fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the run under way has no slot yet; `None`: it has not looked.
    pub fn set_waiting(&self, why: Option<String>) {
        self.desk().waits(why);
        self.changed.notify_one();
    }

    /// This run has its slot, and waits no longer.
    pub fn rides(&self, run: RunId) {
        self.desk().rides(run);
        self.changed.notify_one();
    }

    /// Something that people are told by an event.
    pub fn happened(&self, what: Happening) {
        self.desk().happened(what);
        self.changed.notify_one();
    }

    /// An approval by annotation is for one run: until the annotation changes, the case is not approved again.
    pub fn spend_approval(&self, case: CaseId) {
        self.known().approvals.spend(case);
    }

    /// The node's own settings as they are known now.
    pub fn opt_in(&self) -> OptIn {
        let known = self.known();
        known.approvals.standing(known.asked(&self.node))
    }

    /// Reads the own Node now, and not from a cache.
    async fn read(&self) -> Result<NodeView, String> {
        let call = Call::new(Verb::Get, Resource::Nodes, "", &self.node);
        let object = retry::persist(&*self.api, call)
            .await
            .map_err(|e| chain(&e))?;
        let view = NodeView::read(&object).map_err(|error| error.to_string())?;
        if view.name != self.node {
            return Err(format!(
                "asked for Node {}, got Node {}",
                self.node, view.name
            ));
        }
        Ok(view)
    }

    /// Keeps what was read, and says which cases were approved since the time before.
    fn keep(&self, view: NodeView, known_as: impl Fn(CaseId) -> Approved) -> Vec<CaseId> {
        self.slots.meet(&view);
        // Under one lock: in between, approvals that are spent would seem to stand.
        let mut known = self.known();
        known.failure = None;
        known.view = Some(view);
        let listed = known.asked(&self.node).approved;
        known.approvals.meet(&listed, known_as)
    }

    /// Whether a read has shown something newer than this event: what is under way in a watch while a run reads the Node must
    /// not bring an opt-in back that the read no longer found (I12).
    fn is_behind(&self, event: &NodeView) -> bool {
        let known = self.known();
        let view = known.view.as_ref();
        view.is_some_and(|view| event.is_older_than(view))
    }

    fn lose(&self, why: &str) {
        let mut known = self.known();
        known.view = None;
        known.failure = Some(why.to_owned());
    }
}

/// Reads the own Node and puts its settings in force.
///
/// # Errors
/// It cannot be read: nothing may start. The sentence says what and why.
pub async fn refresh(
    core: &Arc<Core>,
    side: &ClusterSide,
    news: &mpsc::Sender<Message>,
) -> Result<(), String> {
    let view = side.read().await?;
    put_in_force(core, side, view, news).await;
    Ok(())
}

async fn put_in_force(
    core: &Arc<Core>,
    side: &ClusterSide,
    view: NodeView,
    news: &mpsc::Sender<Message>,
) {
    let fresh = side.keep(view, |case| core.engine().book().known_as(case));
    core.apply_opt_in(side.opt_in(), news).await;
    side.changed.notify_one();
    for case in fresh {
        tracing::info!(%case, "approved by annotation");
        // By the settings alone: an approval that is taken back before its run began must not stand in the engine.
        core.turn(Input::GiveBack(case), news).await;
    }
}

/// Follows the own Node for ever.
pub async fn follow(core: Arc<Core>, side: Arc<ClusterSide>, news: mpsc::Sender<Message>) {
    let mut rests = Rests::default();
    let mut is_first = true;
    loop {
        let mut asked = None;
        match refresh(&core, &side, &news).await {
            Ok(()) => {
                if std::mem::take(&mut is_first) {
                    tidy_up(&side).await;
                }
                see(&side, &news).await;
                // How many agents there are says how long nodes that fall sick together rest. Once a watch is enough.
                side.slots.count_agents().await;
                side.changed.notify_one();
                let began = clock::now().uptime;
                let (why, wait) = watch(&core, &side, &news).await;
                asked = wait.map(|wait| wait.min(MAX_REST));
                if clock::now().uptime.since(began) >= MAX_REST {
                    rests.reset();
                }
                tracing::debug!(%why, "the watch of the own Node begins anew");
            }
            Err(why) => {
                tracing::warn!(why, "the own Node cannot be read; nothing starts meanwhile");
                if side.view().is_none() {
                    side.lose(&why);
                    core.apply_opt_in(side.opt_in(), &news).await;
                }
            }
        }
        let rest = rests.next(asked, retry::share(&side.node));
        tokio::time::sleep(rest).await;
    }
}

/// A claim of a process before this one: whoever still waits makes a new one.
async fn tidy_up(side: &ClusterSide) {
    if let Err(error) = side.slots.withdraw().await {
        tracing::warn!(%error, "an old claim of this node may still stand");
    }
}

/// Tells the engine what the Node says of itself now.
async fn see(side: &ClusterSide, news: &mpsc::Sender<Message>) {
    let ready = side.view().and_then(|view| view.ready());
    let mut batch = node_status::batch(ready);
    batch.at = clock::now();
    let seen = Seen {
        spec: &node_status::SPEC,
        result: Ok(batch),
    };
    if news.send(Message::Seen(seen)).await.is_err() {
        tracing::debug!("the engine is gone");
    }
}

/// Watches until something breaks: what, and how long the server wants to be left alone.
pub(super) async fn watch(
    core: &Arc<Core>,
    side: &ClusterSide,
    news: &mpsc::Sender<Message>,
) -> (String, Option<Duration>) {
    let broken = |error: ApiError| (error.to_string(), error.retry_after());
    // Not from the version that was read: a Node that did not change for a while has one that the server's watch cache has
    // forgotten (410), and a GET gives the same again. From 0 the server begins with the Node as it has it.
    let mut version = "0".to_owned();
    loop {
        let limit = WATCH_FOR + retry::spread(&side.node, WATCH_FOR);
        let call = Call::new(Verb::Watch, Resource::Nodes, "", "")
            .with("watch", "true")
            .with("fieldSelector", format!("metadata.name={}", side.node))
            .with("resourceVersion", version.clone())
            .with("allowWatchBookmarks", "true")
            .with("timeoutSeconds", limit.as_secs().to_string());
        let mut events = match side.api.watch(call).await {
            Ok(events) => events,
            Err(error) => return broken(error),
        };
        let mut was_told = false;
        loop {
            match events.next().await {
                Some(Ok(event)) => match take(core, side, &event, news).await {
                    Ok(seen) => (version, was_told) = (seen, true),
                    Err(why) => return (why, None),
                },
                Some(Err(error)) => return broken(error),
                // Its time was over, with a bookmark every minute: go on from where it ended.
                None if was_told => break,
                // It was over at once, and would be the next time.
                None => return ("the watch ended before anything was told".to_owned(), None),
            }
        }
    }
}

/// Takes one event; the resourceVersion that it brings.
async fn take(
    core: &Arc<Core>,
    side: &ClusterSide,
    event: &Value,
    news: &mpsc::Sender<Message>,
) -> Result<String, String> {
    let object = event.get("object").unwrap_or(&Value::Null);
    match event.get("type").and_then(Value::as_str) {
        Some("ADDED" | "MODIFIED") => {
            let view = NodeView::read(object).map_err(|error| error.to_string())?;
            if view.name != side.node {
                return Err(format!(
                    "watched Node {}, was told of Node {}",
                    side.node, view.name
                ));
            }
            let version = view.version.clone();
            if !side.is_behind(&view) {
                put_in_force(core, side, view, news).await;
            }
            see(side, news).await;
            Ok(version)
        }
        Some("BOOKMARK") => {
            see(side, news).await;
            let version = object
                .pointer("/metadata/resourceVersion")
                .and_then(Value::as_str);
            version
                .map(str::to_owned)
                .ok_or_else(|| "a bookmark without resourceVersion".to_owned())
        }
        Some("DELETED") if side.is_behind(&NodeView::read(object).unwrap_or_default()) => {
            Err(format!("Node {} was made anew", side.node))
        }
        Some("DELETED") => {
            let why = format!("Node {} was deleted", side.node);
            side.lose(&why);
            core.apply_opt_in(side.opt_in(), news).await;
            Err(why)
        }
        other => {
            let message = object
                .get("message")
                .and_then(Value::as_str)
                .unwrap_or("no message");
            Err(format!(
                "the watch sent {}: {message}",
                other.unwrap_or("an event without type")
            ))
        }
    }
}

/// Counts slots for the metrics page, and anchors the audit log in them.
pub struct SlotTally {
    /// The counters.
    pub metrics: Arc<AgentMetrics>,
    /// The audit log.
    pub scribe: Scribe,
}

impl SlotWitness for SlotTally {
    fn wrote(&self, outcome: &'static str) {
        self.metrics.note_renewal(outcome);
    }

    fn holds(&self, domain: &str, held: bool) {
        self.metrics.note_domain(domain, held);
    }

    fn audit_head(&self) -> String {
        self.scribe.head()
    }
}

/// Whether approvals matter now: only then is one used up by a run.
pub fn asks_people(opt_in: &OptIn) -> bool {
    opt_in.mode == Mode::Approve
}
