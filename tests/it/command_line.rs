//! The command line as people and programs use it: streams, exit codes, and what is said about bad input.

use std::process::{Command, Output};

fn nodemend(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nodemend"))
        .args(args)
        .env_remove("NODE_NAME")
        .env("NO_COLOR", "1")
        .output()
        .expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs, and checks exit code, and that stderr (or stdout for code 0 and 1) holds every part.
fn check(args: &[&str], code: i32, parts: &[&str]) {
    let output = nodemend(args);
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?} said {said}");
    for part in parts {
        assert!(
            said.contains(part),
            "{args:?} does not say {part:?}: {said}"
        );
    }
}

#[test]
fn bad_usage_is_code_2_and_names_what_would_be_right() {
    check(&[], 2, &["Usage"]);
    check(&["chekc"], 2, &["check"]);
    check(&["check", "--output", "xml"], 2, &["text", "json"]);
    check(
        &["check", "systemd-bus-unresponsiv"],
        2,
        &["did you mean `systemd-bus-unresponsive`"],
    );
    check(
        &["signature", "show", "nothing-like-it"],
        2,
        &["signature list"],
    );
    check(&["--log-level", "a=b=c", "check"], 2, &["--log-level"]);
    check(
        &["--config", "/nonexistent/c.yaml", "check"],
        2,
        &["/nonexistent/c.yaml", "cannot be read"],
    );
    check(
        &["signature", "lint", "/nonexistent"],
        2,
        &["/nonexistent", "cannot be read"],
    );
}

#[test]
fn without_an_agent_the_commands_that_ask_it_say_so() {
    let dir = tempfile::tempdir().expect("dir");
    let run_dir = dir.path().to_str().expect("text");
    for command in [
        &["status"][..],
        &["cases"],
        &["explain"],
        &["pause"],
        &["resume"],
        &["approve", "case-1"],
    ] {
        let mut args = vec!["--run-dir", run_dir];
        args.extend(command);
        check(&args, 2, &["agent.sock", "is the agent running"]);
    }
}

#[test]
fn a_bad_configuration_is_refused_whole_with_all_its_errors() {
    let dir = tempfile::tempdir().expect("dir");
    let file = dir.path().join("config.yaml");
    std::fs::write(&file, "node: { mode: Auto }\nlisten: here\nextra: 1\n").expect("written");
    let path = file.to_str().expect("text");
    check(
        &["--config", path, "check"],
        2,
        &["1:15", "2:9", "3:1", "observe, approve, auto"],
    );
}

#[test]
fn bad_signature_files_are_reported_all_at_once_with_places() {
    let dir = tempfile::tempdir().expect("dir");
    std::fs::write(dir.path().join("a.yaml"), "id: Not Kebab\nseverity: bad\n").expect("written");
    std::fs::write(dir.path().join("b.yaml"), "id: [\n").expect("written");
    let path = dir.path().to_str().expect("text");
    check(
        &["signature", "lint", path],
        2,
        &["a.yaml:1:5", "a.yaml:2:11", "needs `title`", "b.yaml:"],
    );
}

/// A signature that is right, for tables that break it in one place.
const GOOD: &str = "\
id: made-up
title: Something
severity: low
subsystem: kernel
explain: text
when: signal(\"os.id\") == \"x\"
for: 2 checks
suggest: look
cases:
  - { name: a, given: { os.id: [x, x] }, expect: present }
";

#[test]
fn every_way_to_break_a_signature_is_refused_with_a_remedy() {
    let table: &[(&str, &str, &str)] = &[
        ("id: made-up", "id: Made", "lower-case"),
        ("id: made-up", "idd: made-up", "did you mean `id`"),
        (
            "severity: low",
            "severity: urgent",
            "critical, high, medium, low",
        ),
        ("severity: low", "severity: 3", "expected text"),
        ("title: Something\n", "", "needs `title`"),
        (
            "signal(\"os.id\") == \"x\"",
            "signal(\"os.di\") == \"x\"",
            "did you mean `os.id`",
        ),
        ("signal(\"os.id\") == \"x\"", "signal(os.id)", "is asked as"),
        (
            "signal(\"os.id\") == \"x\"",
            "signal(\"os.id\" ==",
            "not CEL",
        ),
        (
            "signal(\"os.id\") == \"x\"",
            "siganl(\"os.id\") == \"x\"",
            "did you mean `signal`",
        ),
        (
            "signal(\"os.id\") == \"x\"",
            "lines(\"log\", \"5m\") > 1",
            "add it under `logs:`",
        ),
        (
            "signal(\"os.id\") == \"x\"",
            "verdict(\"nope\") == \"present\"",
            "no signature `nope`",
        ),
        (
            "signal(\"os.id\") == \"x\"",
            "new_failed_units() > 0",
            "playbooks only",
        ),
        (
            "signal(\"os.id\") == \"x\"",
            "signal(\"fs.readonly\")",
            "write `fs.readonly[NAME]`",
        ),
        (
            "signal(\"os.id\") == \"x\"",
            "signal(\"os.id[x]\") == \"x\"",
            "leave out the brackets",
        ),
        ("for: 2 checks", "for: 2 times", "no hold"),
        ("for: 2 checks", "for: 0 checks", "no hold"),
        ("for: 2 checks", "clearFor: -1s", "no hold"),
        (
            "for: 2 checks",
            "each: nothing",
            "neither a signal with subjects",
        ),
        ("for: 2 checks", "count: 3 in 5m", "exclude each other"),
        (
            "for: 2 checks",
            "log: { source: kernel, pattern: '(' }",
            "no pattern",
        ),
        (
            "for: 2 checks",
            "log: { source: dmesg, pattern: 'x' }",
            "kernel, journal",
        ),
        (
            "for: 2 checks",
            "log: { source: kernel, pattern: '' }",
            "1 to",
        ),
        (
            "for: 2 checks",
            "condition: { type: lower, reason: X }",
            "PascalCase",
        ),
        (
            "for: 2 checks",
            "evidence: ['{{ signal(\"os.id\") ']",
            "no `}}`",
        ),
        ("for: 2 checks", "hides: made-up", "must be a list"),
        ("for: 2 checks", "hides: [made-up]", "hide itself"),
        (
            "expect: present",
            "expect: maybe",
            "present, absent, unknown",
        ),
        (", expect: present", "", "needs `expect`"),
        ("[x, x]", "[1, 2]", "wrong form"),
        ("os.id: [x, x]", "os.idd: [x]", "no signal `os.idd`"),
        (
            "cases:\n  - { name: a, given: { os.id: [x, x] }, expect: present }",
            "cases: []",
            "at least one test case",
        ),
    ];
    let dir = tempfile::tempdir().expect("dir");
    let file = dir.path().join("made-up.yaml");
    let path = file.to_str().expect("text");
    std::fs::write(&file, GOOD).expect("written");
    check(&["signature", "lint", path], 0, &["nothing wrong"]);
    check(&["signature", "test", path], 0, &["1 passed"]);
    for (from, to, part) in table {
        let broken = GOOD.replacen(from, to, 1);
        assert_ne!(broken, GOOD, "{from} is in the text");
        std::fs::write(&file, broken).expect("written");
        check(&["signature", "lint", path], 2, &["made-up.yaml", part]);
    }
}

#[test]
fn a_failing_case_is_code_1_and_says_what_came_out() {
    let dir = tempfile::tempdir().expect("dir");
    let file = dir.path().join("s.yaml");
    std::fs::write(&file, GOOD.replace("expect: present", "expect: absent")).expect("written");
    check(
        &["signature", "test", file.to_str().expect("text")],
        1,
        &["expected absent, got present"],
    );
}

#[test]
fn check_judges_a_machine_whose_files_are_somewhere_else() {
    let dir = tempfile::tempdir().expect("dir");
    let output = nodemend(&[
        "--root",
        dir.path().to_str().expect("text"),
        "--output",
        "json",
        "check",
    ]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(
        report["results"]
            .as_array()
            .is_some_and(|rows| rows.len() >= 10),
        "{report}"
    );
    assert!(
        !report["results"].to_string().contains("\"present\""),
        "an empty root has no faults: {report}"
    );
}

#[test]
fn json_lists_are_json() {
    for args in [
        &["signature", "list"][..],
        &["signature", "signals"],
        &["signature", "test"],
        &["playbook", "list"],
    ] {
        let mut all = vec!["--output", "json"];
        all.extend(args);
        let output = nodemend(&all);
        let value: Result<serde_json::Value, _> = serde_json::from_slice(&output.stdout);
        assert!(value.is_ok(), "{args:?}: {}", text(&output.stdout));
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let script = format!(
        "{} signature list | head -1",
        env!("CARGO_BIN_EXE_nodemend")
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .output()
        .expect("runs");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        text(&output.stderr)
    );
}
