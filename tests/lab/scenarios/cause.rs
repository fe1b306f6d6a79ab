//! A cause hides its symptom: the symptom's case stays visible, and nothing is done about it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{closed, ends_well, opened};
use crate::agent::{self, Agent, Mode};
use crate::inject::process::Stopped;
use crate::inject::units::CrashLoop;
use crate::wait::{eventually, so};

const SYMPTOM: &str = "systemd-unit-crashloop";
const CAUSE: &str = "systemd-pid1-frozen";

#[test]
fn frozen_manager_hides_the_crash_loop_under_it() -> Result<()> {
    let node = agent::plan("cause_hides")?.boot()?;
    let agent = Agent::launch(&node, Mode::Auto)?;
    let crashing = CrashLoop::on(&node)?;
    let symptom = opened(&agent, SYMPTOM)?;
    let symptom = symptom.case.context("a case without a number")?;

    let frozen = Stopped::manager(&node)?;
    let cause = opened(&agent, CAUSE)?
        .case
        .context("a case without a number")?;
    eventually(
        "the symptom explained by its cause",
        Duration::from_secs(30),
        || {
            let explained = agent.cli(&["explain", &symptom])?;
            let text = format!("{}{}", explained.stdout, explained.stderr);
            so(text.contains(&cause) || text.contains(CAUSE), || text)
        },
    )?;
    let explained = agent.cli(&["explain", &cause])?.stdout;
    ensure!(
        explained.contains(SYMPTOM),
        "the cause does not name what it hides: {explained}"
    );
    agent.story()?.has_no_run()?;

    drop(frozen);
    closed(&agent, CAUSE)?;
    crashing.repair()?;
    drop(crashing);
    ends_well(&node, &agent)
}
