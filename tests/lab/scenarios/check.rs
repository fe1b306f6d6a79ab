//! `nodemend check` on a real node: one look, no agent, the flagship told from its siblings.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::SILENT_BUS;
use crate::agent::{self, Agent};
use crate::bus::{Answer, ping_manager};
use crate::inject::bus_connection::MutedBus;
use crate::inject::bus_end::close_bus;
use crate::inject::bus_policy::DeniedReplies;
use crate::inject::filesystem::LoopExt4;
use crate::inject::process::{Slow, Stopped};
use crate::inject::sysctl::ChangedSysctl;
use crate::inject::units::StoppedBus;
use crate::node::Node;
use crate::snapshot::Snapshot;
use crate::wait::{eventually, so};

const FROZEN: &str = "systemd-pid1-frozen";
const BUS_DEAD: &str = "dbus-daemon-dead";

/// What one look says about a signature: all its rows, one a subject.
fn rows(node: &Node, signature: &str) -> Result<Vec<Value>> {
    let report = Agent::of(node).cli_json(&["check", signature])?;
    let results = report.get("results").and_then(Value::as_array);
    let mut rows = results.cloned().unwrap_or_default();
    rows.retain(|row| row.get("signature") == Some(&signature.into()));
    ensure!(!rows.is_empty(), "{signature} is not in {report}");
    Ok(rows)
}

/// The row for one subject (empty for the node) has this verdict.
fn judges(node: &Node, signature: &str, subject: &str, expected: &str) -> Result<Value> {
    let rows = rows(node, signature)?;
    // A signature that is absent for every subject has one row for all of them.
    let row_of = |wanted: &str| {
        rows.iter()
            .find(|row| row.get("subject") == Some(&wanted.into()))
    };
    let row = row_of(subject).or_else(|| row_of(""));
    let row = row.with_context(|| format!("{signature} has no row for {subject:?}: {rows:?}"))?;
    ensure!(
        row.get("verdict") == Some(&expected.into()),
        "expected {expected}: {row}"
    );
    Ok(row.clone())
}

/// The verdict about the flagship and its two siblings: exactly one of them may be present.
fn says(node: &Node, situation: &str, present: Option<&str>) -> Result<()> {
    for signature in [SILENT_BUS, FROZEN, BUS_DEAD] {
        let expected = if present == Some(signature) {
            "present"
        } else {
            "absent"
        };
        judges(node, signature, "", expected).with_context(|| situation.to_owned())?;
    }
    Ok(())
}

fn answers_again(node: &Node) -> Result<()> {
    eventually("an answer of PID 1", Duration::from_secs(10), || {
        let answer = ping_manager(node, Duration::from_secs(2))?;
        so(matches!(answer, Answer::Reply { .. }), || {
            format!("{answer:?}")
        })
    })
}

#[test]
fn check_tells_the_silent_bus_from_its_siblings_and_changes_nothing() -> Result<()> {
    let node = agent::plan("check_bus")?.boot()?;
    let before = Snapshot::of(&node)?;
    says(&node, "healthy", None)?;

    let muted = MutedBus::on(&node)?;
    says(&node, "muted bus", Some(SILENT_BUS))?;
    let row = judges(&node, SILENT_BUS, "", "present")?;
    let evidence = row
        .get("evidence")
        .map(Value::to_string)
        .unwrap_or_default();
    ensure!(
        evidence.contains("no answer within 5 s"),
        "evidence: {evidence}"
    );
    ensure!(
        evidence.contains("private socket answered"),
        "evidence: {evidence}"
    );
    muted.release();
    answers_again(&node)?;
    before.equals(&Snapshot::of(&node)?)?;

    let frozen = Stopped::manager(&node)?;
    says(&node, "frozen PID 1", Some(FROZEN))?;
    drop(frozen);
    answers_again(&node)?;

    let stopped = Stopped::bus_daemon(&node)?;
    says(&node, "stopped bus daemon", Some(BUS_DEAD))?;
    drop(stopped);

    let slow = Slow::manager(&node, Duration::from_secs(2), Duration::from_millis(200))?;
    says(&node, "slow PID 1", None)?;
    drop(slow);
    answers_again(&node)?;

    let stopped = StoppedBus::on(&node)?;
    says(&node, "no bus daemon", Some(BUS_DEAD))?;
    drop(stopped);
    answers_again(&node)?;

    let denied = DeniedReplies::on(&node)?;
    says(&node, "denied replies", Some(SILENT_BUS))?;
    drop(denied);

    close_bus(&node)?;
    says(&node, "closed bus", Some(SILENT_BUS))?;
    node.run(&["systemctl", "daemon-reexec"])?.ok()?;
    answers_again(&node)?;
    says(&node, "healthy again", None)
}

/// Declared by a file of the node, as an administrator of a Kubernetes node does.
const SETTING: &str = "net.ipv4.ip_forward";

#[test]
fn check_names_the_changed_setting_and_the_broken_mount() -> Result<()> {
    let mut node = agent::plan("check_machine")?.build()?;
    node.write("/etc/sysctl.d/90-lab.conf", &format!("{SETTING} = 1\n"))?;
    node.power_on()?;
    judges(&node, "kernel-sysctl-drift", SETTING, "absent")?;
    let drifted = ChangedSysctl::on(&node, SETTING, "0")?;
    judges(&node, "kernel-sysctl-drift", SETTING, "present")?;
    drop(drifted);
    judges(&node, "kernel-sysctl-drift", SETTING, "absent")?;

    let disk = LoopExt4::mount(&node, "/mnt")?;
    judges(&node, "fs-readonly", "/mnt", "absent")?;
    disk.hit_error()?;
    let row = judges(&node, "fs-readonly", "/mnt", "present")?;
    ensure!(row.to_string().contains("emergency_ro"), "{row}");
    Ok(())
}
