//! The run machine: every edge, and properties over random lives of a run.

use super::entry::{BootId, Entry, Fault, Next, Opening, Outcome, Receipt, StepIx};
use super::machine::Run;
use super::outline::{Outline, StepShape, UndoWay};

const PLAIN: StepShape = StepShape {
    repeatable: true,
    reboots: false,
    undo: UndoWay::Receipt,
};
const ONCE: StepShape = StepShape {
    repeatable: false,
    reboots: false,
    undo: UndoWay::NothingToUndo,
};
const FINAL: StepShape = StepShape {
    repeatable: false,
    reboots: false,
    undo: UndoWay::Impossible,
};
const REBOOT: StepShape = StepShape {
    repeatable: false,
    reboots: true,
    undo: UndoWay::NothingToUndo,
};

pub(super) fn outline(steps: &[StepShape], needs_human: bool) -> Outline {
    Outline {
        plan: "p1".into(),
        steps: steps.to_vec(),
        needs_human_on_failure: needs_human,
    }
}

pub(super) fn opened() -> Entry {
    Entry::Opened {
        opening: Opening {
            case: 1,
            signature: "s".into(),
            subject: String::new(),
            playbook: "b".into(),
            version: "1.0.0".into(),
            digest: "d".into(),
            plan: "p1".into(),
            values: Default::default(),
        },
        boot: BootId::new("boot-a"),
    }
}

pub(super) fn resumed(boot: &str) -> Entry {
    Entry::Resumed {
        boot: BootId::new(boot),
    }
}

pub(super) fn began(step: u16) -> Entry {
    Entry::Began {
        step: StepIx(step),
        receipt: Receipt(serde_json::json!({ "step": step })),
    }
}

pub(super) fn fault() -> Fault {
    Fault::new("test", "it broke")
}

pub(super) fn failed(step: u16) -> Entry {
    Entry::Failed {
        step: StepIx(step),
        fault: fault(),
    }
}

fn closed(result: Outcome) -> Entry {
    Entry::Closed { result }
}

fn human() -> Outcome {
    Outcome::NeedsHuman { fault: fault() }
}

macro_rules! step {
    ($kind:ident $step:expr) => {
        Entry::$kind {
            step: StepIx($step),
        }
    };
}

pub(super) fn withheld(step: u16) -> Entry {
    Entry::Withheld {
        step: StepIx(step),
        why: "x".into(),
    }
}

fn skipped(step: u16) -> Entry {
    Entry::Skipped {
        step: StepIx(step),
        why: "x".into(),
    }
}

fn after(shapes: &[StepShape], entries: &[Entry]) -> Run {
    Run::replay(outline(shapes, false), entries).expect("legal entries")
}

/// One entry of every kind and step, legal or not.
fn every_entry(steps: u16) -> Vec<Entry> {
    let mut all = vec![
        opened(),
        resumed("boot-a"),
        resumed("boot-b"),
        Entry::Paused { why: "x".into() },
        Entry::Soaked,
        Entry::SoakFailed { fault: fault() },
        closed(Outcome::Mended),
        closed(Outcome::Untouched { why: "x".into() }),
        closed(Outcome::Failed { fault: fault() }),
        closed(Outcome::Stopped { why: "x".into() }),
        closed(human()),
    ];
    for step in 0..=steps {
        all.extend([
            skipped(step),
            began(step),
            withheld(step),
            step!(Applied step),
            step!(NotApplied step),
            step!(Verified step),
            failed(step),
            step!(UndoBegan step),
            step!(Undone step),
            Entry::UndoFailed {
                step: StepIx(step),
                fault: fault(),
            },
        ]);
    }
    all
}

/// What may follow, said by kind and step; everything else of [`every_entry`] must be refused.
fn check_edges(shapes: &[StepShape], before: &[Entry], legal: &[Entry]) {
    let run = after(shapes, before);
    for entry in every_entry(shapes.len() as u16) {
        let mut next = run.clone();
        let outcome = next.record(&entry);
        assert_eq!(
            outcome.is_ok(),
            legal.contains(&entry),
            "{entry:?} after {before:?}: {outcome:?}"
        );
        if outcome.is_err() {
            assert_eq!(next.next(), run.next(), "a refused entry changes nothing");
        }
    }
}

#[test]
fn only_the_edges_of_the_table_are_legal() {
    let (a, b) = (resumed("boot-a"), resumed("boot-b"));
    let gone = closed(human());
    check_edges(&[PLAIN], &[], &[opened()]);
    let pause = Entry::Paused { why: "x".into() };
    let untouched = closed(Outcome::Untouched { why: "x".into() });
    let stopped = closed(Outcome::Stopped { why: "x".into() });
    let opened = opened();
    check_edges(
        &[PLAIN, ONCE],
        std::slice::from_ref(&opened),
        &[
            a.clone(),
            b.clone(),
            pause.clone(),
            skipped(0),
            began(0),
            failed(0),
            untouched,
            gone.clone(),
        ],
    );
    let begun = [opened.clone(), began(0)];
    let seen = [step!(Applied 0), step!(Verified 0), failed(0), withheld(0)];
    let mut legal = vec![a.clone(), b.clone(), step!(NotApplied 0), gone.clone()];
    legal.extend(seen.clone());
    check_edges(&[PLAIN], &begun, &legal);
    // After a restart nobody knows any more that the step was withheld or applied.
    let unknown = [opened.clone(), began(0), a.clone()];
    let looked = [step!(NotApplied 0), step!(Verified 0), failed(0)];
    let mut after_restart = vec![a.clone(), b.clone(), gone.clone()];
    after_restart.extend(looked);
    check_edges(&[PLAIN], &unknown, &after_restart);
    // What is not repeatable can not be said to be doable again, except by who knows that it did not run.
    let mut legal = vec![a.clone(), b.clone(), gone.clone()];
    legal.extend(seen);
    check_edges(&[ONCE], &begun, &legal);
    check_edges(
        &[REBOOT],
        &begun,
        &[a.clone(), b.clone(), failed(0), withheld(0), gone.clone()],
    );
    check_edges(
        &[ONCE],
        &[opened.clone(), began(0), step!(Applied 0)],
        &[
            a.clone(),
            b.clone(),
            step!(Verified 0),
            failed(0),
            gone.clone(),
        ],
    );
    let done = [opened.clone(), began(0), step!(Verified 0)];
    check_edges(
        &[ONCE],
        &done,
        &[
            a.clone(),
            b.clone(),
            pause,
            Entry::Soaked,
            Entry::SoakFailed { fault: fault() },
            stopped,
            gone.clone(),
        ],
    );
    let soaked = [opened.clone(), began(0), step!(Verified 0), Entry::Soaked];
    check_edges(
        &[ONCE],
        &soaked,
        &[a.clone(), b.clone(), closed(Outcome::Mended), gone.clone()],
    );
    let failing = [opened.clone(), began(0), failed(0)];
    check_edges(
        &[PLAIN],
        &failing,
        &[a.clone(), b.clone(), step!(UndoBegan 0), gone.clone()],
    );
    check_edges(&[FINAL], &failing, &[a.clone(), b.clone(), gone.clone()]);
    let broken = closed(Outcome::Failed { fault: fault() });
    check_edges(
        &[ONCE],
        &failing,
        &[a.clone(), b.clone(), broken, gone.clone()],
    );
    let undoing = [opened.clone(), began(0), failed(0), step!(UndoBegan 0)];
    let undo_failed = Entry::UndoFailed {
        step: StepIx(0),
        fault: fault(),
    };
    check_edges(
        &[PLAIN],
        &undoing,
        &[
            a.clone(),
            b.clone(),
            step!(Undone 0),
            undo_failed.clone(),
            gone.clone(),
        ],
    );
    let mut stuck = undoing.to_vec();
    stuck.push(undo_failed);
    check_edges(&[PLAIN], &stuck, &[a, b, gone.clone()]);
    check_edges(&[PLAIN], &[opened, gone], &[]);
}

#[test]
fn a_run_of_another_plan_is_refused() {
    let mut other = outline(&[PLAIN], false);
    other.plan = "p2".into();
    assert!(Run::replay(other, &[opened()]).is_err());
}

#[test]
fn an_intent_without_outcome_is_looked_at_before_anything_else() {
    for shape in [PLAIN, ONCE, FINAL] {
        let run = after(&[shape], &[opened(), began(0), resumed("boot-b")]);
        let look = Next::Verify {
            step: StepIx(0),
            applied: false,
        };
        assert_eq!(run.next(), look);
    }
}

#[test]
fn a_repeatable_step_begins_at_most_twice() {
    let once_more = [
        opened(),
        began(0),
        resumed("boot-a"),
        step!(NotApplied 0),
        began(0),
    ];
    let mut run = after(&[PLAIN], &once_more);
    assert!(run.record(&step!(NotApplied 0)).is_err());
    assert!(run.record(&failed(0)).is_ok());
}

#[test]
fn only_another_boot_proves_a_reboot() {
    let same = after(&[REBOOT], &[opened(), began(0), resumed("boot-a")]);
    assert_eq!(same.next(), Next::AwaitBoot(StepIx(0)));
    let other = after(&[REBOOT], &[opened(), began(0), resumed("boot-b")]);
    let look = Next::Verify {
        step: StepIx(0),
        applied: true,
    };
    assert_eq!(other.next(), look);
    // A second restart in the new boot does not take the proof back.
    let twice = [opened(), began(0), resumed("boot-b"), resumed("boot-b")];
    assert_eq!(after(&[REBOOT], &twice).next(), look);
}

#[test]
fn an_interrupted_or_failed_undo_needs_a_human() {
    let undoing = [
        opened(),
        began(0),
        failed(0),
        step!(UndoBegan 0),
        resumed("boot-a"),
    ];
    assert!(matches!(
        after(&[PLAIN], &undoing).next(),
        Next::Close(Outcome::NeedsHuman { .. })
    ));
    let mut entries = undoing.to_vec();
    entries.push(Entry::UndoFailed {
        step: StepIx(0),
        fault: fault(),
    });
    assert_eq!(after(&[PLAIN], &entries).next(), Next::Close(human()));
}

#[test]
fn undo_stops_at_what_cannot_be_undone() {
    let entries = [
        opened(),
        began(0),
        step!(Verified 0),
        began(1),
        step!(Verified 1),
        began(2),
        failed(2),
    ];
    let run = after(&[PLAIN, FINAL, ONCE], &entries);
    assert_eq!(run.next(), Next::Close(human()));
}

#[test]
fn a_withheld_step_may_begin_again_and_leaves_the_run_untouched() {
    let run = after(&[ONCE], &[opened(), began(0), withheld(0)]);
    assert!(!run.is_touched());
    assert_eq!(run.next(), Next::Apply(StepIx(0)));
}
