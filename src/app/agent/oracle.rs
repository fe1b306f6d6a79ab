//! Conditions of playbooks, judged over the engine's signals as they are now.

use super::core::Core;
use crate::executor::{FAILED_UNITS_BEFORE, Opening};
use crate::signal::{Reading, Subject, Timeline, Value};
use crate::signatures::{Expression, Question, Rulebook, Scene};
use crate::steps::{Oracle, Tri};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The engine behind the conditions of a run.
#[derive(Default)]
pub struct EngineOracle {
    core: Mutex<Weak<Core>>,
}

impl EngineOracle {
    /// Names the engine to ask: the runner is built before the engine's owner.
    pub fn bind(&self, core: &Arc<Core>) {
        *self.core.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(core);
    }
}

/// How many units have failed by now, if that is known.
pub fn failed_units(timeline: &Timeline) -> Option<i64> {
    match timeline.latest("systemd.failed_units", &Subject::NODE) {
        Reading::Fresh {
            value: Value::Integer(count),
            ..
        } => Some(*count),
        _ => None,
    }
}

impl Oracle for EngineOracle {
    fn condition(&self, condition: &str, opening: &Opening) -> Tri {
        let core = self
            .core
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .upgrade();
        let Some(core) = core else {
            return Tri::Unknown("the engine is not there".to_owned());
        };
        let expression = match Expression::compile(condition) {
            Ok(expression) => expression,
            Err(mistakes) => return Tri::Unknown(mistakes.join("; ")),
        };
        let engine = core.engine();
        let judge = engine.judge();
        let scene = Scene {
            timeline: judge.timeline(),
            log: judge.log(),
            verdicts: judge.verdicts(),
            owner: "",
            subject: &Subject::named(&opening.subject),
            capture: None,
            failed_units_before: opening
                .values
                .get(FAILED_UNITS_BEFORE)
                .and_then(|count| count.parse().ok()),
        };
        match expression.holds(&scene) {
            Ok(true) => Tri::Yes,
            Ok(false) => Tri::No,
            // Waiting would not help: nobody here will ever judge a signature that is not in the rulebook. As it never
            // acts on what nobody knows, that is a no (a step for a runtime whose signatures are not loaded is skipped).
            Err(_) if asks_for_an_unknown_signature(&expression, judge.rulebook()) => Tri::No,
            Err(reason) => Tri::Unknown(reason.to_string()),
        }
    }
}

fn asks_for_an_unknown_signature(expression: &Expression, rulebook: &Rulebook) -> bool {
    expression
        .questions()
        .iter()
        .any(|question| matches!(question, Question::Verdict(id) if rulebook.find(id).is_none()))
}
