//! The data of the ConfigMap `limits` in a scenario file.

use crate::document::{FromNode, Node, Place, Problems, Tree, closest};
use std::collections::BTreeMap;

/// The highest cap that the admission policy can read.
const MAX_CAP: u32 = 999;
/// The domains with one name only.
const CAPS: [&str; 3] = ["cluster", "control-plane", "drain"];
/// The lines at which the breaker opens.
const LINES: [&str; 5] = [
    "storm-nodes",
    "storm-nodes-any",
    "storm-casualties",
    "storm-failed-runs",
    "storm-unavailable",
];

/// The data of the ConfigMap `limits`.
pub(super) struct Caps {
    pub(super) caps: BTreeMap<String, u32>,
    pub(super) place: Place,
    /// Where each key stands.
    pub(super) places: BTreeMap<String, Place>,
}

impl FromNode for Caps {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let Tree::Map(entries) = &node.tree else {
            let found = node.tree.form();
            problems.add(node.place, format!("limits must be a mapping, not {found}"));
            return None;
        };
        let (mut caps, mut places) = (BTreeMap::new(), BTreeMap::new());
        for (key, value) in entries {
            let plain = CAPS.into_iter().chain(LINES);
            let is_named =
                |prefix: &str| key.name.len() > prefix.len() && key.name.starts_with(prefix);
            let is_known = plain.clone().any(|known| known == key.name)
                || is_named("zone-")
                || is_named("pool-");
            if !is_known {
                let hint = closest(&key.name, plain).map_or_else(
                    || "; known are cluster, zone-<zone>, pool-<pool>, control-plane, drain, storm-nodes and the other lines of ConfigMap limits".to_owned(),
                    |near| format!("; did you mean `{near}`?"),
                );
                problems.add(key.place, format!("limits has no key `{}`{hint}", key.name));
            }
            let number = match &value.tree {
                Tree::Integer(number) => u32::try_from(*number).ok(),
                // As it stands in a ConfigMap.
                Tree::Text(text) => text.parse().ok().filter(|n: &u32| n.to_string() == *text),
                _ => None,
            };
            match number.filter(|cap| *cap <= MAX_CAP) {
                Some(cap) => {
                    caps.insert(key.name.clone(), cap);
                }
                None => problems.add(
                    value.place,
                    format!("a limit is a plain number from 0 to {MAX_CAP}"),
                ),
            }
            // Known by name, so that a wrong number is not told as a missing limit too.
            places.insert(key.name.clone(), key.place);
        }
        let place = node.place;
        Some(Self {
            caps,
            place,
            places,
        })
    }
}
