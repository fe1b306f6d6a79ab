//! The record that calls people.

use crate::report::audit::{Entry, RecordKind};

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
