//! What people set in the ConfigMap `limits`: caps, and the lines at which the breaker opens. Breakers that are open. Pure.
//!
//! Every line is *the most that is still fine*: more than that stops. Keys `storm-*` replace the defaults.

use crate::host::cluster::{BadObject, Fields};
use serde_json::Value;
use std::collections::BTreeMap;

/// The ConfigMap that people set the caps in.
pub const LIMITS: &str = "limits";
/// What the names of breakers begin with. Any such ConfigMap stops new slots.
pub const BREAKER_PREFIX: &str = "breaker-";
/// The label of breakers.
pub const BREAKER_LABEL: &str = "nodemend.io/breaker";
/// What the keys of lines begin with; no domain does.
const LINE_PREFIX: &str = "storm-";
/// One signature on so many nodes within 10 minutes.
const SAME: &str = "storm-nodes";
/// Any signatures on so many nodes within 10 minutes.
const ANY: &str = "storm-nodes-any";
/// So many nodes that keep slots of failed runs.
pub const CASUALTIES: &str = "storm-casualties";
/// So many failed runs of one playbook version.
pub const FAILED_RUNS: &str = "storm-failed-runs";
/// So many agents that are not available.
pub const UNAVAILABLE: &str = "storm-unavailable";
const LINES: [&str; 5] = [SAME, ANY, CASUALTIES, FAILED_RUNS, UNAVAILABLE];
/// The longest name of an object.
const MAX_NAME_CHARS: usize = 253;
/// The storm lines never fall below this: in a small cluster a share of the nodes is less than one (safety.md, section 2).
pub const MIN_STORM_NODES: u64 = 5;
/// One agent may be away anywhere: its node may be the sick one, and 5 % of a small cluster is less than one.
const MIN_UNAVAILABLE: u64 = 1;

/// The limits as people set them, and the breakers that are open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    caps: BTreeMap<String, u32>,
    lines: BTreeMap<String, u64>,
    /// The first open breaker, with its reason.
    pub breaker: Option<String>,
    /// What was not understood; each of these has cap 0, or the strictest line.
    pub trouble: Vec<BadObject>,
}

impl Limits {
    /// Reads all ConfigMaps of the agents' namespace.
    ///
    /// # Errors
    /// As for [`Limits::take`].
    pub fn read(items: &[Value]) -> Result<Self, BadObject> {
        let mut limits = Limits::default();
        items.iter().try_for_each(|item| limits.take(item))?;
        Ok(limits)
    }

    /// Takes one ConfigMap of the agents' namespace; each must be taken.
    ///
    /// # Errors
    /// It is no object with a name: then no breaker can be ruled out, and there is no slot.
    pub fn take(&mut self, item: &Value) -> Result<(), BadObject> {
        let fields = Fields::of(item, "ConfigMap");
        fields.ensure_kind()?;
        let name = fields.text("/metadata/name")?;
        let labels = fields.texts("/metadata/labels")?;
        if name.starts_with(BREAKER_PREFIX) || labels.contains_key(BREAKER_LABEL) {
            // A breaker with a garbled reason is a breaker.
            let reason = fields.maybe_text("/data/reason").ok().flatten();
            let reason: String = reason
                .unwrap_or("no reason given")
                .chars()
                .take(200)
                .collect();
            let name: String = name.chars().take(MAX_NAME_CHARS).collect();
            self.breaker.get_or_insert_with(|| {
                format!("ConfigMap {name} stops new slots: {reason}; remove it to go on")
            });
        }
        if name == LIMITS {
            self.read_data(&fields);
        }
        Ok(())
    }

    fn read_data(&mut self, fields: &Fields<'_>) {
        let data = match fields.texts("/data") {
            Ok(data) => data,
            Err(error) => {
                self.trouble.push(error);
                return;
            }
        };
        for (key, text) in data {
            let most = most_of(&key);
            let number = plain_number(&text).filter(|number| *number <= most);
            if number.is_none() {
                let shown: String = text.chars().take(20).collect();
                let why =
                    format!("is `{shown}`, not a plain number from 0 to {most}, so it counts as 0");
                self.trouble.push(fields.bad(&format!("/data/{key}"), why));
            }
            if !key.starts_with(LINE_PREFIX) {
                self.caps.insert(key, number.unwrap_or(0));
            } else if LINES.contains(&key.as_str()) {
                // Not understood is the strictest line, not the default one.
                self.lines.insert(key, u64::from(number.unwrap_or(0)));
            } else {
                let why = format!("is no line; there are {}", LINES.join(", "));
                self.trouble.push(fields.bad(&format!("/data/{key}"), why));
            }
        }
    }

    /// How many slots a domain has; 0 where nobody said.
    pub fn cap(&self, domain: &str) -> u32 {
        self.caps.get(domain).copied().unwrap_or(0)
    }

    fn line(&self, key: &str) -> Option<u64> {
        self.lines.get(key).copied()
    }

    /// The most nodes with one signature within 10 minutes, in a cluster in which `nodes` should have an agent; 0: not known.
    pub fn storm_line(&self, nodes: u64) -> u64 {
        self.line(SAME)
            .unwrap_or_else(|| nodes.div_ceil(50).max(MIN_STORM_NODES))
    }

    /// The most nodes with any signatures within 10 minutes, likewise.
    pub fn any_line(&self, nodes: u64) -> u64 {
        self.line(ANY)
            .unwrap_or_else(|| nodes.div_ceil(20).max(MIN_STORM_NODES))
    }

    /// Whether the number of nodes moves a storm line.
    pub fn asks_nodes(&self) -> bool {
        self.line(SAME).is_none() || self.line(ANY).is_none()
    }

    /// The most *other* nodes that may keep slots of failed runs: one less than a third of the cluster's cap, rounded up.
    pub fn casualty_line(&self) -> u64 {
        let third = u64::from(self.cap("cluster")).div_ceil(3);
        self.line(CASUALTIES)
            .unwrap_or_else(|| third.saturating_sub(1))
    }

    /// The most failed runs of one playbook version.
    pub fn failure_line(&self) -> u64 {
        self.line(FAILED_RUNS).unwrap_or(1)
    }

    /// The most agents that may be unavailable of `nodes`.
    pub fn absence_line(&self, nodes: u64) -> u64 {
        self.line(UNAVAILABLE)
            .unwrap_or_else(|| (nodes / 20).max(MIN_UNAVAILABLE))
    }

    /// The line of unavailable agents that people set; where they did, nobody need know how many nodes there are.
    pub fn set_absence_line(&self) -> Option<u64> {
        self.line(UNAVAILABLE)
    }
}

/// The largest value of a key: of a cap as in the admission policy, of how many nodes may be sick together more than there are.
fn most_of(key: &str) -> u32 {
    match key {
        SAME | ANY => 99_999,
        _ => 999,
    }
}

/// The same spelling as the admission policy's: no sign, no leading zero, few digits.
fn plain_number(text: &str) -> Option<u32> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
    if canonical && digits {
        text.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn limits(data: Value) -> Limits {
        Limits::read(&[json!({"metadata": {"name": "limits"}, "data": data})]).expect("reads")
    }

    #[test]
    fn garbage_is_cap_zero_and_says_which_key() {
        for value in [
            json!(""),
            json!("-1"),
            json!("01"),
            json!("1.0"),
            json!("1e2"),
            json!("1000"),
            json!("99999999999999999999"),
            json!(" 1"),
            json!("1\n"),
            json!("one"),
            json!("+1"),
            json!("0x1"),
            json!("١"),
        ] {
            let limits = limits(json!({"cluster": value, "zone-a": "2"}));
            assert_eq!(
                (limits.cap("cluster"), limits.cap("zone-a")),
                (0, 2),
                "{value}"
            );
            let trouble = limits.trouble[0].to_string();
            assert!(
                trouble.starts_with("ConfigMap limits: data.cluster is"),
                "{trouble}"
            );
        }
        for data in [
            json!("3"),
            json!([1]),
            json!({"cluster": 3}),
            json!({"cluster": null}),
        ] {
            let limits = limits(data);
            assert_eq!((limits.cap("cluster"), limits.trouble.len()), (0, 1));
        }
        assert_eq!(limits(json!({})).cap("cluster"), 0);
        assert_eq!(Limits::read(&[]).expect("reads").cap("cluster"), 0);
        assert_eq!(limits(json!({"storm-nodes": "many"})).storm_line(5_000), 0);
    }

    #[test]
    fn any_breaker_stops_also_one_that_is_garbled() {
        for object in [
            json!({"metadata": {"name": "breaker-x"}}),
            json!({"metadata": {"name": "breaker-x"}, "data": 7}),
            json!({"metadata": {"name": "breaker-"}}),
            json!({"metadata": {"name": "x", "labels": {"nodemend.io/breaker": ""}}}),
        ] {
            assert!(Limits::read(&[object]).expect("reads").breaker.is_some());
        }
        for object in [
            json!({}),
            json!(1),
            json!({"metadata": {"name": 3}}),
            json!({"metadata": {"name": "a", "labels": []}}),
        ] {
            assert!(Limits::read(&[object]).is_err());
        }
    }

    #[test]
    fn lines_of_small_and_large_clusters() {
        // nodes, cap -> one signature, any, casualties, unavailable
        for (nodes, cap, lines) in [
            (0, "0", [5, 5, 0, 1]),
            (1, "1", [5, 5, 0, 1]),
            (3, "1", [5, 5, 0, 1]),
            (39, "2", [5, 5, 0, 1]),
            (40, "3", [5, 5, 0, 2]),
            (101, "4", [5, 6, 1, 5]),
            (300, "9", [6, 15, 2, 15]),
            (5_000, "10", [100, 250, 3, 250]),
        ] {
            let limits = limits(json!({ "cluster": cap }));
            let seen = [
                limits.storm_line(nodes),
                limits.any_line(nodes),
                limits.casualty_line(),
                limits.absence_line(nodes),
            ];
            assert_eq!(seen, lines, "{nodes} nodes, cap {cap}");
            assert_eq!(limits.failure_line(), 1);
        }
    }

    #[test]
    fn a_line_that_people_set_counts_and_a_garbled_one_is_the_strictest() {
        type Line = fn(&Limits) -> u64;
        let lines: [(&str, Line); 5] = [
            (SAME, |limits| limits.storm_line(5_000)),
            (ANY, |limits| limits.any_line(5_000)),
            (CASUALTIES, Limits::casualty_line),
            (FAILED_RUNS, Limits::failure_line),
            (UNAVAILABLE, |limits| limits.absence_line(5_000)),
        ];
        for (key, line) in lines {
            for (text, wanted) in [("7", 7), ("0", 0), ("-1", 0), ("all", 0), ("1e9", 0)] {
                let limits = limits(json!({ "cluster": "30", key: text }));
                assert_eq!(line(&limits), wanted, "{key}: {text}");
                assert_eq!(limits.trouble.is_empty(), text.len() == 1, "{key}: {text}");
            }
        }
    }

    #[test]
    fn a_fleet_that_is_sick_of_one_thing_can_be_let_through() {
        // A breaker that a person removes is opened again by the claims that still stand, so the line must go beyond them.
        for (text, wanted) in [("5000", 5_000), ("99999", 99_999), ("100000", 0)] {
            let limits = limits(json!({ SAME: text, ANY: text }));
            let lines = [limits.storm_line(5_000), limits.any_line(5_000)];
            assert_eq!(lines, [wanted; 2], "{text}");
        }
        let limits = limits(json!({ "cluster": "1000", UNAVAILABLE: "1000" }));
        assert_eq!((limits.cap("cluster"), limits.absence_line(9)), (0, 0));
    }

    #[test]
    fn a_line_that_nobody_knows_is_told() {
        let limits = limits(json!({ "cluster": "1", "storm-node": "5" }));
        let trouble = limits.trouble[0].to_string();
        assert!(trouble.contains("data.storm-node is no line"), "{trouble}");
        assert_eq!(limits.storm_line(0), MIN_STORM_NODES);
    }

    #[test]
    fn another_kind_of_object_is_no_configuration() {
        let error = Limits::read(&[json!({"kind": "Secret", "metadata": {"name": "limits"}})]);
        let error = error.expect_err("refused").to_string();
        assert_eq!(error, "ConfigMap limits: kind is Secret, not ConfigMap");
    }
}
