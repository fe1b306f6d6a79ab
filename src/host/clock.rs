//! The only reader of clocks.

use super::BoxFuture;
use crate::signal::{Timestamp, Uptime, Wall};
use nix::time::{ClockId, clock_gettime};
use std::future::Future;
use std::time::Duration;

/// Both clocks, now. CLOCK_BOOTTIME counts suspend, which Rust's and tokio's `Instant` do not.
///
/// A clock that cannot be read gives zero; both exist on every Linux since 2.6.39.
pub fn now() -> Timestamp {
    let wall = read(ClockId::CLOCK_REALTIME);
    Timestamp {
        uptime: Uptime::new(read(ClockId::CLOCK_BOOTTIME)),
        wall: Wall(i64::try_from(wall.as_micros()).unwrap_or(i64::MAX)),
    }
}

/// How long the machine was suspended since its boot: the clock of the kernel log does not count that time.
pub fn asleep() -> Duration {
    // Read in this order so that the difference is never below the truth.
    let awake = read(ClockId::CLOCK_MONOTONIC);
    read(ClockId::CLOCK_BOOTTIME).saturating_sub(awake)
}

/// Time since boot without suspend, for how long something took. Read through the vDSO: no system call.
pub fn monotonic() -> Duration {
    read(ClockId::CLOCK_MONOTONIC)
}

/// Time since 1970. Read through the vDSO: no system call.
pub fn since_1970() -> Duration {
    read(ClockId::CLOCK_REALTIME)
}

fn read(clock: ClockId) -> Duration {
    clock_gettime(clock).map(Duration::from).unwrap_or_default()
}

/// Time as the lease, the executor and the steps are given it, so that tests can turn it by hand.
pub trait Clock: Send + Sync {
    /// Both clocks, now.
    fn now(&self) -> Timestamp;

    /// Ends after `span`. In suspend it stands still, so whoever waits asks [`Clock::now`] again afterwards.
    fn sleep(&self, span: Duration) -> BoxFuture<'_, ()>;

    /// Ends when a call has used up its time. Apart from [`Clock::sleep`], because a clock that is turned by hand passes
    /// over a sleep at once, and every call would be late.
    fn alarm(&self, span: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(span))
    }
}

/// What `work` gives, or `None` if it has not ended within `span` by this clock.
///
/// *Cancel safety*: as `work`, which is dropped when its time is up.
pub async fn within<T>(
    clock: &dyn Clock,
    span: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = clock.alarm(span) => None,
    }
}

/// The machine's own clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostClock;

impl Clock for HostClock {
    fn now(&self) -> Timestamp {
        now()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(span))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn uptime_never_runs_backwards() {
        let first = super::now();
        assert!(super::now().uptime >= first.uptime);
        assert!(first.wall.0 > 0);
    }
}
