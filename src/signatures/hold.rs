//! Holds: how long a verdict must last before it counts.

use crate::signal::Uptime;
use std::fmt;
use std::time::Duration;

/// How long a verdict must last before it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// So many checks in a row.
    Checks(u32),
    /// This long, and at least two checks unless it is zero.
    Span(Duration),
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hold::Checks(1) => f.write_str("1 check"),
            Hold::Checks(number) => write!(f, "{number} checks"),
            Hold::Span(span) => f.write_str(&crate::document::format_span(*span)),
        }
    }
}

/// The same verdict several checks in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streak {
    /// When it began.
    pub since: Uptime,
    /// How many checks it has lasted.
    pub checks: u32,
    /// The last evaluation in it, one that could not tell included.
    latest: Uptime,
}

impl Streak {
    /// Begins now; `is_check` as in [`Streak::go_on`].
    pub fn begin(now: Uptime, is_check: bool) -> Self {
        Self {
            since: now,
            checks: u32::from(is_check),
            latest: now,
        }
    }

    /// Goes on. An evaluation counts as a check only if the probe that paces the signature brought new readings.
    pub fn go_on(&mut self, now: Uptime, is_check: bool) {
        self.checks = self.checks.saturating_add(u32::from(is_check));
        self.latest = now;
    }

    /// An evaluation could not tell: the time since the one before does not count.
    pub fn stand_still(&mut self, now: Uptime) {
        self.since = self.since.plus(now.since(self.latest));
        self.latest = now;
    }

    /// Whether it has lasted.
    pub fn meets(&self, hold: Hold, now: Uptime) -> bool {
        match hold {
            Hold::Checks(number) => self.checks >= number,
            Hold::Span(span) if span.is_zero() => true,
            Hold::Span(span) => self.checks >= 2 && now.since(self.since) >= span,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_needs_two_checks_and_its_time() {
        let at = |seconds| Uptime::new(Duration::from_secs(seconds));
        let mut streak = Streak::begin(at(0), true);
        let hold = Hold::Span(Duration::from_secs(60));
        assert!(!streak.meets(hold, at(600)), "one check is no span");
        streak.go_on(at(59), true);
        assert!(!streak.meets(hold, at(59)));
        assert!(streak.meets(hold, at(60)));
    }

    #[test]
    fn time_in_which_nobody_could_tell_does_not_count() {
        let at = |seconds| Uptime::new(Duration::from_secs(seconds));
        let hold = Hold::Span(Duration::from_secs(60));
        let mut streak = Streak::begin(at(0), true);
        streak.go_on(at(10), true);
        streak.stand_still(at(20));
        streak.stand_still(at(300));
        streak.go_on(at(310), true);
        assert!(!streak.meets(hold, at(310)), "20 s of it were seen");
        assert!(streak.meets(hold, at(350)));
    }

    #[test]
    fn only_checks_count_as_checks() {
        let mut streak = Streak::begin(Uptime::default(), true);
        (0..9).for_each(|_| streak.go_on(Uptime::default(), false));
        streak.go_on(Uptime::default(), true);
        assert!(streak.meets(Hold::Checks(2), Uptime::default()));
        assert!(!streak.meets(Hold::Checks(3), Uptime::default()));
    }
}
