//! The agent dies in the middle of a mend: at every boundary of the run, by a restart, by a power cut.
//!
//! Whatever happens, the run comes to an end that is written down, no step that had begun is blindly done again,
//! and the audit log stays whole (safety.md, section 4; I8, I9).

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};

use super::{MEND_LIMIT, REEXEC, SILENT_BUS, closed, ends_well, run_closed};
use crate::agent::{self, Agent, Mode, STATE};
use crate::bus::{Answer, ping_manager};
use crate::inject::bus_connection::MutedBus;
use crate::inject::process::main_process;
use crate::node::Node;
use crate::wait::{eventually_every, so};

/// Far below the time between two entries of the journal, which are synced to disk one by one.
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

/// The text of all journals of the executor.
pub fn journals(node: &Node) -> Result<String> {
    let mut text = String::new();
    let Ok(folder) = fs::read_dir(node.path(&format!("{STATE}/journal"))?) else {
        return Ok(text);
    };
    for entry in folder {
        // A torn line need not be text.
        text.push_str(&String::from_utf8_lossy(&fs::read(entry?.path())?));
    }
    Ok(text)
}

/// Kills the agent at the very moment that its journal holds `mark`.
fn kill_at(node: &Node, agent: &Agent<'_>, mark: &str) -> Result<()> {
    let pid = main_process(node, "nodemend.service")?;
    let what = format!("{mark} in the journal");
    eventually_every(BETWEEN_LOOKS, &what, 2 * MEND_LIMIT, || {
        let journals = journals(node)?;
        so(journals.contains(mark), || journals)
    })
    .with_context(|| {
        agent
            .story()
            .map_or_else(|error| format!("{error:#}"), |story| story.to_string())
    })?;
    kill(pid, Signal::SIGKILL).context("SIGKILL to the agent")?;
    agent.kill()
}

/// Mutes the bus, kills the agent at `mark`, starts it again, and sees the case through.
fn survives_a_kill_at(name: &str, mark: &str) -> Result<()> {
    let node = agent::plan(name)?.boot()?;
    let agent = Agent::launch(&node, Mode::Auto)?;
    let _muted = MutedBus::on(&node)?;
    kill_at(&node, &agent, mark)?;
    agent.start()?;

    run_closed(&agent, REEXEC)?;
    closed(&agent, SILENT_BUS)?;
    let story = agent.story()?;
    let healthy = matches!(
        ping_manager(&node, Duration::from_secs(2))?,
        Answer::Reply { .. }
    );
    ensure!(healthy, "the case closed on a silent bus:\n{story}");
    let journal = journals(&node)?;
    let began = journal.matches(r#""entry":"began","step":0"#).count();
    // Begun twice only if the journal says that the first time left no trace.
    let not_applied = journal.matches(r#""entry":"not-applied","step":0"#).count();
    ensure!(
        began <= 1 + not_applied,
        "step 0 was blindly repeated:\n{journal}"
    );
    ends_well(&node, &agent)
}

#[test]
fn killed_when_the_run_opened_it_goes_on() -> Result<()> {
    survives_a_kill_at("crash_opened", r#""entry":"opened""#)
}

#[test]
fn killed_when_the_step_began_it_is_not_blindly_repeated() -> Result<()> {
    survives_a_kill_at("crash_began", r#""entry":"began","step":0"#)
}

#[test]
fn killed_when_the_step_was_applied_it_is_verified_first() -> Result<()> {
    survives_a_kill_at("crash_applied", r#""entry":"applied","step":0"#)
}

#[test]
fn killed_when_the_step_was_verified_it_goes_on_with_the_next() -> Result<()> {
    survives_a_kill_at("crash_verified", r#""entry":"verified","step":0"#)
}

#[test]
fn killed_in_the_second_step_it_goes_on() -> Result<()> {
    survives_a_kill_at("crash_second", r#""entry":"began","step":1"#)
}

#[test]
fn killed_when_the_soak_held_it_closes_the_run_after_the_restart() -> Result<()> {
    survives_a_kill_at("crash_soaked", r#""entry":"soaked""#)
}

#[test]
fn killed_when_the_run_closed_nothing_is_done_again() -> Result<()> {
    survives_a_kill_at("crash_closed", r#""entry":"closed""#)
}

#[test]
fn orderly_restart_in_the_middle_of_a_run_goes_on() -> Result<()> {
    let node = agent::plan("restart_mid_run")?.boot()?;
    let agent = Agent::launch(&node, Mode::Auto)?;
    let _muted = MutedBus::on(&node)?;
    agent.told("a verified step", 2 * MEND_LIMIT, |record| {
        record.is("step-verified", SILENT_BUS)
    })?;
    agent.stop()?;
    agent.start()?;
    run_closed(&agent, REEXEC)?;
    closed(&agent, SILENT_BUS)?;
    ends_well(&node, &agent)
}

#[test]
fn power_cut_in_the_middle_of_a_step_does_not_repeat_it_after_the_boot() -> Result<()> {
    let mut node = agent::plan("power_cut_mid_run")?.boot()?;
    let agent = Agent::launch(&node, Mode::Auto)?;
    let muted = MutedBus::on(&node)?;
    kill_at(&node, &agent, r#""entry":"began","step":0"#)?;
    muted.release();
    node.power_cut()?;
    node.power_on()?;

    let agent = Agent::of(&node);
    agent.start()?;
    run_closed(&agent, REEXEC)?;
    let story = agent.story()?;
    ensure!(
        story.runs(SILENT_BUS).len() == 1,
        "old evidence acted again:\n{story}"
    );
    let began = journals(&node)?
        .matches(r#""entry":"began","step":0"#)
        .count();
    ensure!(
        began == 1,
        "the step was done again after the boot:\n{story}"
    );
    ends_well(&node, &agent)
}
