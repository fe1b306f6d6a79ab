//! Conditions of playbooks, judged over the engine's signals as they are now.

use super::core::Core;
use crate::signal::{Reading, Subject, Value};
use crate::signatures::{Expression, Scene};
use crate::steps::{Oracle, Tri};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The engine behind the conditions of a run.
pub struct EngineOracle {
    core: Mutex<Weak<Core>>,
    failed_before: Mutex<Option<i64>>,
}

impl EngineOracle {
    /// An oracle that is told later which engine it asks: the runner is built before the engine's owner.
    pub fn unbound() -> Arc<Self> {
        Arc::new(Self { core: Mutex::new(Weak::new()), failed_before: Mutex::new(None) })
    }

    /// Names the engine to ask.
    pub fn bind(&self, core: &Arc<Core>) {
        *self.core.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(core);
    }

    /// A run begins: what has failed now is not its doing.
    pub fn mark(&self) {
        let core = self.core.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        let failed = core.and_then(|core| {
            match core.engine().judge().timeline().latest("systemd.failed_units", &Subject::NODE) {
                Reading::Fresh { value: Value::Integer(count), .. } => Some(*count),
                _ => None,
            }
        });
        *self.failed_before.lock().unwrap_or_else(PoisonError::into_inner) = failed;
    }
}

impl Oracle for EngineOracle {
    fn condition(&self, condition: &str) -> Tri {
        let Some(core) = self.core.lock().unwrap_or_else(PoisonError::into_inner).upgrade() else {
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
            subject: &Subject::NODE,
            capture: None,
            failed_units_before: *self.failed_before.lock().unwrap_or_else(PoisonError::into_inner),
        };
        match expression.holds(&scene) {
            Ok(true) => Tri::Yes,
            Ok(false) => Tri::No,
            Err(reason) => Tri::Unknown(reason.to_string()),
        }
    }
}
