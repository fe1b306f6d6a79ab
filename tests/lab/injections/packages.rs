//! A node with a really outdated systemd: the archive's older version installed, the newer one on offer.

use anyhow::{Result, ensure};

use super::heals;
use crate::node::Plan;
use crate::root;

#[test]
fn outdated_systemd_has_a_candidate_that_installs_without_a_network() -> Result<()> {
    let outdated = root::outdated()?;
    let node = Plan::new("outdated_systemd")?.on(outdated.root).boot()?;
    let version = || {
        node.run(&["dpkg-query", "--show", "--showformat=${Version}", "systemd"])?
            .ok()
    };
    ensure!(version()? == outdated.installed);
    let policy = node.run(&["apt-cache", "policy", "systemd"])?.ok()?;
    ensure!(
        policy.contains(&format!("Candidate: {}", outdated.candidate)),
        "{policy}"
    );

    node.run(&[
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "-y",
        "dist-upgrade",
    ])?
    .ok()?;
    ensure!(version()? == outdated.candidate);
    heals(&node)
}
