//! What a Node says of the agent's cases: conditions and annotations, computed whole from the engine each time, so that
//! nothing has to be queued while the API server is away. Pure.

use crate::diagnosis::{Case, CaseState};
use crate::engine::{Engine, Stance};
use crate::report::model::node_state;
use crate::signal::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Changes within this time after a write are written together; a condition waits for no other writes than those of conditions.
pub const COALESCE: Duration = Duration::from_secs(5);
/// How often a condition that stands is written again: with a watch that is opened twice an hour, a node with a standing
/// problem stays within the 6 requests an hour that an idle one may take.
pub const HEARTBEAT: Duration = Duration::from_secs(900);

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

/// What the Node is to say now. `waiting`: why the run that is under way has no slot yet, if so.
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

/// The strategic merge patch for conditions: `changed` are written, with whether their status flips, and `retired` removed.
/// `now` is RFC 3339.
pub fn conditions_patch(changed: &[(&str, &Told, bool)], retired: &[String], now: &str) -> Value {
    let mut list: Vec<Value> = Vec::new();
    for (kind, told, flips) in changed {
        let mut one = json!({
            "type": kind, "status": if told.is_problem { "True" } else { "False" },
            "reason": told.reason, "message": told.message, "lastHeartbeatTime": now,
        });
        if let Some(fields) = one.as_object_mut().filter(|_| *flips) {
            fields.insert("lastTransitionTime".to_owned(), json!(now));
        }
        list.push(one);
    }
    list.extend(
        retired
            .iter()
            .map(|kind| json!({ "type": kind, "$patch": "delete" })),
    );
    json!({ "status": { "conditions": list } })
}

/// The merge patch for the annotations. What is not said is removed.
pub fn annotations_patch(telling: &Telling) -> Value {
    json!({ "metadata": { "annotations": {
        "nodemend.io/state": telling.state,
        "nodemend.io/case": telling.case,
        "nodemend.io/blocked": telling.blocked,
    } } })
}
