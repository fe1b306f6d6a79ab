//! Signals of kernel settings.

use crate::signal::{Key, Unit};
use std::sync::Arc;
use std::time::Duration;

/// Three runs of the probe.
const MAX_AGE: Duration = Duration::from_secs(180);

/// What a setting is.
pub const VALUE: Key<Arc<str>> = Key::<Arc<str>>::new(
    "kernel.sysctl.value",
    Unit::None,
    MAX_AGE,
    "The present value of a kernel setting that the machine's configuration declares.",
    "/proc/sys",
)
.per("sysctl");

/// What a setting should be.
pub const WANTED: Key<Arc<str>> = Key::<Arc<str>>::new(
    "kernel.sysctl.wanted",
    Unit::None,
    MAX_AGE,
    "The value that the machine's own configuration declares for a kernel setting.",
    "sysctl.d of the machine, with the precedence of systemd-sysctl",
)
.per("sysctl");

/// Whether a setting is what it should be.
pub const MATCHES: Key<bool> = Key::<bool>::new(
    "kernel.sysctl.matches",
    Unit::None,
    MAX_AGE,
    "Whether a kernel setting has the value that the machine's configuration declares.",
    "kernel.sysctl.value and kernel.sysctl.wanted",
)
.per("sysctl");

/// Where the wish is written.
pub const DECLARED_IN: Key<Arc<str>> = Key::<Arc<str>>::new(
    "kernel.sysctl.declared_in",
    Unit::None,
    MAX_AGE,
    "The file that declares the value of a kernel setting.",
    "sysctl.d of the machine",
)
.per("sysctl");

/// Hung tasks, by the kernel's own count.
pub const HUNG_TASKS: Key<i64> = Key::<i64>::new(
    "kernel.hung_tasks",
    Unit::None,
    MAX_AGE,
    "Tasks that the kernel found hanging since it booted, reported in its log or not. Older kernels do not count them.",
    "/proc/sys/kernel/hung_task_detect_count",
);

/// Whether the log tells of the next one.
pub const REPORTS_LEFT: Key<i64> = Key::<i64>::new(
    "kernel.hung_task_reports_left",
    Unit::None,
    MAX_AGE,
    "How many more hung tasks the kernel reports in its log: 10 from the boot on unless set otherwise, -1 without end, at 0 it is silent.",
    "/proc/sys/kernel/hung_task_warnings",
);
