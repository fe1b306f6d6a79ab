//! Plays whose end is known: sound ones, and ones with a defect put in on purpose.

use super::{Breach, Flaw, Outcome, Scenario, Theatre};
use crate::playbook::{Catalogue, Checks, SHIPPED, TrustRoot, release_keys};
use crate::probes;
use crate::simulate::World as Trade;
use crate::steps::Kinds;
use std::sync::OnceLock;

fn theatre() -> &'static Theatre {
    static THEATRE: OnceLock<Theatre> = OnceLock::new();
    THEATRE.get_or_init(|| {
        let root = TrustRoot {
            keys: release_keys().expect("pinned keys are keys"),
            ..TrustRoot::default()
        };
        let checks = Checks {
            kinds: &Kinds,
            condition: &|_| Ok(()),
        };
        let (playbooks, problems) = Catalogue::load(SHIPPED, &[], &root, &checks);
        assert!(problems.is_empty(), "{problems:?}");
        Theatre::of(Trade::shipped(probes::catalogue(), &playbooks))
            .expect("the shipped rules are sound")
    })
}

fn scenario(text: &str) -> Scenario {
    Scenario::parse("test.yaml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn rough() -> Scenario {
    scenario(include_str!("../../manifests/scenarios/rough.yaml"))
}

fn play(scenario: &Scenario, seed: u64, flaw: Option<Flaw>) -> Outcome {
    theatre().play(scenario, seed, flaw, false)
}

/// Six nodes, five of them sick, two slots.
const CALM: &str = "
name: calm
lasts: 60m
startup: 10s
nodes: {count: 6, zones: [a, b]}
limits: {cluster: 2, zone-a: 1, zone-b: 1, storm-nodes: 9}
sick: [{at: 2m, over: 1m, signature: systemd-bus-unresponsive, count: 5}]
runs: {step: 30s, soak: 2m}
";

#[test]
fn a_calm_cluster_is_mended_within_its_limits() {
    for seed in 1..5 {
        let outcome = play(&scenario(CALM), seed, None);
        assert_eq!(outcome.breach, None, "seed {seed}");
        assert_eq!(
            outcome.ill_and_well(),
            (5, 5),
            "seed {seed}: {:?}",
            outcome.left
        );
        assert!(
            outcome
                .most
                .get("cluster")
                .is_some_and(|most| (1..=2).contains(most))
        );
        assert!(outcome.breakers.is_empty());
    }
}

#[test]
fn a_seed_plays_the_same_piece_twice_to_the_last_line() {
    let log = |seed| theatre().play(&rough(), seed, None, true);
    let (first, second, other) = (log(7), log(7), log(8));
    assert!(first.log.len() > 200, "{} lines", first.log.len());
    assert_eq!(first.log, second.log);
    assert_eq!((first.digest, first.turns), (second.digest, second.turns));
    assert_ne!(first.digest, other.digest);
}

/// The first breach among the seeds, each of which is played with the flaw and without it.
fn found(scenario: &Scenario, flaw: Flaw, seeds: std::ops::Range<u64>) -> Option<Breach> {
    seeds
        .into_iter()
        .find_map(|seed| play(scenario, seed, Some(flaw)).breach)
}

/// Each defect is found by the invariant that forbids it.
#[track_caller]
fn check(text: &str, flaw: Flaw, invariants: &[&str], seeds: u64) {
    let breach = found(&scenario(text), flaw, 1..seeds + 1);
    let invariant = breach.as_ref().map(|breach| breach.invariant);
    let is_found = invariant.is_some_and(|found| invariants.contains(&found));
    assert!(
        is_found,
        "{flaw:?} gave {breach:?}, not one of {invariants:?}"
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

#[test]
fn a_hostile_agent_gets_nothing_that_the_rules_forbid() {
    let text = CALM.replace(
        "sick:",
        "faults: [{at: 30s, lasts: 40m, what: hostile, count: 1}]\nsick:",
    );
    for seed in 1..4 {
        let outcome = play(&scenario(&text), seed, None);
        assert_eq!(outcome.breach, None, "seed {seed}");
        let refusals = outcome.json(&scenario(&text))["refusals"].to_string();
        for words in [
            "beyond the cap",
            "holderIdentity must be",
            "own Node only",
            "only people close a breaker",
        ] {
            assert!(refusals.contains(words), "{words} is not in {refusals}");
        }
    }
}

/// A thousand nodes fall sick in the same ten seconds; the figures of five thousand are in docs/configuration.md.
const ALL_SICK: &str = "
name: all-sick
lasts: 30m
startup: 1m
nodes: {count: 1000, zones: [a, b]}
limits: {cluster: 10, zone-a: 5, zone-b: 5}
sick: [{at: 4m, over: 10s, signature: systemd-bus-unresponsive, falseAlarm: true}]
";

#[test]
fn a_storm_costs_two_calls_a_node_at_once_and_then_less_than_one_a_minute() {
    let scenario = scenario(ALL_SICK);
    let outcome = play(&scenario, 1, None);
    assert_eq!(outcome.breach, None);
    let phases = outcome.phases(&scenario);
    let (first, after) = (&phases[phases.len() - 2], &phases[phases.len() - 1]);
    assert_eq!(first.name, "first two minutes of illness", "{phases:?}");
    // The condition with its annotations, and the first look; 50 nodes see the storm, and claims and slots before it.
    assert!(first.most <= 2_500 && first.mean <= 1_250, "{phases:?}");
    assert!(after.most <= 1_000 && after.minutes >= 20, "{phases:?}");
    let calls = outcome.json(&scenario)["requests"]["by_call"].clone();
    let count = |verb: &str, resource: &str| {
        let is_it = |one: &&serde_json::Value| one["verb"] == verb && one["resource"] == resource;
        calls
            .as_array()
            .and_then(|all| all.iter().find(is_it))
            .map(|one| one["count"].clone())
    };
    assert_eq!(count("patch", "nodes"), None, "one way to write a Node");
    assert!(count("create", "events").is_some(), "told all the same");
}

#[test]
fn five_hundred_rough_half_hours_break_no_promise() {
    let rough = rough();
    let (mut mended, mut events, mut faults) = (0, 0, std::collections::BTreeSet::new());
    for seed in 1..501 {
        let outcome = play(&rough, seed, None);
        let again = "nodemend simulate manifests/scenarios/rough.yaml --trace --seed";
        assert_eq!(outcome.breach, None, "play it again: {again} {seed}");
        events += outcome.events;
        faults.extend(outcome.faults());
        let is_mended = |(kind, _): &(&str, u64)| *kind == "mended";
        mended += outcome
            .runs()
            .filter(is_mended)
            .map(|(_, count)| count)
            .sum::<u64>();
    }
    assert!(
        mended > 500 && events > 100_000,
        "{mended} runs mended, {events} events"
    );
    assert_eq!(
        faults.len(),
        super::Trouble::WORDS.len(),
        "every kind of fault came: {faults:?}"
    );
}
