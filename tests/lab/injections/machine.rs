//! Units, settings, filesystems and the cookie.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{HEALTHY, shows};
use crate::bus::{Answer, ping_manager};
use crate::inject::cookie;
use crate::inject::filesystem::{Frozen, FullDisk, LoopExt4, small_disk};
use crate::inject::sysctl::{self, ChangedSysctl};
use crate::inject::units::CrashLoop;
use crate::node::Node;
use crate::wait::{eventually, so};

#[test]
fn crash_loop_counts_restarts_until_it_is_repaired() -> Result<()> {
    let node = Node::boot("crash_loop")?;
    let crashing = CrashLoop::on(&node)?;
    let show = |property: &str| -> Result<String> {
        let property = format!("--property={property}");
        Ok(node
            .run(&["systemctl", "show", "--value", &property, CrashLoop::UNIT])?
            .ok()?
            .trim()
            .to_owned())
    };
    eventually("three restarts", Duration::from_secs(10), || {
        let restarts = show("NRestarts")?;
        so(restarts.parse::<u32>()? >= 3, || {
            format!("{restarts} restarts")
        })
    })?;
    crashing.repair()?;
    eventually("a start that lasts", Duration::from_secs(10), || {
        let state = show("SubState")?;
        so(state == "running", || state)
    })?;
    drop(crashing);
    ensure!(show("LoadState")? == "not-found");
    Ok(())
}

#[test]
fn changed_sysctl_is_the_nodes_alone_and_comes_back() -> Result<()> {
    const KEY: &str = "net.ipv4.ip_forward";
    let node = Node::boot("changed_sysctl")?;
    let neighbour = Node::boot("changed_sysctl_neighbour")?;
    let before = sysctl::read(&node, KEY)?;
    let other = if before == "0" { "1" } else { "0" };
    let changed = ChangedSysctl::on(&node, KEY, other)?;
    ensure!(sysctl::read(&node, KEY)? == other);
    ensure!(
        sysctl::read(&neighbour, KEY)? == before,
        "a neighbour sees the change"
    );
    drop(changed);
    ensure!(sysctl::read(&node, KEY)? == before);
    Ok(())
}

#[test]
fn ext4_error_makes_the_mount_read_only_though_its_options_say_rw() -> Result<()> {
    let node = Node::boot("ext4_error")?;
    let disk = LoopExt4::mount(&node, "/mnt")?;
    node.run(&["touch", "/mnt/before"])?.ok()?;
    disk.hit_error()?;
    let touched = node.run(&["touch", "/mnt/after"])?;
    ensure!(
        touched.stderr.contains("Read-only file system"),
        "{touched:?}"
    );
    let mounts = node.run(&["cat", "/proc/mounts"])?.ok()?;
    let line = mounts
        .lines()
        .find(|line| line.contains(" /mnt "))
        .context("no mount at /mnt")?;
    println!("{line}");
    ensure!(
        line.contains("emergency_ro") || line.contains(" ro,"),
        "{line}"
    );
    Ok(())
}

#[test]
fn writer_on_a_frozen_filesystem_hangs_until_the_thaw() -> Result<()> {
    let node = Node::boot("frozen_filesystem")?;
    let disk = LoopExt4::mount(&node, "/mnt")?;
    let frozen = Frozen::on(&disk)?;
    eventually("a hanging writer", Duration::from_secs(5), || {
        let state = frozen.writer_state()?;
        so(state == "D", || format!("the writer's state is {state}"))
    })?;
    drop(frozen);
    eventually("the write after the thaw", Duration::from_secs(5), || {
        let written = node.run(&["test", "-e", "/mnt/stuck"])?;
        so(written.is_ok(), || "the file is not there".to_owned())
    })?;
    drop(disk);
    let mounts = node.run(&["cat", "/proc/mounts"])?.ok()?;
    ensure!(!mounts.contains(" /mnt "), "still mounted:\n{mounts}");
    Ok(())
}

#[test]
fn full_disk_refuses_writes_until_it_is_emptied() -> Result<()> {
    let node = Node::boot("full_disk_injection")?;
    small_disk(&node, "/var/lib/nodemend")?;
    let write = || {
        node.run(&[
            "dd",
            "if=/dev/zero",
            "of=/var/lib/nodemend/probe",
            "bs=4k",
            "count=1",
        ])
    };
    let full = FullDisk::on(&node, "/var/lib/nodemend")?;
    let refused = write()?;
    ensure!(refused.stderr.contains("No space left"), "{refused:?}");
    drop(full);
    write()?.ok().map(drop)
}

#[test]
fn cookie_near_its_end_is_seen_in_the_next_reply_and_a_fixed_systemd_wraps_it() -> Result<()> {
    let node = Node::boot("cookie")?;
    cookie::set(&node, u32::MAX - 40)?;
    let first = cookie::serial(&node)?;
    ensure!(
        first > u32::MAX - 40,
        "the serial after setting the counter is {first}"
    );
    // systemd 252 goes on at 0x80000000 after the last 32-bit number (signatures.md 1.1).
    let wrapped = eventually("a wrapped serial", Duration::from_secs(20), || {
        let serial = cookie::serial(&node)?;
        so(serial < u32::MAX - 40, || format!("serial {serial}")).map(|()| serial)
    })?;
    ensure!(wrapped >= 1 << 31, "wrapped to {wrapped}");
    ensure!(matches!(
        ping_manager(&node, Duration::from_secs(2))?,
        Answer::Reply { .. }
    ));
    shows(&node, &HEALTHY)
}
