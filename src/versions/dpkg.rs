//! Versions of Debian packages: `[epoch:]upstream[-revision]`.
//!
//! *Source*: deb-version(7), and `dpkg --compare-versions` 1.21 as the judge in `tests/it/sources.rs`.

use std::cmp::Ordering;

/// Compares two versions of Debian packages. Every text has a place in the order: no version is refused, so that a
/// strange one from a package database never stops an assessment.
pub fn compare_dpkg(a: &str, b: &str) -> Ordering {
    let (a, b) = (Parts::of(a.trim()), Parts::of(b.trim()));
    a.epoch
        .cmp(&b.epoch)
        .then_with(|| compare_part(a.upstream, b.upstream))
        .then_with(|| compare_part(a.revision, b.revision))
}

struct Parts<'a> {
    epoch: u64,
    upstream: &'a str,
    revision: &'a str,
}

impl<'a> Parts<'a> {
    fn of(version: &'a str) -> Self {
        let (epoch, rest) = match version.split_once(':') {
            Some((epoch, rest)) => match epoch.parse() {
                Ok(epoch) => (epoch, rest),
                Err(_) => (0, version),
            },
            None => (0, version),
        };
        // Only the last hyphen separates; a missing revision equals an empty one.
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        Self {
            epoch,
            upstream,
            revision,
        }
    }
}

/// Compares by turns a run of other characters and a run of digits.
fn compare_part(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        loop {
            let (x, y) = (rank(a.first()), rank(b.first()));
            if x == 0 && y == 0 {
                break;
            }
            if x != y {
                return x.cmp(&y);
            }
            (a, b) = (after(a), after(b));
        }
        let (left, right) = (number(&mut a), number(&mut b));
        let order = left.len().cmp(&right.len()).then_with(|| left.cmp(right));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// The weight of a character that is no digit: tilde before the end, the end (and digits) before letters, letters
/// before all else.
fn rank(byte: Option<&u8>) -> i32 {
    match byte {
        None => 0,
        Some(digit) if digit.is_ascii_digit() => 0,
        Some(b'~') => -1,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(*letter),
        Some(other) => i32::from(*other) + 256,
    }
}

fn after(bytes: &[u8]) -> &[u8] {
    bytes.get(1..).unwrap_or_default()
}

/// Takes the digits at the front, without leading zeros.
fn number<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let end = bytes
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(bytes.len());
    let (digits, rest) = bytes.split_at(end);
    *bytes = rest;
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    digits.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Answers of `dpkg --compare-versions` 1.21.22 (Debian 12); `tests/it/sources.rs` asks the real one again.
    const KNOWN: &str = include_str!("../../tests/fixtures/versions/dpkg-compare.txt");

    #[test]
    fn the_order_is_that_of_dpkg() {
        let mut judged = 0;
        for line in KNOWN
            .lines()
            .filter(|l| !l.starts_with('#') && !l.is_empty())
        {
            let words: Vec<&str> = line.split(' ').collect();
            let [a, sign, b] = words[..] else {
                panic!("three words: {line}");
            };
            let expected = match sign {
                "<" => Ordering::Less,
                ">" => Ordering::Greater,
                _ => Ordering::Equal,
            };
            assert_eq!(compare_dpkg(a, b), expected, "{line}");
            assert_eq!(compare_dpkg(b, a), expected.reverse(), "{line}");
            judged += 1;
        }
        assert!(judged >= 80, "{judged} pairs");
    }

    #[test]
    fn broken_versions_have_a_place_and_never_panic() {
        let broken = [
            "",
            " ",
            "-",
            ":",
            "~",
            "~~",
            "-:",
            ":-",
            "1:",
            ":1",
            "a:1",
            "-1:2",
            "1-",
            "-1",
            "1--1",
            "é",
            "1é-2",
            "99999999999999999999999999:1",
            "1:2:3",
            "\0",
            "1\n2",
            "٣",
            "1-~",
            "00",
            "+",
            ".",
        ];
        for a in broken {
            assert_eq!(compare_dpkg(a, a), Ordering::Equal, "{a:?}");
            for b in broken {
                assert_eq!(
                    compare_dpkg(a, b),
                    compare_dpkg(b, a).reverse(),
                    "{a:?} {b:?}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in "[0-9a-z~+.:-]{0,10}", b in "[0-9a-z~+.:-]{0,10}", c in "[0-9a-z~+.:-]{0,10}") {
            prop_assert_eq!(compare_dpkg(&a, &b), compare_dpkg(&b, &a).reverse());
            if compare_dpkg(&a, &b).is_le() && compare_dpkg(&b, &c).is_le() {
                prop_assert!(compare_dpkg(&a, &c).is_le());
            }
        }
    }
}
