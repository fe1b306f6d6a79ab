//! The breaker rules that are read off the slots and the DaemonSet: failed runs that keep their slots, playbook versions that
//! fail, agents that are away. Pure.
//!
//! What these rest on stays readable for as long as it is so: a kept slot until a person released it or the node was
//! mended, the DaemonSet's status for ever. So they stop everybody who asks and need no object of their own. The storm rules
//! (`queue.rs`) rest on claims, which go away, and therefore leave a breaker behind that only people remove.

use super::limits::{CASUALTIES, FAILED_RUNS, Limits, UNAVAILABLE};
use super::name::SlotName;
use crate::host::cluster::{BadObject, Fields};
use serde_json::Value;
use std::collections::BTreeSet;

/// Every run takes a slot of this domain, so each run counts once.
const EVERYBODY: &str = "cluster";
/// How many names a message lists.
const MAX_NAMED: usize = 5;

/// A slot as the breaker rules see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotFacts {
    /// Its name.
    pub name: SlotName,
    /// The node that holds it.
    pub holder: String,
    /// A run of its holder failed, and nobody has mended the node or released the slot since.
    pub is_casualty: bool,
    /// The digests of the playbooks whose runs failed under this slot, oldest first.
    pub failed: Vec<String>,
}

/// How many agents there should be, and how many are not available, by the DaemonSet's controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agents {
    /// Nodes that should have one.
    pub wanted: u64,
    /// Of these, those without one that is available.
    pub unavailable: u64,
}

impl Agents {
    /// Reads a DaemonSet.
    ///
    /// # Errors
    /// A field that is missing or of the wrong form.
    pub fn read(object: &Value) -> Result<Self, BadObject> {
        let fields = Fields::of(object, "DaemonSet");
        fields.ensure_kind()?;
        let unavailable = "/status/numberUnavailable";
        Ok(Self {
            wanted: fields.count("/status/desiredNumberScheduled")?,
            // The API leaves it out where it is 0.
            unavailable: match object.pointer(unavailable) {
                None => 0,
                Some(_) => fields.count(unavailable)?,
            },
        })
    }
}

/// Too many *other* nodes keep the slots of failed runs.
pub fn casualties(slots: &[SlotFacts], own: &str, limits: &Limits) -> Option<String> {
    let kept: Vec<&SlotFacts> = slots
        .iter()
        .filter(|slot| slot.name.domain() == EVERYBODY && slot.is_casualty && slot.holder != own)
        .collect();
    let nodes: BTreeSet<&str> = kept.iter().map(|slot| slot.holder.as_str()).collect();
    let line = limits.casualty_line();
    (nodes.len() as u64 > line).then(|| {
        let names: Vec<String> = kept
            .iter()
            .take(MAX_NAMED)
            .map(|slot| format!("{} ({})", slot.name, short(&slot.holder)))
            .collect();
        format!(
            "{} nodes keep slots of failed runs, more than {line} ({CASUALTIES}): {}; look at these nodes, then nodemend slot release",
            nodes.len(),
            names.join(", ")
        )
    })
}

/// Too many runs of this version of a playbook failed.
pub fn failed_version(slots: &[SlotFacts], digest: &str, limits: &Limits) -> Option<String> {
    let mut nodes = BTreeSet::new();
    let mut runs = 0_u64;
    for slot in slots.iter().filter(|s| s.name.domain() == EVERYBODY) {
        let times = slot.failed.iter().filter(|one| *one == digest).count();
        if times > 0 {
            runs += times as u64;
            nodes.insert(slot.holder.as_str());
        }
    }
    let line = limits.failure_line();
    (runs > line).then(|| {
        let names: Vec<String> = nodes.into_iter().take(MAX_NAMED).map(short).collect();
        let short: String = digest.chars().take(12).collect();
        format!(
            "{runs} runs of this version of the playbook ({short}) failed, more than {line} ({FAILED_RUNS}), on {}; look at these nodes, then nodemend slot release, or trust another version",
            names.join(", ")
        )
    })
}

/// A holder as far as it is shown: the longest name of a Node has 253 characters.
fn short(holder: &str) -> String {
    holder.chars().take(253).collect()
}

/// Too many agents are away; also where nobody can tell.
pub fn absence(agents: &Result<Agents, String>, limits: &Limits) -> Option<String> {
    match agents {
        Ok(agents) => {
            let line = limits.absence_line(agents.wanted);
            (agents.unavailable > line).then(|| {
                format!(
                    "{} of {} agents are unavailable, more than {line} ({UNAVAILABLE}): something larger is wrong, or a rollout is under way",
                    agents.unavailable, agents.wanted
                )
            })
        }
        Err(why) => Some(format!(
            "nobody can tell how many agents are unavailable ({why}); {UNAVAILABLE} in ConfigMap limits goes without the DaemonSet"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn slot(name: &str, holder: &str, failed: &[&str]) -> SlotFacts {
        SlotFacts {
            name: name.parse().expect("a slot's name"),
            holder: holder.to_owned(),
            is_casualty: !failed.is_empty(),
            failed: failed.iter().map(|one| (*one).to_owned()).collect(),
        }
    }

    fn limits(data: Value) -> Limits {
        Limits::read(&[json!({"metadata": {"name": "limits"}, "data": data})]).expect("reads")
    }

    #[test]
    fn a_third_of_the_cap_in_casualties_stops_the_others_and_not_the_casualty() {
        let kept = [
            slot("slot.cluster.0", "a", &["d1"]),
            slot("slot.zone-z.0", "a", &["d1"]),
            slot("slot.cluster.1", "b", &["d2"]),
            slot("slot.cluster.2", "c", &[]),
        ];
        for (cap, own, stops) in [
            ("1", "c", true),
            ("3", "c", true),
            ("6", "c", true),
            ("7", "c", false),
            // A casualty does not stop itself: its own next run may mend it.
            ("4", "a", false),
            ("3", "a", true),
        ] {
            let limits = limits(json!({ "cluster": cap }));
            let why = casualties(&kept, own, &limits);
            assert_eq!(why.is_some(), stops, "cap {cap}, {own}: {why:?}");
        }
        assert_eq!(
            casualties(&kept[..2], "a", &limits(json!({"cluster": "1"}))),
            None
        );
        let many = limits(json!({ "cluster": "3", "storm-casualties": "2" }));
        assert_eq!(casualties(&kept, "c", &many), None);
        let why = casualties(&kept, "c", &limits(json!({"cluster": "6"}))).expect("stops");
        assert!(
            why.contains("slot.cluster.0 (a)") && why.contains("slot release"),
            "{why}"
        );
    }

    #[test]
    fn two_failed_runs_stop_a_version_and_no_other() {
        let limits_1 = limits(json!({ "cluster": "9" }));
        let one = [
            slot("slot.cluster.0", "a", &["d1"]),
            slot("slot.pool-p.0", "a", &["d1"]),
        ];
        let apart = [
            slot("slot.cluster.0", "a", &["d1", "d2"]),
            slot("slot.cluster.1", "b", &["d1"]),
        ];
        let again = [slot("slot.cluster.0", "a", &["d1", "d1"])];
        for (slots, digest, stops) in [
            (&one[..], "d1", false),
            (&apart[..], "d1", true),
            (&apart[..], "d2", false),
            (&apart[..], "d3", false),
            (&again[..], "d1", true),
        ] {
            let why = failed_version(slots, digest, &limits_1);
            assert_eq!(why.is_some(), stops, "{slots:?}: {why:?}");
        }
        let more = limits(json!({ "storm-failed-runs": "2" }));
        assert_eq!(failed_version(&apart, "d1", &more), None);
    }

    #[test]
    fn agents_that_are_away_stop_everybody_and_so_does_not_knowing() {
        let limits_1 = limits(json!({ "cluster": "1" }));
        for (wanted, unavailable, stops) in [
            (1, 1, false),
            (3, 1, false),
            (3, 2, true),
            (40, 2, false),
            (40, 3, true),
            (5_000, 250, false),
            (5_000, 251, true),
            (0, 0, false),
        ] {
            let agents = Ok(Agents {
                wanted,
                unavailable,
            });
            let why = absence(&agents, &limits_1);
            assert_eq!(why.is_some(), stops, "{unavailable} of {wanted}: {why:?}");
        }
        assert!(absence(&Err("gone".to_owned()), &limits_1).is_some());
    }

    #[test]
    fn a_daemonset_is_read_or_refused_by_field() {
        let read =
            |status: Value| Agents::read(&json!({"metadata": {"name": "d"}, "status": status}));
        let full = read(json!({"desiredNumberScheduled": 5, "numberUnavailable": 2}));
        assert_eq!(
            full.expect("reads"),
            Agents {
                wanted: 5,
                unavailable: 2
            }
        );
        let fine = read(json!({"desiredNumberScheduled": 5, "numberAvailable": 5, "new": {}}));
        assert_eq!(fine.expect("reads").unavailable, 0);
        for (status, field) in [
            (json!({}), "status.desiredNumberScheduled"),
            (json!("fine"), "status.desiredNumberScheduled"),
            (
                json!({"desiredNumberScheduled": "5"}),
                "status.desiredNumberScheduled",
            ),
            (
                json!({"desiredNumberScheduled": -5}),
                "status.desiredNumberScheduled",
            ),
            (
                json!({"desiredNumberScheduled": 5, "numberUnavailable": null}),
                "status.numberUnavailable",
            ),
            (
                json!({"desiredNumberScheduled": 5, "numberUnavailable": 1.5}),
                "status.numberUnavailable",
            ),
        ] {
            let error = read(status).expect_err("refused");
            assert_eq!(
                (error.object.as_str(), error.field.as_str()),
                ("DaemonSet d", field)
            );
        }
    }
}
