//! Signals of the kernel's limits.

use crate::signal::{Key, Unit};
use std::time::Duration;

/// Three runs of the probe.
const MAX_AGE: Duration = Duration::from_secs(90);
/// Three runs of the probe of inotify.
const INOTIFY_MAX_AGE: Duration = Duration::from_secs(360);

const fn ratio(name: &'static str, help: &'static str, source: &'static str) -> Key<f64> {
    Key::<f64>::new(name, Unit::Ratio, MAX_AGE, help, source)
}

const fn of_user(name: &'static str, help: &'static str, source: &'static str) -> Key<f64> {
    Key::<f64>::new(name, Unit::Ratio, INOTIFY_MAX_AGE, help, source).per("uid")
}

/// Connection tracking.
pub const CONNTRACK: Key<f64> = ratio(
    "headroom.conntrack",
    "Free share of the connection tracking table: at 0 the kernel drops packets of new connections.",
    "/proc/sys/net/netfilter/nf_conntrack_count and nf_conntrack_max",
);

/// File handles.
pub const FILE_HANDLES: Key<f64> = ratio(
    "headroom.file_handles",
    "Free share of the file handles of the whole machine: at 0 nobody but root opens a file.",
    "/proc/sys/fs/file-nr",
);

/// Processes and threads.
pub const PIDS: Key<f64> = ratio(
    "headroom.pids",
    "Free share of process numbers: at 0 no process and no thread starts.",
    "/proc/loadavg against the smaller of /proc/sys/kernel/pid_max and threads-max",
);

/// inotify instances.
pub const INOTIFY_INSTANCES: Key<f64> = of_user(
    "headroom.inotify_instances",
    "Free share of the inotify instances of a user; one that several processes hold counts for each.",
    "/proc/<pid>/fd against /proc/sys/fs/inotify/max_user_instances",
);

/// inotify watches.
pub const INOTIFY_WATCHES: Key<f64> = of_user(
    "headroom.inotify_watches",
    "Free share of the inotify watches of a user; those of an instance that several processes hold count for each.",
    "/proc/<pid>/fdinfo against /proc/sys/fs/inotify/max_user_watches",
);
