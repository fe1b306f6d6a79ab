//! `nodemend check` on a real node: one look, no agent, the flagship told from its siblings.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::SILENT_BUS;
use crate::agent::{self, Agent};
use crate::bus::{Answer, ping_manager};
use crate::inject::bus_connection::{MutedBus, close_bus};
use crate::inject::bus_policy::DeniedReplies;
use crate::inject::process::{Slow, Stopped};
use crate::inject::units::StoppedBus;
use crate::node::Node;
use crate::snapshot::Snapshot;
use crate::wait::{eventually, so};

/// What one look says about the flagship.
fn verdict(node: &Node) -> Result<Value> {
    let report = Agent::of(node).cli_json(&["check", SILENT_BUS])?;
    let results = report.get("results").and_then(Value::as_array);
    let row = results
        .into_iter()
        .flatten()
        .find(|row| row.get("signature") == Some(&SILENT_BUS.into()));
    row.cloned()
        .with_context(|| format!("{SILENT_BUS} is not in {report}"))
}

fn says(node: &Node, situation: &str, expected: &str) -> Result<()> {
    let row = verdict(node)?;
    ensure!(
        row.get("verdict") == Some(&expected.into()),
        "{situation}: expected {expected}, got {row}"
    );
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
    says(&node, "healthy", "absent")?;

    let muted = MutedBus::on(&node)?;
    says(&node, "muted bus", "present")?;
    let evidence = verdict(&node)?
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
    says(&node, "frozen PID 1", "absent")?;
    drop(frozen);
    answers_again(&node)?;

    let stopped = Stopped::bus_daemon(&node)?;
    says(&node, "stopped bus daemon", "absent")?;
    drop(stopped);

    let slow = Slow::manager(&node, Duration::from_secs(2), Duration::from_millis(200))?;
    says(&node, "slow PID 1", "absent")?;
    drop(slow);
    answers_again(&node)?;

    let stopped = StoppedBus::on(&node)?;
    says(&node, "no bus daemon", "absent")?;
    drop(stopped);
    answers_again(&node)?;

    let denied = DeniedReplies::on(&node)?;
    says(&node, "denied replies", "present")?;
    drop(denied);

    close_bus(&node)?;
    says(&node, "closed bus", "present")?;
    node.run(&["systemctl", "daemon-reexec"])?.ok()?;
    answers_again(&node)?;
    says(&node, "healthy again", "absent")
}
