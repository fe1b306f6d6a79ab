//! Signals of file systems.

use crate::signal::{Key, Unit};
use std::sync::Arc;
use std::time::Duration;

/// Three runs of the probe, and a little.
const MAX_AGE: Duration = Duration::from_secs(100);

/// Whether a file system refuses writes that it should take.
pub const READONLY: Key<bool> = Key::<bool>::new(
    "fs.readonly",
    Unit::None,
    MAX_AGE,
    "Whether a file system that is meant to be written to is read-only as a whole, not just through this mount.",
    "mountinfo: `ro` or `emergency_ro` among the options of the file system",
)
.per("mount point");

/// Whether the kernel shut a file system after an error.
pub const EMERGENCY_RO: Key<bool> = Key::<bool>::new(
    "fs.emergency_ro",
    Unit::None,
    MAX_AGE,
    "Whether the kernel stopped all writes after an error while the file system still calls itself rw.",
    "mountinfo: `emergency_ro` among the options of the file system (ext4 since Linux 6.15)",
)
.per("mount point");

/// The kind of file system.
pub const TYPE: Key<Arc<str>> = Key::<Arc<str>>::new(
    "fs.type",
    Unit::None,
    MAX_AGE,
    "The kind of file system: ext4, xfs.",
    "mountinfo",
)
.per("mount point");

/// Errors that ext4 wrote into its superblock.
pub const EXT4_ERRORS: Key<i64> = Key::<i64>::new(
    "fs.ext4_errors",
    Unit::None,
    MAX_AGE,
    "Errors that ext4 found since the last file system check.",
    "/sys/fs/ext4/*/errors_count",
)
.per("device");
