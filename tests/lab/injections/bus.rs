//! The siblings that look like a silent PID 1 and are not: frozen PID 1, dead or slow bus, restarted bus.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{HEALTHY, Picture, heals, private_socket, shows};
use crate::bus::{Answer, ping_manager};
use crate::inject::process::{Slow, Stopped};
use crate::inject::units::{StoppedBus, restart_bus};
use crate::node::Node;

#[test]
fn frozen_manager_is_silent_on_both_ways_and_thaws() -> Result<()> {
    let node = Node::boot("frozen_manager")?;
    let frozen = Stopped::manager(&node)?;
    shows(
        &node,
        &Picture {
            daemon: true,
            manager: false,
            private: false,
        },
    )?;
    ensure!(!private_socket(&node)?.is_ok());
    drop(frozen);
    heals(&node)
}

#[test]
fn stopped_bus_daemon_leaves_only_the_private_socket() -> Result<()> {
    let node = Node::boot("stopped_bus_daemon")?;
    let stopped = Stopped::bus_daemon(&node)?;
    shows(
        &node,
        &Picture {
            daemon: false,
            manager: false,
            private: true,
        },
    )?;
    drop(stopped);
    heals(&node)
}

#[test]
fn stopped_bus_unit_leaves_only_the_private_socket() -> Result<()> {
    let node = Node::boot("stopped_bus_unit")?;
    let stopped = StoppedBus::on(&node)?;
    shows(
        &node,
        &Picture {
            daemon: false,
            manager: false,
            private: true,
        },
    )?;
    drop(stopped);
    heals(&node)
}

#[test]
fn slow_manager_answers_late_and_within_five_seconds() -> Result<()> {
    let node = Node::boot("slow_manager")?;
    let slow = Slow::manager(
        &node,
        Duration::from_millis(1500),
        Duration::from_millis(100),
    )?;
    let mut slowest = Duration::ZERO;
    for _ in 0..4 {
        let asked = Instant::now();
        let answer = ping_manager(&node, Duration::from_secs(5))?;
        ensure!(
            matches!(answer, Answer::Reply { .. }),
            "{answer:?} after {:?}",
            asked.elapsed()
        );
        slowest = slowest.max(asked.elapsed());
    }
    ensure!(
        slowest > Duration::from_millis(500),
        "the slowest of four answers took {slowest:?}"
    );
    drop(slow);
    heals(&node)
}

#[test]
fn restarted_bus_is_answered_by_the_manager_again() -> Result<()> {
    let node = Node::boot("restarted_bus")?;
    restart_bus(&node)?;
    heals(&node)?;
    shows(&node, &HEALTHY)
}
