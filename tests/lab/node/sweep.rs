//! What an earlier run of a lab left behind when it was killed itself: empty cgroups and directories. (Its processes, mounts
//! and loop devices went with it.)

use std::fs;
use std::path::Path;
use std::sync::Once;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::cgroup;

/// Prefix of a directory of the lab; the owner's process id follows.
const PREFIX: &str = "nodemend-lab-";
/// A file system in memory, where what is large or written all the time is put.
pub const MEMORY: &str = "/dev/shm";

/// A directory below `parent`, which is that for temporary files or [`MEMORY`]. It goes with this value, or with the next run.
pub fn folder(parent: &Path) -> Result<TempDir> {
    sweep();
    let prefix = format!("{PREFIX}{}-", std::process::id());
    let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent);
    folder.with_context(|| format!("a directory below {}", parent.display()))
}

/// Removes what belongs to processes that are gone; once per run.
fn sweep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let parents = [std::env::temp_dir(), MEMORY.into()];
        let entries = parents
            .iter()
            .filter_map(|parent| fs::read_dir(parent).ok());
        for entry in entries.flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name
                .strip_prefix(PREFIX)
                .and_then(|rest| rest.split('-').next());
            if owner.is_some_and(is_gone) {
                fs::remove_dir_all(entry.path()).ok();
            }
        }
        cgroup::remove_stale(|node| node.rsplit('-').next().is_some_and(is_gone));
    });
}

fn is_gone(process: &str) -> bool {
    process.parse::<u32>().is_ok() && !Path::new("/proc").join(process).exists()
}
