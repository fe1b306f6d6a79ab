//! Plays whose end is known: sound ones, and ones with a defect put in on purpose.

use super::{Flaw, Outcome, Scenario, Theatre};
use crate::playbook::{Catalogue, Checks, RELEASE_KEYS, SHIPPED, TrustRoot, release_keys};
use crate::probes;
use crate::simulate::World as Trade;
use crate::steps::Kinds;
use std::collections::BTreeSet;
use std::sync::OnceLock;

pub(super) fn theatre() -> &'static Theatre {
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
        let trade = Trade::shipped(probes::catalogue(), &playbooks);
        let keys: Vec<String> = RELEASE_KEYS.iter().map(|key| (*key).to_owned()).collect();
        Theatre::of(trade, playbooks, &keys, &BTreeSet::new()).expect("the shipped rules are sound")
    })
}

pub(super) fn scenario(text: &str) -> Scenario {
    Scenario::parse("test.yaml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn rough() -> Scenario {
    scenario(include_str!("../../manifests/scenarios/rough.yaml"))
}

pub(super) fn play(scenario: &Scenario, seed: u64, flaw: Option<Flaw>) -> Outcome {
    theatre().play(scenario, seed, flaw, false)
}

/// Six nodes, five of them sick, two slots.
pub(super) const CALM: &str = "
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
        let breaches = (&outcome.breach, &outcome.also);
        assert_eq!(
            outcome.breach, None,
            "{breaches:?}; play it again: {again} {seed}"
        );
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

#[test]
fn seeds_that_broke_something_once_break_nothing_any_more() {
    for (seed, once) in [
        (
            10_167,
            "I11: tidying up after an older run freed the slot of the new one",
        ),
        (
            10_013,
            "I12: an approval was taken back before its run began, and it began",
        ),
        (470, "I12: the same while the run waited for its slot"),
        (10_265, "I12: the same behind slow calls"),
        (
            10_114,
            "I17 by a judge that was too strict with late creates",
        ),
        (
            68,
            "I12 by a judge that did not count an approval in advance",
        ),
    ] {
        let outcome = play(&rough(), seed, None);
        assert_eq!(outcome.breach, None, "seed {seed}, once {once}");
    }
}

/// Six nodes, of which five ask before they do anything.
const ASKED: &str = "
name: asked
lasts: 4h
startup: 10s
nodes: {count: 6, approve: 90%}
limits: {cluster: 3, storm-nodes: 20, storm-nodes-any: 20}
sick: [{at: 2m, over: 1m, signature: systemd-bus-unresponsive}]
runs: {step: 30s, soak: 2m}
people: {approve: 10m, wrong: 0%, never: 0%, twice: 0%}
";

#[test]
fn what_people_approve_is_mended_and_nothing_else() {
    for (wrong, never, twice, most, least) in [
        ("0%", "0%", "0%", 6, 6),
        ("0%", "0%", "100%", 6, 6),
        ("0%", "100%", "0%", 0, 0),
        ("100%", "0%", "0%", 0, 0),
        ("50%", "20%", "50%", 6, 0),
    ] {
        let text = ASKED
            .replace("wrong: 0%", &format!("wrong: {wrong}"))
            .replace("never: 0%", &format!("never: {never}"))
            .replace("twice: 0%", &format!("twice: {twice}"))
            .replace("approve: 90%", "approve: 100%");
        for seed in 1..5 {
            let outcome = play(&scenario(&text), seed, None);
            assert_eq!(outcome.breach, None, "{wrong} {never} {twice}, seed {seed}");
            let (ill, well) = outcome.ill_and_well();
            assert_eq!(ill, 6);
            let expected = least..=most;
            assert!(expected.contains(&well), "{well}: {:?}", outcome.left);
        }
    }
}

#[test]
fn every_signature_that_names_a_playbook_is_seen_and_mended() {
    for signature in super::ailments::signatures() {
        let text = CALM.replace("systemd-bus-unresponsive", signature);
        let outcome = play(&scenario(&text), 3, None);
        assert_eq!(outcome.breach, None, "{signature}");
        assert_eq!(
            outcome.ill_and_well(),
            (5, 5),
            "{signature}: {:?}",
            outcome.left
        );
    }
}

#[test]
fn two_illnesses_of_one_node_are_mended_one_after_the_other() {
    let text = CALM
        .replace("lasts: 60m", "lasts: 3h")
        .replace("sick: [", "sick: [{at: 150s, signature: kernel-sysctl-drift, count: 6}, {at: 3m, signature: runtime-unresponsive, count: 6}, ")
        .replace("storm-nodes: 9", "storm-nodes: 30, storm-nodes-any: 30");
    let outcome = play(&scenario(&text), 1, None);
    assert_eq!(outcome.breach, None);
    assert_eq!(outcome.ill_and_well(), (17, 17), "{:?}", outcome.left);
}
