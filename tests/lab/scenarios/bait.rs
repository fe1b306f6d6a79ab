//! What looks like a silent PID 1 and is not: none of it may get the flagship's mend.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{REEXEC, SILENT_BUS, closed, ends_well, opened};
use crate::agent::{self, Agent, Mode};
use crate::inject::process::{Slow, Stopped};
use crate::inject::units::{StoppedBus, restart_bus};
use crate::node::Node;
use crate::wait::throughout;

/// Longer than the flagship's hold: three checks with their deadlines.
const LONG_ENOUGH: Duration = Duration::from_secs(60);

/// Neither the flagship's case nor its playbook.
fn is_left_alone(agent: &Agent<'_>) -> Result<()> {
    let story = agent.story()?;
    ensure!(
        story.count("case-opened", SILENT_BUS) == 0,
        "taken for a silent bus:\n{story}"
    );
    let run = story
        .records
        .iter()
        .find(|record| record.kind == "run-opened" && record.playbook.as_deref() == Some(REEXEC));
    ensure!(run.is_none(), "mended by {REEXEC}:\n{story}");
    Ok(())
}

fn auto(name: &str) -> Result<Node> {
    agent::plan(name)?.boot()
}

#[test]
fn slow_but_living_bus_is_no_case() -> Result<()> {
    let node = auto("bait_slow")?;
    let agent = Agent::launch(&node, Mode::Auto)?;
    let slow = Slow::manager(
        &node,
        Duration::from_millis(2000),
        Duration::from_millis(200),
    )?;
    throughout("a slow bus", LONG_ENOUGH, || is_left_alone(&agent))?;
    drop(slow);
    agent.story()?.has_no_run()?;
    ends_well(&node, &agent)
}

#[test]
fn restarted_bus_is_no_case() -> Result<()> {
    let node = auto("bait_restart")?;
    let agent = Agent::launch(&node, Mode::Auto)?;
    restart_bus(&node)?;
    throughout("a restarted bus", LONG_ENOUGH, || is_left_alone(&agent))?;
    agent.story()?.has_no_run()?;
    ends_well(&node, &agent)
}

#[test]
fn frozen_manager_is_its_own_case_and_closes_when_it_thaws() -> Result<()> {
    let node = auto("bait_frozen")?;
    let agent = Agent::launch(&node, Mode::Auto)?;
    let frozen = Stopped::manager(&node)?;
    opened(&agent, "systemd-pid1-frozen")?;
    is_left_alone(&agent)?;
    drop(frozen);
    closed(&agent, "systemd-pid1-frozen")?;
    is_left_alone(&agent)?;
    ends_well(&node, &agent)
}

#[test]
fn stopped_bus_unit_is_its_own_case_and_closes_when_it_starts() -> Result<()> {
    let node = auto("bait_dead_unit")?;
    let agent = Agent::launch(&node, Mode::Auto)?;
    let stopped = StoppedBus::on(&node)?;
    opened(&agent, "dbus-daemon-dead")?;
    is_left_alone(&agent)?;
    drop(stopped);
    closed(&agent, "dbus-daemon-dead")?;
    is_left_alone(&agent)?;
    ends_well(&node, &agent)
}

#[test]
fn stopped_bus_daemon_is_its_own_case_and_closes_when_it_goes_on() -> Result<()> {
    let node = auto("bait_stopped_daemon")?;
    let agent = Agent::launch(&node, Mode::Auto)?;
    let stopped = Stopped::bus_daemon(&node)?;
    opened(&agent, "dbus-daemon-dead")?;
    is_left_alone(&agent)?;
    drop(stopped);
    closed(&agent, "dbus-daemon-dead")?;
    is_left_alone(&agent)?;
    ends_well(&node, &agent)
}
