//! What decides over slots besides their names: limits, breakers, a node's domains, and the queue of claims. Pure.

use super::exchange::Want;
use super::name::SlotName;
use crate::host::cluster::{BadObject, Fields};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The ConfigMap that people set the caps in.
pub const LIMITS: &str = "limits";
/// What the names of breakers begin with. Any such ConfigMap stops new slots.
pub const BREAKER_PREFIX: &str = "breaker-";
/// The label of breakers.
pub const BREAKER_LABEL: &str = "nodemend.io/breaker";
/// What a Lease of ours is: a slot or a claim.
pub const KIND_LABEL: &str = "nodemend.io/kind";
/// The signature that a claim is for.
pub const SIGNATURE_LABEL: &str = "nodemend.io/signature";
/// The key in the limits that replaces the storm line.
const STORM_KEY: &str = "storm-nodes";
/// The storm line: one signature on this many nodes within [`STORM_SPAN_US`] is a storm (safety.md, section 2).
pub const MIN_STORM_NODES: u64 = 5;
/// The storm line as a share of all nodes.
const STORM_SHARE: f64 = 0.02;
/// Over which time claims of one signature count together, by the server's timestamps: 10 minutes.
const STORM_SPAN_US: i64 = 600_000_000;
/// A node tries for a slot when this many nodes per free slot are before it: one may give up.
const EAGER: u64 = 2;

/// Labels that name a node's pool, the first one counts.
const POOL_LABELS: [&str; 6] = [
    "nodemend.io/pool",
    "karpenter.sh/nodepool",
    "cloud.google.com/gke-nodepool",
    "eks.amazonaws.com/nodegroup",
    "kubernetes.azure.com/agentpool",
    "node.cluster.x-k8s.io/machinedeployment",
];
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
const CONTROL_PLANE_LABELS: [&str; 2] = [
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/master",
];

/// The limits as people set them, and the breakers that are open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    caps: BTreeMap<String, u32>,
    /// How many nodes of one signature are a storm, where people said so.
    pub storm_nodes: Option<u64>,
    /// The first open breaker, with its reason.
    pub breaker: Option<String>,
    /// What was not understood; each of these has cap 0.
    pub trouble: Vec<BadObject>,
}

impl Limits {
    /// Reads all ConfigMaps of the agents' namespace.
    ///
    /// # Errors
    /// It is no list of objects with names: then no breaker can be ruled out, and there is no slot.
    pub fn read(items: &[Value]) -> Result<Self, BadObject> {
        let mut limits = Limits::default();
        for item in items {
            let fields = Fields::of(item, "ConfigMap");
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
                limits.breaker.get_or_insert_with(|| {
                    format!("ConfigMap {name} stops new slots: {reason}; remove it to go on")
                });
            }
            if name == LIMITS {
                limits.read_caps(&fields);
            }
        }
        Ok(limits)
    }

    fn read_caps(&mut self, fields: &Fields<'_>) {
        let data = match fields.texts("/data") {
            Ok(data) => data,
            Err(error) => {
                self.trouble.push(error);
                return;
            }
        };
        for (key, text) in data {
            let number = plain_number(&text);
            if number.is_none() {
                let shown: String = text.chars().take(20).collect();
                let why =
                    format!("is `{shown}`, not a plain number from 0 to 999, so it counts as 0");
                self.trouble.push(fields.bad(&format!("/data/{key}"), why));
            }
            if key == STORM_KEY {
                // Not understood is the strictest line, not the default one.
                self.storm_nodes = Some(u64::from(number.unwrap_or(0)));
            } else {
                self.caps.insert(key, number.unwrap_or(0));
            }
        }
    }

    /// How many slots a domain has; 0 where nobody said.
    pub fn cap(&self, domain: &str) -> u32 {
        self.caps.get(domain).copied().unwrap_or(0)
    }

    /// The storm line in a cluster in which `nodes` should have an agent.
    pub fn storm_line(&self, nodes: u64) -> u64 {
        let share = (nodes as f64 * STORM_SHARE).ceil() as u64;
        self.storm_nodes
            .unwrap_or_else(|| share.max(MIN_STORM_NODES))
    }
}

/// The same spelling as the admission policy's: no sign, no leading zero, at most three digits.
fn plain_number(text: &str) -> Option<u32> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = !text.is_empty() && text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit());
    if canonical && digits {
        text.parse().ok()
    } else {
        None
    }
}

/// The domains of a node in the fixed order in which slots are taken, from its labels.
pub fn domains_of(labels: &BTreeMap<String, String>) -> Vec<Arc<str>> {
    let mut domains = vec![Arc::from("cluster")];
    if let Some(zone) = labels.get(ZONE_LABEL) {
        domains.push(Arc::from(format!("zone-{}", spelled(zone))));
    }
    if let Some(pool) = POOL_LABELS.iter().find_map(|key| labels.get(*key)) {
        domains.push(Arc::from(format!("pool-{}", spelled(pool))));
    }
    if CONTROL_PLANE_LABELS
        .iter()
        .any(|key| labels.contains_key(*key))
    {
        domains.push(Arc::from("control-plane"));
    }
    domains
}

fn spelled(text: &str) -> String {
    text.chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| {
            if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-' {
                c
            } else {
                '-'
            }
        })
        .collect()
}

/// A node that is sick and waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The node.
    pub node: String,
    /// For what.
    pub signature: String,
    /// Since when, by the server's clock, in microseconds since 1970.
    pub since_us: i64,
}

impl Claim {
    /// Reads a claim's Lease.
    ///
    /// # Errors
    /// A field that is missing or of the wrong form.
    pub fn read(item: &Value) -> Result<Self, BadObject> {
        let fields = Fields::of(item, "Lease");
        let labels = fields.texts("/metadata/labels")?;
        let since = fields.text("/metadata/creationTimestamp")?;
        let since_us = since
            .parse::<jiff::Timestamp>()
            .map_err(|_| fields.bad("/metadata/creationTimestamp", "is no time"))?
            .as_microsecond();
        Ok(Self {
            node: fields.text("/metadata/name")?.to_owned(),
            signature: labels.get(SIGNATURE_LABEL).cloned().unwrap_or_default(),
            since_us,
        })
    }
}

/// Whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// This node may try for its slots.
    Go,
    /// Others are first.
    Wait(String),
    /// So many nodes have the same fault that the detector is suspected: the cluster stops.
    Storm(String),
    /// Its own claim is not there, or is for something else.
    NoClaim,
}

/// How many claims of `signature` came within the span of the newest of them.
pub fn sick_together(claims: &[Claim], signature: &str) -> u64 {
    let mine = || claims.iter().filter(|claim| claim.signature == signature);
    let newest = mine().map(|claim| claim.since_us).max().unwrap_or(0);
    mine()
        .filter(|claim| newest - claim.since_us <= STORM_SPAN_US)
        .count() as u64
}

/// Judges the queue.
pub fn turn_of(node: &str, signature: &str, claims: &[Claim], free: u64, storm_line: u64) -> Turn {
    let own = claims
        .iter()
        .find(|claim| claim.node == node && claim.signature == signature);
    let Some(own) = own else {
        return Turn::NoClaim;
    };
    let together = sick_together(claims, signature);
    if together > storm_line {
        return Turn::Storm(format!(
            "{together} nodes have {signature} within 10 minutes, more than {storm_line}: the detector may be wrong"
        ));
    }
    let before = claims
        .iter()
        .filter(|other| (other.since_us, &other.node) < (own.since_us, &own.node))
        .count() as u64;
    if before < free.saturating_mul(EAGER) {
        Turn::Go
    } else {
        let waiting = claims.len();
        Turn::Wait(format!(
            "{before} of {waiting} waiting nodes are first, and {free} slots are free"
        ))
    }
}

/// How many slots are free where they are scarcest, and where that is. `taken` are the names of all slots that there are.
pub fn free_slots<'a>(wants: &'a [Want], taken: &BTreeSet<SlotName>) -> Option<(u64, &'a Want)> {
    let free = |want: &Want| {
        let used = taken
            .iter()
            .filter(|name| name.domain() == &*want.domain && name.index() < want.cap)
            .count() as u64;
        u64::from(want.cap).saturating_sub(used)
    };
    wants
        .iter()
        .map(|want| (free(want), want))
        .min_by_key(|(free, _)| *free)
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
    fn domains_come_in_a_fixed_order_and_in_the_policy_s_spelling() {
        let labels = |pairs: &[(&str, &str)]| {
            let map = pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect();
            domains_of(&map)
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(labels(&[]), ["cluster"]);
        assert_eq!(
            labels(&[
                ("karpenter.sh/nodepool", "GPU_big"),
                (ZONE_LABEL, "eu-1a"),
                ("node-role.kubernetes.io/control-plane", "")
            ]),
            ["cluster", "zone-eu-1a", "pool-gpu-big", "control-plane"]
        );
    }

    fn claim(node: &str, signature: &str, second: i64) -> Claim {
        Claim {
            node: node.to_owned(),
            signature: signature.to_owned(),
            since_us: second * 1_000_000,
        }
    }

    #[test]
    fn the_first_in_the_queue_go_and_a_storm_stops_everybody() {
        let queue: Vec<Claim> = (0..5).map(|i| claim(&format!("n{i}"), "s", i)).collect();
        for (node, free, expected) in [
            ("n0", 1, true),
            ("n1", 1, true),
            ("n2", 1, false),
            ("n4", 2, false),
            ("n0", 0, false),
        ] {
            let turn = turn_of(node, "s", &queue, free, 10);
            assert_eq!(turn == Turn::Go, expected, "{node} {free}: {turn:?}");
        }
        assert!(matches!(turn_of("n0", "s", &queue, 5, 4), Turn::Storm(_)));
        assert_eq!(turn_of("n0", "s", &queue, 5, 5), Turn::Go);
        assert_eq!(turn_of("n9", "s", &queue, 5, 9), Turn::NoClaim);
        assert_eq!(turn_of("n0", "other", &queue, 5, 9), Turn::NoClaim);
        // Old claims are no storm: one fault a day is not many at once.
        let slow: Vec<Claim> = (0..9)
            .map(|i| claim(&format!("n{i}"), "s", i * 3_600))
            .collect();
        assert_eq!(sick_together(&slow, "s"), 1);
    }

    #[test]
    fn garbled_claims_name_lease_and_field() {
        for (object, field) in [
            (
                json!({"metadata": {"name": "n"}}),
                "metadata.creationTimestamp",
            ),
            (
                json!({"metadata": {"name": "n", "creationTimestamp": "soon"}}),
                "metadata.creationTimestamp",
            ),
            (
                json!({"metadata": {"name": "n", "creationTimestamp": 5}}),
                "metadata.creationTimestamp",
            ),
            (
                json!({"metadata": {"name": "n", "labels": 5}}),
                "metadata.labels",
            ),
        ] {
            let error = Claim::read(&object).expect_err("refused");
            assert_eq!(
                (error.object.as_str(), error.field.as_str()),
                ("Lease n", field)
            );
        }
    }
}
