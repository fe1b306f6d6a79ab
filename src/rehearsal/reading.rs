//! Scenario files: YAML -> [`Scenario`], with every mistake and its place.

use super::scenario::{Chaos, Fault, Nodes, Outbreak, Runs, Scenario, Share, Trouble, Whom};
use crate::document::{Fields, FromNode, Node, Place, Problems, Tree, closest, parse};
use std::collections::BTreeMap;
use std::time::Duration;

/// What one process can play in minutes and hold in memory; twice what is promised.
const MAX_NODES: u32 = 10_000;
/// A longer time says nothing new.
const MAX_TIME: Duration = Duration::from_secs(30 * 86_400);
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
/// The signatures that can be imagined: those whose mend the product brings.
pub(super) const SIGNATURES: [&str; 2] = ["systemd-bus-unresponsive", "kernel-sysctl-drift"];

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// Everything that is wrong with it, with line and column.
    pub fn parse(origin: &str, text: &str) -> Result<Self, Problems> {
        let node = parse(origin, text)?;
        let mut problems = Problems::of(origin);
        let scenario = Self::from_node(&node, &mut problems);
        problems.into_result(scenario)
    }
}

impl FromNode for Scenario {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a scenario", problems)?;
        let name: Option<String> = fields.required("name", problems);
        let lasts: Option<Duration> = fields.required("lasts", problems);
        if let Some(lasts) = lasts
            && (lasts.is_zero() || lasts > MAX_TIME)
        {
            problems.add(fields.place(), "`lasts` must be from 1s to 30d");
        }
        let seed: u32 = fields.optional("seed", problems).unwrap_or(1);
        let startup = fields.optional("startup", problems);
        let nodes: Option<Nodes> = fields.required("nodes", problems);
        let limits: Option<Caps> = fields.required("limits", problems);
        let sick: Vec<Outbreak> = fields.or_default("sick", problems);
        let runs: Runs = fields.or_default("runs", problems);
        let faults: Vec<Fault> = fields.or_default("faults", problems);
        let chaos: Chaos = fields.or_default("chaos", problems);
        let place = fields.place();
        fields.finish(problems);
        let scenario = Scenario {
            name: name?,
            lasts: lasts?,
            seed: u64::from(seed),
            startup: startup.unwrap_or(Duration::from_secs(120)),
            nodes: nodes?,
            limits: limits?.0,
            sick,
            runs,
            faults,
            chaos,
        };
        scenario.check(place, problems);
        Some(scenario)
    }
}

impl Scenario {
    /// What no field can know of itself.
    fn check(&self, place: Place, problems: &mut Problems) {
        for whom in self
            .sick
            .iter()
            .map(|one| &one.whom)
            .chain(self.faults.iter().map(|one| &one.whom))
        {
            for (what, name, known) in [
                ("zone", &whom.zone, &self.nodes.zones),
                ("pool", &whom.pool, &self.nodes.pools),
            ] {
                if let Some(name) = name
                    && !known.contains(name)
                {
                    problems.add(
                        place,
                        format!(
                            "no node is in {what} `{name}`; nodes has: {}",
                            known.join(", ")
                        ),
                    );
                }
            }
        }
    }
}

impl FromNode for Nodes {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "nodes", problems)?;
        let count: Option<u32> = fields.required("count", problems);
        let nodes = Nodes {
            count: count.unwrap_or_default(),
            zones: fields.or_default("zones", problems),
            pools: fields.or_default("pools", problems),
            control_plane: fields.or_default("controlPlane", problems),
            opted_in: fields.optional("optedIn", problems).unwrap_or(Share::ALL),
        };
        if count.is_some() && !(1..=MAX_NODES).contains(&nodes.count) {
            problems.add(
                fields.place(),
                format!("`count` must be from 1 to {MAX_NODES}"),
            );
        }
        if nodes.control_plane > nodes.count {
            problems.add(
                fields.place(),
                "`controlPlane` is more than there are nodes",
            );
        }
        fields.finish(problems);
        Some(nodes)
    }
}

/// A share as people write it: `25%`, `0.5%`.
impl FromNode for Share {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let wrong = "a share is written like 25% or 0.5%, at most 100%";
        let Tree::Text(text) = &node.tree else {
            problems.add(node.place, format!("{wrong}; found {}", node.tree.form()));
            return None;
        };
        let share = text.strip_suffix('%').and_then(millionths);
        if share.is_none() {
            problems.add(node.place, format!("{wrong}; found `{text}`"));
        }
        share
    }
}

fn millionths(percent: &str) -> Option<Share> {
    let (whole, part) = percent.split_once('.').unwrap_or((percent, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty()
        || whole.len() > 3
        || part.len() > 4
        || !is_number(whole)
        || !is_number(part)
    {
        return None;
    }
    let whole: u32 = whole.parse().ok()?;
    let part: u32 = format!("{part:0<4}").parse().ok()?;
    let share = Share(whole * 10_000 + part);
    (share <= Share::ALL).then_some(share)
}

/// The data of the ConfigMap `limits`.
struct Caps(BTreeMap<String, u32>);

impl FromNode for Caps {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let Tree::Map(entries) = &node.tree else {
            let found = node.tree.form();
            problems.add(node.place, format!("limits must be a mapping, not {found}"));
            return None;
        };
        let mut caps = BTreeMap::new();
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
            match u32::from_node(value, problems) {
                Some(cap) if cap > MAX_CAP => problems.add(
                    value.place,
                    format!("a limit is a plain number from 0 to {MAX_CAP}"),
                ),
                Some(cap) => {
                    caps.insert(key.name.clone(), cap);
                }
                None => {}
            }
        }
        Some(Self(caps))
    }
}

fn whom(fields: &mut Fields<'_>, problems: &mut Problems) -> Whom {
    let whom = Whom {
        share: fields.optional("share", problems),
        count: fields.optional("count", problems),
        zone: fields.optional("zone", problems),
        pool: fields.optional("pool", problems),
    };
    if whom.share.is_some() && whom.count.is_some() {
        problems.add(fields.place(), "give `share` or `count`, not both");
    }
    whom
}

impl FromNode for Outbreak {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "an outbreak", problems)?;
        let at = fields.required("at", problems);
        let signature: Option<String> = fields.required("signature", problems);
        if let Some(signature) = &signature
            && !SIGNATURES.contains(&signature.as_str())
        {
            problems.add(
                fields.place(),
                format!(
                    "`{signature}` cannot be simulated; these can: {}",
                    SIGNATURES.join(", ")
                ),
            );
        }
        let outbreak = Outbreak {
            at: at.unwrap_or_default(),
            over: fields.or_default("over", problems),
            whom: whom(&mut fields, problems),
            is_false: fields.or_default("falseAlarm", problems),
            signature: signature.clone().unwrap_or_default(),
        };
        fields.finish(problems);
        at.and(signature).map(|_| outbreak)
    }
}

impl FromNode for Runs {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "runs", problems)?;
        let usual = Runs::default();
        let runs = Runs {
            step: fields.optional("step", problems).unwrap_or(usual.step),
            soak: fields.optional("soak", problems).unwrap_or(usual.soak),
            succeed: fields
                .optional("succeed", problems)
                .unwrap_or(usual.succeed),
        };
        fields.finish(problems);
        Some(runs)
    }
}

impl FromNode for Fault {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a fault", problems)?;
        let at = fields.required("at", problems);
        let lasts = fields.or_default("lasts", problems);
        let word: Option<String> = fields.required("what", problems);
        let whom = whom(&mut fields, problems);
        let limits: Option<Caps> = fields.optional("limits", problems);
        let what = word.and_then(|word| trouble(&word, limits, fields.place(), problems));
        fields.finish(problems);
        Some(Fault {
            at: at?,
            lasts,
            what: what?,
            whom,
        })
    }
}

fn trouble(
    word: &str,
    limits: Option<Caps>,
    place: Place,
    problems: &mut Problems,
) -> Option<Trouble> {
    let plain = Trouble::WORDS.iter().find(|(known, _)| *known == word);
    match (plain, limits) {
        (None, Some(caps)) if word == "set-limits" => return Some(Trouble::Limits(caps.0)),
        (None, None) if word == "set-limits" => {
            problems.add(place, "set-limits needs `limits`, the whole ConfigMap");
        }
        (Some((_, trouble)), None) => return Some(trouble.clone()),
        (Some(_), Some(_)) => problems.add(place, format!("{word} takes no `limits`")),
        (None, _) => {
            let known: Vec<&str> = Trouble::WORDS.iter().map(|(word, _)| *word).collect();
            problems.add(
                place,
                format!(
                    "`{word}` is no fault; known are set-limits, {}",
                    known.join(", ")
                ),
            );
        }
    }
    None
}

impl FromNode for Chaos {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "chaos", problems)?;
        let chaos = Chaos {
            requests_lost: fields.or_default("requestsLost", problems),
            answers_lost: fields.or_default("answersLost", problems),
            refusals: fields.or_default("refusals", problems),
            slow: fields.or_default("slow", problems),
            crashes_after_write: fields.or_default("crashesAfterWrite", problems),
            faults: fields.or_default("faults", problems),
        };
        fields.finish(problems);
        Some(chaos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_of_a_scenario_is_told_at_once_and_with_its_place() {
        let text = "name: x\nlasts: 1h\nnodse: {}\nnodes: {count: 0, optedIn: 1}\nlimits: {clutser: 1, zone-a: 1000}\nsick:\n  - {at: 1m, signature: nothing, zone: z}\n  - {signature: kernel-sysctl-drift, share: 101%, count: 1}\nfaults:\n  - {at: 1m, what: rain}\n  - {at: 1m, what: set-limits}\n";
        let problems = Scenario::parse("s.yaml", text).expect_err("refused");
        let told: Vec<(u32, &str)> = problems
            .list
            .iter()
            .map(|problem| (problem.place.line, problem.message.as_str()))
            .collect();
        for (line, words) in [
            (3, "a scenario has no key `nodse`; did you mean `nodes`?"),
            (4, "`count` must be from 1 to"),
            (4, "a share is written like"),
            (5, "did you mean `cluster`?"),
            (5, "a limit is a plain number from 0 to 999"),
            (7, "`nothing` cannot be simulated"),
            (8, "an outbreak needs `at`"),
            (8, "found `101%`"),
            (10, "`rain` is no fault"),
            (11, "set-limits needs `limits`"),
        ] {
            assert!(
                told.iter()
                    .any(|(at, message)| *at == line && message.contains(words)),
                "{line}: {words} is not in {told:#?}"
            );
        }
    }

    #[test]
    fn shares_are_exact_and_never_round_to_none() {
        for (text, share) in [("25%", 250_000), ("0.5%", 5_000), ("100%", 1_000_000)] {
            assert_eq!(
                text.strip_suffix('%').and_then(millionths),
                Some(Share(share))
            );
        }
        for text in ["", ".5", "1e1", "-1", "100.1", "1000", "1.00001", "+5"] {
            assert_eq!(millionths(text), None, "{text}");
        }
        assert_eq!(
            (Share(1).of(3), Share::ALL.of(3), Share(0).of(3)),
            (1, 3, 0)
        );
    }
}
