//! Units, settings, filesystems: the other first signatures.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{MEND_LIMIT, closed, ends_well, opened};
use crate::agent::{self, Agent, Mode};
use crate::inject::filesystem::{Frozen, LoopExt4, let_hung_tasks_be_reported};
use crate::inject::sysctl;
use crate::inject::units::CrashLoop;
use crate::wait::{eventually, so};

/// Its case closes a quarter of an hour after the last restarts have left their window: too long for the lab, and
/// proved by the signature's own cases.
#[test]
fn crash_loop_opens_a_case_that_names_the_unit_and_is_left_to_people() -> Result<()> {
    let node = agent::plan("scenario_crash_loop")?.boot()?;
    let agent = Agent::launch(&node, Mode::Auto)?;
    let crashing = CrashLoop::on(&node)?;
    let case = opened(&agent, "systemd-unit-crashloop")?;
    ensure!(
        case.whole.to_string().contains(CrashLoop::UNIT),
        "the unit is not named: {case:?}"
    );
    agent.story()?.has_no_run()?;
    crashing.repair()?;
    drop(crashing);
    ends_well(&node, &agent)
}

/// Settings are read once a minute, and the case opens at the second reading that differs.
const DRIFT_LIMIT: Duration = Duration::from_secs(150);
/// A setting that the node's own files ask for, and that somebody changed.
const SETTING: &str = "net.ipv4.ip_forward";

#[test]
fn drifted_setting_is_restored_in_auto_mode() -> Result<()> {
    let mut node = agent::plan("scenario_sysctl")?.build()?;
    node.write("/etc/sysctl.d/90-lab.conf", &format!("{SETTING} = 1\n"))?;
    node.power_on()?;
    ensure!(
        sysctl::read(&node, SETTING)? == "1",
        "systemd-sysctl did not apply the file"
    );
    let agent = Agent::launch(&node, Mode::Auto)?;
    let drifted = sysctl::ChangedSysctl::on(&node, SETTING, "0")?;
    let case = agent.told("a case of the changed setting", DRIFT_LIMIT, |record| {
        record.is("case-opened", "kernel-sysctl-drift")
    })?;
    ensure!(
        case.whole.to_string().contains(SETTING),
        "the setting is not named: {case:?}"
    );
    eventually("the setting as its file says", MEND_LIMIT, || {
        let value = sysctl::read(&node, SETTING)?;
        so(value == "1", || format!("{SETTING} = {value}"))
    })?;
    closed(&agent, "kernel-sysctl-drift")?;
    drop(drifted);
    ends_well(&node, &agent)
}

#[test]
fn filesystem_that_hit_an_error_opens_a_case_for_its_mount() -> Result<()> {
    let node = agent::plan("scenario_fs_readonly")?.boot()?;
    let disk = LoopExt4::mount(&node, "/mnt")?;
    let agent = Agent::launch(&node, Mode::Auto)?;
    disk.hit_error()?;
    let case = opened(&agent, "fs-readonly")?;
    ensure!(
        case.whole.to_string().contains("/mnt"),
        "the mount is not named: {case:?}"
    );
    agent.story()?.has_no_run()?;
    ends_well(&node, &agent)
}

#[test]
fn hung_task_is_read_from_the_kernels_own_log() -> Result<()> {
    let node = agent::plan("scenario_hung_task")?
        .with_kernel_log()
        .boot()?;
    let disk = LoopExt4::mount(&node, "/mnt")?;
    let agent = Agent::launch(&node, Mode::Observe)?;
    let limit = let_hung_tasks_be_reported()?;
    let frozen = Frozen::on(&disk)?;
    let case = agent.told("a case of kernel-task-hung", limit, |record| {
        record.is("case-opened", "kernel-task-hung")
    })?;
    let evidence = case.texts("evidence").join("\n");
    ensure!(
        evidence.contains("blocked for more than") || evidence.contains("touch"),
        "{evidence}"
    );
    drop(frozen);
    agent.audit_is_whole().context("after a hung task")
}
