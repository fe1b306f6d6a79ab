//! Signals of the package database.

use crate::signal::{Key, Unit};
use std::sync::Arc;
use std::time::Duration;

/// Five looks at the database.
const MAX_AGE: Duration = Duration::from_secs(300);

/// The full version of an installed package.
pub const VERSION: Key<Arc<str>> = Key::<Arc<str>>::new(
    "package.version",
    Unit::None,
    MAX_AGE,
    "The full version (epoch, version, release or revision) of an installed package.",
    "/var/lib/dpkg/status, or rpm -qa on the host",
)
.per("package");

/// Whether an installed package has a known fault. Missing where nobody knows.
pub const AFFECTED: Key<bool> = Key::<bool>::new(
    "package.fault.affected",
    Unit::None,
    MAX_AGE,
    "Whether the installed version is one that a table of faulty versions lists; missing where the table does not know.",
    "remediations/versions and package.version",
)
.per("version table");

/// What the table says about the installed version, for messages.
pub const BECAUSE: Key<Arc<str>> = Key::<Arc<str>>::new(
    "package.fault.because",
    Unit::None,
    MAX_AGE,
    "Why the installed version counts as affected, fixed or unknown.",
    "remediations/versions",
)
.per("version table");

/// The version of this distribution that no longer has the fault.
pub const FIXED_IN: Key<Arc<str>> = Key::<Arc<str>>::new(
    "package.fault.fixed_in",
    Unit::None,
    MAX_AGE,
    "The first version without the fault for this distribution and branch, where one is known.",
    "remediations/versions",
)
.per("version table");
