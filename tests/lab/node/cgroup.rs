//! The cgroups that a node lives in: one of its own in every hierarchy of this machine, cgroup v1, v2 or both.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::wait::{eventually, so};

/// Parent of all nodes' groups, so that what is ours can be told from what is not.
const PARENT: &str = "nodemend-lab";
const REMOVE_LIMIT: Duration = Duration::from_secs(2);

/// A node's groups; removed when dropped (by then the node's processes are gone).
#[derive(Debug)]
pub struct NodeGroups {
    folders: Vec<PathBuf>,
}

impl NodeGroups {
    /// Makes the groups of the node called `name`.
    pub fn make(name: &str) -> Result<Self> {
        let mut groups = Self {
            folders: Vec::new(),
        };
        for hierarchy in hierarchies()? {
            for folder in [hierarchy.join(PARENT), hierarchy.join(PARENT).join(name)] {
                fs::create_dir_all(&folder)
                    .with_context(|| format!("create {}", folder.display()))?;
                inherit_cpuset(&folder)?;
            }
            groups.folders.push(hierarchy.join(PARENT).join(name));
        }
        Ok(groups)
    }

    /// One `cgroup.procs` path a line: what the node's first process has to write itself into.
    pub fn procs_files(&self) -> String {
        self.folders
            .iter()
            .map(|folder| format!("{}\n", folder.join("cgroup.procs").display()))
            .collect()
    }
}

impl Drop for NodeGroups {
    fn drop(&mut self) {
        for folder in &self.folders {
            // A process that has just died keeps its group busy for a moment.
            let removed = eventually("empty cgroup", REMOVE_LIMIT, || {
                remove_tree(folder);
                so(!folder.exists(), || folder.display().to_string())
            });
            if let Err(error) = removed {
                eprintln!("a cgroup stays behind: {error:#}");
            }
            if let Some(parent) = folder.parent() {
                // Still in use by another node: the last one removes it.
                fs::remove_dir(parent).ok();
            }
        }
    }
}

/// Removes the groups of nodes for which `is_stale` is true, by the node's name.
pub fn remove_stale(is_stale: impl Fn(&str) -> bool) {
    for hierarchy in hierarchies().into_iter().flatten() {
        let parent = hierarchy.join(PARENT);
        for group in fs::read_dir(&parent).into_iter().flatten().flatten() {
            if is_stale(&group.file_name().to_string_lossy()) {
                remove_tree(&group.path());
            }
        }
        // Only if it is empty by now.
        fs::remove_dir(&parent).ok();
    }
}

fn hierarchies() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mut found = Vec::new();
    for line in mounts.lines() {
        let fields: Vec<_> = line.split(' ').collect();
        if let [_, folder, "cgroup" | "cgroup2", options, ..] = fields.as_slice()
            && options.split(',').any(|option| option == "rw")
        {
            found.push(PathBuf::from(folder));
        }
    }
    Ok(found)
}

/// A new v1 cpuset group has no CPUs and refuses processes until it is given some.
fn inherit_cpuset(folder: &Path) -> Result<()> {
    let Some(parent) = folder.parent() else {
        return Ok(());
    };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = folder.join(file);
        // v2 has the same file names and inherits by itself; a root group of v2 lacks them.
        if own.exists()
            && fs::read_to_string(&own)?.trim().is_empty()
            && let Ok(value) = fs::read_to_string(parent.join(file))
            && !value.trim().is_empty()
        {
            fs::write(&own, value).with_context(|| format!("write {}", own.display()))?;
        }
    }
    Ok(())
}

/// Deepest first; a group that is already gone or not empty yet is left, cgroupfs has nothing to lose.
fn remove_tree(folder: &Path) {
    for child in fs::read_dir(folder).into_iter().flatten().flatten() {
        if child.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&child.path());
        }
    }
    fs::remove_dir(folder).ok();
}
