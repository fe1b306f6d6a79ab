//! Moments. Time is always an argument; only `host::clock` reads a clock.

use std::time::Duration;

/// Time since this boot of the machine, on CLOCK_BOOTTIME: it only grows, and it counts suspend. Durations use nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Uptime(Duration);

impl Uptime {
    /// The moment `since_boot` after the boot.
    pub const fn new(since_boot: Duration) -> Self {
        Self(since_boot)
    }

    /// How long after the boot.
    pub const fn since_boot(self) -> Duration {
        self.0
    }

    /// How long after `earlier`; zero if `earlier` is not earlier.
    pub fn since(self, earlier: Uptime) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `span` later.
    pub fn plus(self, span: Duration) -> Uptime {
        Uptime(self.0.saturating_add(span))
    }

    /// The moment `span` earlier, at the earliest the boot.
    pub fn minus(self, span: Duration) -> Uptime {
        Uptime(self.0.saturating_sub(span))
    }
}

/// The wall clock as read, in microseconds since 1970-01-01 UTC. For windows and messages only: it may be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Wall(pub i64);

impl Wall {
    /// RFC 3339 in UTC with milliseconds, as the audit log and the interface write it.
    pub fn to_rfc3339(self) -> String {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(timestamp) => format!("{timestamp:.3}"),
            Err(_) => format!("{} us since 1970 (clock out of range)", self.0),
        }
    }
}

/// A moment by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Timestamp {
    /// Time since boot: for durations.
    pub uptime: Uptime,
    /// The wall clock: for windows and messages.
    pub wall: Wall,
}

impl Timestamp {
    /// Both clocks, `span` later.
    pub fn plus(self, span: Duration) -> Timestamp {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Timestamp {
            uptime: self.uptime.plus(span),
            wall: Wall(self.wall.0.saturating_add(micros)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_is_written_as_rfc3339_with_milliseconds() {
        assert_eq!(
            Wall(1_700_000_000_123_456).to_rfc3339(),
            "2023-11-14T22:13:20.123Z"
        );
        assert!(Wall(i64::MAX).to_rfc3339().contains("out of range"));
    }

    #[test]
    fn uptime_never_underflows() {
        let early = Uptime::new(Duration::from_secs(1));
        let late = Uptime::new(Duration::from_secs(5));
        assert_eq!(late.since(early), Duration::from_secs(4));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(early.minus(Duration::from_secs(9)), Uptime::default());
    }
}
