//! What people and programs see of the agent, and what they may tell it.

use super::core::Core;
use crate::host::clock;
use crate::policy::CaseId;
use crate::report::model::{
    CaseView, SignatureView, StatusView, case_views, node_state, signature_views, verdict_counts,
};
use serde::{Deserialize, Serialize};

/// What a person may tell a running agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "control", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Control {
    /// Act on this case, or try it again after it needed a human.
    Approve {
        /// `case-41`.
        case: String,
    },
    /// Start nothing.
    Pause {
        /// Why.
        reason: String,
    },
    /// Starting is allowed again.
    Resume,
}

/// What the agent says to that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlAnswer {
    /// Whether it was done.
    pub done: bool,
    /// What was done, or why not and what to do.
    pub message: String,
}

impl ControlAnswer {
    /// It was done.
    pub fn done(message: impl Into<String>) -> Self {
        Self {
            done: true,
            message: message.into(),
        }
    }

    /// It was not done.
    pub fn refused(message: impl Into<String>) -> Self {
        Self {
            done: false,
            message: message.into(),
        }
    }
}

impl Core {
    /// The agent as a whole.
    pub fn status(&self) -> StatusView {
        let engine = self.engine();
        let opt_in = engine.opt_in();
        let trouble = self.trouble();
        StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.node.to_string(),
            standalone: self.standalone,
            mode: opt_in.mode.to_string(),
            allow: opt_in.allow.to_string(),
            opt_in: format!("{} (version {})", opt_in.source, short(&opt_in.version)),
            trouble: opt_in
                .trouble
                .iter()
                .map(ToString::to_string)
                .chain(trouble)
                .collect(),
            paused: opt_in.pause.as_ref().map(ToString::to_string),
            state: node_state(&engine).to_owned(),
            watching_seconds: clock::now().uptime.since(self.started.uptime).as_secs_f64(),
            probes: self.vision.views(),
            verdicts: verdict_counts(&engine),
            cases: engine.book().open().len(),
            run: engine.run().map(|(case, run)| format!("{run} for {case}")),
            metrics: self.metrics_url(),
            audit: self.audit_dir.display().to_string(),
        }
    }

    /// All cases, open ones first.
    pub fn cases(&self) -> Vec<CaseView> {
        case_views(&self.engine(), clock::now())
    }

    /// All signatures with what they say now.
    pub fn signatures(&self) -> Vec<SignatureView> {
        signature_views(&self.engine())
    }

    /// Whether there is such a case among the open ones.
    pub fn open_case(&self, text: &str) -> Result<CaseId, ControlAnswer> {
        let id: CaseId = text
            .parse()
            .map_err(|error| ControlAnswer::refused(format!("{error}")))?;
        match self.engine().book().find(id) {
            Some(case) if case.state.is_open() => Ok(id),
            Some(_) => Err(ControlAnswer::refused(format!(
                "{id} is over; nodemend cases shows what is open"
            ))),
            None => Err(ControlAnswer::refused(format!(
                "there is no {id}; nodemend cases shows what is open"
            ))),
        }
    }
}

fn short(version: &str) -> &str {
    version.get(..12).unwrap_or(version)
}
