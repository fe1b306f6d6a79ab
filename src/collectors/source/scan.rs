//! Lines, fields and numbers of the kernel's text. Bytes in, slices out; nothing is copied.

/// The lines of a text, without their ends; a last line without end counts.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (line, after) = cut(rest, b'\n').unwrap_or((rest, b""));
        rest = after;
        Some(line)
    })
}

/// The parts of a line between blanks and tabs.
pub fn fields(line: &[u8]) -> Fields<'_> {
    Fields { rest: line }
}

/// See [`fields`].
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// What follows the last field taken.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
        let start = self.rest.iter().position(|byte| !blank(byte))?;
        let text = self.rest.get(start..)?;
        let end = memchr::memchr3(b' ', b'\t', b'\r', text).unwrap_or(text.len());
        let (field, rest) = text.split_at_checked(end)?;
        self.rest = rest;
        Some(field)
    }
}

/// The text before and after the first `at`.
pub fn cut(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = memchr::memchr(at, text)?;
    let (before, after) = text.split_at_checked(place)?;
    Some((before, after.get(1..)?))
}

/// A decimal number; `None` for anything else, a sign or an overflow included.
pub fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A decimal number with an optional sign.
pub fn signed(digits: &[u8]) -> Option<i64> {
    match digits.split_first() {
        Some((b'-', rest)) => number(rest).and_then(|n| 0_i64.checked_sub_unsigned(n)),
        Some((b'+', rest)) => number(rest).and_then(|n| i64::try_from(n).ok()),
        _ => number(digits).and_then(|n| i64::try_from(n).ok()),
    }
}

/// A number in hexadecimal, with or without `0x`.
pub fn hex(digits: &[u8]) -> Option<u64> {
    let bare = digits.strip_prefix(b"0x").unwrap_or(digits);
    if bare.is_empty() || bare.len() > 16 {
        return None;
    }
    bare.iter().try_fold(0_u64, |sum, byte| {
        Some(sum << 4 | u64::from(char::from(*byte).to_digit(16)?))
    })
}

#[cfg(test)]
mod tests {
    use super::{cut, fields, hex, lines, number, signed};
    use proptest::prelude::{any, proptest};

    #[test]
    fn numbers_are_taken_whole_or_not_at_all() {
        let cases: [(&[u8], Option<u64>); 7] = [
            (b"0", Some(0)),
            (b"007", Some(7)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"18446744073709551616", None),
            (b"", None),
            (b"-1", None),
            (b"1 ", None),
        ];
        for (digits, want) in cases {
            assert_eq!(number(digits), want);
        }
        assert_eq!(signed(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(signed(b"9223372036854775808"), None);
        assert_eq!(signed(b"--1"), None);
        assert_eq!(hex(b"0x1003"), Some(0x1003));
        assert_eq!(hex(b"0x"), None);
        assert_eq!(hex(b"fffffffffffffffff"), None);
    }

    #[test]
    fn lines_and_fields_lose_nothing_but_blanks() {
        let text = b"a  b\tc\n\n d\n  \nlast";
        let got: Vec<Vec<&[u8]>> = lines(text).map(|line| fields(line).collect()).collect();
        let want: [&[&[u8]]; 5] = [&[b"a", b"b", b"c"], &[], &[b"d"], &[], &[b"last"]];
        assert_eq!(got, want);
        assert_eq!(cut(b"a:b:c", b':'), Some((&b"a"[..], &b"b:c"[..])));
        assert_eq!(cut(b"abc", b':'), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_scanned_without_panic(text in any::<Vec<u8>>()) {
            let count = lines(&text).map(|line| fields(line).count()).sum::<usize>();
            assert!(count <= text.len());
        }
    }
}
