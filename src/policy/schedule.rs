//! Windows in which disruptive work may start: `Sun 02:00-04:00 Europe/Berlin`.

use crate::signal::Wall;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

/// A weekly window in a named time zone. It may run past midnight; a window closes *starting*, never *finishing*.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    text: String,
    days: Vec<Weekday>,
    from: Time,
    to: Time,
    zone: TimeZone,
}

/// A text that is not a window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a window: {why}; write it like `Sun 02:00-04:00 Europe/Berlin` or `Mon-Fri 22:00-06:00 UTC`"
)]
pub struct WindowError {
    text: String,
    why: &'static str,
}

const DAYS: [(&str, Weekday); 7] = [
    ("Mon", Weekday::Monday),
    ("Tue", Weekday::Tuesday),
    ("Wed", Weekday::Wednesday),
    ("Thu", Weekday::Thursday),
    ("Fri", Weekday::Friday),
    ("Sat", Weekday::Saturday),
    ("Sun", Weekday::Sunday),
];

impl Window {
    /// Reads `DAYS FROM-TO ZONE`. The zone must be known to the machine's (or the given) zone database.
    ///
    /// # Errors
    /// What is wrong, and how a window is written.
    pub fn parse(
        text: &str,
        zone_of: impl Fn(&str) -> Option<TimeZone>,
    ) -> Result<Self, WindowError> {
        let fail = |why| WindowError {
            text: text.chars().take(80).collect(),
            why,
        };
        let mut words = text.split_whitespace();
        let (Some(days), Some(times), Some(zone), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(fail("it needs days, times and a time zone"));
        };
        let (from, to) = times
            .split_once('-')
            .ok_or_else(|| fail("the times need a `-` between them"))?;
        let from = time(from).ok_or_else(|| fail("the first time is not HH:MM"))?;
        let to = time(to).ok_or_else(|| fail("the second time is not HH:MM"))?;
        if from == to {
            return Err(fail("it is empty: both times are the same"));
        }
        let days = parse_days(days).ok_or_else(|| fail("the days are not known"))?;
        let zone =
            zone_of(zone).ok_or_else(|| fail("the time zone is not known on this machine"))?;
        Ok(Self {
            text: text.to_owned(),
            days,
            from,
            to,
            zone,
        })
    }

    /// The window as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the window is open at `now`.
    pub fn is_open(&self, now: Wall) -> bool {
        let Some(local) = self.local(now) else {
            return false;
        };
        self.opens_on(&local) && self.contains_from(&local)
            || self.from > self.to && self.yesterday_reaches(&local)
    }

    fn local(&self, now: Wall) -> Option<Zoned> {
        Timestamp::from_microsecond(now.0)
            .ok()
            .map(|at| at.to_zoned(self.zone.clone()))
    }

    fn opens_on(&self, local: &Zoned) -> bool {
        self.days.contains(&local.weekday())
    }

    fn contains_from(&self, local: &Zoned) -> bool {
        local.time() >= self.from && (self.from > self.to || local.time() < self.to)
    }

    fn yesterday_reaches(&self, local: &Zoned) -> bool {
        self.days.contains(&local.weekday().previous()) && local.time() < self.to
    }

    /// When it opens next after `now`; `None` if the clock is out of range.
    pub fn next_opening(&self, now: Wall) -> Option<Wall> {
        let local = self.local(now)?;
        (0..=7).find_map(|days| {
            let date = local.date().checked_add(days.days()).ok()?;
            let opening = date
                .to_datetime(self.from)
                .to_zoned(self.zone.clone())
                .ok()?;
            (self.days.contains(&opening.weekday()) && opening.timestamp() > local.timestamp())
                .then(|| Wall(opening.timestamp().as_microsecond()))
        })
    }
}

fn time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    if hour.len() != 2 || minute.len() != 2 {
        return None;
    }
    let number = |digits: &str| digits.parse::<i8>().ok().filter(|value| *value >= 0);
    Time::new(number(hour)?, number(minute)?, 0, 0).ok()
}

fn parse_days(text: &str) -> Option<Vec<Weekday>> {
    let index = |name: &str| DAYS.iter().position(|(known, _)| *known == name);
    let mut days = Vec::new();
    for part in text.split(',') {
        if part == "daily" {
            days.extend(DAYS.iter().map(|(_, day)| *day));
            continue;
        }
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (index(first)?, index(last)?);
        let count = (last + 7 - first) % 7 + 1;
        days.extend(
            DAYS.iter()
                .cycle()
                .skip(first)
                .take(count)
                .map(|(_, day)| *day),
        );
    }
    Some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(text: &str) -> Window {
        Window::parse(text, |name| TimeZone::get(name).ok()).expect("a window")
    }

    fn wall(text: &str) -> Wall {
        Wall(text.parse::<Timestamp>().expect("time").as_microsecond())
    }

    #[test]
    fn a_window_is_open_between_its_times() {
        for (text, at, open) in [
            ("Sun 02:00-04:00 UTC", "2026-11-22T02:00:00Z", true),
            ("Sun 02:00-04:00 UTC", "2026-11-22T03:59:59Z", true),
            ("Sun 02:00-04:00 UTC", "2026-11-22T04:00:00Z", false),
            ("Sun 02:00-04:00 UTC", "2026-11-23T03:00:00Z", false),
            (
                "Sun 02:00-04:00 Europe/Berlin",
                "2026-11-22T01:30:00Z",
                true,
            ),
            ("Sat 22:00-06:00 UTC", "2026-11-22T05:59:00Z", true),
            ("Sat 22:00-06:00 UTC", "2026-11-21T05:59:00Z", false),
            ("Mon-Fri 22:00-06:00 UTC", "2026-11-21T01:00:00Z", true),
            ("Fri-Mon 10:00-11:00 UTC", "2026-11-22T10:30:00Z", true),
            ("daily 00:00-23:59 UTC", "2026-11-22T10:30:00Z", true),
        ] {
            assert_eq!(window(text).is_open(wall(at)), open, "{text} at {at}");
        }
    }

    #[test]
    fn the_next_opening_is_the_next_one() {
        for (text, at, next) in [
            (
                "Sun 02:00-04:00 UTC",
                "2026-11-22T03:00:00Z",
                "2026-11-29T02:00:00Z",
            ),
            (
                "Sun 02:00-04:00 UTC",
                "2026-11-21T16:48:00Z",
                "2026-11-22T02:00:00Z",
            ),
            (
                "Sun,Mon 02:00-04:00 UTC",
                "2026-11-22T03:00:00Z",
                "2026-11-23T02:00:00Z",
            ),
        ] {
            assert_eq!(
                window(text).next_opening(wall(at)),
                Some(wall(next)),
                "{text} at {at}"
            );
        }
    }

    #[test]
    fn a_clock_out_of_range_is_never_inside_a_window() {
        let window = window("daily 00:00-23:59 UTC");
        assert!(!window.is_open(Wall(i64::MAX)));
        assert_eq!(window.next_opening(Wall(i64::MIN)), None);
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for text in [
            "",
            "Sun",
            "Sun 02:00-04:00",
            "Sun 2:00-4:00 UTC",
            "Sun 02:00 UTC",
            "Sun 02:00-02:00 UTC",
            "Son 02:00-04:00 UTC",
            "Sun 25:00-26:00 UTC",
            "Sun 02:60-04:00 UTC",
            "Sun 02:00-04:00 Mars/Base",
            "Sun 02:00-04:00 UTC extra",
            "Sun- 02:00-04:00 UTC",
            ",Sun 02:00-04:00 UTC",
            "sun 02:00-04:00 UTC",
            "Sun 02:00--04:00 UTC",
            "Sun -2:00-04:00 UTC",
            "Sun 02.00-04.00 UTC",
            "Sun 0200-0400 UTC",
            "Sun 02:00-24:00 UTC",
            "Mon..Fri 02:00-04:00 UTC",
        ] {
            assert!(
                Window::parse(text, |name| TimeZone::get(name).ok()).is_err(),
                "{text}"
            );
        }
    }
}
