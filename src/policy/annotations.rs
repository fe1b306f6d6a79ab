//! A Node's annotations as the node's own settings. Everything missing, malformed or newer than known means observe.

use super::facts::OptIn;
use super::terms::{CaseId, Disruption, Mode};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

/// What all our annotations begin with.
pub const PREFIX: &str = "nodemend.io/";
/// How far the agent may go.
pub const MODE: &str = "nodemend.io/mode";
/// The highest disruption class.
pub const ALLOW: &str = "nodemend.io/allow";
/// Any value: nothing starts.
pub const PAUSE: &str = "nodemend.io/pause";
/// Cases that a person approved, separated by commas.
pub const APPROVE: &str = "nodemend.io/approve";
/// Written by the agent: how the node is.
pub const STATE: &str = "nodemend.io/state";
/// Written by the agent: the case that matters most.
pub const CASE: &str = "nodemend.io/case";
/// Written by the agent: the first reason why nothing happens.
pub const BLOCKED: &str = "nodemend.io/blocked";
/// Written by the agent: the cordon is its own.
pub const CORDONED: &str = "nodemend.io/cordoned";

const KNOWN: [&str; 8] = [MODE, ALLOW, PAUSE, APPROVE, STATE, CASE, BLOCKED, CORDONED];

/// Where settings of this kind come from.
pub const SOURCE: &str = "node annotation";

/// Taints and annotations by which other tools say that they are disrupting the node: it is left to them (safety.md, T16).
/// *Source*: cluster-autoscaler `utils/taints`, Karpenter `apis/v1/taints.go`, kured's and Kubernetes' documentation.
const FOREIGN_TAINTS: [&str; 4] = [
    "ToBeDeletedByClusterAutoscaler",
    "karpenter.sh/disrupted",
    "karpenter.sh/disruption",
    "node.kubernetes.io/out-of-service",
];
const FOREIGN_NOTES: [&str; 1] = ["weave.works/kured-reboot-in-progress"];

/// The most that is read of a value. The longest sensible one is a reason for a pause.
const MAX_VALUE_CHARS: usize = 200;
/// The most cases that one annotation may approve.
const MAX_APPROVED: usize = 20;

/// What was read of a Node, as far as the settings are concerned.
#[derive(Debug, Clone, Copy)]
pub struct Notes<'a> {
    /// The Node's name.
    pub node: &'a str,
    /// Its resourceVersion.
    pub version: &'a str,
    /// Its annotations.
    pub annotations: &'a BTreeMap<String, String>,
    /// The keys of its taints.
    pub taints: &'a [String],
    /// Whether it is being deleted.
    pub is_going: bool,
}

/// Reads the settings, under the ceiling of the configuration: the lower of both counts.
pub fn read_annotations(notes: Notes<'_>, ceiling: (Mode, Disruption)) -> OptIn {
    let mut reader = Reader {
        notes,
        trouble: Vec::new(),
    };
    let mode: Mode = reader.word(MODE).unwrap_or_default();
    let allow: Disruption = reader.word(ALLOW).unwrap_or_default();
    let approved = reader.approved();
    reader.refuse_newer();
    let is_clear = reader.trouble.is_empty();
    OptIn {
        source: Arc::from(SOURCE),
        version: Arc::from(notes.version),
        mode: if is_clear {
            mode.min(ceiling.0)
        } else {
            Mode::Observe
        },
        allow: if is_clear {
            allow.min(ceiling.1)
        } else {
            Disruption::None
        },
        pause: pause_of(notes),
        approved,
        trouble: reader.trouble,
    }
}

/// The settings of a Node that could not be read: nothing may start.
pub fn unread(why: &str) -> OptIn {
    OptIn {
        source: Arc::from(SOURCE),
        trouble: vec![Arc::from(why)],
        ..OptIn::default()
    }
}

fn pause_of(notes: Notes<'_>) -> Option<Arc<str>> {
    if let Some(reason) = notes.annotations.get(PAUSE) {
        let reason: String = reason.chars().take(MAX_VALUE_CHARS).collect();
        let given = if reason.is_empty() {
            "no reason given"
        } else {
            &reason
        };
        return Some(Arc::from(format!("{given} (annotation {PAUSE})")));
    }
    if notes.is_going {
        return Some(Arc::from(format!("Node {} is being deleted", notes.node)));
    }
    let taint = notes
        .taints
        .iter()
        .find(|key| FOREIGN_TAINTS.contains(&key.as_str()));
    if let Some(key) = taint {
        return Some(Arc::from(format!("another tool is at work: taint {key}")));
    }
    let note = FOREIGN_NOTES
        .iter()
        .find(|key| notes.annotations.contains_key(**key));
    note.map(|key| Arc::from(format!("another tool is at work: annotation {key}")))
}

struct Reader<'a> {
    notes: Notes<'a>,
    trouble: Vec<Arc<str>>,
}

impl Reader<'_> {
    fn complain(&mut self, key: &str, why: &str) {
        let key: String = key.chars().take(MAX_VALUE_CHARS).collect();
        let text = format!("Node {}: annotation {key}: {why}", self.notes.node);
        self.trouble.push(Arc::from(text));
    }

    fn word<T: FromStr>(&mut self, key: &str) -> Option<T>
    where
        T::Err: std::fmt::Display,
    {
        let text = self.notes.annotations.get(key)?;
        match text.parse() {
            Ok(word) => Some(word),
            Err(error) => {
                self.complain(key, &error.to_string());
                None
            }
        }
    }

    fn approved(&mut self) -> Vec<CaseId> {
        let Some(text) = self.notes.annotations.get(APPROVE) else {
            return Vec::new();
        };
        let mut cases = Vec::new();
        for word in text.split(',').take(MAX_APPROVED + 1) {
            match word.trim().parse::<CaseId>() {
                Ok(case) => cases.push(case),
                Err(error) => {
                    self.complain(APPROVE, &error.to_string());
                    return Vec::new();
                }
            }
        }
        if cases.len() > MAX_APPROVED {
            self.complain(APPROVE, &format!("more than {MAX_APPROVED} cases"));
            return Vec::new();
        }
        cases
    }

    /// A key that this build does not know may be a newer way to say no.
    fn refuse_newer(&mut self) {
        let newer: Vec<&String> = self
            .notes
            .annotations
            .keys()
            .filter(|key| key.starts_with(PREFIX) && !KNOWN.contains(&key.as_str()))
            .collect();
        for key in newer.into_iter().take(3) {
            let why =
                "this version of nodemend does not know it; remove it, or run a newer version";
            self.complain(key, why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(annotations: &[(&str, &str)], taints: &[&str]) -> OptIn {
        let annotations = annotations
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let taints: Vec<String> = taints.iter().map(|key| (*key).to_owned()).collect();
        let notes = Notes {
            node: "node-a",
            version: "88213",
            annotations: &annotations,
            taints: &taints,
            is_going: false,
        };
        read_annotations(notes, (Mode::Auto, Disruption::Restart))
    }

    #[test]
    fn the_contract_is_read_under_the_ceiling() {
        let opt_in = read(
            &[
                (MODE, "auto"),
                (ALLOW, "reboot"),
                (APPROVE, "case-3, case-4"),
            ],
            &[],
        );
        assert_eq!(
            (opt_in.mode, opt_in.allow),
            (Mode::Auto, Disruption::Restart)
        );
        assert_eq!(opt_in.approved, [CaseId(3), CaseId(4)]);
        assert_eq!((&*opt_in.version, &*opt_in.source), ("88213", SOURCE));
        assert!(opt_in.trouble.is_empty() && opt_in.pause.is_none());
    }

    #[test]
    fn nothing_said_is_observe() {
        for annotations in [&[][..], &[("other.io/mode", "auto")], &[(ALLOW, "restart")]] {
            assert_eq!(read(annotations, &[]).mode, Mode::Observe);
        }
        assert_eq!(read(&[(MODE, "auto")], &[]).allow, Disruption::None);
    }

    #[test]
    fn garbage_is_observe_with_a_reason_that_names_node_and_annotation() {
        let long = "a".repeat(200_000);
        for (key, value) in [
            (MODE, ""),
            (MODE, "Auto"),
            (MODE, "auto "),
            (MODE, "AUTO"),
            (MODE, "true"),
            (MODE, "auto\nobserve"),
            (MODE, "auto\u{200b}"),
            (MODE, "autonomous"),
            (MODE, "v2/auto"),
            (MODE, "{\"mode\":\"auto\"}"),
            (MODE, long.as_str()),
            (ALLOW, ""),
            (ALLOW, "everything"),
            (ALLOW, "restart,drain"),
            (ALLOW, "3"),
            (ALLOW, "-1"),
            (APPROVE, ""),
            (APPROVE, "41"),
            (APPROVE, "case-"),
            (APPROVE, "case-x"),
            (APPROVE, "case--1"),
            (APPROVE, "case-1,"),
            (APPROVE, "case-99999999999999999999999"),
            (APPROVE, "*"),
            (APPROVE, long.as_str()),
            ("nodemend.io/modes", "auto"),
            ("nodemend.io/forbid", "all"),
            ("nodemend.io/", "x"),
        ] {
            let mut annotations = vec![(MODE, "auto"), (ALLOW, "restart")];
            annotations.retain(|(known, _)| *known != key);
            annotations.push((key, value));
            let opt_in = read(&annotations, &[]);
            let shown: String = value.chars().take(20).collect();
            assert_eq!(
                (opt_in.mode, opt_in.allow),
                (Mode::Observe, Disruption::None),
                "{key}={shown}"
            );
            let trouble = opt_in.trouble.first().expect("a reason");
            assert!(
                trouble.contains("Node node-a") && trouble.contains(key) && trouble.len() < 300,
                "{trouble}"
            );
        }
    }

    #[test]
    fn any_pause_pauses_and_so_does_another_tool() {
        for value in ["", "moving racks", "false", "\u{0}"] {
            assert!(read(&[(MODE, "auto"), (PAUSE, value)], &[]).pause.is_some());
        }
        for taint in FOREIGN_TAINTS {
            let pause = read(&[(MODE, "auto")], &[taint]).pause.expect("paused");
            assert!(pause.contains(taint), "{pause}");
        }
        assert!(read(&[(FOREIGN_NOTES[0], "x")], &[]).pause.is_some());
        let own = ["node.kubernetes.io/not-ready", "nodemend.io/sick"];
        assert!(read(&[(MODE, "auto")], &own).pause.is_none());
    }
}
