//! What a node keeps and what it loses.

use anyhow::{Result, ensure};

use crate::node::Node;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[test]
fn power_cut_keeps_files_and_the_next_boot_has_a_new_boot_id() -> Result<()> {
    let mut node = Node::boot("power_cut")?;
    let first = node.run(&["cat", BOOT_ID])?.ok()?;
    node.write("/var/lib/lab-kept", "kept")?;
    node.power_cut()?;
    ensure!(
        node.read("/var/lib/lab-kept")? == "kept",
        "not readable while the node is off"
    );
    node.power_on()?;
    ensure!(node.read("/var/lib/lab-kept")? == "kept");
    let second = node.run(&["cat", BOOT_ID])?.ok()?;
    ensure!(first != second, "the boot id is still {first}");
    node.power_off()
}

#[test]
fn dropped_node_leaves_nothing_on_the_machine() -> Result<()> {
    let node = Node::boot("dropped_node")?;
    let leader = node.leader()?;
    let upper = node.upper();
    let groups = std::fs::read_to_string(format!("/proc/{leader}/cgroup"))?;
    ensure!(groups.contains(node.hostname()), "{groups}");
    let hostname = node.hostname().to_owned();
    drop(node);
    ensure!(!upper.exists(), "{} is left", upper.display());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    ensure!(
        !mounts.contains(&*upper.to_string_lossy()),
        "a mount is left"
    );
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup")? {
        let group = hierarchy?.path().join("nodemend-lab").join(&hostname);
        ensure!(!group.exists(), "{} is left", group.display());
    }
    let still_there = std::fs::read_to_string(format!("/proc/{leader}/cgroup"));
    ensure!(
        !still_there.is_ok_and(|groups| groups.contains(&hostname)),
        "process {leader} is left"
    );
    Ok(())
}
