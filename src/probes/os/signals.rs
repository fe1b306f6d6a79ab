//! Signals of the operating system.

use crate::signal::{Key, Unit};
use std::sync::Arc;
use std::time::Duration;

type Text = Key<Arc<str>>;

/// Three runs of the probe.
const MAX_AGE: Duration = Duration::from_secs(900);

/// The distribution.
pub const ID: Text = Text::new(
    "os.id",
    Unit::None,
    MAX_AGE,
    "The distribution in one lower-case word: debian, rhel.",
    "os-release, ID",
);

/// The distribution's release.
pub const VERSION_ID: Text = Text::new(
    "os.version_id",
    Unit::None,
    MAX_AGE,
    "The release of the distribution: 12, 7.6. Missing on rolling ones.",
    "os-release, VERSION_ID",
);

/// The distribution as people call it.
pub const PRETTY: Text = Text::new(
    "os.pretty",
    Unit::None,
    MAX_AGE,
    "The distribution and its release as people call it.",
    "os-release, PRETTY_NAME",
);

/// The distributions that it is made from.
pub const ID_LIKE: Text = Text::new(
    "os.id_like",
    Unit::None,
    MAX_AGE,
    "The distributions that it is made from, nearest first. Missing where it names none.",
    "os-release, ID_LIKE",
);

/// The kernel.
pub const KERNEL: Text = Text::new(
    "kernel.release",
    Unit::None,
    MAX_AGE,
    "The release of the running kernel, as uname -r says it.",
    "/proc/sys/kernel/osrelease",
);

/// This boot.
pub const BOOT_ID: Text = Text::new(
    "boot.id",
    Unit::None,
    MAX_AGE,
    "The random name of this boot: another one proves a reboot.",
    "/proc/sys/kernel/random/boot_id",
);

/// The machine's name.
pub const HOSTNAME: Text = Text::new(
    "os.hostname",
    Unit::None,
    MAX_AGE,
    "The machine's host name.",
    "/proc/sys/kernel/hostname",
);
