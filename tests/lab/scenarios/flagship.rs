//! The flagship: PID 1 silent on the bus.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{REEXEC, SILENT_BUS, closed, ends_well, opened, run_closed};
use crate::agent::{self, Agent, Mode};
use crate::bus::{Answer, ping_manager};
use crate::inject::bus_connection::MutedBus;
use crate::inject::bus_end::close_bus;
use crate::inject::bus_policy::DeniedReplies;
use crate::node::Node;
use crate::snapshot::{BUS_NAME, Snapshot};
use crate::wait::throughout;

const PATIENCE: Duration = Duration::from_secs(2);

/// Three checks, one every 10 s, and at most one period until the first; the last one waits for its deadline of 5 s. The
/// rest is for a busy machine.
const HOLD_AND_ONE_PERIOD: f64 = 10.0 + 2.0 * 10.0 + 5.0 + 5.0;

/// Seconds since boot, the clock of the audit log. (The machine's: a node has no uptime of its own.)
fn uptime(node: &Node) -> Result<f64> {
    let text = node.run(&["cat", "/proc/uptime"])?.ok()?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}

fn answers(node: &Node) -> Result<bool> {
    Ok(matches!(
        ping_manager(node, PATIENCE)?,
        Answer::Reply { .. }
    ))
}

#[test]
fn observe_mode_reports_a_muted_bus_and_changes_nothing() -> Result<()> {
    let node = agent::plan("flagship_observe")?.boot()?;
    let agent = Agent::launch(&node, Mode::Observe)?;
    let before = Snapshot::of(&node)?;
    let since = uptime(&node)?;
    let muted = MutedBus::on(&node)?;

    let case = opened(&agent, SILENT_BUS)?;
    let took = case.uptime_seconds - since;
    println!("muted bus to case opened: {took:.1} s");
    ensure!(took <= HOLD_AND_ONE_PERIOD, "opened only after {took:.1} s");
    let evidence = case.texts("evidence").join("\n");
    ensure!(
        evidence.contains("no answer within 5 s"),
        "evidence: {evidence}"
    );
    ensure!(
        evidence.contains("private socket answered"),
        "evidence: {evidence}"
    );
    let decided = agent.told("a decision", Duration::from_secs(5), |record| {
        record.is("decided", SILENT_BUS)
    })?;
    ensure!(
        decided.whole.get("decision").and_then(Value::as_str) == Some("observe"),
        "{decided:?}"
    );

    // It would have acted long ago in auto mode.
    throughout("observe mode", Duration::from_secs(5), || {
        agent.story()?.has_no_run()
    })?;
    ensure!(!answers(&node)?, "the bus answers: something mended it");
    before.equals(&Snapshot::of(&node)?)?;

    muted.release();
    closed(&agent, SILENT_BUS)?;
    agent.story()?.has_no_run()?;
    before.equals(&Snapshot::of(&node)?)?;
    ends_well(&node, &agent)
}

#[test]
fn auto_mode_mends_a_muted_bus_and_the_case_closes() -> Result<()> {
    let node = agent::plan("flagship_auto")?.boot()?;
    let agent = Agent::launch(&node, Mode::Auto)?;
    let before = Snapshot::of(&node)?;
    let muted = MutedBus::on(&node)?;

    opened(&agent, SILENT_BUS)?;
    run_closed(&agent, REEXEC)?;
    closed(&agent, SILENT_BUS)?;
    ensure!(answers(&node)?, "PID 1 is still silent");
    let story = agent.story()?;
    let at = |kind: &str| {
        story
            .first(kind, SILENT_BUS)
            .map(|record| record.uptime_seconds)
    };
    if let (Some(case), Some(step)) = (at("case-opened"), at("step-began")) {
        println!("case opened to first step: {:.0} ms", (step - case) * 1e3);
    }
    story.goes(
        SILENT_BUS,
        &[
            "case-opened",
            "decided",
            "run-opened",
            "step-began",
            "step-applied",
            "step-verified",
            "run-closed",
            "case-closed",
        ],
    )?;
    ensure!(
        story.runs(SILENT_BUS).len() == 1,
        "more than one run:\n{story}"
    );
    muted.release();
    // All that a mend leaves is a PID 1 that executed itself anew.
    before.equals_but(&[BUS_NAME], &Snapshot::of(&node)?)?;
    ends_well(&node, &agent)
}

#[test]
fn auto_mode_mends_a_closed_bus() -> Result<()> {
    let node = agent::plan("flagship_closed_bus")?.boot()?;
    let agent = Agent::launch(&node, Mode::Auto)?;
    close_bus(&node)?;
    opened(&agent, SILENT_BUS)?;
    closed(&agent, SILENT_BUS)?;
    ensure!(answers(&node)?, "PID 1 is still without its name");
    ends_well(&node, &agent)
}

#[test]
fn mend_that_does_not_help_ends_with_a_human_and_is_not_repeated() -> Result<()> {
    let node = agent::plan("flagship_denied")?.boot()?;
    let agent = Agent::launch(&node, Mode::Auto)?;
    let denied = DeniedReplies::on(&node)?;
    opened(&agent, SILENT_BUS)?;
    run_closed(&agent, REEXEC)?;
    agent.told("a call for a human", Duration::from_secs(30), |record| {
        let outcome = record.outcome.as_deref().unwrap_or_default();
        record.is("case-changed", SILENT_BUS) && outcome.ends_with("-> needs-human")
    })?;
    throughout("no second run", Duration::from_secs(20), || {
        let story = agent.story()?;
        ensure!(
            story.runs(SILENT_BUS).len() == 1,
            "it tried again:\n{story}"
        );
        Ok(())
    })?;
    drop(denied);
    ends_well(&node, &agent)
}
