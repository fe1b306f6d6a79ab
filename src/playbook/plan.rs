//! A playbook for one subject: what would be done, step by step, with effect, verification and undo.

use super::args::{ArgError, Args, SUBJECT};
use super::catalogue::Trust;
use super::document::{OnFailure, Playbook, StepSpec, Verify};
use super::kinds::{StepKinds, StepSummary};
use crate::document::{canonical_json, format_span, sha256_hex};
use crate::policy::{Disruption, PlaybookRef};
use crate::signal::Subject;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// Concrete steps for one subject, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Which playbook, exactly.
    pub playbook: PlaybookRef,
    /// What the playbook does, one line.
    pub title: String,
    /// What it is done to.
    pub subject: Subject,
    /// What it does to the node's work.
    pub disruption: Disruption,
    /// The steps; never empty.
    pub steps: Vec<PlannedStep>,
    /// The signals that gave a value to an argument, with that value. Whoever makes the same plan again (after a crash, say)
    /// hands these back, because the signal may be another by then.
    pub bound: BTreeMap<String, String>,
    /// When the case counts as mended.
    pub verify: Verify,
    /// What happens after the last failed attempt.
    pub on_failure: OnFailure,
    /// SHA-256 over playbook, subject and concrete steps: what the executor's journal names.
    pub digest: Arc<str>,
}

/// One concrete step.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedStep {
    /// Its kind.
    pub kind: Arc<str>,
    /// Its arguments, with the subject in place.
    pub args: Args,
    /// What must hold right before it.
    pub guard: Guard,
    /// The time it gets.
    pub timeout: Duration,
    /// What it does, for people.
    pub summary: StepSummary,
}

/// What must hold right before a step. Unknown is never "holds".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// Nothing: the step only looks.
    None,
    /// The playbook's `requires`: if it does not hold, the run stops before the step.
    Requires(Arc<str>),
    /// The step's own `if`: if it does not hold, the step is skipped and the run says so.
    If(Arc<str>),
}

/// Why there is no plan for a subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The playbook needs a subject and the case is about the node itself.
    #[error("playbook {playbook} works on a subject, and none was given; name it with --subject")]
    NeedsSubject {
        /// The playbook.
        playbook: Arc<str>,
    },
    /// A step refuses the subject.
    #[error("step {index} ({kind}) of playbook {playbook} refuses the subject `{subject}`")]
    Step {
        /// The playbook.
        playbook: Arc<str>,
        /// The step's number, from 0.
        index: usize,
        /// The step's kind.
        kind: Arc<str>,
        /// The subject, cut to a readable length.
        subject: String,
        /// What is wrong.
        #[source]
        source: ArgError,
    },
    /// The subject raises the class of a step above the playbook's: a restart of a unit that would end workloads, say.
    #[error(
        "step {index} ({kind}) of playbook {playbook} would be of class {class} on this subject, more than the playbook's {declared}; it is not run"
    )]
    Disruption {
        /// The playbook.
        playbook: Arc<str>,
        /// The step's number, from 0.
        index: usize,
        /// The step's kind.
        kind: Arc<str>,
        /// The class on this subject.
        class: Disruption,
        /// The playbook's class.
        declared: Disruption,
    },
    /// An argument's value comes from a signal that has none.
    #[error(
        "step {index} ({kind}) of playbook {playbook} takes a value from signal `{signal}`, which has none for `{subject}`; see `nodemend check`"
    )]
    NoValue {
        /// The playbook.
        playbook: Arc<str>,
        /// The step's number, from 0.
        index: usize,
        /// The step's kind.
        kind: Arc<str>,
        /// The signal.
        signal: String,
        /// The subject, cut to a readable length.
        subject: String,
    },
    /// The plan has no canonical form.
    #[error("plan of playbook {playbook} has no canonical form: {reason}")]
    Form {
        /// The playbook.
        playbook: Arc<str>,
        /// Why not.
        reason: String,
    },
}

impl PlanError {
    /// A short stable word: metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            PlanError::NeedsSubject { .. } => "needs-subject",
            PlanError::Step { .. } => "step",
            PlanError::Disruption { .. } => "disruption",
            PlanError::NoValue { .. } => "no-value",
            PlanError::Form { .. } => "form",
        }
    }
}

impl Playbook {
    /// Whether it works on a subject: some argument is `{{subject}}`.
    pub fn takes_subject(&self) -> bool {
        self.steps.iter().any(|step| takes_subject(&step.args))
    }

    /// The concrete steps for `subject`. The arguments are checked again with the subject in place, because a subject
    /// comes from what the machine reports and may be hostile. `value_of` gives the fresh value of a signal for the subject,
    /// `None` where there is none.
    ///
    /// # Errors
    /// A missing subject, a signal without value, or a step that refuses either.
    pub fn plan(
        &self,
        subject: &Subject,
        kinds: &dyn StepKinds,
        value_of: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Plan, PlanError> {
        if subject.is_node() && self.takes_subject() {
            return Err(PlanError::NeedsSubject {
                playbook: self.id.clone(),
            });
        }
        let mut steps = Vec::with_capacity(self.steps.len());
        let mut bound = BTreeMap::new();
        for (index, spec) in self.steps.iter().enumerate() {
            steps.push(self.plan_step(index, spec, subject, kinds, value_of, &mut bound)?);
        }
        let playbook = self.reference();
        let digest = digest(&playbook, subject, &steps).map_err(|error| PlanError::Form {
            playbook: self.id.clone(),
            reason: error.to_string(),
        })?;
        Ok(Plan {
            playbook,
            title: self.title.clone(),
            subject: subject.clone(),
            disruption: self.disruption,
            steps,
            bound,
            verify: self.verify.clone(),
            on_failure: self.on_failure.clone(),
            digest,
        })
    }

    fn plan_step(
        &self,
        index: usize,
        spec: &StepSpec,
        subject: &Subject,
        kinds: &dyn StepKinds,
        value_of: &dyn Fn(&str) -> Option<String>,
        bound: &mut BTreeMap<String, String>,
    ) -> Result<PlannedStep, PlanError> {
        let filled = spec.args.filled(subject.as_str(), |key| {
            let value = value_of(key)?;
            bound.insert(key.to_owned(), value.clone());
            Some(value)
        });
        let args = filled.map_err(|signal| PlanError::NoValue {
            playbook: self.id.clone(),
            index,
            kind: spec.kind.clone(),
            signal: signal.to_owned(),
            subject: short(subject),
        })?;
        let summary = kinds
            .check(&spec.kind, &args)
            .map_err(|source| PlanError::Step {
                playbook: self.id.clone(),
                index,
                kind: spec.kind.clone(),
                subject: short(subject),
                source,
            })?;
        if summary.disruption > self.disruption {
            return Err(PlanError::Disruption {
                playbook: self.id.clone(),
                index,
                kind: spec.kind.clone(),
                class: summary.disruption,
                declared: self.disruption,
            });
        }
        let guard = match &spec.condition {
            Some(condition) => Guard::If(condition.clone()),
            None if summary.changes => Guard::Requires(self.requires.clone()),
            None => Guard::None,
        };
        Ok(PlannedStep {
            kind: spec.kind.clone(),
            args,
            guard,
            timeout: spec.timeout.unwrap_or(summary.timeout),
            summary,
        })
    }
}

fn short(subject: &Subject) -> String {
    subject.as_str().chars().take(80).collect()
}

fn takes_subject(args: &Args) -> bool {
    args.iter()
        .any(|arg| arg.value == super::args::ArgValue::Text(SUBJECT.to_owned()))
}

/// What a plan's digest covers of a step: everything that decides what is done. Sentences for people are left out.
#[derive(Serialize)]
struct Digested<'a> {
    kind: &'a str,
    args: &'a Args,
    guard: (&'static str, &'a str),
    timeout_ms: u64,
}

fn digest(
    playbook: &PlaybookRef,
    subject: &Subject,
    steps: &[PlannedStep],
) -> Result<Arc<str>, serde_json::Error> {
    let steps: Vec<Digested<'_>> = steps
        .iter()
        .map(|step| Digested {
            kind: &step.kind,
            args: &step.args,
            guard: step.guard.parts(),
            timeout_ms: u64::try_from(step.timeout.as_millis()).unwrap_or(u64::MAX),
        })
        .collect();
    let whole =
        serde_json::json!({ "playbook": playbook, "subject": subject.as_str(), "steps": steps });
    Ok(sha256_hex(canonical_json(&whole)?.as_bytes()).into())
}

impl Guard {
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Guard::None => ("none", ""),
            Guard::Requires(condition) => ("requires", condition),
            Guard::If(condition) => ("if", condition),
        }
    }
}

impl Plan {
    /// The plan for people: each step with effect, verification, undo and time.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        self.write(&mut text).ok();
        text
    }

    /// The plan for programs: `playbook plan --output json`.
    pub fn to_json(&self, trust: &Trust) -> serde_json::Value {
        let steps: Vec<serde_json::Value> = self
            .steps
            .iter()
            .map(|step| {
                let (guard, condition) = step.guard.parts();
                serde_json::json!({
                    "kind": &*step.kind,
                    "args": step.args,
                    "guard": guard,
                    "condition": condition,
                    "timeout_seconds": step.timeout.as_secs_f64(),
                    "effect": step.summary.effect,
                    "verify": step.summary.verify,
                    "undo": step.summary.undo,
                    "dry_run": step.summary.dry_run,
                    "disruption": step.summary.disruption,
                })
            })
            .collect();
        serde_json::json!({
            "playbook": self.playbook,
            "title": self.title,
            "subject": self.subject.as_str(),
            "disruption": self.disruption,
            "digest": &*self.digest,
            "trusted": trust.is_trusted(),
            "trust": trust.to_string(),
            "values": self.bound,
            "steps": steps,
            "verify": { "condition": &*self.verify.condition, "soak_seconds": self.verify.soak.as_secs_f64() },
            "on_failure": match &self.on_failure {
                OnFailure::Escalate(target) => &**target,
                OnFailure::NeedsHuman => "needs-human",
            },
        })
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let playbook = &self.playbook;
        writeln!(out, "{} {} - {}", playbook.id, playbook.version, self.title)?;
        writeln!(out, "  subject     {}", self.subject)?;
        writeln!(out, "  disruption  {}", self.disruption)?;
        writeln!(out, "  playbook    sha256 {}", playbook.digest)?;
        writeln!(out, "  plan        sha256 {}", self.digest)?;
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(
                out,
                "\n  step {number}  {}  (at most {})",
                step.kind,
                format_span(step.timeout)
            )?;
            match &step.guard {
                Guard::None => {}
                Guard::Requires(condition) => writeln!(
                    out,
                    "    only while  {condition}   (else the run stops here)"
                )?,
                Guard::If(condition) => writeln!(
                    out,
                    "    if          {condition}   (else, or if unknown, this step is skipped)"
                )?,
            }
            writeln!(out, "    effect      {}", step.summary.effect)?;
            writeln!(out, "    verify      {}", step.summary.verify)?;
            writeln!(out, "    undo        {}", step.summary.undo)?;
            writeln!(out, "    dry run     {}", step.summary.dry_run)?;
        }
        writeln!(out, "\n  mended when  {}", self.verify.condition)?;
        writeln!(
            out,
            "               and that holds for {}",
            format_span(self.verify.soak)
        )?;
        match &self.on_failure {
            OnFailure::Escalate(target) => writeln!(out, "  else         {target} is proposed"),
            OnFailure::NeedsHuman => writeln!(
                out,
                "  else         a person must look; nothing retries by itself"
            ),
        }
    }
}
