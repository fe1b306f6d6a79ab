//! The case book under every kind of verdict.

use super::book::{CaseBook, ChangeKind, KnownCase, MAX_OPEN_CASES, SignatureTerms};
use super::state::{CaseEvent, CaseState, ClosingReason};
use crate::policy::{Approved, CaseId, RunId};
use crate::signal::MissingReason;
use crate::signal::{Subject, Timestamp};
use crate::signatures::{Hold, Judgement, Severity, Verdict};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

fn terms(hold: u32, clear: u32, hides: &[&str]) -> SignatureTerms {
    SignatureTerms {
        hold: Hold::Checks(hold),
        clear: Hold::Checks(clear),
        severity: Severity::High,
        hides: hides.iter().map(|id| (*id).to_owned()).collect(),
    }
}

fn book() -> CaseBook {
    CaseBook::new(
        BTreeMap::from([
            (Arc::from("cause"), terms(3, 2, &["symptom"])),
            (Arc::from("symptom"), terms(1, 1, &[])),
        ]),
        1,
    )
}

fn at(check: u64) -> Timestamp {
    Timestamp::default().plus(Duration::from_secs(10 * check))
}

fn judgement(signature: &str, verdict: Verdict) -> Judgement {
    Judgement {
        signature: Arc::from(signature),
        subject: Subject::NODE,
        verdict,
        is_check: true,
    }
}

fn present() -> Verdict {
    Verdict::Present(vec!["seen".to_owned()])
}

fn unknown() -> Verdict {
    Verdict::Unknown(MissingReason::NotYet)
}

fn run(book: &mut CaseBook, signature: &str, verdicts: Vec<Verdict>) -> Vec<ChangeKind> {
    let mut kinds = Vec::new();
    for (check, verdict) in (1..).zip(verdicts) {
        kinds.extend(
            book.advance(at(check), &[judgement(signature, verdict)])
                .into_iter()
                .map(|c| c.kind),
        );
    }
    kinds
}

#[test]
fn an_approved_case_is_fresh_until_its_first_run_and_nothing_once_it_is_over() {
    let mut book = book();
    run(&mut book, "cause", vec![present(), present(), present()]);
    let id = CaseId(1);
    assert_eq!(book.known_as(id), Approved::Fresh);
    assert_eq!(book.known_as(CaseId(7)), Approved::NotOpen);
    book.note_run(id, RunId(1), CaseEvent::RunBegan, at(4))
        .expect("a legal edge");
    assert_eq!(book.known_as(id), Approved::HadRuns);
    book.note_run(id, RunId(1), CaseEvent::RunUndone, at(5))
        .expect("a legal edge");
    for check in 6..9 {
        book.advance(at(check), &[judgement("cause", Verdict::Absent)]);
    }
    assert_eq!(book.known_as(id), Approved::NotOpen);
}

#[test]
fn a_case_opens_after_its_hold_and_closes_after_its_clear() {
    let mut book = book();
    let kinds = run(
        &mut book,
        "cause",
        vec![
            present(),
            present(),
            present(),
            Verdict::Absent,
            Verdict::Absent,
        ],
    );
    assert_eq!(
        kinds,
        [
            ChangeKind::Opened,
            ChangeKind::Moved(CaseState::Confirmed),
            ChangeKind::Closed(ClosingReason::Cleared)
        ]
    );
    assert_eq!(book.closed()[0].id, Some(CaseId(1)));
}

#[test]
fn unknown_neither_counts_nor_resets() {
    let mut book = book();
    let kinds = run(
        &mut book,
        "cause",
        vec![present(), unknown(), present(), unknown(), present()],
    );
    assert_eq!(kinds, [ChangeKind::Opened]);
    let kinds = run(&mut book, "cause", vec![unknown(); 50]);
    assert_eq!(kinds, []);
    assert_eq!(book.open().len(), 1);
}

#[test]
fn absent_breaks_a_suspicion_without_using_a_number() {
    let mut book = book();
    assert_eq!(
        run(
            &mut book,
            "cause",
            vec![present(), present(), Verdict::Absent, present()]
        ),
        []
    );
    assert_eq!(book.next_id(), 1);
    assert_eq!(book.closed().len(), 0);
}

#[test]
fn a_flapping_fault_stays_one_case() {
    let mut book = book();
    run(&mut book, "cause", vec![present(), present(), present()]);
    for _ in 0..20 {
        run(&mut book, "cause", vec![Verdict::Absent, present()]);
    }
    assert_eq!(book.next_id(), 2);
    assert_eq!(book.open().len(), 1);
}

#[test]
fn a_cause_hides_its_symptom_while_it_is_open() {
    let mut book = book();
    run(&mut book, "symptom", vec![present()]);
    let symptom = book.open()[0].clone();
    assert_eq!(book.cause_of(&symptom), None);
    run(&mut book, "cause", vec![present(), present(), present()]);
    assert_eq!(
        book.cause_of(&symptom).and_then(|cause| cause.id),
        Some(CaseId(2))
    );
}

#[test]
fn a_restored_case_keeps_its_number_and_waits_for_new_evidence() {
    let mut book = book();
    book.restore(
        [KnownCase {
            id: CaseId(41),
            signature: Arc::from("cause"),
            subject: Subject::NODE,
            opened: at(0),
            needs_human: false,
            runs: vec![RunId(3)],
        }],
        at(1),
    );
    assert_eq!(book.next_id(), 42);
    assert!(book.open()[0].restored);
    book.advance(at(2), &[judgement("cause", present())]);
    assert!(!book.open()[0].restored);
    let mut closes = run(&mut book, "cause", vec![Verdict::Absent, Verdict::Absent]);
    assert_eq!(
        closes.pop(),
        Some(ChangeKind::Closed(ClosingReason::Cleared))
    );
}

#[test]
fn a_run_that_ended_well_is_closed_as_mended() {
    let mut book = book();
    run(&mut book, "cause", vec![present(), present(), present()]);
    let id = book.open()[0].id.expect("open");
    book.note_run(id, RunId(1), CaseEvent::RunBegan, at(4))
        .expect("legal");
    assert_eq!(
        run(
            &mut book,
            "cause",
            vec![Verdict::Absent, Verdict::Absent, Verdict::Absent]
        ),
        []
    );
    book.note_run(id, RunId(1), CaseEvent::RunMended, at(9))
        .expect("legal");
    let kinds = run(&mut book, "cause", vec![Verdict::Absent, Verdict::Absent]);
    assert_eq!(kinds, [ChangeKind::Closed(ClosingReason::Mended)]);
}

#[test]
fn suspicions_are_bounded() {
    let mut book = book();
    for number in 0..2 * MAX_OPEN_CASES {
        let mut one = judgement("cause", present());
        one.subject = Subject::named(&format!("unit-{number}"));
        book.advance(at(1), &[one]);
    }
    assert_eq!(book.current().count(), MAX_OPEN_CASES);
    assert_eq!(book.refused(), MAX_OPEN_CASES as u64);
}

fn verdict_strategy() -> impl Strategy<Value = Verdict> {
    prop_oneof![Just(present()), Just(Verdict::Absent), Just(unknown())]
}

proptest! {
    #[test]
    fn unknown_never_opens_or_closes_a_case(verdicts in prop::collection::vec(verdict_strategy(), 1..80)) {
        let mut book = book();
        for (check, verdict) in (1..).zip(verdicts) {
            let is_unknown = matches!(verdict, Verdict::Unknown(_));
            let changes = book.advance(at(check), &[judgement("cause", verdict)]);
            prop_assert!(!is_unknown || changes.is_empty());
        }
    }

    #[test]
    fn removing_unknowns_changes_nothing(verdicts in prop::collection::vec(verdict_strategy(), 1..80)) {
        let known: Vec<Verdict> = verdicts.iter().filter(|v| !matches!(v, Verdict::Unknown(_))).cloned().collect();
        let (mut with, mut without) = (book(), book());
        prop_assert_eq!(run(&mut with, "cause", verdicts), run(&mut without, "cause", known));
    }

    #[test]
    fn case_numbers_only_grow(verdicts in prop::collection::vec(verdict_strategy(), 1..200)) {
        let mut book = book();
        let mut last = 0;
        for (check, verdict) in (1..).zip(verdicts) {
            for change in book.advance(at(check), &[judgement("symptom", verdict)]) {
                if change.kind == ChangeKind::Opened {
                    let id = change.case.id.map_or(0, |id| id.0);
                    prop_assert!(id > last);
                    last = id;
                }
            }
        }
    }
}
