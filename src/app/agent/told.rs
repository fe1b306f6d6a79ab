//! What people are told by events.

use super::cluster::ClusterSide;
use crate::diagnosis::{CaseChange, CaseState, ChangeKind};
use crate::executor::{Entry, RunEvent};
use crate::host::clock;
use crate::report::events::Happening;

/// Of cases: their opening, their end, and that they need a person.
pub fn of_change(side: &ClusterSide, change: &CaseChange) {
    let case = &change.case;
    let id = case.id.map(|id| id.to_string()).unwrap_or_default();
    let (word, is_warning) = match change.kind {
        ChangeKind::Opened => ("Opened", true),
        ChangeKind::Closed(_) => ("Closed", false),
        ChangeKind::Moved(_) if case.state == CaseState::NeedsHuman => ("NeedsHuman", true),
        ChangeKind::Moved(_) => return,
    };
    side.happened(Happening {
        at: clock::now(),
        // One series for each signature: a case that opens and closes all day is one event with a count.
        reason: format!("{word}{}", pascal(&case.signature)),
        action: "Diagnose",
        note: format!("{id} {}: {}", case.signature, case.evidence.join("; ")),
        is_warning,
    });
}

/// Of runs: their beginning and their end.
pub fn of_run(side: &ClusterSide, event: &RunEvent) {
    let opening = &event.opening;
    let (word, note, is_warning) = match &event.entry {
        Entry::Opened { .. } => ("RunOpened", format!("holds {}", event.slot), false),
        Entry::Closed { result } => {
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
    });
}

/// `systemd-reexec` as Kubernetes writes reasons: `SystemdReexec`.
fn pascal(text: &str) -> String {
    text.split('-')
        .flat_map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|c| c.to_ascii_uppercase());
            first.into_iter().chain(letters)
        })
        .take(100)
        .collect()
}
