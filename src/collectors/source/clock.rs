//! The two clocks, read through the vDSO: no system call.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Time since boot without suspend; for durations.
pub fn monotonic() -> Duration {
    read(ClockId::CLOCK_MONOTONIC)
}

/// Time since 1970; for `node_time_seconds` alone.
pub fn wall() -> Duration {
    read(ClockId::CLOCK_REALTIME)
}

fn read(clock: ClockId) -> Duration {
    // Both clocks exist on every Linux; zero is what a duration can bear.
    clock_gettime(clock).map(Duration::from).unwrap_or_default()
}
