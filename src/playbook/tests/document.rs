use crate::playbook::testing::{GOOD, read};
use crate::playbook::{ArgValue, OnFailure};
use crate::policy::Disruption;
use crate::signal::Wall;
use std::time::Duration;

#[test]
fn a_document_becomes_a_playbook_whole() {
    let playbook = read(GOOD).expect("fine");
    assert_eq!(
        (&*playbook.id, playbook.version.to_string().as_str()),
        ("fix-it", "1.2.3")
    );
    assert_eq!(playbook.disruption, Disruption::Restart);
    assert_eq!(playbook.attempts.span, Duration::from_secs(86_400));
    assert_eq!(playbook.verify.soak, Duration::from_secs(300));
    assert_eq!(playbook.on_failure, OnFailure::NeedsHuman);
    let kinds: Vec<&str> = playbook.steps.iter().map(|step| &*step.kind).collect();
    assert_eq!(kinds, ["reexec_systemd", "wait_until", "restart_unit"]);
    let restart = &playbook.steps[2];
    assert_eq!(
        restart.condition.as_deref(),
        Some("verdict(\"other\") == \"present\"")
    );
    assert_eq!(restart.timeout, Some(Duration::from_secs(60)));
    assert_eq!(
        restart.args.iter().count(),
        1,
        "`if` and `timeout` are no arguments of the kind"
    );
    assert_eq!(
        restart.args.get("unit").map(|arg| &arg.value),
        Some(&ArgValue::Text("{{subject}}".into()))
    );
    assert_eq!(playbook.digest.len(), 64);
    assert_eq!(playbook.expires, None);
}

#[test]
fn expires_is_the_last_day_on_which_it_runs() {
    let playbook = read(&format!("{GOOD}expires: 2026-11-22\n")).expect("fine");
    // 2026-11-23T00:00:00Z
    assert_eq!(playbook.expires, Some(Wall(1_795_392_000_000_000)));
}

/// What is replaced in the good document, by what, and where and what the message must say.
type Broken = (&'static str, &'static str, &'static str, &'static str);

const BROKEN: &[Broken] = &[
    ("id: fix-it", "id: Fix_It", "p.yaml:1:5: ", "kebab-case"),
    ("id: fix-it", "id: 7", "p.yaml:1:5: ", "expected text"),
    (
        "id: fix-it",
        "id: ../../etc/passwd",
        "p.yaml:1:5: ",
        "kebab-case",
    ),
    ("id: fix-it\n", "", "p.yaml:1:1: ", "`id` is missing"),
    ("1.2.3", "1.2", "p.yaml:2:10: ", "MAJOR.MINOR.PATCH"),
    ("1.2.3", "v1.2.3", "p.yaml:2:10: ", "MAJOR.MINOR.PATCH"),
    (
        "1.2.3",
        "1.2.3+build",
        "p.yaml:2:10: ",
        "without build metadata",
    ),
    ("1.2.3", "01.2.3", "p.yaml:2:10: ", "MAJOR.MINOR.PATCH"),
    ("title: Mends it", "title: ''", "p.yaml:3:8: ", "one line"),
    (
        "title: Mends it",
        "titel: Mends it",
        "p.yaml:3:1: ",
        "did you mean `title`?",
    ),
    (
        "disruption: restart",
        "disruption: nuke",
        "p.yaml:4:13: ",
        "none, restart, drain, reboot",
    ),
    (
        "disruption: restart",
        "disruption: none",
        "p.yaml:9:5: ",
        "is of class restart, more than the playbook's",
    ),
    (
        "requires: 'verdict(\"it-is-broken\")",
        "requires: 'BROKEN",
        "p.yaml:6:11: ",
        "the condition is broken",
    ),
    (
        "requires: 'verdict(\"it-is-broken\") == \"present\"'",
        "requires: ''",
        "p.yaml:6:11: ",
        "a condition has 1 to",
    ),
    ("max: 3", "max: 4", "p.yaml:7:11: ", "`max` must be 1 to 3"),
    ("max: 3", "max: 0", "p.yaml:7:11: ", "`max` must be 1 to 3"),
    ("max: 3", "max: -1", "p.yaml:7:18: ", "a whole number"),
    ("in: 24h", "in: 1h", "p.yaml:7:11: ", "at least 24h"),
    ("in: 24h", "in: 24", "p.yaml:7:25: ", "a span of time"),
    (
        "cooldown: 10m",
        "cooldown: 0s",
        "p.yaml:7:11: ",
        "`cooldown` must be longer",
    ),
    (
        "cooldown: 10m",
        "cooldown: 10x",
        "p.yaml:7:40: ",
        "is not a span of time",
    ),
    (
        "reexec_systemd:",
        "reexec_sytemd:",
        "p.yaml:9:5: ",
        "did you mean `reexec_systemd`?",
    ),
    (
        "reexec_systemd:",
        "run_shell:",
        "p.yaml:9:5: ",
        "known kinds: ",
    ),
    (
        "via: private-socket",
        "via: telepathy",
        "p.yaml:9:28: ",
        "must be one of private-socket",
    ),
    (
        "via: private-socket",
        "vai: private-socket",
        "p.yaml:9:28: ",
        "did you mean `via`?",
    ),
    (
        "via: private-socket",
        "via: { a: b }",
        "p.yaml:9:28: ",
        "cannot be a mapping",
    ),
    (
        "timeout: 30s",
        "timeout: 2h",
        "p.yaml:9:53: ",
        "at most 1 h",
    ),
    (
        "timeout: 30s",
        "timeout: 0s",
        "p.yaml:9:53: ",
        "longer than nothing",
    ),
    (
        "condition: 'signal(\"it.answers\")'",
        "condition: 'BROKEN'",
        "p.yaml:10:30: ",
        "the condition is broken",
    ),
    (
        ", within: 30s",
        "",
        "p.yaml:10:17: ",
        "wait_until needs `within`",
    ),
    (
        "'{{subject}}'",
        "'x-{{subject}}.service'",
        "p.yaml:11:27: ",
        "takes no `{{subject}}`",
    ),
    (
        "via: private-socket",
        "via: '{{subject}}'",
        "p.yaml:9:28: ",
        "takes no `{{subject}}`",
    ),
    (
        "'{{subject}}'",
        "'a b; reboot'",
        "p.yaml:11:27: ",
        "is not a plain name",
    ),
    (
        "'{{subject}}'",
        "docker.service",
        "p.yaml:11:5: ",
        "of class drain",
    ),
    (
        "if: 'verdict(\"other\")",
        "if: 'BROKEN",
        "p.yaml:11:46: ",
        "the condition is broken",
    ),
    ("soak: 5m", "soak: 25h", "p.yaml:12:67: ", "at most 1 d"),
    (", soak: 5m", "", "p.yaml:12:9: ", "needs `soak`"),
    (
        "needsHuman: true",
        "needsHuman: false",
        "p.yaml:13:12: ",
        "either `escalate: PLAYBOOK` or `needsHuman: true`",
    ),
    (
        "needsHuman: true",
        "escalate: fix-it",
        "p.yaml:1:1: ",
        "cannot escalate to itself",
    ),
    (
        "needsHuman: true",
        "escalate: other, needsHuman: true",
        "p.yaml:13:12: ",
        "either",
    ),
    (
        "onFailure: { needsHuman: true }",
        "expires: tomorrow",
        "p.yaml:13:10: ",
        "like 2028-12-31",
    ),
    (
        "onFailure: { needsHuman: true }",
        "expires: 2026-02-30",
        "p.yaml:13:10: ",
        "like 2028-12-31",
    ),
    (
        "onFailure: { needsHuman: true }",
        "id: again",
        "p.yaml:13:1",
        "",
    ),
    (
        "onFailure: { needsHuman: true }",
        "script: rm -rf /",
        "p.yaml:13:1: ",
        "no key `script`",
    ),
    (
        "steps:\n",
        "steps: []\nignored:\n",
        "p.yaml:8:8: ",
        "1 to 32 steps, not 0",
    ),
    (
        "steps:\n",
        "steps: restart\nignored:\n",
        "p.yaml:8:8: ",
        "must be a list",
    ),
    (
        "  - reexec_systemd: { via: private-socket, timeout: 30s }",
        "  - reexec",
        "p.yaml:9:5: ",
        "a step is written",
    ),
    (
        "  - wait_until",
        "    wait_until",
        "p.yaml:9:5: ",
        "begin each step with",
    ),
    (
        "explain: Because it is broken.",
        "explain: [x",
        "p.yaml:",
        "",
    ),
    (
        "explain: Because it is broken.",
        "explain: \u{7}",
        "p.yaml:5:10: ",
        "control character",
    ),
];

#[test]
fn a_broken_document_is_refused_with_its_place_and_what_to_do() {
    for (good, bad, place, words) in BROKEN {
        assert!(GOOD.contains(good), "{good} is not in the good document");
        let text = GOOD.replacen(good, bad, 1);
        let message = read(&text).expect_err(bad).to_string();
        let found = message
            .lines()
            .any(|line| line.starts_with(place) && line.contains(words));
        assert!(found, "{bad}: no line {place}...{words} in\n{message}");
    }
}

#[test]
fn every_problem_is_said_at_once_in_the_order_of_the_text() {
    let text = GOOD
        .replace("1.2.3", "x")
        .replace("max: 3", "max: 9")
        .replace("private-socket", "telepathy")
        .replace("soak: 5m", "soak: 99d");
    let message = read(&text).expect_err("refused").to_string();
    let lines: Vec<&str> = message
        .lines()
        .filter_map(|line| line.split(':').nth(1))
        .collect();
    assert_eq!(lines, ["2", "7", "9", "12"], "{message}");
}

#[test]
fn a_playbook_that_changes_nothing_is_refused() {
    let start = GOOD.find("  - reexec").expect("start");
    let wait = GOOD.find("  - wait").expect("wait");
    let restart = GOOD.find("  - restart_unit").expect("restart");
    let verify = GOOD.find("verify:").expect("verify");
    let text = format!(
        "{}{}{}",
        &GOOD[..start],
        &GOOD[wait..restart],
        &GOOD[verify..]
    );
    let message = read(&text).expect_err("refused").to_string();
    assert!(message.contains("no step changes anything"), "{message}");
}

#[test]
fn too_many_steps_and_too_long_texts_are_refused() {
    let step = "  - reexec_systemd: { via: private-socket, timeout: 30s }\n";
    let message = read(&GOOD.replace(step, &step.repeat(40)))
        .expect_err("refused")
        .to_string();
    assert!(message.contains("1 to 32 steps, not 42"), "{message}");
    let long = GOOD.replace("private-socket", &"x".repeat(3000));
    assert!(
        read(&long)
            .expect_err("refused")
            .to_string()
            .contains("3000 bytes")
    );
    let title = GOOD.replace("Mends it", &"x".repeat(200));
    assert!(
        read(&title)
            .expect_err("refused")
            .to_string()
            .contains("one line of 1 to 120 bytes")
    );
}
