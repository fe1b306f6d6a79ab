//! The queue of claims: who is first, and when so many wait that the detector is suspected. Pure.
//!
//! All times are the server's own (`creationTimestamp`) and are compared with each other only, so nobody's clock counts.

use super::limits::Limits;
use super::objects::INSTANCE;
use crate::host::cluster::{BadObject, Fields};
use serde_json::Value;
use std::collections::BTreeSet;

/// The signature that a claim is for.
pub const SIGNATURE_LABEL: &str = "nodemend.io/signature";
/// Over which time claims count together: 10 minutes (safety.md, section 2).
const STORM_SPAN_US: i64 = 600_000_000;
/// A node tries for a slot when this many nodes per free slot are before it: one may give up.
pub const EAGER: u64 = 2;
/// How often a node that sees a slot lie free lets four times as many others be dead: 2 x 4^6 is more than may ever wait.
const MAX_PATIENCE: u32 = 6;

/// A node that is sick and waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The node.
    pub node: String,
    /// For what.
    pub signature: String,
    /// Since when, by the server's clock, in microseconds since 1970.
    pub since_us: i64,
    /// Which agent of the node made it; empty where it does not say.
    pub instance: String,
}

impl Claim {
    /// Reads a claim's Lease.
    ///
    /// # Errors
    /// A field that is missing or of the wrong form.
    pub fn read(item: &Value) -> Result<Self, BadObject> {
        let fields = Fields::of(item, "Lease");
        fields.ensure_kind()?;
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
            instance: fields.maybe_text(INSTANCE)?.unwrap_or_default().to_owned(),
        })
    }
}

/// How many claims of this signature, or of any, came within the span of the newest of them.
pub fn sick_together(claims: &[Claim], signature: Option<&str>) -> u64 {
    let counted = || {
        claims
            .iter()
            .filter(|claim| signature.is_none_or(|signature| claim.signature == signature))
    };
    let newest = counted().map(|claim| claim.since_us).max().unwrap_or(0);
    counted()
        .filter(|claim| newest.saturating_sub(claim.since_us) <= STORM_SPAN_US)
        .count() as u64
}

/// So many nodes are sick at once that the detector is suspected: the breaker's name after its prefix, and why.
/// `nodes` should have an agent; 0 where that is not known.
pub fn storm(
    claims: &[Claim],
    signature: &str,
    limits: &Limits,
    nodes: u64,
) -> Option<(String, String)> {
    let same = sick_together(claims, Some(signature));
    let line = limits.storm_line(nodes);
    if same > line {
        let why = format!(
            "{same} nodes have {signature} within 10 minutes, more than {line}: the detector may be wrong"
        );
        return Some((format!("storm-{signature}"), why));
    }
    let any = sick_together(claims, None);
    let line = limits.any_line(nodes);
    (any > line).then(|| {
        let why = format!(
            "{any} nodes are sick of something within 10 minutes, more than {line}: they have a cause in common"
        );
        ("storm-any".to_owned(), why)
    })
}

/// A node's place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// How many nodes without a slot are before it.
    pub before: u64,
    /// How many nodes without a slot wait in all.
    pub waiting: u64,
}

/// The place of `node` among those that hold no slot; `None` without a claim of its own for this signature.
pub fn place_of(
    node: &str,
    signature: &str,
    claims: &[Claim],
    holders: &BTreeSet<String>,
) -> Option<Place> {
    let own = claims
        .iter()
        .find(|claim| claim.node == node && claim.signature == signature)?;
    let waits = |claim: &&Claim| claim.node == node || !holders.contains(&claim.node);
    let before = claims
        .iter()
        .filter(waits)
        .filter(|other| (other.since_us, &other.node) < (own.since_us, &own.node))
        .count() as u64;
    Some(Place {
        before,
        waiting: claims.iter().filter(waits).count() as u64,
    })
}

impl Place {
    /// Whether it is this node's turn with `free` slots. `patience`: at how many looks before this one a slot lay free and
    /// nobody took it. Each of them lets four times as many of those before be dead: a claim falls only with its Node, and a
    /// node that died in the queue must not block it (I19). Safe at any value: the cap rests on names, not on turns.
    pub fn is_next(&self, free: u64, patience: u32) -> bool {
        let eager = EAGER << (2 * patience.min(MAX_PATIENCE));
        self.before < free.saturating_mul(eager)
    }

    /// Whether it can not be its turn soon: even with every slot free it would be behind.
    pub fn is_far(&self, cap: u32) -> bool {
        self.before >= u64::from(cap).saturating_mul(EAGER)
    }

    /// In words.
    pub fn told(&self, free: u64) -> String {
        let Place { before, waiting } = self;
        format!("{before} of {waiting} waiting nodes are first, and {free} slots are free")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claim(node: &str, signature: &str, second: i64) -> Claim {
        Claim {
            node: node.to_owned(),
            signature: signature.to_owned(),
            since_us: second * 1_000_000,
            instance: String::new(),
        }
    }

    fn queue(count: i64) -> Vec<Claim> {
        (0..count)
            .map(|i| claim(&format!("n{i}"), "s", i))
            .collect()
    }

    fn holders(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_first_in_the_queue_go_and_those_with_a_slot_do_not_count() {
        for (node, holding, free, expected) in [
            ("n0", &[][..], 1, true),
            ("n1", &[], 1, true),
            ("n2", &[], 1, false),
            ("n4", &[], 2, false),
            ("n0", &[], 0, false),
            // Two run already: the third of them is the first that waits.
            ("n2", &["n0", "n1"], 1, true),
            ("n3", &["n0", "n1"], 1, true),
            ("n4", &["n0", "n1"], 1, false),
        ] {
            let place = place_of(node, "s", &queue(5), &holders(holding)).expect("has a claim");
            assert_eq!(
                place.is_next(free, 0),
                expected,
                "{node} {free} {holding:?}: {place:?}"
            );
        }
        assert_eq!(place_of("n9", "s", &queue(5), &holders(&[])), None);
        assert_eq!(place_of("n0", "other", &queue(5), &holders(&[])), None);
    }

    #[test]
    fn nodes_that_died_in_the_queue_do_not_block_it() {
        // 40 dead claims are first, one slot is free.
        let place = place_of("n40", "s", &queue(41), &holders(&[])).expect("has a claim");
        let looks = (0..).find(|patience| place.is_next(1, *patience));
        assert_eq!(looks, Some(3));
        // Whatever waits, seven looks are enough; and without a free slot no patience helps.
        let last = Place {
            before: 4_999,
            waiting: 5_000,
        };
        assert!(last.is_next(1, 6) && last.is_next(1, u32::MAX) && !last.is_next(0, 10));
    }

    #[test]
    fn a_storm_is_one_signature_or_any_on_too_many_nodes_at_once() {
        let limits = Limits::default();
        let mixed = |count: i64| -> Vec<Claim> {
            (0..count)
                .map(|i| claim(&format!("n{i}"), &format!("s{i}"), i))
                .collect()
        };
        for (claims, nodes, breaker) in [
            (queue(5), 0, None),
            (queue(6), 0, Some("storm-s")),
            (queue(6), 100, Some("storm-s")),
            (queue(100), 5_000, None),
            (queue(101), 5_000, Some("storm-s")),
            (mixed(5), 0, None),
            (mixed(6), 0, Some("storm-any")),
            (mixed(250), 5_000, None),
            (mixed(251), 5_000, Some("storm-any")),
        ] {
            let storm = storm(&claims, "s", &limits, nodes).map(|(name, _)| name);
            assert_eq!(storm.as_deref(), breaker, "{} of {nodes}", claims.len());
        }
        // Old claims are no storm: one fault an hour is not many at once.
        let slow: Vec<Claim> = (0..9)
            .map(|i| claim(&format!("n{i}"), "s", i * 3_600))
            .collect();
        assert_eq!(sick_together(&slow, Some("s")), 1);
    }

    #[test]
    fn times_at_the_ends_of_the_world_are_only_old_or_new() {
        let mut claims = queue(2);
        claims.push(Claim {
            since_us: i64::MIN,
            ..claim("old", "s", 0)
        });
        claims.push(Claim {
            since_us: i64::MAX,
            ..claim("new", "s", 0)
        });
        assert_eq!(sick_together(&claims, Some("s")), 1);
        let place = place_of("n0", "s", &claims, &holders(&[])).expect("has a claim");
        assert_eq!(place.before, 1);
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
                json!({"metadata": {"name": "n", "creationTimestamp": "99999-01-01T00:00:00Z"}}),
                "metadata.creationTimestamp",
            ),
            (
                json!({"metadata": {"name": "n", "labels": 5}}),
                "metadata.labels",
            ),
            (
                json!({"metadata": {"name": "n", "creationTimestamp": "2026-11-22T09:00:00Z", "annotations": {"nodemend.io/instance": 5}}}),
                "metadata.annotations.nodemend.io/instance",
            ),
            (json!({"kind": "Pod", "metadata": {"name": "n"}}), "kind"),
        ] {
            let error = Claim::read(&object).expect_err("refused");
            assert_eq!(
                (error.object.as_str(), error.field.as_str()),
                ("Lease n", field)
            );
        }
    }
}
