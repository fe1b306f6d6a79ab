//! Scenario files with mistakes in them.

use super::reading::millionths;
use super::{Scenario, Share};

#[test]
fn every_mistake_of_a_scenario_is_told_at_once_and_with_its_place() {
    let text = "name: x\nlasts: 1h\nnodse: {}\nnodes: {count: 0, optedIn: 1}\nlimits: {clutser: 1, zone-a: 1000}\nsick:\n  - {at: 1m, signature: nothing, zone: z}\n  - {signature: kernel-sysctl-drift, share: 101%, count: 1}\nfaults:\n  - {at: 1m, what: rain}\n  - {at: 1m, what: set-limits}\n";
    let problems = Scenario::parse("s.yaml", text).expect_err("refused");
    let told: Vec<(u32, &str)> = problems
        .list
        .iter()
        .map(|problem| (problem.place.line, problem.message.as_str()))
        .collect();
    for (line, words) in [
        (3, "a scenario has no key `nodse`; did you mean `nodes`?"),
        (4, "`count` must be from 1 to"),
        (4, "a share is written like"),
        (5, "did you mean `cluster`?"),
        (5, "a limit is a plain number from 0 to 999"),
        (7, "`nothing` cannot be simulated"),
        (8, "an outbreak needs `at`"),
        (8, "found `101%`"),
        (10, "`rain` is no fault"),
        (11, "set-limits needs `limits`"),
    ] {
        assert!(
            told.iter()
                .any(|(at, message)| *at == line && message.contains(words)),
            "{line}: {words} is not in {told:#?}"
        );
    }
}

/// A scenario in which everything fits, with one line of it replaced.
fn told(line: &str, by: &str) -> Vec<(u32, u32, String)> {
    const SOUND: &str = "name: x
lasts: 1h
startup: 2m
nodes: {count: 10, zones: [a, b], pools: [web]}
limits: {cluster: 1, zone-a: 1, zone-b: 1, pool-web: 1}
sick: [{at: 1m, signature: kernel-sysctl-drift, zone: a, count: 5}]
runs: {step: 20s, soak: 5m, succeed: 95%}
faults: [{at: 1m, lasts: 5m, what: partition, zone: b}]
chaos: {faults: 3}
";
    assert!(Scenario::parse("s.yaml", SOUND).is_ok());
    assert!(SOUND.contains(line), "{line}");
    let text = SOUND.replace(line, by);
    let problems = Scenario::parse("s.yaml", &text).expect_err(by);
    let list = problems.list.into_iter();
    list.map(|it| (it.place.line, it.place.column, it.message))
        .collect()
}

#[test]
fn what_does_not_fit_together_is_told_where_it_stands() {
    for (line, by, at, words) in [
        ("lasts: 1h", "lasts: 60", (2, 8), "expected a span of time"),
        (
            "lasts: 1h",
            "lasts: 1 hour",
            (2, 8),
            "is not a span of time",
        ),
        ("lasts: 1h", "lasts: 0s", (2, 8), "`lasts` must be from"),
        ("lasts: 1h", "lasts: 31d", (2, 8), "`lasts` must be from"),
        (
            "startup: 2m",
            "startup: 1h",
            (3, 10),
            "not over when the play",
        ),
        (
            "count: 10",
            "count: 5001",
            (4, 16),
            "must be from 1 to 5000",
        ),
        ("count: 10", "count: -1", (4, 16), "a whole number"),
        ("count: 10", "count: 1.5", (4, 16), "a whole number"),
        (
            "zones: [a, b]",
            "zones: [a, b, a]",
            (4, 34),
            "is there twice",
        ),
        ("zones: [a, b]", "zones: [a, B]", (4, 31), "is no name here"),
        (
            "zones: [a, b]",
            "zones: [a, b-]",
            (4, 31),
            "is no name here",
        ),
        ("zones: [a, b]", "zones: [a, 2]", (4, 31), "in quotes"),
        (
            "zones: [a, b]",
            "zones: a",
            (4, 27),
            "`zones` must be a list",
        ),
        (
            "count: 10,",
            "count: 10, controlPlane: 11,",
            (4, 34),
            "more than the 10",
        ),
        ("cluster: 1, ", "", (5, 9), "limits does not name cluster"),
        ("zone-b: 1,", "", (5, 9), "limits does not name zone-b"),
        (
            "zone-b: 1,",
            "zone-b: 1, zone-bb: 1,",
            (5, 44),
            "did you mean `zone-b`?",
        ),
        ("zone-b: 1,", "zone-b: many,", (5, 41), "a plain number"),
        ("zone-b: 1,", "zone-b: -1,", (5, 41), "a plain number"),
        (
            "at: 1m, signature",
            "at: 1h, signature",
            (6, 8),
            "this never happens",
        ),
        (
            "sysctl-drift",
            "sysctl-drfit",
            (6, 28),
            "did you mean `kernel-sysctl-drift`?",
        ),
        (
            "zone: a, count: 5",
            "zone: c, count: 5",
            (6, 8),
            "no node is in zone `c`",
        ),
        (
            "zone: a, count: 5",
            "zone: a, count: 6",
            (6, 8),
            "there are 5 such nodes",
        ),
        ("count: 5", "count: 0", (6, 65), "means nobody"),
        ("count: 5", "share: 0%", (6, 65), "means nobody"),
        ("count: 5", "share: 200%", (6, 65), "at most 100%"),
        ("step: 20s", "step: 11m", (7, 14), "`step` must be from"),
        ("soak: 5m", "soak: 5", (7, 25), "expected a span of time"),
        ("lasts: 5m, ", "", (8, 10), "partition needs `lasts`"),
        (
            "lasts: 5m, ",
            "lasts: 0s, ",
            (8, 26),
            "`lasts` must be from",
        ),
        (
            "lasts: 5m, ",
            "lasts: 31d, ",
            (8, 26),
            "`lasts` must be from",
        ),
        (
            "lasts: 5m, what: partition, zone: b",
            "what: set-limits, limits: {cluster: 2, zone-a: 1, pool-web: 0}",
            (8, 10),
            "limits does not name zone-b",
        ),
        (
            "lasts: 5m, what: partition, zone: b",
            "what: set-limits, limits: {cluster: 0, zone-c: 1}",
            (8, 10),
            "limits names `zone-c`",
        ),
        (
            "what: partition",
            "what: reboot",
            (8, 26),
            "it takes no `lasts`",
        ),
        (
            "what: partition",
            "what: server-down",
            (8, 10),
            "is about everybody",
        ),
        (
            "what: partition",
            "what: patrition",
            (8, 36),
            "did you mean `partition`?",
        ),
        ("faults: 3", "faults: 1001", (9, 17), "from 0 to 1000"),
        (
            "chaos:",
            "people: {approve: 1m}\nchaos:",
            (9, 9),
            "nobody is asked",
        ),
    ] {
        let told = told(line, by);
        let is_told = |(row, column, said): &(u32, u32, String)| {
            (*row, *column) == at && said.contains(words)
        };
        assert!(
            told.iter().any(is_told),
            "{by}: {words} at {at:?} is not in {told:#?}"
        );
    }
}

#[test]
fn limits_that_close_the_whole_cluster_need_name_nothing_else() {
    let text = "name: x\nlasts: 1h\nnodes: {count: 2, zones: [a, b]}\nlimits: {cluster: 1, zone-a: 1, zone-b: 1}\nfaults: [{at: 1m, what: set-limits, limits: {cluster: 0}}]\n";
    assert!(Scenario::parse("s.yaml", text).is_ok());
}

#[test]
fn a_key_is_named_once_among_the_known_ones() {
    let problems = Scenario::parse("s.yaml", "colour: red\n").expect_err("refused");
    let told = problems.to_string();
    assert_eq!(told.matches("lasts,").count(), 1, "{told}");
    assert!(told.contains("a scenario needs `lasts`"), "{told}");
}

/// A number that is too large is told, and nothing is counted out for it.
#[test]
fn billions_of_nodes_are_refused_at_once() {
    let told = told("count: 10,", "count: 4000000000,");
    let words = "`count` must be from 1 to 5000";
    assert!(
        told.iter().any(|(.., said)| said.contains(words)),
        "{told:#?}"
    );
}

#[test]
fn shares_are_exact_and_never_round_to_none() {
    for (text, share) in [("25%", 250_000), ("0.5%", 5_000), ("100%", 1_000_000)] {
        assert_eq!(
            text.strip_suffix('%').and_then(millionths),
            Some(Share(share))
        );
    }
    for text in ["", ".5", "1e1", "-1", "100.1", "1000", "1.00001", "+5"] {
        assert_eq!(millionths(text), None, "{text}");
    }
    assert_eq!(
        (Share(1).of(3), Share::ALL.of(3), Share(0).of(3)),
        (1, 3, 0)
    );
}

#[test]
fn the_scenario_of_the_documentation_is_sound() {
    let page = include_str!("../../docs/simulate.md");
    let (_, rest) = page.split_once("```yaml\n").expect("an example");
    let (text, _) = rest.split_once("```").expect("its end");
    let scenario = Scenario::parse("docs/simulate.md", text);
    assert_eq!(scenario.map(|it| it.nodes.count), Ok(120));
}
