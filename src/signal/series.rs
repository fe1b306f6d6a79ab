//! The history of one signal of one subject, in runs of equal values.
//!
//! A healthy signal repeats itself for days; as one run it costs one entry, so long windows stay cheap.

use super::key::Value;
use super::reading::MissingReason;
use super::time::{Timestamp, Uptime};
use std::collections::VecDeque;
use std::time::Duration;

/// How many changes of a signal are remembered. A signal that changes every 10 s is remembered for 20 minutes, the
/// longest window of a shipped rule being 15.
const MAX_RUNS: usize = 128;

/// Equal readings in a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The first of them.
    pub first: Timestamp,
    /// The last of them.
    pub last: Timestamp,
    /// How many.
    pub checks: u32,
    /// What they said.
    pub value: Result<Value, MissingReason>,
}

/// The history of one signal of one subject; never empty once it exists.
#[derive(Debug, Clone, Default)]
pub struct Series {
    runs: VecDeque<Run>,
}

impl Series {
    /// Adds a reading. Readings from the past are dropped: `false`.
    pub fn push(&mut self, at: Timestamp, value: Result<Value, MissingReason>) -> bool {
        if let Some(last) = self.runs.back_mut() {
            if at.uptime < last.last.uptime {
                return false;
            }
            if last.value == value {
                last.last = at;
                last.checks = last.checks.saturating_add(1);
                return true;
            }
        }
        if self.runs.len() == MAX_RUNS {
            self.runs.pop_front();
        }
        self.runs.push_back(Run {
            first: at,
            last: at,
            checks: 1,
            value,
        });
        true
    }

    /// The newest run.
    pub fn latest(&self) -> Option<&Run> {
        self.runs.back()
    }

    /// How many runs are kept.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether nothing was ever read.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The runs that reach into the `span` before `now`, oldest first.
    pub fn over(&self, now: Uptime, span: Duration) -> impl Iterator<Item = &Run> {
        let from = now.minus(span);
        self.runs.iter().filter(move |run| run.last.uptime >= from)
    }

    /// Whether the history reaches back to `span` before `now`; if not, a window over it is only partly seen.
    pub fn covers(&self, now: Uptime, span: Duration) -> bool {
        self.runs
            .front()
            .is_some_and(|run| run.first.uptime <= now.minus(span))
    }

    /// How many checks in a row, up to the newest, gave `value`.
    pub fn count(&self, value: &Value) -> u32 {
        match self.latest() {
            Some(run) if run.value.as_ref() == Ok(value) => run.checks,
            _ => 0,
        }
    }

    /// How often the value changed in the span; a gap of unread checks between two different values is one change.
    pub fn changes(&self, now: Uptime, span: Duration) -> u32 {
        let from = now.minus(span);
        let mut previous: Option<&Value> = None;
        let mut changes: u32 = 0;
        for run in &self.runs {
            let Ok(value) = &run.value else { continue };
            if previous.is_some_and(|old| old != value) && run.first.uptime > from {
                changes = changes.saturating_add(1);
            }
            previous = Some(value);
        }
        changes
    }

    /// The sum of all rises of a counter in the span; a fall is a reset and counts from zero.
    ///
    /// `None` if nothing in the span is a number.
    pub fn increase(&self, now: Uptime, span: Duration) -> Option<f64> {
        let from = now.minus(span);
        let mut previous: Option<f64> = None;
        let mut total = None;
        for run in &self.runs {
            let Some(number) = run.value.as_ref().ok().and_then(Value::as_number) else {
                continue;
            };
            if let Some(old) = previous
                && run.first.uptime > from
            {
                let rise = if number >= old { number - old } else { number };
                total = Some(total.unwrap_or(0.0) + rise);
            }
            if run.last.uptime >= from {
                total = Some(total.unwrap_or(0.0));
            }
            previous = Some(number);
        }
        total
    }

    /// Smallest and largest number in the span, `None` if there is no number in it.
    pub fn extremes(&self, now: Uptime, span: Duration) -> Option<(f64, f64)> {
        self.over(now, span)
            .filter_map(|run| run.value.as_ref().ok().and_then(Value::as_number))
            .fold(None, |found, number| match found {
                None => Some((number, number)),
                Some((low, high)) => Some((number.min(low), number.max(high))),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::default().plus(Duration::from_secs(seconds))
    }

    fn series(values: &[(u64, Option<i64>)]) -> Series {
        let mut series = Series::default();
        for (second, value) in values {
            series.push(
                at(*second),
                value.map(Value::Integer).ok_or(MissingReason::NotYet),
            );
        }
        series
    }

    #[test]
    fn equal_readings_are_one_run() {
        let series = series(&[(1, Some(5)), (2, Some(5)), (3, Some(5)), (4, None)]);
        assert_eq!(series.len(), 2);
        assert_eq!(series.count(&Value::Integer(5)), 0);
    }

    #[test]
    fn a_counter_reset_counts_from_zero() {
        let series = series(&[(0, Some(10)), (10, Some(12)), (20, Some(1)), (30, Some(4))]);
        assert_eq!(
            series.increase(at(30).uptime, Duration::from_secs(60)),
            Some(2.0 + 1.0 + 3.0)
        );
        assert_eq!(
            series.increase(at(30).uptime, Duration::from_secs(15)),
            Some(1.0 + 3.0)
        );
    }

    #[test]
    fn unread_checks_are_no_change() {
        let series = series(&[
            (0, Some(1)),
            (1, None),
            (2, Some(1)),
            (3, None),
            (4, Some(2)),
        ]);
        assert_eq!(series.changes(at(4).uptime, Duration::from_secs(60)), 1);
    }

    #[test]
    fn windows_leave_out_what_is_older() {
        let series = series(&[(50, Some(9)), (100, Some(1)), (110, Some(3))]);
        assert_eq!(
            series.extremes(at(110).uptime, Duration::from_secs(20)),
            Some((1.0, 3.0))
        );
        assert!(!series.covers(at(110).uptime, Duration::from_secs(70)));
        assert!(series.covers(at(110).uptime, Duration::from_secs(50)));
    }

    proptest! {
        #[test]
        fn a_series_stays_within_its_bound(values in prop::collection::vec((0u64..50, prop::option::of(0i64..4)), 0..600)) {
            let mut clock = 0;
            let mut series = Series::default();
            for (step, value) in values {
                clock += step;
                series.push(at(clock), value.map(Value::Integer).ok_or(MissingReason::NotYet));
                prop_assert!(series.len() <= MAX_RUNS);
            }
        }

        #[test]
        fn a_reading_from_the_past_is_dropped(first in 1u64..1000, back in 1u64..1000) {
            let mut series = Series::default();
            series.push(at(first + back), Ok(Value::Bool(true)));
            prop_assert!(!series.push(at(first), Ok(Value::Bool(false))));
            prop_assert_eq!(series.count(&Value::Bool(true)), 1);
        }
    }
}
