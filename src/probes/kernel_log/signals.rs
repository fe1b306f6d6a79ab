//! Signals of the kernel log.

use crate::signal::{Key, Unit};
use std::time::Duration;

/// Lines that the ring buffer dropped before they could be read.
pub const GAPS: Key<i64> = Key::new(
    "kernel.log.gaps",
    Unit::None,
    Duration::from_secs(10),
    "Kernel log lines that were overwritten before the agent read them, since it started.",
    "/dev/kmsg: EPIPE and the sequence numbers of the records",
);
