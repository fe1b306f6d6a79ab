//! What people set: the ConfigMap `limits`, and the annotations of Nodes; and what comes of it when they slip.

use super::scenario::Scenario;
use super::server::Server;
use super::world::World;
use crate::host::cluster::Resource;
use crate::simulate::Chance;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const MODE: &str = "nodemend.io/mode";
const ALLOW: &str = "nodemend.io/allow";

/// The ConfigMap `limits`.
pub(super) fn limits_map(limits: &BTreeMap<String, u32>) -> Value {
    let data: BTreeMap<&String, String> = limits
        .iter()
        .map(|(key, cap)| (key, cap.to_string()))
        .collect();
    json!({ "kind": "ConfigMap", "metadata": { "name": "limits", "namespace": "nodemend" }, "data": data })
}

/// Puts the ConfigMap `limits` there.
pub(super) fn set_limits(server: &mut Server, now: Duration, limits: &BTreeMap<String, u32>) {
    let map = limits_map(limits);
    server.put(now, Resource::ConfigMaps, "limits", Some(map));
}

/// Something that people or programs leave where the limits were.
pub(super) fn garbled_limits(chance: &mut Chance) -> Option<Value> {
    let meta = json!({ "name": "limits" });
    let data = match chance.below(6) {
        0 => return None,
        1 => {
            json!({ "cluster": "+3", "zone-a": "1e1", "zone-b": " 2", "pool-web": "02", "control-plane": "" })
        }
        2 => json!({ "cluster": "99999999999999999999", "zone-a": "-1", "zone-b": "all" }),
        3 => Value::Null,
        4 => json!({}),
        _ => json!({ "clutser": "3", "cluster": "0x3", "zone-a": "2.0" }),
    };
    Some(json!({ "kind": "ConfigMap", "metadata": meta, "data": data }))
}

/// Whether a node's settings ask people first.
pub(super) fn asks_people(scenario: &Scenario, index: usize) -> bool {
    let mode = settings_of(scenario, index).remove(MODE);
    mode.as_deref() == Some("approve")
}

/// The annotations by which people let a node be mended, or let it ask; none for those that only observe.
pub(super) fn settings_of(scenario: &Scenario, index: usize) -> BTreeMap<String, String> {
    let nodes = &scenario.nodes;
    let count = usize::try_from(nodes.count).unwrap_or(usize::MAX);
    let opted_in = nodes.opted_in.of(count);
    if index >= opted_in {
        return BTreeMap::new();
    }
    let asks = index >= opted_in.saturating_sub(nodes.approve.of(opted_in));
    let mode = if asks { "approve" } else { "auto" };
    let pairs = [(MODE, mode), (ALLOW, "restart")];
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// People write annotations of a Node, or remove them.
pub(super) fn annotate(world: &World, node: usize, notes: &[(&str, Option<&str>)]) {
    let is_there = world.with(|state| {
        let version = state.server.next_version();
        let object = state.server.nodes.get_mut(node)?;
        object.version = version;
        for (key, text) in notes {
            match text {
                Some(text) => object
                    .annotations
                    .insert((*key).to_owned(), (*text).to_owned()),
                None => object.annotations.remove(*key),
            };
        }
        object.exists.then_some(())
    });
    if is_there.is_some() {
        let lag = world.spread(node, Duration::from_secs(2));
        world.announce(node, "MODIFIED", lag);
    }
}

/// The settings of a node are again what they were.
fn restore(world: &World, node: usize, keys: &[&str]) {
    let settings = settings_of(&world.scenario, node);
    let notes: Vec<(&str, Option<&str>)> = keys
        .iter()
        .map(|key| (*key, settings.get(*key).map(String::as_str)))
        .collect();
    annotate(world, node, &notes);
    world.tell(node, "its settings are as before");
}

/// People set the nodes to observe for a while.
pub(super) async fn opt_out(world: &Arc<World>, nodes: &[usize], lasts: Duration) {
    for node in nodes {
        annotate(world, *node, &[(MODE, Some("observe"))]);
        world.tell(*node, "observe");
    }
    world.hall.sleep(None, lasts).await;
    for node in nodes {
        restore(world, *node, &[MODE]);
    }
}

/// Slips of the hand, other versions, other programs.
pub(super) async fn garble_opt_in(world: &Arc<World>, nodes: &[usize], lasts: Duration) {
    const GARBAGE: [(&str, &str); 7] = [
        (MODE, "Auto"),
        (MODE, "auto,observe"),
        (MODE, ""),
        (ALLOW, "everything"),
        (ALLOW, "restart "),
        ("nodemend.io/approve", "*"),
        ("nodemend.io/forbid", "restart"),
    ];
    for node in nodes {
        let picked = world.with(|state| state.chance.pick(&GARBAGE).copied());
        if let Some((key, text)) = picked {
            annotate(world, *node, &[(key, Some(text))]);
            world.tell(*node, &format!("{key} is `{text}` now"));
        }
    }
    world.hall.sleep(None, lasts).await;
    let mut keys: Vec<&str> = GARBAGE.iter().map(|(key, _)| *key).collect();
    keys.dedup();
    for node in nodes {
        restore(world, *node, &keys);
    }
}
