//! The comparison of before and after sees what it must see, and nothing on a node that is left alone.

use std::time::Duration;

use anyhow::Result;

use crate::inject::sysctl::{self, ChangedSysctl};
use crate::node::Node;
use crate::snapshot::Snapshot;
use crate::wait::{eventually, so, throughout};

#[test]
fn node_left_alone_compares_equal_and_each_touch_is_seen() -> Result<()> {
    let node = Node::boot("comparison")?;
    let before = Snapshot::of(&node)?;
    throughout("an idle node", Duration::from_secs(3), || {
        before.equals(&Snapshot::of(&node)?)
    })?;

    let seen = |what: &str| -> Result<()> {
        let report = before.equals(&Snapshot::of(&node)?);
        let Err(report) = report else {
            anyhow::bail!("{what} was not seen")
        };
        println!("{what}: {report:#}");
        Ok(())
    };
    let forward = "net.ipv4.ip_forward";
    // A new network begins with what the machine has, which is 1 where it runs containers.
    let other = if sysctl::read(&node, forward)? == "0" {
        "1"
    } else {
        "0"
    };
    let changed = ChangedSysctl::on(&node, forward, other)?;
    seen("a changed setting")?;
    drop(changed);
    before.equals(&Snapshot::of(&node)?)?;

    node.write("/etc/lab-touched", "")?;
    seen("a new file")?;
    std::fs::remove_file(node.path("/etc/lab-touched")?)?;
    before.equals(&Snapshot::of(&node)?)?;

    node.run(&["systemctl", "restart", "systemd-logind.service"])?
        .ok()?;
    seen("a restarted unit")?;
    let restarted = Snapshot::of(&node)?;
    node.run(&["systemctl", "daemon-reexec"])?.ok()?;
    // systemctl comes back when PID 1 begins, not when it is done.
    eventually("a re-executed PID 1", Duration::from_secs(10), || {
        let seen = restarted.equals(&Snapshot::of(&node)?).is_err();
        so(seen, || "not seen".to_owned())
    })
}
