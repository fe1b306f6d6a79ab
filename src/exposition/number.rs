//! Numbers in the shape that Go's `strconv.FormatFloat(v, 'g', -1, 64)` gives them, because
//! that is what node_exporter's page holds: `1e+06`, `2.5e-05`, `123456`, `0.25`.
//!
//! A decimal of at most 15 significant digits is its own shortest form as a float64, so digits
//! that the kernel printed are copied. Longer ones go through a float first, because
//! node_exporter holds every value as float64 and loses the same digits.

use std::fmt::{self, Write};

/// Decimals up to this many significant digits survive float64 unchanged (`DBL_DIG`).
const EXACT_DIGITS: usize = 15;
/// From this decimal exponent on, Go's `%g` writes an exponent: with the shortest precision it
/// decides as if the precision were 6.
const EXPONENT_FROM: i32 = 6;
/// Below this decimal exponent, Go's `%g` writes an exponent too.
const EXPONENT_BELOW: i32 = -4;

/// Appends an unsigned integer.
pub fn push_u64(out: &mut Vec<u8>, value: u64) {
    let mut text = [0_u8; 20];
    let digits = decimal(value, &mut text);
    push_digits(out, digits);
}

/// Appends a signed integer.
pub fn push_i64(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_u64(out, value.unsigned_abs());
}

/// Appends decimal digits as the kernel printed them; anything else than digits is written as a
/// float if it is one and as `NaN` if it is not.
pub fn push_digits(out: &mut Vec<u8>, digits: &[u8]) {
    let kept = trim_front(digits);
    if kept.is_empty() && !digits.is_empty() {
        out.push(b'0');
    } else if kept.is_empty() || kept.len() > EXACT_DIGITS || !kept.iter().all(u8::is_ascii_digit) {
        push_f64(out, parse_f64(digits).unwrap_or(f64::NAN));
    } else {
        push_scientific(out, trim_back(kept), exponent(kept.len(), 0));
    }
}

/// Appends `value / 10^scale` where `float` is what node_exporter's arithmetic makes of it. The
/// digits are copied if that arithmetic was exact, else the float itself is written.
pub fn push_scaled(out: &mut Vec<u8>, value: u64, scale: u8, float: f64) {
    const POWERS: [f64; 10] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
    let exact = POWERS
        .get(usize::from(scale))
        .is_some_and(|power| value as f64 / power == float);
    let mut text = [0_u8; 20];
    let digits = decimal(value, &mut text);
    if value == 0 && float == 0.0 {
        out.push(b'0');
    } else if exact && digits.len() <= EXACT_DIGITS {
        push_scientific(out, trim_back(digits), exponent(digits.len(), scale));
    } else {
        push_f64(out, float);
    }
}

/// Appends a float.
pub fn push_f64(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        return out.extend_from_slice(b"NaN");
    }
    if value.is_infinite() {
        return out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let positive = value.abs();
    if positive < 1e15 && positive.trunc() == positive {
        return push_u64(out, positive as u64);
    }
    // `{:e}` is the shortest form that reads back as the same float, as in Go.
    let mut text = Short::default();
    if write!(text, "{positive:e}").is_err() {
        return out.extend_from_slice(b"NaN");
    }
    let mut digits = [0_u8; 32];
    let (len, exponent) = text.split(&mut digits);
    push_scientific(out, digits.get(..len).unwrap_or_default(), exponent);
}

/// Reads a float the way the kernel's files hold them: blanks around it are ignored.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// Appends significant digits `d1 d2 ...` meaning `d1.d2... * 10^exponent`.
fn push_scientific(out: &mut Vec<u8>, digits: &[u8], exponent: i32) {
    if !(EXPONENT_BELOW..EXPONENT_FROM).contains(&exponent) {
        return push_exponent(out, digits, exponent);
    }
    if exponent < 0 {
        out.extend_from_slice(b"0.");
        for _ in exponent..-1 {
            out.push(b'0');
        }
        return out.extend_from_slice(digits);
    }
    let whole = exponent.unsigned_abs() as usize + 1;
    match digits.split_at_checked(whole) {
        Some((before, after)) => {
            out.extend_from_slice(before);
            if !after.is_empty() {
                out.push(b'.');
                out.extend_from_slice(after);
            }
        }
        None => {
            out.extend_from_slice(digits);
            for _ in digits.len()..whole {
                out.push(b'0');
            }
        }
    }
}

fn push_exponent(out: &mut Vec<u8>, digits: &[u8], exponent: i32) {
    if let Some((first, rest)) = digits.split_first() {
        out.push(*first);
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest);
        }
    }
    out.push(b'e');
    out.push(if exponent < 0 { b'-' } else { b'+' });
    let size = exponent.unsigned_abs();
    if size < 10 {
        out.push(b'0');
    }
    let mut text = [0_u8; 20];
    out.extend_from_slice(decimal(u64::from(size), &mut text));
}

fn exponent(digits: usize, scale: u8) -> i32 {
    // At most 20 digits and a scale of at most 255, so this fits.
    i32::try_from(digits).unwrap_or(i32::MAX) - 1 - i32::from(scale)
}

/// The decimal digits of a number, in the tail of `text`.
fn decimal(mut value: u64, text: &mut [u8; 20]) -> &[u8] {
    let mut start = text.len();
    for (at, slot) in text.iter_mut().enumerate().rev() {
        *slot = b'0' + (value % 10) as u8;
        value /= 10;
        start = at;
        if value == 0 {
            break;
        }
    }
    text.get(start..).unwrap_or_default()
}

fn trim_front(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    digits.get(zeros..).unwrap_or_default()
}

fn trim_back(digits: &[u8]) -> &[u8] {
    let zeros = digits
        .iter()
        .rev()
        .take_while(|&&digit| digit == b'0')
        .count();
    digits.get(..digits.len() - zeros).unwrap_or_default()
}

/// A float's text on the stack: at most 17 digits, a point, `e`, and a signed exponent.
#[derive(Default)]
struct Short {
    text: [u8; 32],
    len: usize,
}

impl Short {
    /// Splits `1.25e-7` into the digits `125` and the exponent -7.
    fn split(&self, digits: &mut [u8; 32]) -> (usize, i32) {
        let text = self.text.get(..self.len).unwrap_or_default();
        let mut parts = text.splitn(2, |&byte| byte == b'e');
        let mantissa = parts.next().unwrap_or_default();
        let exponent = parts.next().and_then(|tail| std::str::from_utf8(tail).ok());
        let mut len = 0;
        for (slot, &digit) in digits
            .iter_mut()
            .zip(mantissa.iter().filter(|&&byte| byte != b'.'))
        {
            *slot = digit;
            len += 1;
        }
        (
            len,
            exponent.and_then(|tail| tail.parse().ok()).unwrap_or(0),
        )
    }
}

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free = self
            .text
            .get_mut(self.len..self.len + text.len())
            .ok_or(fmt::Error)?;
        free.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{push_digits, push_f64, push_i64, push_scaled, push_u64};
    use proptest::prelude::{any, proptest};

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn floats_have_the_shape_of_go() {
        // Each pair printed by Go 1.26: strconv.FormatFloat(v, 'g', -1, 64).
        let cases: [(f64, &str); 20] = [
            (0.0, "0"),
            (1.0, "1"),
            (-1.0, "-1"),
            (123456.0, "123456"),
            (999999.0, "999999"),
            (1e6, "1e+06"),
            (1234567.0, "1.234567e+06"),
            (2.5275621376e10, "2.5275621376e+10"),
            (1.8446744073709552e19, "1.8446744073709552e+19"),
            (9.223372036854776e18, "9.223372036854776e+18"),
            (0.25, "0.25"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (0.000033505, "3.3505e-05"),
            (123456.789, "123456.789"),
            (1234567.89, "1.23456789e+06"),
            (100.5, "100.5"),
            (1e100, "1e+100"),
            (5e-324, "5e-324"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
        ];
        for (value, want) in cases {
            assert_eq!(text(|out| push_f64(out, value)), want);
        }
        assert_eq!(text(|out| push_f64(out, f64::NAN)), "NaN");
        assert_eq!(text(|out| push_f64(out, f64::INFINITY)), "+Inf");
        assert_eq!(text(|out| push_f64(out, f64::NEG_INFINITY)), "-Inf");
    }

    #[test]
    fn digits_are_copied_or_rounded_as_a_float_would() {
        let cases: [(&str, &str); 10] = [
            ("0", "0"),
            ("000", "0"),
            ("0042", "42"),
            ("100000", "100000"),
            ("1000000", "1e+06"),
            ("123456789012345", "1.23456789012345e+14"),
            ("18446744073709551615", "1.8446744073709552e+19"),
            ("9007199254740993", "9.007199254740992e+15"),
            ("-3", "-3"),
            ("12x", "NaN"),
        ];
        for (digits, want) in cases {
            assert_eq!(
                text(|out| push_digits(out, digits.as_bytes())),
                want,
                "{digits}"
            );
        }
    }

    #[test]
    fn signed_integers_keep_their_sign() {
        assert_eq!(text(|out| push_i64(out, -8_000_000)), "-8e+06");
        assert_eq!(
            text(|out| push_i64(out, i64::MIN)),
            "-9.223372036854776e+18"
        );
    }

    #[test]
    fn inexact_arithmetic_shows_as_in_go() {
        // 57.19 exactly, but 1009 * 0.001 is 1.0090000000000001 in float64.
        let product = 1009.0_f64 * 0.001;
        assert_eq!(
            text(|out| push_scaled(out, 1009, 3, product)),
            format!("{product}")
        );
        assert_eq!(text(|out| push_scaled(out, 57190, 3, 57.19)), "57.19");
        assert_eq!(text(|out| push_scaled(out, 1, 2, 0.01)), "0.01");
        assert_eq!(text(|out| push_scaled(out, 0, 2, 0.0)), "0");
        assert_eq!(
            text(|out| push_scaled(out, 123_456_700, 2, 1_234_567.0)),
            "1.234567e+06"
        );
    }

    proptest! {
        #[test]
        fn whatever_is_written_reads_back_the_same(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            if value.is_finite() {
                let written = text(|out| push_f64(out, value));
                assert_eq!(written.parse::<f64>().unwrap().to_bits(), bits);
            }
        }

        #[test]
        fn integers_are_written_as_their_float(value in any::<u64>()) {
            let as_float = text(|out| push_f64(out, value as f64));
            assert_eq!(text(|out| push_u64(out, value)), as_float);
            assert_eq!(text(|out| push_digits(out, value.to_string().as_bytes())), as_float);
        }

        #[test]
        fn scaled_integers_are_written_as_their_float(value in any::<u32>(), scale in 0_u8..=9) {
            let float = f64::from(value) / 10_f64.powi(i32::from(scale));
            let as_float = text(|out| push_f64(out, float));
            assert_eq!(text(|out| push_scaled(out, u64::from(value), scale, float)), as_float);
        }
    }
}
