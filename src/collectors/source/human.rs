//! Sizes that the kernel rounds for people, back into numbers.

use crate::exposition::number::parse_f64;

/// Powers of 1024, from the first.
const UNITS: &[u8; 8] = b"kMGTPEZY";
/// bcache prints a fraction in 1/1024 and leaves its last digit out, so `.9` is less than `.10`
/// (`bch_hprint()` of Linux); node_exporter divides by this to bring them into order.
const BCACHE_FRACTION: f64 = 10.24;

/// A number as bcache prints it: a whole number, or with a unit after it one with a fraction.
///
/// *Cost*: no allocation.
pub fn bcache(text: &[u8]) -> Option<f64> {
    let Some((digits, factor)) = unit(text, |byte, unit| byte == unit)? else {
        return parse_f64(text).and_then(whole);
    };
    let value = match digits.iter().position(|&byte| byte == b'.') {
        Some(at) => {
            let fraction = parse_f64(digits.get(at + 1..)?)?;
            parse_f64(digits.get(..at)?)? + fraction / BCACHE_FRACTION
        }
        None => parse_f64(digits)?,
    };
    whole(value * factor)
}

/// A number as bcachefs prints it: decimal, with a unit of either case or none.
///
/// *Cost*: no allocation.
pub fn bcachefs(text: &[u8]) -> Option<f64> {
    let text = text.trim_ascii();
    match unit(text, |byte, unit| byte.eq_ignore_ascii_case(&unit))? {
        Some((digits, factor)) => whole(parse_f64(digits.trim_ascii())? * factor),
        None => whole(parse_f64(text)?),
    }
}

/// The digits and the factor of a text that ends with a unit.
#[allow(
    clippy::option_option,
    reason = "no text is no number, a number without unit is one"
)]
fn unit(text: &[u8], is: impl Fn(u8, u8) -> bool) -> Option<Option<(&[u8], f64)>> {
    let (last, digits) = text.split_last()?;
    let place = UNITS.iter().position(|unit| is(*last, *unit));
    Some(place.map(|at| (digits, (0..=at).fold(1.0, |factor, _| factor * 1024.0))))
}

/// Neither is ever negative or past a counter of the kernel.
fn whole(value: f64) -> Option<f64> {
    (value >= 0.0 && value.is_finite()).then(|| value.trunc())
}

#[cfg(test)]
mod tests {
    use super::{bcache, bcachefs};

    #[test]
    fn sizes_are_bytes_or_nothing() {
        type Parse = fn(&[u8]) -> Option<f64>;
        let cases: [(Parse, &[u8], Option<f64>); 14] = [
            (bcache, b"0", Some(0.0)),
            (bcache, b"1305", Some(1305.0)),
            (bcache, b"4k", Some(4096.0)),
            // 1 + 1 / 10.24 KiB: the tenths of bcache.
            (bcache, b"1.1k", Some(1124.0)),
            (bcache, b"12.5M", Some(13_094_912.0)),
            (bcache, b"1Q", None),
            (bcache, b"", None),
            (bcache, b"-1", None),
            (bcachefs, b"1.26k", Some(1290.0)),
            (bcachefs, b" 2.05G\n", Some(2_201_170_739.0)),
            (bcachefs, b"21.5P", Some(24_206_847_997_116_416.0)),
            (bcachefs, b"720", Some(720.0)),
            (bcachefs, b"inf", None),
            (bcachefs, b"k", None),
        ];
        for (parse, text, want) in cases {
            assert_eq!(parse(text), want, "{}", String::from_utf8_lossy(text));
        }
    }
}
