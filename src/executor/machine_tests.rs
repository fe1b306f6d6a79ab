//! The run machine: every edge, and properties over random lives of a run.

use super::entry::{BootId, Entry, Fault, Next, Opening, Outcome, Receipt, StepIx};
use super::machine::Run;
use super::outline::{Outline, StepShape, UndoWay};
use proptest::prelude::*;

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

fn outline(steps: &[StepShape], needs_human: bool) -> Outline {
    Outline {
        plan: "p1".into(),
        steps: steps.to_vec(),
        needs_human_on_failure: needs_human,
    }
}

fn opened() -> Entry {
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

fn resumed(boot: &str) -> Entry {
    Entry::Resumed {
        boot: BootId::new(boot),
    }
}

fn began(step: u16) -> Entry {
    Entry::Began {
        step: StepIx(step),
        receipt: Receipt(serde_json::json!({ "step": step })),
    }
}

fn fault() -> Fault {
    Fault::new("test", "it broke")
}

fn failed(step: u16) -> Entry {
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

fn withheld(step: u16) -> Entry {
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

fn shapes() -> impl Strategy<Value = Vec<StepShape>> {
    let undo = prop_oneof![
        Just(UndoWay::Receipt),
        Just(UndoWay::NothingToUndo),
        Just(UndoWay::Impossible)
    ];
    let shape =
        (any::<bool>(), prop::bool::weighted(0.2), undo).prop_map(|(repeatable, reboots, undo)| {
            StepShape {
                repeatable,
                reboots,
                undo,
            }
        });
    prop::collection::vec(shape, 1..6)
}

fn is_legal(run: &Run, entry: &Entry) -> bool {
    run.clone().record(entry).is_ok()
}

/// Lives a run: obeys `next` with the answers of fate, dies and comes back now and then.
fn live(outline: &Outline, fates: &[u8]) -> Vec<Entry> {
    let mut run = Run::of(outline.clone());
    let mut entries = Vec::new();
    let mut write = |run: &mut Run, entry: Entry| {
        run.record(&entry)
            .expect("the runner only writes what is legal");
        entries.push(entry);
    };
    write(&mut run, opened());
    for fate in fates {
        if fate % 5 == 0 && !run.is_closed() {
            let boot = if fate % 2 == 0 { "boot-a" } else { "boot-b" };
            write(&mut run, resumed(boot));
            continue;
        }
        let entry = match run.next() {
            Next::Apply(step) if fate % 7 == 0 => Entry::Skipped {
                step,
                why: "x".into(),
            },
            Next::Apply(step) => began(step.0),
            Next::AwaitBoot(step) if fate % 3 == 0 => failed(step.0),
            Next::AwaitBoot(_) => resumed("boot-c"),
            Next::Verify { step, applied } => match fate % 6 {
                0 => failed(step.0),
                1 if !applied => {
                    let again = Entry::NotApplied { step };
                    if is_legal(&run, &again) {
                        again
                    } else {
                        failed(step.0)
                    }
                }
                2 if !applied && is_legal(&run, &step!(Applied step.0)) => step!(Applied step.0),
                3 if !applied && is_legal(&run, &withheld(step.0)) => withheld(step.0),
                _ => Entry::Verified { step },
            },
            Next::Soak if fate % 3 == 0 => Entry::SoakFailed { fault: fault() },
            Next::Soak => Entry::Soaked,
            Next::Undo(step, _) => {
                write(&mut run, Entry::UndoBegan { step });
                if fate % 4 == 0 {
                    Entry::UndoFailed {
                        step,
                        fault: fault(),
                    }
                } else {
                    Entry::Undone { step }
                }
            }
            Next::Close(result) => Entry::Closed { result },
            Next::Ended => break,
        };
        write(&mut run, entry);
    }
    entries
}

proptest! {
    #[test]
    fn every_prefix_of_a_journal_replays_to_a_legal_next_move(
        shapes in shapes(), human in any::<bool>(), fates in prop::collection::vec(any::<u8>(), 0..60)
    ) {
        let outline = outline(&shapes, human);
        let entries = live(&outline, &fates);
        for end in 0..=entries.len() {
            let run = Run::replay(outline.clone(), &entries[..end]).expect("a prefix is legal");
            let follows = match run.next() {
                Next::Apply(step) => began(step.0),
                Next::Verify { step, .. } => Entry::Verified { step },
                Next::AwaitBoot(step) => failed(step.0),
                Next::Soak => Entry::Soaked,
                Next::Undo(step, _) => Entry::UndoBegan { step },
                Next::Close(result) if end > 0 => Entry::Closed { result },
                Next::Close(_) | Next::Ended => continue,
            };
            prop_assert!(run.clone().record(&follows).is_ok(), "{follows:?} after {:?}", &entries[..end]);
        }
    }

    #[test]
    fn undo_runs_strictly_backwards_and_a_step_runs_as_often_as_it_may(
        shapes in shapes(), human in any::<bool>(), fates in prop::collection::vec(any::<u8>(), 0..60)
    ) {
        let entries = live(&outline(&shapes, human), &fates);
        let mut last_undone = u16::MAX;
        let mut runs = vec![0; shapes.len()];
        for entry in &entries {
            match entry {
                Entry::UndoBegan { step } => {
                    prop_assert!(step.0 < last_undone, "undo went forward: {entries:?}");
                    prop_assert_eq!(shapes[step.index()].undo, UndoWay::Receipt);
                    last_undone = step.0;
                }
                Entry::Began { step, .. } => {
                    prop_assert_eq!(last_undone, u16::MAX, "a step began after an undo");
                    runs[step.index()] += 1;
                }
                Entry::Withheld { step, .. } => runs[step.index()] -= 1,
                _ => {}
            }
        }
        for (shape, count) in shapes.iter().zip(runs) {
            let most = if shape.repeatable { 2 } else { 1 };
            prop_assert!(count <= most);
        }
    }

    #[test]
    fn a_mended_run_has_soaked_and_every_begun_step_was_verified(
        shapes in shapes(), fates in prop::collection::vec(any::<u8>(), 0..60)
    ) {
        let entries = live(&outline(&shapes, false), &fates);
        if entries.iter().any(|entry| matches!(entry, Entry::Closed { result: Outcome::Mended })) {
            prop_assert!(entries.contains(&Entry::Soaked));
            for step in 0..shapes.len() as u16 {
                let last = entries.iter().rev().find(|entry| entry.step() == Some(StepIx(step)));
                let fine = matches!(last, Some(Entry::Verified { .. } | Entry::Skipped { .. }));
                prop_assert!(fine, "{last:?}");
            }
        }
    }
}
