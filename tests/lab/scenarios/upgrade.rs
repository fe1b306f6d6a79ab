//! A node whose systemd is really older than the archive's.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::ends_well;
use crate::agent::{self, Agent, Mode};
use crate::node::Node;
use crate::playbook::Edited;
use crate::root;
use crate::wait::{eventually, so};

const UPGRADE_LIMIT: Duration = Duration::from_secs(120);

fn installed(node: &Node) -> Result<String> {
    node.run(&["dpkg-query", "--show", "--showformat=${Version}", "systemd"])?
        .ok()
}

#[test]
fn outdated_systemd_is_upgraded_to_the_archives_version_and_pid_1_runs_it() -> Result<()> {
    let outdated = root::outdated()?;
    let node = agent::plan("scenario_upgrade")?.on(outdated.root).boot()?;
    // Debian 12 has no version that the tables call at risk: the lab's version of the playbook does not ask for one.
    let upgrade = Edited {
        id: "systemd-upgrade",
        edits: &[
            (
                r#"requires: 'verdict("systemd-version-at-risk") == "present" || verdict("systemd-outdated-flapping") == "present"'"#,
                r#"requires: 'signal("systemd.bus.manager.answers")'"#,
            ),
            (r#"verdict("systemd-version-at-risk") == "absent" && "#, ""),
        ],
    };
    let agent = Agent::launch_with(&node, Mode::Auto, &[upgrade])?;
    ensure!(installed(&node)? == outdated.installed);

    let rehearsed = agent.cli(&[
        "playbook",
        "run",
        "systemd-upgrade",
        "--subject",
        "systemd",
        "--dry-run",
    ])?;
    ensure!(
        rehearsed.clone().ok()?.contains(&outdated.candidate),
        "{rehearsed:?}"
    );
    ensure!(
        installed(&node)? == outdated.installed,
        "the dry run installed something"
    );

    agent
        .cli(&["playbook", "run", "systemd-upgrade", "--subject", "systemd"])?
        .ok()?;
    eventually("the archive's version", UPGRADE_LIMIT, || {
        let version = installed(&node)?;
        so(version == outdated.candidate, || version)
    })?;
    let exe = std::fs::read_link(format!("/proc/{}/exe", node.leader()?))?;
    ensure!(
        !exe.to_string_lossy().contains("deleted"),
        "PID 1 still runs {}",
        exe.display()
    );
    ends_well(&node, &agent)
}
