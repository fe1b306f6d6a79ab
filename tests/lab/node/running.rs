//! A node's processes while it has power: `unshare`, in whose PID namespace `systemd-nspawn` is the first process, in
//! whose PID namespace the node's systemd is. Killing nspawn therefore takes everything with it, at once.

use std::fs;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cgroup::NodeGroups;
use crate::wait::eventually;

/// systemd gives its units 90 s to stop; nothing in a lab node should need more than this.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(30);

/// The processes of a node, and its cgroups; dropped: killed.
#[derive(Debug)]
pub struct Running {
    unshare: Child,
    /// Dropped after the processes, so that they are empty.
    _groups: NodeGroups,
}

impl Running {
    pub fn new(unshare: Child, groups: NodeGroups) -> Self {
        Self {
            unshare,
            _groups: groups,
        }
    }

    /// The node's PID 1, as this machine sees it.
    pub fn leader(&self) -> Result<Pid> {
        let leader = only_child(self.nspawn()?).context("PID 1 has not started yet")?;
        // While it sets up, nspawn has a child that is not yet the node's PID 1.
        let status = fs::read_to_string(format!("/proc/{leader}/status"))?;
        let ids = status
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:"))
            .unwrap_or_default();
        let ids: Vec<_> = ids.split_whitespace().collect();
        // Its ids here, in nspawn's namespace, and in its own.
        ensure!(
            matches!(ids.as_slice(), [_, _, "1"]),
            "PID 1 has not started yet"
        );
        let name = fs::read_to_string(format!("/proc/{leader}/comm"))?;
        ensure!(name.trim() == "systemd", "PID 1 is still {}", name.trim());
        Ok(leader)
    }

    /// An orderly shutdown; a power cut if that takes too long, and an error.
    pub fn power_off(mut self) -> Result<()> {
        // nspawn passes SIGTERM on to systemd as its own signal for a shutdown.
        kill(self.nspawn()?, Signal::SIGTERM)?;
        eventually("power off", POWER_OFF_LIMIT, || {
            self.unshare
                .try_wait()?
                .context("nspawn is still there")
                .map(drop)
        })
    }

    fn nspawn(&self) -> Result<Pid> {
        only_child(Pid::from_raw(i32::try_from(self.unshare.id())?))
            .context("nspawn has not started yet")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.unshare.try_wait() {
            return;
        }
        // The kernel ends a PID namespace with its first process. An error means that it is gone already.
        match self.nspawn() {
            Ok(nspawn) => kill(nspawn, Signal::SIGKILL).ok(),
            Err(_) => self.unshare.kill().ok(),
        };
        if let Err(error) = self.unshare.wait() {
            eprintln!("a node's processes could not be waited for: {error}");
        }
    }
}

fn only_child(parent: Pid) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    Some(Pid::from_raw(
        children.split_whitespace().next()?.parse().ok()?,
    ))
}
