//! Each injection gives the picture that it claims, seen with the node's own tools; and its release takes it away.

mod bus;
mod comparison;
mod machine;
mod packages;
mod power;
mod silent_bus;

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::bus::{Answer, bus_id, ping_manager};
use crate::node::{Node, Ran};
use crate::wait::{eventually, so};

/// How long a question may take before it counts as unanswered: healthy answers take a millisecond.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who answers on a node: the three questions of signatures.md 1.5.
#[derive(Debug, PartialEq, Eq)]
struct Picture {
    daemon: bool,
    manager: bool,
    private: bool,
}

const HEALTHY: Picture = Picture {
    daemon: true,
    manager: true,
    private: true,
};

impl Picture {
    fn of(node: &Node) -> Result<Self> {
        // No bus daemon to connect to is no answer as well.
        let answered = |answer: Result<Answer>| matches!(answer, Ok(Answer::Reply { .. }));
        Ok(Self {
            daemon: answered(bus_id(node, PATIENCE)),
            manager: answered(ping_manager(node, PATIENCE)),
            private: private_socket(node)?.is_ok(),
        })
    }
}

/// Fails unless the node shows exactly this picture.
fn shows(node: &Node, expected: &Picture) -> Result<()> {
    let seen = Picture::of(node)?;
    ensure!(seen == *expected, "seen {seen:?}, expected {expected:?}");
    Ok(())
}

fn heals(node: &Node) -> Result<()> {
    eventually("a healthy bus", Duration::from_secs(10), || {
        let picture = Picture::of(node)?;
        so(picture == HEALTHY, || format!("{picture:?}"))
    })
}

/// root's systemctl goes over the private socket.
fn private_socket(node: &Node) -> Result<Ran> {
    node.run_within(PATIENCE, &["systemctl", "show", "--property=Version"])
}

fn busctl_ping(node: &Node) -> Result<Ran> {
    let peer = [
        "org.freedesktop.systemd1",
        "/",
        "org.freedesktop.DBus.Peer",
        "Ping",
    ];
    node.run_within(
        2 * PATIENCE,
        &[&["busctl", "--timeout=2", "call"], peer.as_slice()].concat(),
    )
}
