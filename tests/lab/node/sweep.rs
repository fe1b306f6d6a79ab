//! What an earlier run of the lab left behind when it was killed itself: empty cgroups and overlay directories. (Its
//! processes, mounts and loop devices went with it.)

use std::fs;
use std::path::Path;
use std::sync::Once;

use super::cgroup;

/// Prefix of a node's temporary directory; the owner's process id follows.
pub const PREFIX: &str = "nodemend-lab-";

/// Removes what belongs to processes that are gone; once per run.
pub fn sweep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for entry in fs::read_dir(std::env::temp_dir())
            .into_iter()
            .flatten()
            .flatten()
        {
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
