//! Each invariant's judge finds the defect that breaks it.

use super::tests::{CALM, play, scenario, theatre};
use super::{Breach, Flaw, Scenario, Theatre};
use crate::playbook::{Catalogue, Checks, Playbook, PrivateKey, Source, TrustRoot, sign};
use crate::probes;
use crate::simulate::World as Trade;
use crate::steps::Kinds;
use std::collections::BTreeSet;

/// The first breach among the seeds, each of which is played with the flaw and without it.
fn found(scenario: &Scenario, flaw: Flaw, seeds: std::ops::Range<u64>) -> Option<Breach> {
    seeds
        .into_iter()
        .find_map(|seed| play(scenario, seed, Some(flaw)).breach)
}

/// Each defect is found by the invariant that forbids it.
#[track_caller]
fn check(text: &str, flaw: Flaw, invariants: &[&'static str], seeds: u64) {
    check_in(theatre(), text, flaw, invariants, seeds);
}

#[track_caller]
fn check_in(theatre: &Theatre, text: &str, flaw: Flaw, invariants: &[&'static str], seeds: u64) {
    let scenario = scenario(text);
    let found = (1..=seeds).find_map(|seed| {
        let only = Some(invariants.to_vec());
        let outcome = theatre.play_before(only, &scenario, seed, Some(flaw), false);
        let first = outcome.breach?;
        Some(
            std::iter::once(first)
                .chain(outcome.also)
                .collect::<Vec<_>>(),
        )
    });
    let found = found.unwrap_or_default();
    let is_found = found
        .iter()
        .any(|breach| invariants.contains(&breach.invariant));
    assert!(
        is_found,
        "{flaw:?} gave {found:?}, not one of {invariants:?}"
    );
}

#[test]
fn a_slot_beyond_the_cap_is_found() {
    check(CALM, Flaw::BeyondTheCap, &["I1"], 4);
}

#[test]
fn a_slot_taken_over_is_found() {
    check(CALM, Flaw::TakesOver, &["I3"], 4);
}

const CORD: &str = "
name: cord
lasts: 30m
startup: 10s
nodes: {count: 4}
limits: {cluster: 2}
sick: [{at: 2m, signature: systemd-bus-unresponsive}]
faults: [{at: 1m, lasts: 20m, what: stop-cord}]
";

#[test]
fn a_slot_while_a_breaker_is_open_is_found() {
    check(CORD, Flaw::IgnoresTheBreaker, &["I4"], 2);
    // The server's rule alone is enough, and so is the agent's own look.
    assert_eq!(found(&scenario(CORD), Flaw::BlindToTheBreaker, 1..4), None);
}

#[test]
fn a_renewal_in_words_only_is_found() {
    let slow = CALM.replace("step: 30s", "step: 150s");
    check(&slow, Flaw::RenewsInWordsOnly, &["I5", "I13"], 6);
}

const SUSPENDED: &str = "
name: suspended
lasts: 40m
startup: 10s
nodes: {count: 8}
limits: {cluster: 8, storm-nodes: 20, storm-nodes-any: 20, storm-casualties: 9, storm-failed-runs: 99, storm-unavailable: 20}
sick: [{at: 2m, over: 3m, signature: systemd-bus-unresponsive}]
runs: {step: 10s, soak: 1m}
chaos: {slow: 60%}
faults:
";

#[test]
fn a_clock_that_stops_in_suspend_is_found_and_the_real_one_breaks_nothing() {
    // Again and again some machines sleep for longer than a proof holds, now and then while a renewal is under way.
    let faults: String = (0..40)
        .map(|turn| {
            let at = 140 + 30 * turn;
            format!("  - {{at: {at}s, lasts: 80s, what: suspend, count: 1}}\n")
        })
        .collect();
    let text = format!("{SUSPENDED}{faults}");
    check(&text, Flaw::ClockStopsInSuspend, &["I5", "I13"], 160);
    for seed in 1..16 {
        assert_eq!(
            play(&scenario(&text), seed, None).breach,
            None,
            "seed {seed}"
        );
    }
}

#[test]
fn a_slot_that_is_freed_early_is_found() {
    check(CALM, Flaw::FreesEarly, &["I11", "I2"], 4);
}

#[test]
fn a_node_that_is_read_from_a_cache_is_found() {
    check(CALM, Flaw::ReadsTheNodeFromACache, &["I12"], 4);
}

const DYING: &str = "
name: dying
lasts: 2h
startup: 10s
nodes: {count: 4}
limits: {cluster: 4, storm-nodes: 20, storm-nodes-any: 20, storm-casualties: 9, storm-failed-runs: 99, storm-unavailable: 20}
sick: [{at: 2m, over: 1m, signature: systemd-bus-unresponsive}]
runs: {step: 60s, soak: 2m, succeed: 30%}
chaos: {crashesAfterWrite: 10%}
";

#[test]
fn a_disk_that_forgets_is_found() {
    check(DYING, Flaw::DiskForgets, &["I7", "I8", "I9", "I10"], 6);
}

const CROWDED: &str = "
name: crowded
lasts: 90m
startup: 10s
nodes: {count: 6}
limits: {cluster: 1, storm-nodes: 20, storm-nodes-any: 20, storm-casualties: 9, storm-failed-runs: 99, storm-unavailable: 20}
sick: [{at: 2m, over: 1m, signature: systemd-bus-unresponsive}]
runs: {step: 120s, soak: 10m}
faults:
  - {at: 20m, what: restart}
  - {at: 31m, what: restart}
  - {at: 45m, what: restart}
  - {at: 60m, what: restart}
";

#[test]
fn a_second_run_beside_an_open_one_is_found() {
    check(CROWDED, Flaw::RecallsTooLate, &["I7"], 10);
}

#[test]
fn a_write_to_another_node_is_found() {
    check(CALM, Flaw::WritesAnyNode, &["I16"], 2);
}

#[test]
fn a_node_that_starves_is_found() {
    check(CALM, Flaw::WaitsTooLong, &["I19"], 6);
}

/// One node keeps the slot of a run that failed, as many as may; the others wait beside free slots.
const KEPT: &str = "
name: kept
lasts: 90m
startup: 10s
nodes: {count: 6}
limits: {cluster: 4, storm-nodes: 20, storm-nodes-any: 20}
sick:
  - {at: 2m, signature: kernel-sysctl-drift, count: 1, succeed: 0%}
  - {at: 20m, over: 1m, signature: systemd-bus-unresponsive}
";

#[test]
fn a_node_that_starves_beside_a_casualty_is_found() {
    check(KEPT, Flaw::WaitsTooLong, &["I19"], 6);
    for seed in 1..7 {
        let outcome = play(&scenario(KEPT), seed, None);
        assert_eq!(outcome.breach, None, "seed {seed}");
    }
}

/// Nodes of the control plane only, and nobody said that they may be touched.
const CONTROL: &str = "
name: control
lasts: 60m
startup: 10s
nodes: {count: 3, controlPlane: 3}
limits: {cluster: 3, storm-nodes: 9, storm-nodes-any: 9}
sick: [{at: 2m, over: 1m, signature: systemd-bus-unresponsive}]
runs: {step: 30s, soak: 2m}
";

#[test]
fn the_control_plane_is_left_alone_unless_people_say_so_and_then_never_by_half() {
    let outcome = play(&scenario(CONTROL), 1, None);
    assert_eq!(outcome.breach, None);
    assert_eq!(outcome.ill_and_well(), (3, 0), "no limit, no mend");
    let one = CONTROL.replace("cluster: 3", "cluster: 3, control-plane: 1");
    for seed in 1..4 {
        let outcome = play(&scenario(&one), seed, None);
        assert_eq!(outcome.breach, None, "seed {seed}");
        assert_eq!(outcome.ill_and_well(), (3, 3), "one after the other");
        assert_eq!(outcome.most.get("control-plane"), Some(&1));
    }
    // Two of three is what an operator must not set, and the play says so.
    let two = CONTROL.replace("cluster: 3", "cluster: 3, control-plane: 2");
    let breach = play(&scenario(&two), 1, None).breach.expect("found");
    assert_eq!(breach.invariant, "I18", "{breach}");
    assert!(breach.what.contains("2 of 3"), "{breach}");
}

#[test]
fn a_control_plane_that_is_not_seen_is_found() {
    check(CONTROL, Flaw::BlindToTheControlPlane, &["I18"], 2);
    check(CONTROL, Flaw::BlindToTheControlPlane, &["I2"], 2);
}

#[test]
fn a_step_after_a_restart_without_a_write_is_found() {
    check(DYING, Flaw::RecoversInWordsOnly, &["I6"], 40);
}

#[test]
fn an_intent_that_is_not_durable_is_found() {
    check(CALM, Flaw::JournalSkipsIntents, &["I8"], 2);
}

#[test]
fn an_intent_without_outcome_is_found() {
    check(CALM, Flaw::TellsNoOutcome, &["I8"], 6);
}

#[test]
fn a_step_that_is_done_twice_is_found() {
    check(DYING, Flaw::DoesItTwice, &["I9", "I8"], 6);
}

/// The same nodes fall ill again and again, and their agents die in between.
const AGAIN: &str = "
name: again
lasts: 6h
startup: 10s
nodes: {count: 2}
limits: {cluster: 2, storm-nodes: 20, storm-nodes-any: 20, storm-casualties: 9, storm-failed-runs: 99, storm-unavailable: 20}
runs: {step: 30s, soak: 2m}
sick:
";

#[test]
fn attempts_that_are_forgotten_are_found() {
    let outbreaks: String = (0..6)
        .map(|turn| {
            let at = 10 + 50 * turn;
            format!("  - {{at: {at}m, signature: systemd-bus-unresponsive}}\n")
        })
        .collect();
    let deaths: String = (0..6)
        .map(|turn| format!("  - {{at: {}m, what: restart}}\n", 45 + 50 * turn))
        .collect();
    let text = format!("{AGAIN}{outbreaks}faults:\n{deaths}");
    check(&text, Flaw::ForgetsAttempts, &["I10"], 3);
    let outcome = play(&scenario(&text), 1, None);
    assert_eq!(outcome.breach, None);
}

#[test]
fn an_approval_that_is_never_used_up_is_found() {
    let text = CALM
        .replace("count: 6,", "count: 6, approve: 100%,")
        .replace("lasts: 60m", "lasts: 2h")
        .replace("step: 30s", "step: 300s")
        + "people: {approve: 1m}\nfaults:\n";
    let cords: String = (0..8)
        .map(|turn| {
            format!(
                "  - {{at: {}m, lasts: 2m, what: stop-cord}}\n",
                6 + 7 * turn
            )
        })
        .collect();
    let text = format!("{text}{cords}");
    check(&text, Flaw::SpendsNoApproval, &["I12"], 8);
    for seed in 1..9 {
        assert_eq!(play(&scenario(&text), seed, None).breach, None, "{seed}");
    }
}

#[test]
fn a_server_that_is_only_dreamt_of_is_found() {
    let text = CALM.replace("step: 30s", "step: 90s")
        + "faults: [{at: 4m, lasts: 20m, what: server-down}]\n";
    check(&text, Flaw::DreamsOfAServer, &["I13"], 20);
}

#[test]
fn limits_that_are_widened_are_found() {
    let text = format!("{CALM}faults: [{{at: 1m, lasts: 30m, what: limits-garbled}}]\n");
    check(&text, Flaw::WidensGarbledLimits, &["I14"], 4);
    for seed in 1..7 {
        let outcome = play(&scenario(&text), seed, None);
        assert_eq!(outcome.breach, None, "seed {seed}");
    }
}

#[test]
fn garbage_that_is_taken_for_leave_is_found() {
    let text = format!("{CALM}faults: [{{at: 1m, lasts: 30m, what: opt-in-garbled}}]\n");
    check(&text, Flaw::TakesGarbageForLeave, &["I14"], 8);
    assert_eq!(play(&scenario(&text), 1, None).breach, None);
}

#[test]
fn a_playbook_that_was_changed_is_found() {
    check(CALM, Flaw::TakesForgedPlaybooks, &["I15"], 2);
}

/// Playbooks that a key vouches for until the moment at which the play begins, by the true time. The nodes' clocks are up
/// to an hour off, so for some of them it ends before their agents start, for others in between.
fn until_midnight() -> Theatre {
    let key = PrivateKey::from_seed("test-key", &[7; 32]).expect("a key");
    let checks = Checks {
        kinds: &Kinds,
        condition: &|_| Ok(()),
    };
    let signed: Vec<(Source<'static>, String)> = crate::playbook::SHIPPED
        .iter()
        .map(|source| {
            let playbook = Playbook::parse(source.name, source.text, &checks).expect("sound");
            let signature = sign(&playbook, source.text, Some("2025-12-31"), &key).expect("signs");
            (*source, signature)
        })
        .collect();
    let sources: Vec<Source<'_>> = signed
        .iter()
        .map(|(source, signature)| Source {
            signature: Some(signature),
            ..*source
        })
        .collect();
    let public = key.public().to_string();
    let root = TrustRoot {
        keys: vec![crate::playbook::PinnedKey::parse(&public).expect("a key")],
        ..TrustRoot::default()
    };
    let (playbooks, problems) = Catalogue::load(&sources, &[], &root, &checks);
    assert!(problems.is_empty(), "{problems:?}");
    let trade = Trade::shipped(probes::catalogue(), &playbooks);
    Theatre::of(trade, playbooks, &[public], &BTreeSet::new()).expect("sound")
}

#[test]
fn a_signature_that_expires_under_the_agents_vouches_no_more() {
    let theatre = until_midnight();
    let text = CALM.replace("at: 2m, over: 1m", "at: 2m, over: 50m");
    check_in(&theatre, &text, Flaw::TakesExpiredPlaybooks, &["I15"], 4);
    let mut mended = 0;
    for seed in 1..9 {
        let outcome = theatre.play(&scenario(&text), seed, None, false);
        assert_eq!(outcome.breach, None, "seed {seed}");
        let (ill, well) = outcome.ill_and_well();
        assert!(
            well < usize::try_from(ill).expect("few"),
            "{:?}",
            outcome.left
        );
        mended += well;
    }
    assert!(mended > 0, "some clocks are before midnight");
}

#[test]
fn a_log_with_a_gap_is_found() {
    check(CALM, Flaw::AuditSkips, &["I17"], 2);
}

#[test]
fn a_slot_that_carries_an_old_head_is_found() {
    check(CALM, Flaw::AnchorsThePast, &["I17"], 2);
}

#[test]
fn a_step_that_no_record_announces_is_found() {
    check(CALM, Flaw::ActsUnrecorded, &["I17"], 2);
}

#[test]
fn too_many_questions_are_found() {
    let text = CALM
        .replace("lasts: 60m", "lasts: 15m")
        .replace("count: 6", "count: 60")
        .replace("count: 5", "count: 50")
        .replace("storm-nodes: 9", "storm-nodes: 900, storm-nodes-any: 900");
    check(&text, Flaw::AsksAgainAndAgain, &["I20"], 1);
    let outcome = play(&scenario(&text), 1, None);
    assert_eq!(outcome.breach, None);
}
