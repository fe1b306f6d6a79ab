//! Whoever waits while a slot is free gets it (I19), unless something stops it for good reason: that is read off the objects
//! here, without the product's own reading of them.

use super::jury::limit_said;
use super::server::Server;
use super::world::{State, Weather, World};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// safety.md, I19.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often free slots and waiting nodes are looked at.
pub(super) const LOOK: Duration = Duration::from_secs(15);

/// Looks for ever.
pub(super) async fn watch_the_waiting(world: Arc<World>) {
    let mut free_since = BTreeMap::new();
    loop {
        world.hall.sleep(None, LOOK).await;
        world.with(|state| look(&world, state, &mut free_since));
    }
}

fn look(world: &World, state: &mut State, free_since: &mut BTreeMap<usize, Duration>) {
    let now = world.hall.now();
    if !is_fair(&state.weather) || is_closed_to_all(&state.server) {
        free_since.clear();
        return;
    }
    let taken = Taken::of(world, state);
    let mut starved = Vec::new();
    for (node, body) in state.bodies.iter().enumerate() {
        let Some((since, why)) = &body.waiting else {
            free_since.remove(&node);
            continue;
        };
        let is_there = body.off == 0 && body.cut == 0 && !world.hall.is_frozen(node);
        let is_stopped = taken.stop(world.name(node));
        if !is_there || is_stopped || !state.jury.is_free(node, &state.server) {
            free_since.remove(&node);
            continue;
        }
        let free = *free_since.entry(node).or_insert(now);
        let clear = body.clear_since.max(state.weather.clear_since);
        let waited = now.saturating_sub(free.max(*since).max(clear));
        state.meter.longest_free_wait = state.meter.longest_free_wait.max(waited);
        if waited > PATIENCE {
            let waited = waited.as_secs();
            starved.push((
                node,
                format!("a slot was free for {waited} s and it waits: {why}"),
            ));
        }
    }
    for (node, what) in starved {
        state.jury.blame(now, node, "I19", what);
    }
}

/// Whether nothing stands between the nodes and the server.
fn is_fair(weather: &Weather) -> bool {
    let reasons = [
        weather.down,
        weather.slow,
        weather.busy,
        weather.failing,
        weather.losing,
    ];
    reasons.iter().all(|count| *count == 0)
}

/// A line of the limits as people wrote it; what they garbled is the strictest one.
fn line(server: &Server, key: &str) -> Option<usize> {
    let data = server.maps.get("limits")?.get("data")?;
    data.get(key)?;
    Some(usize::try_from(limit_said(server, key).unwrap_or(0)).unwrap_or(usize::MAX))
}

/// A breaker, or too many agents that are away.
fn is_closed_to_all(server: &Server) -> bool {
    let nodes = server.nodes.iter().filter(|node| node.exists).count();
    let most = line(server, "storm-unavailable").unwrap_or((nodes / 20).max(1));
    server.breaker().is_some() || usize::try_from(server.away).is_ok_and(|away| away > most)
}

/// What the slots that are taken say.
struct Taken {
    /// Who keeps one of a failed run.
    failed: BTreeSet<String>,
    /// On how many of them the others may look on.
    most: usize,
    /// Too many runs of one playbook failed. Which one a node waits with is not asked: that errs on its side.
    is_bad: bool,
    /// In whose name somebody else took one: such a node waits until people looked.
    beset: BTreeSet<String>,
}

impl Taken {
    fn of(world: &World, state: &State) -> Self {
        let server = &state.server;
        let (mut failed, mut beset) = (BTreeSet::new(), BTreeSet::new());
        let mut runs = BTreeMap::<&str, usize>::new();
        let slots = server.leases.range("slot.".to_owned()..);
        for (name, lease) in slots.take_while(|(name, _)| name.starts_with("slot.")) {
            let text = |pointer: &str| lease.pointer(pointer).and_then(Value::as_str);
            let note = |key: &str| text(&format!("/metadata/annotations/nodemend.io~1{key}"));
            let holder = text("/spec/holderIdentity").unwrap_or("");
            let own = world.names.iter().position(|name| name == holder);
            let own = own.and_then(|node| state.bodies.get(node));
            if note("instance") != own.map(|body| body.instance.as_str()) {
                beset.insert(holder.to_owned());
            }
            if !name.starts_with("slot.cluster.") {
                continue;
            }
            let digests = note("failed").unwrap_or("");
            for digest in digests.split(',').filter(|digest| !digest.is_empty()) {
                *runs.entry(digest).or_default() += 1;
            }
            // A slot that does not say that its run is under way is one of a failed run, also a forged one.
            if !digests.is_empty() || !matches!(note("phase"), Some("mending" | "stopped")) {
                failed.insert(holder.to_owned());
            }
        }
        let third = limit_said(server, "cluster").unwrap_or(0).div_ceil(3);
        let usual = usize::try_from(third.saturating_sub(1)).unwrap_or(usize::MAX);
        let most_runs = line(server, "storm-failed-runs").unwrap_or(1);
        Self {
            failed,
            most: line(server, "storm-casualties").unwrap_or(usual),
            is_bad: runs.values().any(|count| *count > most_runs),
            beset,
        }
    }

    /// Whether they keep this node from a slot.
    fn stop(&self, node: &str) -> bool {
        let others = self.failed.iter().filter(|name| *name != node).count();
        self.is_bad || others > self.most || self.beset.contains(node)
    }
}
