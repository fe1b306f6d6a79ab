//! Turns that a simulated week found wrong once.

use super::{Command, Ending, Engine, Input, Ledger, Remedies, Remedy, RunNews};
use crate::diagnosis::{ChangeKind, ClosingReason};
use crate::policy::{CaseId, Disruption, Mode, OptIn, PlaybookRef, RunId};
use crate::probes;
use crate::signal::{Batch, Sample, Subject, Timeline, Timestamp, Value};
use crate::signatures::{Judge, Rulebook, shipped};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const DRIFT: &str = "kernel-sysctl-drift";

fn rules(without: &str) -> Rulebook {
    let mut sources = shipped::sources();
    sources.retain(|source| without.is_empty() || !source.origin.contains(without));
    Rulebook::load(&sources, &probes::catalogue()).0
}

fn at(second: u64) -> Timestamp {
    Timestamp::default().plus(Duration::from_secs(1_000 + second))
}

fn remedies() -> Remedies {
    let remedy = Remedy {
        playbook: PlaybookRef {
            id: "sysctl-restore".into(),
            version: "1.0.0".into(),
            digest: "d".into(),
        },
        disruption: Disruption::None,
        max_attempts: 3,
        attempts_span: Duration::from_secs(86_400),
        cooldown: Duration::from_secs(600),
        voucher: Some("a key".into()),
        expires: None,
    };
    BTreeMap::from([(Arc::from("sysctl-restore"), remedy)])
}

/// An engine that may restore settings by itself.
fn engine(ledger: Ledger, second: u64) -> Engine {
    let timeline = Timeline::new(probes::catalogue());
    let judge = Judge::new(rules(""), timeline, false).expect("patterns");
    let mut engine = Engine::new(judge, Some(ledger), "boot-a", at(second));
    engine.turn(at(second), Input::Remedies(remedies()));
    let opt_in = OptIn {
        mode: Mode::Auto,
        ..OptIn::default()
    };
    engine.turn(at(second), Input::OptIn(opt_in));
    engine
}

/// What the probe reads: one setting that matches or does not, or no setting at all.
fn look(engine: &mut Engine, second: u64, matches: Option<bool>) -> Vec<Command> {
    let mut batch = Batch::of("kernel");
    batch.at = at(second);
    batch.complete.push("kernel.sysctl.matches");
    batch.samples.extend(matches.map(|matches| Sample {
        key: "kernel.sysctl.matches",
        subject: Subject::named("vm.swappiness"),
        value: Ok(Value::Bool(matches)),
    }));
    engine.turn(at(second), Input::Batch(batch))
}

fn treats(commands: &[Command]) -> bool {
    commands
        .iter()
        .any(|command| matches!(command, Command::Treat { .. }))
}

fn closing(commands: &[Command]) -> Option<ClosingReason> {
    commands.iter().find_map(|command| match command {
        Command::Changed(change) => match change.kind {
            ChangeKind::Closed(reason) => Some(reason),
            _ => None,
        },
        _ => None,
    })
}

fn ended(ending: Ending) -> Input {
    Input::Run(RunNews::Ended {
        case: CaseId(1),
        run: RunId(1),
        ending,
    })
}

/// An engine whose first run is under way.
fn treating() -> Engine {
    let mut engine = engine(Ledger::empty("boot-a"), 0);
    look(&mut engine, 60, Some(false));
    assert!(treats(&look(&mut engine, 120, Some(false))));
    engine
}

#[test]
fn a_case_closes_when_the_list_of_its_subjects_becomes_empty() {
    let mut engine = treating();
    engine.turn(at(130), ended(Ending::Undone));
    let commands = look(&mut engine, 180, None);
    assert_eq!(closing(&commands), Some(ClosingReason::SubjectGone));
}

#[test]
fn a_case_whose_signature_was_retired_during_its_run_closes_with_the_run() {
    let mut engine = treating();
    let commands = engine.turn(at(130), Input::Rulebook(rules(DRIFT)));
    assert_eq!(closing(&commands), None, "the run goes on");
    let commands = engine.turn(at(140), ended(Ending::Undone));
    assert_eq!(closing(&commands), Some(ClosingReason::SignatureRetired));
}

#[test]
fn a_run_that_goes_on_after_a_restart_is_counted_once() {
    let ledger = treating().ledger().cloned().expect("a ledger");
    let mut engine = engine(ledger, 200);
    let (case, run) = (CaseId(1), RunId(1));
    engine.turn(at(201), Input::Run(RunNews::Resumed { case, run }));
    assert_eq!(engine.book().find(case).expect("open").runs, [run]);
}

#[test]
fn an_approval_does_not_treat_what_is_seen_to_be_gone() {
    for (last_look, expected) in [(false, true), (true, false)] {
        let mut engine = treating();
        engine.turn(at(130), ended(Ending::NeedsHuman));
        for second in (180..=720).step_by(60) {
            look(&mut engine, second, Some(false));
        }
        look(&mut engine, 740, Some(last_look));
        let commands = engine.turn(at(741), Input::Approve(CaseId(1)));
        assert_eq!(treats(&commands), expected, "matches: {last_look}");
    }
}

#[test]
fn a_clock_set_back_makes_no_evidence_of_what_an_earlier_process_saw() {
    let mut before = engine(Ledger::empty("boot-a"), 0);
    before.turn(at(1), Input::OptIn(OptIn::default()));
    look(&mut before, 60, Some(false));
    look(&mut before, 120, Some(false));
    let ledger = before.ledger().cloned().expect("a ledger");
    assert_eq!(ledger.open_cases.len(), 1);
    let mut after = engine(ledger, 0);
    assert_eq!(after.book().open().len(), 1);
    assert!(after.run().is_none(), "nothing was seen yet");
    assert!(!treats(&after.turn(at(1), Input::Tick)));
    assert!(treats(&look(&mut after, 60, Some(false))), "now it was");
}

#[test]
fn what_vouches_for_a_playbook_can_expire_under_a_running_agent() {
    for (end, expected) in [(1_119, false), (1_121, true)] {
        let mut engine = engine(Ledger::empty("boot-a"), 0);
        let mut remedies = remedies();
        for remedy in remedies.values_mut() {
            remedy.expires = Some(crate::signal::Wall(end * 1_000_000));
        }
        engine.turn(at(0), Input::Remedies(remedies));
        look(&mut engine, 60, Some(false));
        let commands = look(&mut engine, 120, Some(false));
        assert_eq!(treats(&commands), expected, "expires at {end} s");
    }
}

#[test]
fn a_case_that_is_given_back_is_not_approved_by_that() {
    for (approved, expected) in [(vec![], false), (vec![CaseId(1)], true)] {
        let mut engine = treating();
        engine.turn(at(130), ended(Ending::NeedsHuman));
        let opt_in = OptIn {
            mode: Mode::Approve,
            approved,
            ..OptIn::default()
        };
        for second in (180..=780).step_by(60) {
            look(&mut engine, second, Some(false));
        }
        engine.turn(at(781), Input::OptIn(opt_in));
        let commands = engine.turn(at(782), Input::GiveBack(CaseId(1)));
        assert_eq!(treats(&commands), expected);
    }
}
