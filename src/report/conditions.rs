//! What a Node says of the agent's cases: conditions and annotations, computed whole from the engine each time, so that
//! nothing has to be queued while the API server is away. Pure.

use crate::diagnosis::{Case, CaseState};
use crate::engine::{Engine, Stance};
use crate::policy::annotations::{BLOCKED, CASE, STATE};
use crate::report::model::node_state;
use crate::signal::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The annotations that an agent writes.
pub const NOTES: [&str; 3] = [STATE, CASE, BLOCKED];
/// The longest text of an annotation or a condition: the admission policy takes 1024 characters.
const MAX_TEXT_CHARS: usize = 500;

/// A condition of the Node. `True` means that there is a problem, as node-problem-detector has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Whether there is a problem.
    pub is_problem: bool,
    /// The short reason.
    pub reason: String,
    /// What was seen.
    pub message: String,
}

/// Everything that the Node is to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Telling {
    /// Conditions by type: one for every signature that names one.
    pub conditions: BTreeMap<String, Told>,
    /// Annotation `nodemend.io/state`.
    pub state: String,
    /// Annotation `nodemend.io/case`.
    pub case: Option<String>,
    /// Annotation `nodemend.io/blocked`.
    pub blocked: Option<String>,
}

impl Telling {
    /// The annotations, in the order of [`NOTES`].
    pub fn notes(&self) -> [Option<String>; 3] {
        let state = Some(self.state.clone());
        [state, self.case.clone(), self.blocked.clone()]
    }
}

/// What the Node is to say now. `waiting`: why a run that is under way has no slot yet, if so.
pub fn telling(engine: &Engine, now: Timestamp, waiting: Option<&str>) -> Telling {
    let open: Vec<&Case> = engine
        .book()
        .open()
        .into_iter()
        .filter(|case| case.id.is_some())
        .collect();
    let mut conditions = BTreeMap::new();
    for rule in engine.judge().rulebook().iter() {
        let Some(condition) = &rule.signature.condition else {
            continue;
        };
        let case = open.iter().find(|case| case.signature == rule.signature.id);
        let told = match case {
            Some(case) => Told {
                is_problem: true,
                reason: condition.reason.clone(),
                message: message_of(case, &rule.signature.title),
            },
            None => Told {
                is_problem: false,
                reason: "NoProblemSeen".to_owned(),
                message: format!("not seen: {}", rule.signature.title),
            },
        };
        // Two signatures may share a type: a problem of one of them is a problem.
        let present: &mut Told = conditions
            .entry(condition.kind.clone())
            .or_insert_with(|| told.clone());
        if told.is_problem && !present.is_problem {
            *present = told;
        }
    }
    let first = open
        .iter()
        .min_by_key(|case| (case.state == CaseState::Clearing, case.id));
    let state = match waiting {
        Some(_) => "waiting",
        None => node_state(engine),
    };
    Telling {
        conditions,
        state: state.to_owned(),
        case: first.and_then(|case| case.id).map(|id| id.to_string()),
        blocked: waiting
            .map(str::to_owned)
            .or_else(|| open.iter().find_map(|case| blocked_of(engine, case, now)))
            .map(|text| cut(&text)),
    }
}

fn message_of(case: &Case, title: &str) -> String {
    let id = case.id.map(|id| id.to_string()).unwrap_or_default();
    cut(&format!("{title} ({id}): {}", case.evidence.join("; ")))
}

fn blocked_of(engine: &Engine, case: &Case, now: Timestamp) -> Option<String> {
    match engine.stance(case, now) {
        Stance::Gated(blocked) => blocked
            .refusals()
            .next()
            .map(|answer| format!("{}: {}", answer.gate, answer.ruling.why())),
        Stance::NoPlaybook(id) => Some(format!("the playbook {id} is not there")),
        _ => None,
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).collect()
}

/// What is written to the Node in one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Letter {
    /// Conditions that are written, and whether their status flips.
    pub conditions: Vec<(String, Told, bool)>,
    /// Types of conditions that are removed.
    pub retired: Vec<String>,
    /// The annotations, in the order of [`NOTES`]; one that is not said is removed.
    pub notes: Option<[Option<String>; 3]>,
}

impl Letter {
    /// The strategic merge patch of the Node's status, which takes annotations along. `now` is RFC 3339.
    pub fn patch(&self, now: &str) -> Value {
        let mut list: Vec<Value> = Vec::new();
        for (kind, told, flips) in &self.conditions {
            let mut one = json!({
                "type": kind, "status": if told.is_problem { "True" } else { "False" },
                "reason": told.reason, "message": told.message, "lastHeartbeatTime": now,
            });
            if let Some(fields) = one.as_object_mut().filter(|_| *flips) {
                fields.insert("lastTransitionTime".to_owned(), json!(now));
            }
            list.push(one);
        }
        let gone = |kind: &String| json!({ "type": kind, "$patch": "delete" });
        list.extend(self.retired.iter().map(gone));
        let mut patch = Map::new();
        if !list.is_empty() {
            patch.insert("status".to_owned(), json!({ "conditions": list }));
        }
        if let Some(notes) = &self.notes {
            let notes: BTreeMap<&str, &Option<String>> = NOTES.into_iter().zip(notes).collect();
            patch.insert("metadata".to_owned(), json!({ "annotations": notes }));
        }
        Value::Object(patch)
    }

    /// Each of its parts alone: one that the server does not want must not keep the others from being seen.
    pub fn apart(&self) -> Vec<Self> {
        let of = Self::default;
        let conditions = self.conditions.iter().map(|one| Self {
            conditions: vec![one.clone()],
            ..of()
        });
        let retired = self.retired.iter().map(|kind| Self {
            retired: vec![kind.clone()],
            ..of()
        });
        let notes = self.notes.iter().map(|notes| Self {
            notes: Some(notes.clone()),
            ..of()
        });
        conditions.chain(retired).chain(notes).collect()
    }
}
