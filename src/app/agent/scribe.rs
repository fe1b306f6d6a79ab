//! The audit log behind one door: every writer waits for its own record to be on the disk.

use super::sight::{Nudge, chain};
use crate::executor::{Entry as RunEntry, Outcome, RunEvent, Witness, WitnessError};
use crate::host::{BoxFuture, clock};
use crate::policy::{CaseId, PlaybookRef};
use crate::report::audit::{AuditLog, Decision, Entry, RecordKind};
use crate::report::metrics::AgentMetrics;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a record may take to reach the disk. A disk that needs longer hangs, and nothing may start then.
const MAX_WRITE: Duration = Duration::from_secs(5);

/// Writes records, one after the other, off the async thread.
#[derive(Clone)]
pub struct Scribe {
    log: Result<Arc<Mutex<AuditLog>>, Arc<str>>,
}

impl Scribe {
    /// For this log, or for none and why.
    pub fn new(log: Result<AuditLog, String>) -> Self {
        Self {
            log: log
                .map(|log| Arc::new(Mutex::new(log)))
                .map_err(|why| Arc::from(why.as_str())),
        }
    }

    /// Why nothing may be done, if the log cannot be written.
    pub fn failure(&self) -> Option<String> {
        match &self.log {
            Err(why) => Some(why.to_string()),
            Ok(log) => {
                let log = log.lock().unwrap_or_else(PoisonError::into_inner);
                log.failure().map(str::to_owned)
            }
        }
    }

    /// The newest record as `SEQ:HASH`; empty while a record is being written or without a log.
    pub fn head(&self) -> String {
        // Never waits: the disk under the log may hang while somebody writes.
        match &self.log {
            Ok(log) => log
                .try_lock()
                .map_or_else(|_| String::new(), |log| log.head().to_string()),
            Err(_) => String::new(),
        }
    }

    /// Records written and records that could not be written.
    pub fn counts(&self) -> (u64, u64) {
        self.log.as_ref().map_or((0, 0), |log| {
            let log = log.lock().unwrap_or_else(PoisonError::into_inner);
            (log.records(), log.write_failures())
        })
    }

    /// Writes a record.
    ///
    /// # Errors
    /// It is not on the disk, and why.
    pub async fn write(&self, entry: Entry) -> Result<(), String> {
        let log = match &self.log {
            Ok(log) => Arc::clone(log),
            Err(why) => return Err(why.to_string()),
        };
        let task = tokio::task::spawn_blocking(move || {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.append(clock::now(), &entry)
                .map(|_| ())
                .map_err(|error| chain(&error))
        });
        match tokio::time::timeout(MAX_WRITE, task).await {
            Ok(Ok(written)) => written,
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the disk under the audit log does not answer".to_owned()),
        }
    }
}

/// Told by a run: the audit log first, then the counters, then the probes, so that an effect is seen soon.
pub struct RunWitness {
    /// The audit log.
    pub scribe: Scribe,
    /// The counters.
    pub metrics: Arc<AgentMetrics>,
    /// The probes.
    pub nudge: Nudge,
    /// The cluster, where there is one.
    pub cluster: Option<Arc<super::cluster::ClusterSide>>,
}

impl Witness for RunWitness {
    fn note<'a>(&'a self, event: &'a RunEvent) -> BoxFuture<'a, Result<(), WitnessError>> {
        Box::pin(async move {
            let written = self.scribe.write(record_of(event)).await;
            self.metrics.note_slot(!event.slot.is_empty());
            if let Some(side) = &self.cluster {
                side.desk().rides(event.run);
                self.metrics.note_waiting(None);
                side.changed.notify_one();
                super::told::of_run(side, event);
            }
            if let (Some(kind), Some(took)) = (&event.step_kind, event.took) {
                self.metrics.note_step(kind, took);
            }
            match &event.entry {
                RunEntry::Applied { .. } | RunEntry::Undone { .. } => self.nudge.now(),
                RunEntry::Closed { result } => {
                    let opening = &event.opening;
                    self.metrics
                        .note_run(&opening.playbook, &opening.version, result.kind());
                    self.metrics.note_slot(false);
                }
                _ => {}
            }
            written.map_err(|why| WitnessError { why })
        })
    }
}

/// The audit record for what a run does.
fn record_of(event: &RunEvent) -> Entry {
    let (kind, step, outcome) = match &event.entry {
        RunEntry::Opened { .. } => (RecordKind::RunOpened, None, None),
        RunEntry::Resumed { .. } => (RecordKind::RunOpened, None, Some("resumed".to_owned())),
        RunEntry::Paused { why } => (
            RecordKind::AgentStopped,
            None,
            Some(format!("run left open: {why}")),
        ),
        RunEntry::Skipped { step, why } => {
            (RecordKind::StepSkipped, Some(*step), Some(why.clone()))
        }
        RunEntry::Began { step, .. } => (RecordKind::StepBegan, Some(*step), None),
        RunEntry::Withheld { step, why } => (
            RecordKind::StepSkipped,
            Some(*step),
            Some(format!("withheld: {why}")),
        ),
        RunEntry::Applied { step } => (RecordKind::StepApplied, Some(*step), None),
        RunEntry::Verified { step } => (RecordKind::StepVerified, Some(*step), None),
        RunEntry::Failed { step, fault } => {
            (RecordKind::StepFailed, Some(*step), Some(fault.to_string()))
        }
        RunEntry::UndoBegan { step } => (RecordKind::UndoBegan, Some(*step), None),
        RunEntry::Undone { step } => (RecordKind::Undone, Some(*step), None),
        RunEntry::UndoFailed { step, fault } => {
            (RecordKind::UndoFailed, Some(*step), Some(fault.to_string()))
        }
        RunEntry::Closed { result } => (RecordKind::RunClosed, None, Some(outcome_text(result))),
        RunEntry::NotApplied { step } => (RecordKind::StepNotApplied, Some(*step), None),
        RunEntry::Soaked => (RecordKind::VerificationHeld, None, None),
        RunEntry::SoakFailed { fault } => (
            RecordKind::VerificationFailed,
            None,
            Some(fault.to_string()),
        ),
    };
    let mut entry = Entry::of(kind);
    entry.case = Some(CaseId(event.opening.case));
    entry.signature = Some(Arc::from(event.opening.signature.as_str()));
    entry.playbook = Some(PlaybookRef {
        id: Arc::from(event.opening.playbook.as_str()),
        version: Arc::from(event.opening.version.as_str()),
        digest: Arc::from(event.opening.digest.as_str()),
    });
    entry.run = Some(event.run);
    entry.step = step.map(|step| u32::from(step.0));
    entry.slot = (!event.slot.is_empty()).then(|| event.slot.clone());
    entry.opt_in = (!event.opt_in.is_empty()).then(|| event.opt_in.to_string());
    entry.decision = match event.decision() {
        Some("act") => Some(Decision::Act),
        Some("skip" | "withhold") => Some(Decision::Refuse),
        _ => None,
    };
    if let Some(kind) = &event.step_kind {
        entry.evidence.push(format!("step {kind}"));
    }
    if let Some(took) = event.took {
        entry
            .evidence
            .push(format!("took {}", crate::document::format_span(took)));
    }
    entry.outcome = outcome;
    entry
}

/// An outcome with its reason.
pub fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Mended => "mended".to_owned(),
        Outcome::Untouched { why } | Outcome::Stopped { why } => {
            format!("{}: {why}", outcome.kind())
        }
        Outcome::Failed { fault } | Outcome::NeedsHuman { fault } => {
            format!("{}: {fault}", outcome.kind())
        }
    }
}
