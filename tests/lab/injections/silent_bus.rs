//! PID 1 silent on the bus and alive otherwise: the flagship's picture, in its three forms.

use anyhow::{Result, ensure};

use super::{HEALTHY, PATIENCE, Picture, busctl_ping, heals, private_socket, shows};
use crate::bus::{Answer, ping_manager};
use crate::inject::bus_connection::MutedBus;
use crate::inject::bus_end::close_bus;
use crate::inject::bus_policy::DeniedReplies;
use crate::node::Node;

const SILENT: Picture = Picture {
    daemon: true,
    manager: false,
    private: true,
};

#[test]
fn muted_bus_is_silent_only_on_the_bus_and_reexec_cures_it() -> Result<()> {
    let node = Node::boot("muted_bus")?;
    shows(&node, &HEALTHY)?;
    let muted = MutedBus::on(&node)?;
    shows(&node, &SILENT)?;
    let ping = busctl_ping(&node)?;
    ensure!(
        !ping.is_ok() && ping.stderr.contains("timed out"),
        "{ping:?}"
    );
    ensure!(node.run(&["systemctl", "is-system-running"])?.ok()?.trim() == "running");

    // Work on units makes PID 1 send signals, which must not wake the connection up.
    node.run(&["systemctl", "restart", "systemd-journald.service"])?
        .ok()?;
    shows(&node, &SILENT)?;

    node.run(&["systemctl", "daemon-reexec"])?.ok()?;
    heals(&node)?;
    muted.release();
    shows(&node, &HEALTHY)
}

#[test]
fn unmuting_the_bus_heals_it_without_a_reexec() -> Result<()> {
    let node = Node::boot("unmuted_bus")?;
    let muted = MutedBus::on(&node)?;
    shows(&node, &SILENT)?;
    muted.release();
    heals(&node)
}

#[test]
fn closed_bus_takes_the_managers_name_away_and_reexec_cures_it() -> Result<()> {
    let node = Node::boot("closed_bus")?;
    close_bus(&node)?;
    shows(&node, &SILENT)?;
    let owner = [
        "org.freedesktop.DBus",
        "/",
        "org.freedesktop.DBus",
        "NameHasOwner",
        "s",
    ];
    let owned = node.run(
        &[
            &["busctl", "call"],
            owner.as_slice(),
            &["org.freedesktop.systemd1"],
        ]
        .concat(),
    )?;
    ensure!(owned.clone().ok()?.trim() == "b false", "{owned:?}");
    ensure!(private_socket(&node)?.is_ok());
    node.run(&["systemctl", "daemon-reexec"])?.ok()?;
    heals(&node)
}

#[test]
fn denied_replies_keep_the_name_owned_and_reexec_does_not_help() -> Result<()> {
    let node = Node::boot("denied_replies")?;
    let denied = DeniedReplies::on(&node)?;
    shows(&node, &SILENT)?;
    ensure!(ping_manager(&node, PATIENCE)? == Answer::Silence);
    node.run(&["systemctl", "daemon-reexec"])?.ok()?;
    shows(&node, &SILENT)?;
    drop(denied);
    heals(&node)
}
