//! The comparison with node_exporter and the table of known differences.

use std::fs;

use super::page::{differences, parse};
use super::{ours, theirs, tree};

/// What is not compared: durations differ from run to run, and node_exporter has no such family.
const OWN: [&str; 2] = [
    "node_scrape_collector_duration_seconds",
    "nodemend_scrape_stuck_threads",
];

/// A difference by the beginning of its line, and its reason.
type Known = (&'static str, &'static str);

/// Differences from node_exporter 1.12.1.
const KNOWN_1_12: [Known; 0] = [];

/// Differences from node_exporter 1.5.0, Debian 12's.
const KNOWN_1_5: [Known; 0] = [];

/// Every difference is in the table, and every line of the table is a difference.
fn check(theirs: &str, ours: &str, known: &[Known]) {
    let (theirs, ours) = (parse(theirs), parse(ours));
    let mut used = vec![false; known.len()];
    let mut unknown = Vec::new();
    for line in differences(&theirs, &ours) {
        if OWN.iter().any(|own| line.starts_with(own)) {
            continue;
        }
        match known.iter().position(|(start, _)| line.starts_with(start)) {
            Some(at) => used[at] = true,
            None => unknown.push(line),
        }
    }
    assert!(
        unknown.is_empty(),
        "{} unknown differences (theirs, ours):\n{}",
        unknown.len(),
        unknown.join("\n")
    );
    for ((start, reason), used) in known.iter().zip(used) {
        assert!(used, "no longer differs: {start} ({reason})");
    }
}

#[test]
fn families_equal_those_of_node_exporter_1_12_1() {
    let root = tree::unpacked();
    let theirs = fs::read_to_string(tree::fixtures().join("expected-1.12.1.prom")).unwrap();
    check(
        &theirs,
        &ours::text(root.path(), &ours::COLLECTORS),
        &KNOWN_1_12,
    );
}

#[test]
fn families_equal_those_of_debians_node_exporter() {
    let root = tree::unpacked();
    check(
        &theirs::text(root.path(), &ours::COLLECTORS),
        &ours::text(root.path(), &ours::COLLECTORS),
        &KNOWN_1_5,
    );
}
