//! Whole runs on a small world: the order around a step, conditions, failures, stops, and what happens to the slot.

use super::entry::Outcome;
use super::rig::{BACK, FINAL, Fate, KEPT, ONCE, Rig};
use super::runner::{Rein, RunEnd};
use crate::playbook::Guard;
use crate::policy::RunId;
use crate::steps::Tri;
use std::sync::Arc;
use std::sync::atomic::Ordering;

fn unknown() -> Tri {
    Tri::Unknown("no signal".into())
}

fn outcome(end: RunEnd) -> Outcome {
    match end {
        RunEnd::Closed(outcome) => outcome,
        other => panic!("not closed: {other:?}"),
    }
}

#[tokio::test]
async fn a_run_does_every_step_once_soaks_and_frees_the_slot() {
    let rig = Rig::of(&[BACK, ONCE]);
    assert_eq!(outcome(rig.treat().await), Outcome::Mended);
    assert_eq!(rig.world.lock().expect("world").effects, [1, 1]);
    assert_eq!(
        rig.kinds(),
        [
            "run-opened",
            "step-began",
            "step-applied",
            "step-verified",
            "step-began",
            "step-applied",
            "step-verified",
            "run-soaked",
            "run-closed",
        ]
    );
    assert!(!rig.holds_slot());
    let events = rig.memory.events.lock().expect("events");
    assert!(
        events[1].slot.starts_with("slot.local.0/"),
        "{}",
        events[1].slot
    );
    assert_eq!(&*events[1].opt_in, "88213");
    assert_eq!(events[1].decision(), Some("act"));
}

#[tokio::test]
async fn a_failed_run_undoes_backwards_and_keeps_the_slot() {
    let rig = Rig::of(&[BACK, KEPT, BACK, BACK]).fate(3, Fate::HasNoEffect);
    let failed = outcome(rig.treat().await);
    assert!(
        matches!(&failed, Outcome::Failed { fault } if fault.kind == "not-verified"),
        "{failed:?}"
    );
    // The last one may have had an effect that could not be seen, so it is taken back, too.
    assert_eq!(rig.world.lock().expect("world").undone, [3, 2, 0]);
    assert!(rig.holds_slot(), "I11");
}

#[tokio::test]
async fn a_kept_slot_serves_the_next_run_which_frees_it() {
    let rig = Rig::of(&[BACK]).fate(0, Fate::Fails);
    assert!(matches!(outcome(rig.treat().await), Outcome::Failed { .. }));
    assert!(rig.holds_slot());
    rig.world.lock().expect("world").fates[0] = Fate::Works;
    assert_eq!(outcome(rig.treat().await), Outcome::Mended);
    assert!(!rig.holds_slot());
}

#[tokio::test]
async fn what_cannot_be_undone_and_a_failed_undo_need_a_human() {
    let rig = Rig::of(&[BACK, FINAL]).fate(1, Fate::HasNoEffect);
    assert!(matches!(
        outcome(rig.treat().await),
        Outcome::NeedsHuman { .. }
    ));
    assert!(rig.world.lock().expect("world").undone.is_empty());
    let rig = Rig::of(&[BACK, BACK, BACK])
        .fate(2, Fate::Fails)
        .fate(1, Fate::UndoFails);
    assert!(matches!(
        outcome(rig.treat().await),
        Outcome::NeedsHuman { .. }
    ));
    assert_eq!(
        rig.world.lock().expect("world").undone,
        [2, 1],
        "nothing after a failed undo"
    );
}

#[tokio::test]
async fn a_step_that_refuses_leaves_nothing_and_frees_the_slot() {
    let rig = Rig::of(&[BACK]).fate(0, Fate::Refuses);
    assert!(matches!(outcome(rig.treat().await), Outcome::Failed { .. }));
    assert_eq!(rig.world.lock().expect("world").effects, [0]);
    assert!(!rig.holds_slot());
}

#[tokio::test]
async fn a_fault_that_is_gone_before_the_first_step_ends_the_run_untouched() {
    for answers in [vec![Tri::No], vec![unknown()], vec![unknown(), Tri::No]] {
        let rig = Rig::of(&[BACK]);
        rig.answers.say("sick", answers);
        assert!(matches!(
            outcome(rig.treat().await),
            Outcome::Untouched { .. }
        ));
        assert_eq!(rig.world.lock().expect("world").effects, [0]);
        assert!(!rig.holds_slot());
    }
}

#[tokio::test]
async fn a_fault_that_is_gone_after_some_steps_skips_the_rest() {
    let rig = Rig::of(&[BACK, BACK]);
    // Asked before the first step, right before it is applied, and before the second.
    rig.answers
        .say("sick", vec![Tri::Yes, Tri::Yes, unknown(), Tri::No]);
    assert_eq!(outcome(rig.treat().await), Outcome::Mended);
    assert_eq!(rig.world.lock().expect("world").effects, [1, 0]);
}

#[tokio::test]
async fn a_step_with_its_own_condition_is_skipped_unless_it_holds() {
    for (answer, effects) in [(Tri::Yes, 1), (Tri::No, 0), (unknown(), 0)] {
        let mut rig = Rig::of(&[BACK]);
        rig.guards[0] = Guard::If(Arc::from("own"));
        rig.answers.say("own", vec![answer]);
        assert_eq!(outcome(rig.treat().await), Outcome::Mended);
        assert_eq!(rig.world.lock().expect("world").effects, [effects]);
    }
}

#[tokio::test]
async fn a_condition_that_fails_between_intent_and_step_withholds_the_step() {
    let rig = Rig::of(&[ONCE]);
    rig.answers
        .say("sick", vec![Tri::Yes, unknown(), Tri::Yes, Tri::Yes]);
    assert_eq!(outcome(rig.treat().await), Outcome::Mended);
    assert_eq!(rig.world.lock().expect("world").effects, [1]);
    let kinds = rig.kinds();
    assert_eq!(
        kinds[1..5],
        ["step-began", "step-withheld", "step-began", "step-applied"]
    );
}

#[tokio::test]
async fn a_soak_that_breaks_undoes_everything() {
    let rig = Rig::of(&[BACK, BACK]);
    rig.answers.say("well", vec![Tri::Yes, Tri::Yes, Tri::No]);
    assert!(
        matches!(outcome(rig.treat().await), Outcome::Failed { fault } if fault.kind == "not-mended")
    );
    assert_eq!(rig.world.lock().expect("world").undone, [1, 0]);
}

#[tokio::test]
async fn a_slot_that_cannot_be_written_stops_every_step() {
    let rig = Rig::of(&[ONCE]);
    // The slot is deleted behind the run's back, between acquire and the first step.
    let slot = rig.folder.path().join("slot/slot.local.0");
    let process = rig.process("boot-a");
    let permit = process
        .lease
        .acquire(crate::lease::fixture::cleared(), crate::policy::RunId(1))
        .await
        .expect("a slot");
    std::fs::remove_file(&slot).expect("it was there");
    let error = process.lease.renew(&permit).await.expect_err("lost");
    assert_eq!(error.kind(), "lost");
    assert!(
        permit
            .ensure_live(crate::host::clock::Clock::now(&*rig.clock).uptime)
            .is_err()
    );
    // Lost is final, even if a slot of that name comes back.
    std::fs::write(&slot, "{}").expect("write");
    assert!(process.lease.renew(&permit).await.is_err());
}

#[tokio::test]
async fn an_audit_log_that_cannot_be_written_means_no_step() {
    for limit in 0..9 {
        let mut rig = Rig::of(&[ONCE, ONCE]);
        rig.memory = Arc::new(super::rig::Memory {
            events: Default::default(),
            limit,
        });
        let end = rig.treat().await;
        assert!(
            matches!(end, RunEnd::Halted(super::runner::Halt::Witness(_))),
            "{limit}: {end:?}"
        );
        let world = rig.world.lock().expect("world");
        // Events: opened, began 0, applied 0, verified 0, began 1, ... An effect needs its intent in the log.
        assert_eq!(
            world.effects,
            [u32::from(limit >= 2), u32::from(limit >= 5)],
            "{limit}"
        );
    }
}

#[tokio::test]
async fn a_stop_ends_the_run_at_the_next_boundary() {
    let rig = Rig::of(&[BACK, BACK]);
    rig.reins.send_replace(Rein::Stop("paused by anna".into()));
    let end = outcome(rig.treat().await);
    assert_eq!(
        end,
        Outcome::Untouched {
            why: "paused by anna".into()
        }
    );
    assert!(!rig.holds_slot());
    assert_eq!(rig.world.lock().expect("world").effects, [0, 0]);
}

#[tokio::test]
async fn a_run_that_is_left_goes_on_in_the_next_process() {
    let rig = Rig::of(&[BACK, ONCE]);
    rig.reins.send_replace(Rein::Leave("SIGTERM".into()));
    assert!(matches!(rig.treat().await, RunEnd::Left));
    assert!(rig.holds_slot());
    rig.reins.send_replace(Rein::Go);
    let end = rig.restart("boot-a", true).await.expect("an open run");
    assert_eq!(outcome(end), Outcome::Mended);
    assert_eq!(rig.world.lock().expect("world").effects, [1, 1]);
    assert!(
        rig.restart("boot-a", true).await.is_none(),
        "nothing is open"
    );
}

#[tokio::test]
async fn without_a_permit_a_restarted_run_only_looks() {
    let rig = Rig::of(&[BACK, ONCE]).fate(0, Fate::DiesAfter);
    assert!(matches!(rig.treat().await, RunEnd::Halted(_)));
    let end = rig.restart("boot-a", false).await.expect("an open run");
    assert!(matches!(outcome(end), Outcome::Stopped { .. }));
    assert_eq!(rig.world.lock().expect("world").effects, [1, 0]);
    assert!(rig.holds_slot(), "I11: steps ran and nothing soaked");
}

#[tokio::test]
async fn a_full_disk_at_any_byte_never_leads_to_a_second_effect() {
    let whole = Rig::of(&[ONCE, ONCE]);
    assert_eq!(outcome(whole.treat().await), Outcome::Mended);
    let bytes = std::fs::metadata(whole.run_one()).expect("a journal").len();
    for room in (0..bytes).step_by(7) {
        let rig = Rig::of(&[ONCE, ONCE]);
        rig.disk.room.store(room, Ordering::SeqCst);
        let end = rig.treat().await;
        assert!(
            matches!(end, RunEnd::Halted(super::runner::Halt::Journal(_))),
            "{room}: {end:?}"
        );
        if let Some(end) = rig.restart("boot-a", true).await {
            assert!(matches!(end, RunEnd::Closed(_)), "{room}: {end:?}");
        }
        let world = rig.world.lock().expect("world");
        assert!(
            world.effects.iter().all(|count| *count <= 1),
            "{room}: {world:?}"
        );
    }
}

#[tokio::test]
async fn a_run_that_does_nothing_never_frees_the_slot_that_a_failed_one_kept() {
    let rig = Rig::of(&[BACK]).fate(0, Fate::Fails);
    assert!(matches!(outcome(rig.treat().await), Outcome::Failed { .. }));
    rig.answers.say("sick", vec![Tri::No]);
    for _ in 0..2 {
        assert!(matches!(
            outcome(rig.treat().await),
            Outcome::Untouched { .. }
        ));
        assert!(rig.holds_slot(), "I11");
    }
    let process = rig.process("boot-a");
    let shelf = process.shelf().expect("sound");
    process.tidy_up(&shelf).await.expect("nothing to do");
    assert!(rig.holds_slot(), "I11, also at the next start");
}

#[tokio::test]
async fn a_breaker_that_opens_ends_the_run_at_the_step_boundary() {
    // Before the first step: nothing was touched, so the slot is freed.
    let rig = Rig::of(&[BACK, BACK]);
    rig.breakers
        .lock()
        .expect("breakers")
        .push_back(Ok(Some("breaker-stop".into())));
    let ended = outcome(rig.treat().await);
    assert!(
        matches!(&ended, Outcome::Untouched { why } if why == "breaker-stop"),
        "{ended:?}"
    );
    assert_eq!(rig.world.lock().expect("world").effects, [0, 0]);
    assert_eq!(rig.kinds(), ["run-opened", "run-closed"], "no intent");
    assert!(!rig.holds_slot());
    // Between two steps: the first is verified, the second never begins, and the slot is kept.
    let rig = Rig::of(&[BACK, BACK]);
    rig.breakers
        .lock()
        .expect("breakers")
        .extend([Ok(None), Ok(Some("breaker-stop".into()))]);
    let ended = outcome(rig.treat().await);
    assert!(
        matches!(&ended, Outcome::Stopped { why } if why == "breaker-stop"),
        "{ended:?}"
    );
    assert_eq!(rig.world.lock().expect("world").effects, [1, 0]);
    assert!(rig.holds_slot(), "I11");
}

#[tokio::test]
async fn breakers_that_cannot_be_read_stop_the_run_and_are_asked_again_first() {
    let silent = || Err("the API server is away".to_owned());
    let rig = Rig::of(&[BACK]);
    rig.breakers
        .lock()
        .expect("breakers")
        .extend([silent(), silent(), Ok(None)]);
    assert_eq!(outcome(rig.treat().await), Outcome::Mended);
    let rig = Rig::of(&[BACK]);
    rig.breakers
        .lock()
        .expect("breakers")
        .extend((0..100).map(|_| silent()));
    let ended = outcome(rig.treat().await);
    assert!(
        matches!(&ended, Outcome::Untouched { why } if why.contains("nobody can tell whether a breaker is open")),
        "{ended:?}"
    );
    assert_eq!(rig.world.lock().expect("world").effects, [0]);
}

#[tokio::test]
async fn a_slot_that_could_not_be_freed_is_freed_when_the_store_answers_again() {
    let rig = Rig::of(&[BACK]);
    // The release, then three tries, the last of which gets as far as the place in the queue.
    *rig.stuck.lock().expect("stuck") = 3;
    assert_eq!(outcome(rig.treat().await), Outcome::Mended);
    assert!(!rig.holds_slot(), "somebody else could have it");
    assert_eq!(*rig.stuck.lock().expect("stuck"), 0);
}

#[tokio::test]
async fn a_slot_of_a_run_whose_journal_has_no_record_is_freed_at_the_next_start() {
    // Nothing of the first record came to the disk, or a part of it.
    for room in [0, 10] {
        let rig = Rig::of(&[BACK]);
        rig.disk.room.store(room, Ordering::SeqCst);
        let end = rig.treat().await;
        assert!(matches!(end, RunEnd::Halted(_)), "{end:?}");
        assert!(rig.holds_slot());
        rig.disk.room.store(u64::MAX, Ordering::SeqCst);
        let process = rig.process("boot-b");
        let shelf = process.shelf().expect("sound");
        assert_eq!((shelf.runs.len(), &*shelf.unopened), (0, &[RunId(1)][..]));
        process.tidy_up(&shelf).await.expect("freed");
        assert!(!rig.holds_slot(), "{room} bytes");
    }
}

#[tokio::test]
async fn a_kept_slot_says_how_its_run_ended_when_the_store_answers_again() {
    for (silences, left) in [(40, 0), (400, 300)] {
        let rig = Rig::of(&[BACK]).fate(0, Fate::Fails);
        *rig.stuck.lock().expect("stuck") = silences;
        assert!(matches!(outcome(rig.treat().await), Outcome::Failed { .. }));
        // Ten minutes of silence are waited out, more than a quarter of an hour is not.
        let stuck = *rig.stuck.lock().expect("stuck");
        assert_eq!(stuck > left, left > 0, "{silences}: {stuck}");
    }
}

#[tokio::test]
async fn an_agent_that_ends_leaves_the_slot_to_the_next_one() {
    let rig = Rig::of(&[BACK]);
    *rig.stuck.lock().expect("stuck") = usize::MAX;
    let leaving = async {
        while rig.kinds().last() != Some(&"run-closed") {
            tokio::task::yield_now().await;
        }
        rig.reins.send_replace(Rein::Leave("the agent ends".into()));
    };
    let (end, ()) = tokio::join!(rig.treat(), leaving);
    assert_eq!(outcome(end), Outcome::Mended);
    assert!(rig.holds_slot());
    *rig.stuck.lock().expect("stuck") = 0;
    let process = rig.process("boot-a");
    let shelf = process.shelf().expect("the journals");
    process.tidy_up(&shelf).await.expect("freed");
    assert!(!rig.holds_slot());
}
