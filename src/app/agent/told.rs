//! What people are told by events, and the record that calls them.

use super::cluster::ClusterSide;
use crate::executor::{self, RunEvent};
use crate::report::audit::{Entry, RecordKind};
use crate::report::events::{Happening, pascal};

/// Of runs: their beginning and their end. A slot bounds how many nodes tell of one, so they are told at once.
pub fn of_run(side: &ClusterSide, event: &RunEvent) {
    let opening = &event.opening;
    let (word, note, is_warning) = match &event.entry {
        executor::Entry::Opened { .. } => ("RunOpened", format!("holds {}", event.slot), false),
        executor::Entry::Closed { result } => {
            let is_fine = matches!(result, crate::executor::Outcome::Mended);
            ("RunClosed", super::scribe::outcome_text(result), !is_fine)
        }
        _ => return,
    };
    side.happened(Happening {
        at: event.at,
        reason: format!("{word}{}", pascal(&opening.playbook)),
        action: "Mend",
        note: format!(
            "{} with {}@{} for case-{}: {note}",
            event.run, opening.playbook, opening.version, opening.case
        ),
        is_warning,
        is_common: false,
    });
}

/// The record that calls people to a case; why is in the record of its run's end.
pub fn needs_human(change: &Entry, case: &str) -> Entry {
    let mut entry = Entry::of(RecordKind::NeedsHuman);
    entry.case = change.case;
    entry.signature = change.signature.clone();
    entry.evidence = change.evidence.clone();
    entry.run = change.run;
    entry.reasons.push(format!(
        "nothing retries by itself any more; look at the node, nodemend explain {case} says what was tried"
    ));
    entry
}

#[cfg(test)]
mod tests {
    use super::needs_human;
    use crate::policy::{CaseId, RunId};
    use crate::report::audit::{Entry, RecordKind};
    use std::sync::Arc;

    #[test]
    fn the_call_for_people_names_case_run_and_what_was_seen() {
        let mut change = Entry::of(RecordKind::CaseChanged);
        change.case = Some(CaseId(7));
        change.run = Some(RunId(3));
        change.signature = Some(Arc::from("s"));
        change.evidence = vec!["seen".to_owned()];
        let call = needs_human(&change, "case-7");
        assert_eq!(call.kind, RecordKind::NeedsHuman);
        assert_eq!((call.case, call.run), (change.case, change.run));
        assert_eq!(
            (call.signature, call.evidence),
            (change.signature, change.evidence)
        );
        assert!(call.reasons[0].contains("nodemend explain case-7"));
    }
}
