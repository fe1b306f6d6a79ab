//! The agent's own disk: full, its journal torn, its journal damaged. No step without a journal that can be trusted.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{MEND_LIMIT, REEXEC, SILENT_BUS, closed, ends_well, run_closed};
use crate::agent::{self, Agent, Mode, STATE};
use crate::bus::{Answer, ping_manager};
use crate::inject::bus_connection::MutedBus;
use crate::inject::filesystem::{FullDisk, small_disk};
use crate::node::Node;
use crate::wait::throughout;

/// Longer than the flagship's hold of three checks with their deadlines, and the gates.
const LONG_ENOUGH: Duration = Duration::from_secs(60);

fn is_silent(node: &Node) -> Result<bool> {
    Ok(ping_manager(node, Duration::from_secs(2))? == Answer::Silence)
}

#[test]
fn full_disk_stops_the_mend_before_its_first_step_and_space_lets_it_go_on() -> Result<()> {
    let node = agent::plan("full_disk")?.boot()?;
    small_disk(&node, STATE)?;
    let agent = Agent::launch(&node, Mode::Auto)?;
    let full = FullDisk::on(&node, STATE)?;
    let muted = MutedBus::on(&node)?;
    throughout("no step without a journal", LONG_ENOUGH, || {
        ensure!(
            agent.is_alive()?,
            "the agent ended: {}",
            agent.last_words()?
        );
        agent.story()?.has_no_run()
    })?;
    ensure!(is_silent(&node)?, "somebody mended it");
    ensure!(agent.metric("nodemend_audit_write_failures_total")? > 0.0);

    drop(full);
    // A journal that failed is never tried again in the same process.
    agent.stop()?;
    agent.start()?;
    closed(&agent, SILENT_BUS)?;
    muted.release();
    ends_well(&node, &agent)
}

/// The journal of the only run.
fn journal_file(node: &Node) -> Result<PathBuf> {
    let folder = node.path(&format!("{STATE}/journal"))?;
    let mut files: Vec<_> = Vec::new();
    for entry in fs::read_dir(folder)? {
        files.push(entry?.path());
    }
    files.retain(|file| {
        fs::read_to_string(file).is_ok_and(|text| text.contains(r#""entry":"opened""#))
    });
    ensure!(files.len() == 1, "expected one journal: {files:?}");
    files.pop().context("no journal")
}

/// A run that was interrupted after its first step, with the agent gone.
fn interrupted<'node>(node: &'node Node) -> Result<(Agent<'node>, MutedBus)> {
    let agent = Agent::launch(node, Mode::Auto)?;
    let muted = MutedBus::on(node)?;
    agent.told("an applied step", 2 * MEND_LIMIT, |record| {
        record.is("step-applied", SILENT_BUS)
    })?;
    agent.kill()?;
    Ok((agent, muted))
}

#[test]
fn torn_tail_of_the_journal_is_cut_and_the_run_comes_to_its_end() -> Result<()> {
    let node = agent::plan("torn_journal")?.boot()?;
    let (agent, _muted) = interrupted(&node)?;
    let file = journal_file(&node)?;
    let whole = fs::read(&file)?;
    let torn = whole
        .get(..whole.len().saturating_sub(20))
        .context("a journal of 20 bytes")?;
    fs::write(&file, torn)?;
    agent.start()?;
    run_closed(&agent, REEXEC)?;
    closed(&agent, SILENT_BUS)?;
    ends_well(&node, &agent)
}

#[test]
fn damaged_journal_stops_every_mend_until_a_person_looked() -> Result<()> {
    let node = agent::plan("damaged_journal")?.boot()?;
    let (agent, _) = interrupted(&node)?;
    let file = journal_file(&node)?;
    let mut bytes = fs::read(&file)?;
    // In the middle of the first line, so that it cannot be a torn tail.
    let byte = bytes.get_mut(100).context("a journal of 100 bytes")?;
    *byte ^= 1;
    fs::write(&file, &bytes)?;
    let muted_again = MutedBus::on(&node)?;
    let runs_before = agent.story()?.runs(SILENT_BUS).len();
    agent.start()?;
    throughout("no run on a damaged journal", LONG_ENOUGH, || {
        ensure!(
            agent.is_alive()?,
            "the agent ended: {}",
            agent.last_words()?
        );
        let story = agent.story()?;
        ensure!(
            story.runs(SILENT_BUS).len() == runs_before,
            "it acted:\n{story}"
        );
        Ok(())
    })?;
    ensure!(is_silent(&node)?, "somebody mended it");
    // What the agent says names the file, so that a person can look.
    let said = agent.last_words()?;
    ensure!(
        said.contains("journal"),
        "no word about the journal: {said}"
    );
    muted_again.release();
    agent.audit_is_whole()
}
