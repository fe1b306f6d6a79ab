//! `nodemend simulate` as people use it: the scenarios that come with it, machine output, and bad files.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn simulate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nodemend"))
        .arg("simulate")
        .args(args)
        .output()
        .expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn scenario(name: &str) -> String {
    let path = Path::new(ROOT).join("manifests/scenarios").join(name);
    path.display().to_string()
}

fn written(folder: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = folder.path().join("s.yaml");
    std::fs::write(&path, text).expect("writes");
    path
}

const SMALL: &str = "
name: small
lasts: 40m
startup: 10s
nodes: {count: 4}
limits: {cluster: 1}
sick: [{at: 5m, signature: systemd-bus-unresponsive, count: 3}]
runs: {step: 10s, soak: 1m}
";

#[test]
fn a_seed_gives_the_same_document_twice_and_says_what_happened() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = written(&folder, SMALL).display().to_string();
    let play = |seed: &str| {
        let output = simulate(&[&path, "--seed", seed, "--output", "json"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "");
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    let (first, second, other) = (play("5"), play("5"), play("6"));
    assert_eq!(first, second);
    assert_ne!(first["digest"], other["digest"]);
    assert_eq!(first["healed"], 3);
    assert_eq!(first["most_disrupted"]["cluster"], 1);
    assert_eq!(first["breach"], Value::Null);
}

#[test]
fn people_are_told_what_the_storm_did() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = written(&folder, SMALL).display().to_string();
    let output = simulate(&[&path]);
    let said = text(&output.stdout);
    for part in [
        "small: 4 nodes, 40 min played, seed 1",
        "3 fell ill, 3 well again, 0 left ill",
        "  cluster                                          1      1",
        "API requests a minute",
        "every invariant held",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    let output = simulate(&[&path, "--seeds", "1..3"]);
    assert!(text(&output.stdout).contains("small: 3 seeds"));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_bad_file_is_code_2_with_all_its_mistakes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = written(
        &folder,
        "name: x\nlimits: {clutser: 1}\nnodes: {count: 0}\n",
    );
    let output = simulate(&[&path.display().to_string()]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    for part in [
        "s.yaml:2:",
        "did you mean `cluster`?",
        "needs `lasts`",
        "`count` must be",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    let large = folder.path().join("large.yaml");
    std::fs::write(&large, vec![b'#'; 10 << 20]).expect("writes");
    let binary = folder.path().join("binary.yaml");
    std::fs::write(&binary, [0xff, 0xfe, 0x00]).expect("writes");
    let empty = folder.path().join("empty.yaml");
    std::fs::write(&empty, "").expect("writes");
    for (path, part) in [
        (&large, "10485760 bytes are more than the 1048576"),
        (&binary, "is no text"),
        (&empty, "there is nothing in this file"),
        (&folder.path().to_owned(), "cannot be read"),
    ] {
        let output = simulate(&[&path.display().to_string()]);
        assert_eq!(output.status.code(), Some(2));
        let said = text(&output.stderr);
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    for args in [
        &["/nonexistent.yaml"][..],
        &[&scenario("storm.yaml"), "--seeds", "9..1"],
    ] {
        assert_eq!(simulate(args).status.code(), Some(2), "{args:?}");
    }
}
