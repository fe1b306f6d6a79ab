//! Spans of time as people write them: `30s`, `5m`, `1h30m`, `7d`.

use std::time::Duration;

const UNITS: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 7 * 86_400_000),
];

/// The longest span that a document may name: ten years. More is a typing error.
const MAX_SPAN: Duration = Duration::from_secs(10 * 366 * 86_400);

/// Reads a span such as `90s`, `1h30m` or `7d`.
///
/// # Errors
/// A sentence that says what is wrong and how a span is written.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a span of time; write it like 30s, 5m, 1h30m or 7d");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total_ms: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let (_, unit_ms) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(wrong)?;
        total_ms = number
            .checked_mul(*unit_ms)
            .and_then(|ms| total_ms.checked_add(ms))
            .ok_or_else(wrong)?;
        rest = tail;
    }
    let span = Duration::from_millis(total_ms);
    if span > MAX_SPAN {
        return Err(format!("`{text}` is longer than ten years; check the unit"));
    }
    Ok(span)
}

/// Writes a span for people: two units at the most, `0.4 ms`, `5 s`, `3 min 12 s`, `41 d 2 h`.
pub fn format_span(span: Duration) -> String {
    let seconds = span.as_secs();
    if span < Duration::from_millis(1) {
        return format!("{:.2} ms", span.as_secs_f64() * 1e3);
    }
    if seconds < 1 {
        return format!("{:.1} ms", span.as_secs_f64() * 1e3);
    }
    if seconds < 60 {
        let tenths = span.as_millis() / 100;
        return if tenths.is_multiple_of(10) || seconds >= 10 {
            format!("{seconds} s")
        } else {
            format!("{}.{} s", tenths / 10, tenths % 10)
        };
    }
    let pair = |big: u64, big_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{big} {big_unit}"),
        _ => format!("{big} {big_unit} {small} {small_unit}"),
    };
    match seconds {
        0..3_600 => pair(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => pair(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => pair(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_written() {
        for (text, seconds) in [
            ("30s", 30),
            ("5m", 300),
            ("1h30m", 5_400),
            ("7d", 604_800),
            ("2w", 1_209_600),
            ("0s", 0),
        ] {
            assert_eq!(parse_span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse_span("250ms"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in [
            "",
            "5",
            "m",
            "5 m",
            "-5m",
            "5x",
            "1.5h",
            "99999999999999999999s",
            "20000w",
            "5m3",
            "5µs",
        ] {
            assert!(parse_span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_are_written_for_people() {
        for (ms, text) in [
            (5_000, "5 s"),
            (5_400, "5.4 s"),
            (192_000, "3 min 12 s"),
            (33_120_000, "9 h 12 min"),
            (41 * 86_400_000, "41 d"),
            (214, "214.0 ms"),
        ] {
            assert_eq!(format_span(Duration::from_millis(ms)), text);
        }
        assert_eq!(format_span(Duration::from_micros(400)), "0.40 ms");
    }
}
