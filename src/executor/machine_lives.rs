//! Properties of the run machine over random lives of a run.

use super::entry::{Entry, Next, Outcome, StepIx};
use super::machine::Run;
use super::machine_tests::{began, failed, fault, opened, outline, resumed, withheld};
use super::outline::{Outline, StepShape, UndoWay};
use proptest::prelude::*;

macro_rules! step {
    ($kind:ident $step:expr) => {
        Entry::$kind {
            step: StepIx($step),
        }
    };
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
