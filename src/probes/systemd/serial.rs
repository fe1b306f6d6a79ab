//! PID 1's message counter: its rate, and when it passes its end. Pure.

use crate::signal::Uptime;
use std::collections::VecDeque;
use std::time::Duration;

/// Where affected systemds fall silent.
const END: f64 = 4_294_967_296.0;

/// Where fixed systemds go on after 0xffffffff (systemd patch 1f82f5bb4237).
const AFTER_WRAP: u32 = 0x8000_0000;

/// A step back counts as a wrap only from the last quarter of the counter into the quarter after the wrap; any other step back
/// is a new connection of PID 1.
const QUARTER: u32 = 0x4000_0000;

/// The span that "days to overrun" is judged by: long enough to even out bursts of pod starts.
const MEAN_SPAN: Duration = Duration::from_secs(600);

/// Readings kept: one every ten seconds over [`MEAN_SPAN`], and one at its far end.
const MAX_READINGS: usize = 61;

const SECONDS_PER_DAY: f64 = 86_400.0;

/// What two readings say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Growth {
    /// Messages a second between the last two readings.
    pub rate: f64,
    /// Days until 2^32 at the mean rate of the last ten minutes; `None` while it does not grow.
    pub days_to_overrun: Option<f64>,
}

/// The last readings of the counter.
#[derive(Debug, Clone, Default)]
pub struct SerialHistory {
    /// When, and how many messages since the first reading here.
    readings: VecDeque<(Uptime, u64)>,
    last: Option<u32>,
}

impl SerialHistory {
    /// Notes a reading; answers once there are two of the same connection of PID 1.
    pub fn note(&mut self, at: Uptime, serial: u32) -> Option<Growth> {
        let latest = self.readings.back().copied();
        let span = latest.map_or(Duration::ZERO, |(then, _)| at.since(then));
        let step = self.last.and_then(|last| steps_between(last, serial));
        let (Some(step), Some((_, total))) = (step, latest) else {
            self.last = Some(serial);
            self.readings.clear();
            self.readings.push_back((at, 0));
            return None;
        };
        // Two readings of one moment say nothing; the later one is left out.
        let rate = per_second(step, span)?;
        self.last = Some(serial);
        let total = total.saturating_add(step);
        self.readings.push_back((at, total));
        while self.readings.len() > MAX_READINGS
            || self
                .readings
                .front()
                .is_some_and(|(first, _)| at.since(*first) > MEAN_SPAN && self.readings.len() > 2)
        {
            self.readings.pop_front();
        }
        let mean = self
            .readings
            .front()
            .and_then(|(first, base)| per_second(total.saturating_sub(*base), at.since(*first)));
        let days_to_overrun = mean
            .filter(|mean| *mean > 0.0)
            .map(|mean| (END - f64::from(serial)) / mean / SECONDS_PER_DAY);
        Some(Growth {
            rate,
            days_to_overrun,
        })
    }
}

/// How many messages lie between two serials, or `None` if the second belongs to a new connection.
fn steps_between(last: u32, serial: u32) -> Option<u64> {
    if serial >= last {
        return Some(u64::from(serial - last));
    }
    let near_end = last > u32::MAX - QUARTER;
    let after_wrap = (AFTER_WRAP..AFTER_WRAP + QUARTER).contains(&serial);
    (near_end && after_wrap)
        .then(|| u64::from(u32::MAX - last) + u64::from(serial - AFTER_WRAP) + 1)
}

fn per_second(count: u64, span: Duration) -> Option<f64> {
    (!span.is_zero()).then(|| count as f64 / span.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Uptime {
        Uptime::new(Duration::from_secs(seconds))
    }

    #[test]
    fn one_reading_gives_no_rate() {
        assert_eq!(SerialHistory::default().note(at(10), 5), None);
    }

    #[test]
    fn rate_is_of_the_last_step_and_days_are_of_ten_minutes() {
        let mut history = SerialHistory::default();
        history.note(at(0), 1_000);
        let first = history.note(at(10), 2_000).expect("two readings");
        assert_eq!(first.rate, 100.0);
        let second = history.note(at(20), 2_000).expect("three readings");
        assert_eq!(second.rate, 0.0);
        let days = second.days_to_overrun.expect("it grew");
        assert!((days - (END - 2_000.0) / 50.0 / 86_400.0).abs() < 1e-9);
    }

    #[test]
    fn a_counter_that_stands_still_has_no_day_of_overrun() {
        let mut history = SerialHistory::default();
        history.note(at(0), 7);
        let growth = history.note(at(10), 7).expect("two readings");
        assert_eq!((growth.rate, growth.days_to_overrun), (0.0, None));
    }

    #[test]
    fn the_patched_wrap_is_growth_and_any_other_step_back_is_a_new_connection() {
        for (last, serial, steps) in [
            (0xffff_fffd, 0xffff_ffff, Some(2)),
            (0xffff_ffff, 0x8000_0000, Some(1)),
            (0xffff_fffe, 0x8000_0003, Some(5)),
            (0xffff_ffff, 3, None),
            (500_000, 4, None),
            (0xffff_ffff, 0xf000_0000, None),
            (0x9000_0000, 0x8000_0001, None),
            (7, 7, Some(0)),
        ] {
            assert_eq!(steps_between(last, serial), steps, "{last:#x} {serial:#x}");
        }
    }

    #[test]
    fn after_a_new_connection_the_rate_waits_for_a_second_reading() {
        let mut history = SerialHistory::default();
        history.note(at(0), 1_000_000);
        assert!(history.note(at(10), 1_000_100).is_some());
        assert_eq!(history.note(at(20), 12), None);
        assert_eq!(history.note(at(30), 112).map(|it| it.rate), Some(10.0));
    }

    #[test]
    fn two_readings_of_one_moment_divide_nothing_by_zero() {
        let mut history = SerialHistory::default();
        history.note(at(5), 1);
        assert_eq!(history.note(at(5), 9), None);
    }

    #[test]
    fn the_history_is_bounded() {
        let mut history = SerialHistory::default();
        for second in 0..5_000_u32 {
            history.note(at(u64::from(second)), second);
            assert!(history.readings.len() <= MAX_READINGS);
        }
    }
}
