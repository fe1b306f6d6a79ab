//! Rules and dashboards under `manifests/`, with Prometheus' own tool (Debian's package `prometheus`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use nodemend::collectors::TABLE;
use nodemend::report::metrics::{FAMILIES, WAITS};
use nodemend::scrape::{page, process};
use regex::Regex;

const RULES: [&str; 2] = [
    "manifests/rules/recording.yaml",
    "manifests/rules/alerts.yaml",
];
const TESTS: [&str; 2] = [
    "tests/rules/recording_test.yaml",
    "tests/rules/alerts_test.yaml",
];
const DASHBOARD: &str = "manifests/dashboards/nodes.json";

fn path(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(below)
}

fn text(below: &str) -> String {
    std::fs::read_to_string(path(below)).unwrap()
}

fn promtool(words: &[&str], files: &[PathBuf]) {
    let output = Command::new("promtool")
        .args(words)
        .args(files)
        .output()
        .expect("promtool of the package prometheus");
    assert!(
        output.status.success(),
        "promtool {words:?}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The expressions of a dashboard's panels, with its variables filled in.
pub fn queries() -> Vec<String> {
    let board: serde_json::Value = serde_json::from_str(&text(DASHBOARD)).unwrap();
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array());
    targets
        .flatten()
        .map(|target| target["expr"].as_str().unwrap().replace("$instance", ".*"))
        .collect()
}

/// The names of metrics in expressions: words with our prefixes or a recorded name's colons.
fn names(text: &str) -> BTreeSet<String> {
    let word = Regex::new(r"\b(?:node_|nodemend_|instance(?:_device)?:)[A-Za-z0-9_:]+").unwrap();
    word.find_iter(text)
        .map(|found| found.as_str().to_owned())
        .collect()
}

/// Every family there is, and every name that a rule records.
fn known() -> Vec<Regex> {
    let collected = TABLE.iter().flat_map(|entry| entry.families);
    let collected = collected
        .chain(&page::FAMILIES)
        .chain(&process::FAMILIES)
        .map(|family| family.name);
    let own = FAMILIES.iter().map(|family| family.name);
    let hole = Regex::new("<[^>]*>").unwrap();
    let pattern = |name: &str| {
        let name = hole.replace_all(name, ".+");
        Regex::new(&format!("^{name}$")).unwrap()
    };
    let record = Regex::new(r"record: (\S+)").unwrap();
    let rules = text(RULES[0]);
    let recorded = record.captures_iter(&rules);
    let recorded = recorded.map(|found| pattern(&found[1]));
    collected.chain(own).map(pattern).chain(recorded).collect()
}

#[test]
fn rules_are_sound_and_pass_their_unit_tests() {
    promtool(&["check", "rules"], &RULES.map(path));
    promtool(&["test", "rules"], &TESTS.map(path));
}

/// The rules of the Prometheus operator's object, with the tests beside them, as promtool wants to have them.
#[test]
fn rules_of_the_cluster_are_sound_and_pass_their_unit_tests() {
    let object = text("manifests/components/prometheus-operator/rules.yaml");
    let object: serde_json::Value = serde_saphyr::from_str(&object).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (rules, tests) = (dir.path().join("rules.yaml"), dir.path().join("tests.yaml"));
    std::fs::write(&rules, object["spec"].to_string()).unwrap();
    let cases = text("tests/rules/cluster_test.yaml");
    std::fs::write(&tests, &cases).unwrap();
    promtool(&["check", "rules"], &[rules]);
    promtool(&["test", "rules"], &[tests]);
    // A label that no series has makes an alert that never fires.
    let label = Regex::new(r#"\b(?:gate|reason|state|mode)="([^"]+)""#).unwrap();
    let known = known();
    let groups = object["spec"]["groups"].as_array().unwrap().iter();
    for rule in groups.flat_map(|group| group["rules"].as_array().unwrap()) {
        let alert = rule["alert"].as_str().unwrap();
        let fires = format!("- alertname: {alert}\n");
        assert!(cases.contains(&fires), "{alert}");
        let expression = rule["expr"].as_str().unwrap();
        for name in names(expression) {
            let is_known = known.iter().any(|known| known.is_match(&name));
            assert!(is_known, "{alert}: {name}");
        }
        for found in label.captures_iter(expression) {
            let word = &found[1];
            assert!(WAITS.contains(&word), "{alert}: nothing has {word}");
        }
    }
}

#[test]
fn every_alert_has_a_unit_test_that_fires_it() {
    let (alerts, tests) = (text(RULES[1]), text(TESTS[1]));
    let alert = Regex::new(r"- alert: (\w+)").unwrap();
    let mut count = 0;
    for found in alert.captures_iter(&alerts) {
        let fires = format!("- alertname: {}\n", &found[1]);
        assert!(tests.contains(&fires), "{}", &found[1]);
        count += 1;
    }
    assert!(count > 10);
}

#[test]
fn queries_of_the_dashboard_are_sound() {
    let queries = queries();
    assert!(queries.len() > 20);
    let rules: Vec<serde_json::Value> = queries
        .iter()
        .enumerate()
        .map(|(at, query)| serde_json::json!({"record": format!("q:{at}"), "expr": query}))
        .collect();
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    // JSON is YAML, so the file needs no writer of its own.
    let document = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    std::fs::write(file.path(), document.to_string()).unwrap();
    promtool(&["check", "rules"], &[file.path().to_path_buf()]);
}

#[test]
fn rules_and_dashboard_ask_for_families_that_there_are() {
    let known = known();
    let rule = Regex::new(r"(?s)expr: (.*?)(?:\n\s+(?:for|labels|- record|- alert)|$)").unwrap();
    let mut asked: BTreeSet<String> = queries().iter().flat_map(|query| names(query)).collect();
    for file in RULES {
        for found in rule.captures_iter(&text(file)) {
            asked.extend(names(&found[1]));
        }
    }
    let missing: Vec<_> = asked
        .iter()
        .filter(|name| !known.iter().any(|known| known.is_match(name)))
        .collect();
    assert!(asked.len() > 30 && missing.is_empty(), "{missing:?}");
}
