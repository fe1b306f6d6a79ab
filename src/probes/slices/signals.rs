//! Signals of the pressure in slices.

use crate::signal::{Key, Unit};
use std::time::Duration;

/// Three runs of the probe, and a little.
const MAX_AGE: Duration = Duration::from_secs(100);
const SOURCE: &str =
    "avg60 of /sys/fs/cgroup/<slice>/{cpu,memory,io}.pressure (cgroup v2, Linux 4.20)";

const fn share(name: &'static str, help: &'static str) -> Key<f64> {
    Key::<f64>::new(name, Unit::Ratio, MAX_AGE, help, SOURCE).per("slice")
}

/// Some tasks wait for a processor.
pub const CPU_WAITING: Key<f64> = share(
    "slice.pressure.cpu.waiting",
    "Share of the last minute in which some task of a slice waited for a processor.",
);

/// Some tasks wait for memory.
pub const MEMORY_WAITING: Key<f64> = share(
    "slice.pressure.memory.waiting",
    "Share of the last minute in which some task of a slice waited for memory.",
);

/// All tasks wait for memory.
pub const MEMORY_STALLED: Key<f64> = share(
    "slice.pressure.memory.stalled",
    "Share of the last minute in which every task of a slice waited for memory.",
);

/// Some tasks wait for input and output.
pub const IO_WAITING: Key<f64> = share(
    "slice.pressure.io.waiting",
    "Share of the last minute in which some task of a slice waited for input and output.",
);

/// All tasks wait for input and output.
pub const IO_STALLED: Key<f64> = share(
    "slice.pressure.io.stalled",
    "Share of the last minute in which every task of a slice waited for input and output.",
);
