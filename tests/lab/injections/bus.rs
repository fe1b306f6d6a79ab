//! The bus faults that must be told apart: who answers, on which way.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::bus::{Answer, bus_id, ping_manager};
use crate::inject::bus_connection::{MutedBus, close_bus};
use crate::node::{Node, Ran};
use crate::wait::{eventually, so};

const PATIENCE: Duration = Duration::from_secs(2);

/// Who answers on a node: the three questions of signatures.md 1.5.
#[derive(Debug, PartialEq, Eq)]
struct Picture {
    daemon: bool,
    manager: bool,
    private: bool,
}

impl Picture {
    fn of(node: &Node) -> Result<Self> {
        Ok(Self {
            daemon: matches!(bus_id(node, PATIENCE)?, Answer::Reply { .. }),
            manager: matches!(ping_manager(node, PATIENCE)?, Answer::Reply { .. }),
            private: private_socket(node)?.is_ok(),
        })
    }
}

const HEALTHY: Picture = Picture { daemon: true, manager: true, private: true };

/// root's systemctl goes over the private socket.
fn private_socket(node: &Node) -> Result<Ran> {
    node.run_within(PATIENCE, &["systemctl", "show", "--property=Version"])
}

fn busctl_ping(node: &Node) -> Result<Ran> {
    node.run(&["busctl", "--timeout=2", "call", "org.freedesktop.systemd1", "/", "org.freedesktop.DBus.Peer", "Ping"])
}

fn heals(node: &Node) -> Result<()> {
    eventually("a healthy bus", Duration::from_secs(10), || {
        let picture = Picture::of(node)?;
        so(picture == HEALTHY, || format!("{picture:?}"))
    })
}

#[test]
fn muted_bus_is_silent_only_on_the_bus_and_reexec_cures_it() -> Result<()> {
    let node = Node::boot("muted_bus")?;
    ensure!(Picture::of(&node)? == HEALTHY);
    let muted = MutedBus::on(&node)?;
    let sick = Picture { daemon: true, manager: false, private: true };
    ensure!(Picture::of(&node)? == sick, "{:?}", Picture::of(&node)?);
    let ping = busctl_ping(&node)?;
    ensure!(!ping.is_ok() && ping.stderr.contains("timed out"), "{ping:?}");
    ensure!(node.run(&["systemctl", "is-system-running"])?.ok()?.trim() == "running");

    // Work on units makes PID 1 send signals, which must not wake the connection up.
    node.run(&["systemctl", "restart", "systemd-journald.service"])?.ok()?;
    ensure!(Picture::of(&node)? == sick);

    node.run(&["systemctl", "daemon-reexec"])?.ok()?;
    heals(&node)?;
    muted.release();
    ensure!(Picture::of(&node)? == HEALTHY);
    Ok(())
}

#[test]
fn unmuting_the_bus_heals_it_without_a_reexec() -> Result<()> {
    let node = Node::boot("unmuted_bus")?;
    let muted = MutedBus::on(&node)?;
    ensure!(!Picture::of(&node)?.manager);
    muted.release();
    heals(&node)
}

#[test]
fn closed_bus_leaves_the_manager_without_its_name() -> Result<()> {
    let node = Node::boot("closed_bus")?;
    close_bus(&node)?;
    let answer = ping_manager(&node, PATIENCE)?;
    println!("{answer:?} {:?}", busctl_ping(&node)?);
    ensure!(private_socket(&node)?.is_ok());
    node.run(&["systemctl", "daemon-reexec"])?.ok()?;
    heals(&node)
}
