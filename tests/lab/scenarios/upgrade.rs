//! A node whose systemd is really older than the archive's.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::ends_well;
use crate::agent::{self, Agent, Mode};
use crate::node::Node;
use crate::playbook::Edited;
use crate::root;

/// Packages are read once a minute, before and after; the upgrade itself takes 10 s.
const UPGRADE_LIMIT: Duration = Duration::from_secs(180);

/// Present where the installed systemd is not the archive's newest one. Two checks, so that no run begins before the probes of
/// units have looked: one that does never learns how many units had failed before, and its soak never holds.
const SIGNATURE: &str = r#"
id: lab-systemd-outdated
title: The archive has a newer systemd
severity: medium
subsystem: systemd
explain: The lab's stand-in for a version at risk.
when: 'signal("package.version[systemd]") != "CANDIDATE"'
for: 2 checks
clearFor: 1 check
evidence: ['systemd {{ signal("package.version[systemd]") }}']
suggest: Upgrade it.
mend: systemd-upgrade
example: "systemd 252.38-1~deb12u1"
falsePositives: ["none: the lab installed it"]
references: ["tests/lab/scenarios/upgrade.rs"]
cases:
  - name: an older version
    given: { package.version: { systemd: ["1", "1"] } }
    expect: present
  - name: the newest
    given: { package.version: { systemd: ["CANDIDATE"] } }
    expect: absent
  - name: nobody knows
    given: { package.version: { systemd: [missing] } }
    expect: unknown
"#;

fn installed(node: &Node) -> Result<String> {
    node.run(&["dpkg-query", "--show", "--showformat=${Version}", "systemd"])?
        .ok()
}

#[test]
fn outdated_systemd_is_upgraded_to_the_archives_version_and_pid_1_runs_it() -> Result<()> {
    let outdated = root::outdated()?;
    let node = agent::plan("scenario_upgrade")?.on(outdated.root).boot()?;
    // Debian 12 has no version that the shipped tables call at risk: here the lab's own signature does.
    let signature = SIGNATURE.replace("CANDIDATE", &outdated.candidate);
    node.write(
        "/etc/nodemend/signatures/lab-systemd-outdated.yaml",
        &signature,
    )?;
    let upgrade = Edited {
        id: "systemd-upgrade",
        edits: &[
            (
                r#"verdict("systemd-version-at-risk") == "present" || verdict("systemd-outdated-flapping") == "present""#,
                r#"verdict("lab-systemd-outdated") == "present""#,
            ),
            (
                r#"verdict("systemd-version-at-risk") == "absent""#,
                r#"verdict("lab-systemd-outdated") == "absent""#,
            ),
        ],
    };
    ensure!(installed(&node)? == outdated.installed);
    let signatures = "signatures: { dir: /etc/nodemend/signatures }\n";
    let agent = Agent::launch_told(&node, Mode::Auto, &[upgrade], signatures)?;
    agent.told("a case of the outdated package", UPGRADE_LIMIT, |record| {
        record.is("case-opened", "lab-systemd-outdated")
    })?;
    agent.told("the upgrade's end", UPGRADE_LIMIT, |record| {
        record.is("run-closed", "lab-systemd-outdated")
    })?;
    let story = agent.story()?;
    ensure!(
        installed(&node)? == outdated.candidate,
        "still {}:\n{story}",
        installed(&node)?
    );
    let exe = std::fs::read_link(format!("/proc/{}/exe", node.leader()?))?;
    ensure!(
        !exe.to_string_lossy().contains("deleted"),
        "PID 1 still runs {}",
        exe.display()
    );
    agent.told("the end of the case", UPGRADE_LIMIT, |record| {
        record.is("case-closed", "lab-systemd-outdated")
    })?;
    ends_well(&node, &agent)
}
