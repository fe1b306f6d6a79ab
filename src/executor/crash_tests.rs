//! A process that dies: at every durable write and in the middle of every step, followed by a restart, in the same boot or in
//! another one. Real files, real lock, real slot file.

use super::entry::Outcome;
use super::outline::StepShape;
use super::rig::{BACK, FINAL, Fate, KEPT, ONCE, Rig};
use super::runner::RunEnd;
use std::sync::atomic::Ordering;

/// How many durable writes a whole run of this rig makes.
async fn writes_of(shapes: &[StepShape]) -> u64 {
    let rig = Rig::of(shapes);
    let end = rig.treat().await;
    assert!(matches!(end, RunEnd::Closed(Outcome::Mended)), "{end:?}");
    let text = std::fs::read_to_string(rig.run_one()).expect("a journal");
    text.lines().count() as u64
}

/// What must be true of the world after any life of a run.
fn check(rig: &Rig, end: &RunEnd, life: &str) {
    let world = rig.world.lock().expect("world");
    for (shape, count) in rig.shapes.iter().zip(&world.effects) {
        let most = if shape.repeatable { 2 } else { 1 };
        assert!(*count <= most, "I9, {life}: {world:?}");
    }
    assert!(world.undone.is_sorted_by(|a, b| a > b), "{life}: {world:?}");
    let RunEnd::Closed(outcome) = end else {
        panic!("{life}: {end:?}");
    };
    let touched = world.effects.iter().any(|count| *count > 0);
    match outcome {
        Outcome::Mended => {
            assert!(!rig.holds_slot(), "{life}");
            assert!(
                world.stands.iter().all(|stands| *stands),
                "{life}: {world:?}"
            );
        }
        Outcome::Untouched { .. } => {
            assert!(!touched && !rig.holds_slot(), "{life}: {world:?}");
        }
        Outcome::Failed { .. } => {
            for (shape, stands) in rig.shapes.iter().zip(&world.stands) {
                let is_back = shape.undo != super::outline::UndoWay::Receipt || !*stands;
                assert!(is_back, "{life}: {world:?}");
            }
        }
        Outcome::NeedsHuman { .. } | Outcome::Stopped { .. } => {}
    }
    if touched && *outcome != Outcome::Mended {
        assert!(rig.holds_slot(), "I11, {life}");
    }
}

const COURSES: [&[StepShape]; 4] = [
    &[BACK, BACK],
    &[ONCE, BACK, KEPT],
    &[KEPT, FINAL],
    &[ONCE, ONCE],
];

#[tokio::test]
async fn a_kill_at_any_durable_write_ends_in_a_legal_state() {
    for shapes in COURSES {
        for writes in 0..writes_of(shapes).await {
            for (boot, with_permit) in [("boot-a", true), ("boot-b", true), ("boot-a", false)] {
                let life =
                    format!("{shapes:?} killed after {writes} writes, {boot}, {with_permit}");
                let rig = Rig::of(shapes);
                rig.disk.syncs.store(writes, Ordering::SeqCst);
                let end = rig.treat().await;
                assert!(matches!(end, RunEnd::Halted(_)), "{life}: {end:?}");
                if let Some(end) = rig.restart(boot, with_permit).await {
                    check(&rig, &end, &life);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_kill_at_any_durable_write_of_an_undo_ends_in_a_legal_state() {
    let shapes = [BACK, ONCE, BACK];
    let whole = Rig::of(&shapes).fate(2, Fate::HasNoEffect);
    assert!(matches!(
        whole.treat().await,
        RunEnd::Closed(Outcome::Failed { .. })
    ));
    let text = std::fs::read_to_string(whole.run_one()).expect("a journal");
    for writes in 0..text.lines().count() as u64 {
        let life = format!("killed after {writes} writes");
        let rig = Rig::of(&shapes).fate(2, Fate::HasNoEffect);
        rig.disk.syncs.store(writes, Ordering::SeqCst);
        assert!(matches!(rig.treat().await, RunEnd::Halted(_)), "{life}");
        if let Some(end) = rig.restart("boot-a", true).await {
            check(&rig, &end, &life);
        }
    }
}

#[tokio::test]
async fn a_kill_in_the_middle_of_any_step_ends_in_a_legal_state() {
    for shapes in COURSES {
        for step in 0..shapes.len() {
            for fate in [Fate::DiesBefore, Fate::DiesAfter] {
                let life = format!("{shapes:?} {fate:?} in step {step}");
                let rig = Rig::of(shapes).fate(step, fate);
                assert!(matches!(rig.treat().await, RunEnd::Halted(_)), "{life}");
                rig.world.lock().expect("world").fates[step] = Fate::Works;
                let end = rig.restart("boot-a", true).await.expect("an open run");
                check(&rig, &end, &life);
                // What had its effect is seen and goes on; what is repeatable is done again; the rest is not guessed at.
                let goes_on = fate == Fate::DiesAfter || shapes[step].repeatable;
                assert_eq!(
                    matches!(end, RunEnd::Closed(Outcome::Mended)),
                    goes_on,
                    "{life}: {end:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_machine_that_dies_again_and_again_still_ends() {
    let shapes = [BACK, ONCE, KEPT];
    let rig = Rig::of(&shapes);
    rig.disk.syncs.store(2, Ordering::SeqCst);
    assert!(matches!(rig.treat().await, RunEnd::Halted(_)));
    for round in 0..40 {
        let process = rig.process("boot-a");
        rig.world.lock().expect("world").is_dead = false;
        rig.disk.syncs.store(2, Ordering::SeqCst);
        let Some(past) = process.shelf().expect("sound").open_runs().next().cloned() else {
            return;
        };
        let permit = process
            .lease
            .recover(crate::lease::fixture::cleared(), past.run)
            .await;
        let reins = rig.reins.subscribe();
        let end = process
            .resume(&past, rig.course(), permit.ok(), reins)
            .await;
        if matches!(end, RunEnd::Closed(_)) {
            check(&rig, &end, &format!("round {round}"));
            return;
        }
    }
    panic!("it never ended: {:?}", rig.kinds());
}

#[tokio::test]
async fn a_slot_left_between_the_end_of_a_run_and_its_release_is_freed_at_the_next_start() {
    let rig = Rig::of(&[BACK]);
    assert!(matches!(rig.treat().await, RunEnd::Closed(Outcome::Mended)));
    let process = rig.process("boot-a");
    let cleared = crate::lease::fixture::cleared();
    // As if the process had died right after the last record: the slot of run 1 is still there.
    let permit = process
        .lease
        .acquire(cleared, crate::policy::RunId(1))
        .await;
    drop(permit.expect("a slot"));
    assert!(rig.holds_slot());
    let shelf = process.shelf().expect("sound");
    process.tidy_up(&shelf).await.expect("freed");
    assert!(!rig.holds_slot());
}
