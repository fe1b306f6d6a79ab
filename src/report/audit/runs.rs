//! What a run does, as a record of the log.

use super::record::{Decision, Entry, RecordKind};
use crate::document::format_span;
use crate::executor::{Entry as RunEntry, Outcome, RunEvent};
use crate::policy::{CaseId, PlaybookRef};
use std::sync::Arc;

/// The record for what a run is about to do, or did.
pub fn of_run(event: &RunEvent) -> Entry {
    let (kind, outcome) = kind_of(&event.entry);
    let mut entry = Entry::of(kind);
    entry.case = Some(CaseId(event.opening.case));
    entry.signature = Some(Arc::from(event.opening.signature.as_str()));
    entry.playbook = Some(PlaybookRef {
        id: Arc::from(event.opening.playbook.as_str()),
        version: Arc::from(event.opening.version.as_str()),
        digest: Arc::from(event.opening.digest.as_str()),
    });
    entry.run = Some(event.run);
    entry.step = event.entry.step().map(|step| u32::from(step.0));
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
        entry.evidence.push(format!("took {}", format_span(took)));
    }
    entry.outcome = outcome;
    entry
}

fn kind_of(entry: &RunEntry) -> (RecordKind, Option<String>) {
    let said = |text: &dyn ToString| Some(text.to_string());
    match entry {
        RunEntry::Opened { .. } => (RecordKind::RunOpened, None),
        RunEntry::Resumed { .. } => (RecordKind::RunOpened, Some("resumed".to_owned())),
        RunEntry::Paused { why } => (
            RecordKind::AgentStopped,
            Some(format!("run left open: {why}")),
        ),
        RunEntry::Skipped { why, .. } => (RecordKind::StepSkipped, said(why)),
        RunEntry::Began { .. } => (RecordKind::StepBegan, None),
        RunEntry::Withheld { why, .. } => {
            (RecordKind::StepSkipped, Some(format!("withheld: {why}")))
        }
        RunEntry::Applied { .. } => (RecordKind::StepApplied, None),
        RunEntry::Verified { .. } => (RecordKind::StepVerified, None),
        RunEntry::Failed { fault, .. } => (RecordKind::StepFailed, said(fault)),
        RunEntry::UndoBegan { .. } => (RecordKind::UndoBegan, None),
        RunEntry::Undone { .. } => (RecordKind::Undone, None),
        RunEntry::UndoFailed { fault, .. } => (RecordKind::UndoFailed, said(fault)),
        RunEntry::Closed { result } => (RecordKind::RunClosed, Some(outcome_text(result))),
        RunEntry::NotApplied { .. } => (RecordKind::StepNotApplied, None),
        RunEntry::Soaked => (RecordKind::VerificationHeld, None),
        RunEntry::SoakFailed { fault } => (RecordKind::VerificationFailed, said(fault)),
    }
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
