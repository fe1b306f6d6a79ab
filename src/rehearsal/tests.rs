//! Plays whose end is known: sound ones, and ones with a defect put in on purpose.

use super::{Flaw, Outcome, Scenario, Theatre};
use crate::playbook::RELEASE_KEYS;
use crate::playbook::testing::load_shipped;
use crate::probes;
use crate::simulate::World as Trade;
use std::collections::BTreeSet;
use std::sync::OnceLock;

pub(super) fn theatre() -> &'static Theatre {
    static THEATRE: OnceLock<Theatre> = OnceLock::new();
    THEATRE.get_or_init(|| {
        let (playbooks, problems) = load_shipped();
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
    assert_eq!(first.name, "first three minutes of illness", "{phases:?}");
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

/// Every other step takes longer than a step may.
const LONG: &str = "
name: long
lasts: 3h
startup: 10s
nodes: {count: 4}
limits: {cluster: 4, storm-nodes: 20, storm-nodes-any: 20, storm-casualties: 9, storm-failed-runs: 99, storm-unavailable: 4}
sick:
  - {at: 2m, signature: kernel-sysctl-drift, step: 10m}
  - {at: 3m, signature: systemd-bus-unresponsive, step: 10m}
";

#[test]
fn a_step_that_ends_at_its_limit_is_over() {
    let mut failed = 0;
    for seed in 1..4 {
        let outcome = play(&scenario(LONG), seed, None);
        assert_eq!(outcome.breach, None, "seed {seed}");
        let runs = outcome.runs().filter(|(kind, _)| *kind == "needs-human");
        failed += runs.map(|(_, count)| count).sum::<u64>();
    }
    assert!(failed > 0, "no step was that long");
}

/// Ten runs at once that are watched for long, and nobody waits (safety.md, section 2: at most 110 more a minute).
const TEN_RUNS: &str = "
name: ten-runs
lasts: 60m
startup: 1m
nodes: {count: 300}
limits: {cluster: 10, storm-nodes: 20, storm-nodes-any: 20}
sick: [{at: 15m, over: 1m, signature: systemd-bus-unresponsive, count: 10}]
runs: {step: 30s, soak: 20m}
";

#[test]
fn ten_runs_at_once_add_less_than_eleven_calls_a_minute_each() {
    let scenario = scenario(TEN_RUNS);
    let outcome = play(&scenario, 1, None);
    assert_eq!(outcome.breach, None);
    assert_eq!(outcome.most.get("cluster"), Some(&10), "all at once");
    let phases = outcome.phases(&scenario);
    let during = phases.iter().find(|phase| phase.name == "after that");
    let during = during.expect("it lasts");
    assert!(during.minutes >= 15 && during.mean <= 110, "{phases:?}");
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

/// More slots of failed runs than people allow, and most of the slots free.
const CASUALTIES: &str = "
name: casualties
lasts: 90m
startup: 10s
nodes: {count: 40}
limits: {cluster: 30, storm-casualties: 9, storm-failed-runs: 99, storm-nodes: 99, storm-nodes-any: 99}
sick:
  - {at: 2m, signature: kernel-sysctl-drift, count: 12, succeed: 0%}
  - {at: 30m, over: 1m, signature: systemd-bus-unresponsive, count: 20}
";

#[test]
fn who_is_stopped_for_good_reason_is_not_said_to_starve() {
    let scenario = scenario(CASUALTIES);
    for seed in 1..4 {
        let outcome = play(&scenario, seed, None);
        assert_eq!(outcome.breach, None, "seed {seed}");
        let text = outcome.text(&scenario);
        assert!(text.contains("keep slots of failed runs"), "{text}");
    }
}

/// People close the cluster for good before anything falls sick; then the limits are garbled for a while, twice at once.
const CLOSED: &str = "
name: closed
lasts: 60m
startup: 10s
nodes: {count: 4}
limits: {cluster: 2}
sick: [{at: 5m, signature: systemd-bus-unresponsive}]
faults:
  - {at: 1m, what: set-limits, limits: {cluster: 0}}
  - {at: 10m, lasts: 5m, what: limits-garbled}
  - {at: 12m, lasts: 1m, what: limits-garbled}
";

#[test]
fn limits_that_people_set_are_back_when_those_that_were_garbled_are_mended() {
    for seed in 1..5 {
        let outcome = play(&scenario(CLOSED), seed, None);
        assert_eq!(outcome.breach, None, "seed {seed}");
        assert_eq!(outcome.ill_and_well(), (4, 0), "seed {seed}");
    }
}

#[test]
fn a_cord_is_let_go_when_the_last_hand_lets_go() {
    let text = CALM.replace(
        "sick:",
        "faults: [{at: 1m, lasts: 50m, what: stop-cord}, {at: 2m, lasts: 3m, what: stop-cord}]\nsick:",
    );
    let text = text.replace("lasts: 60m", "lasts: 45m");
    let outcome = play(&scenario(&text), 1, None);
    assert_eq!(outcome.breach, None);
    assert_eq!(outcome.ill_and_well(), (5, 0), "one hand still pulls");
}

#[test]
fn what_people_are_told_is_in_words_and_adds_up() {
    let opens = CLOSED
        .replace("count: 4}", "count: 4, controlPlane: 1}")
        .replace("limits: {cluster: 0}", "limits: {cluster: 3}")
        .replace(
            "sick: [",
            "sick: [{at: 6m, signature: kernel-sysctl-drift, count: 2}, ",
        );
    let one = CALM
        .replace("count: 6, zones: [a, b]", "count: 1")
        .replace("zone-a: 1, zone-b: 1, ", "")
        .replace(", count: 5", "");
    let ghost = one.replace("cluster: 2", "cluster: 0");
    let none = one.replace(
        "sick: [{at: 2m, over: 1m, signature: systemd-bus-unresponsive}]",
        "",
    );
    for (text, parts) in [
        (
            &opens,
            &[
                "nodes       4 fell ill, 6 times in all:",
                "     3   2, 3",
                "the node of the control plane is never mended",
                "domain control-plane has no slots; its limit is 0 or not set",
            ][..],
        ),
        (
            &one,
            &[
                "calm: 1 node, 1 h played",
                "1 fell ill, 1 well again, 0 left ill",
                "was free: less than 15 s",
                "after the last run",
            ],
        ),
        (
            &ghost,
            &[
                "1 left ill: domain cluster has no slots; its limit is 0",
                "after that",
            ],
        ),
        (
            &none,
            &["0 fell ill, 0 well again, 0 left ill", "runs        none"],
        ),
    ] {
        let scenario = scenario(text);
        let outcome = play(&scenario, 1, None);
        let said = outcome.text(&scenario);
        for part in parts {
            assert!(said.contains(part), "{part:?} is not in {said}");
        }
        let (ill, well) = outcome.ill_and_well();
        let left = outcome.left.total();
        assert_eq!(ill, u64::try_from(well).expect("few") + left, "{said}");
    }
    assert!(
        !play(&scenario(&ghost), 1, None)
            .text(&scenario(&ghost))
            .contains("after the last run")
    );
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
