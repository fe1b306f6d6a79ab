//! Versions of rpm packages: `[epoch:]version[-release]`.
//!
//! *Source*: rpm's own answers (`rpm --eval '%{lua:print(rpm.vercmp("1","2"))}'`, rpm 4.18.0) as a table in the fixtures.

use std::cmp::Ordering;

/// Compares two epoch-version-releases. Where one of the two names no release, releases are not compared, as in a
/// dependency such as `systemd >= 242`.
pub fn compare_rpm(a: &str, b: &str) -> Ordering {
    let (a, b) = (Parts::of(a.trim()), Parts::of(b.trim()));
    let order = a
        .epoch
        .cmp(&b.epoch)
        .then_with(|| compare_rpm_segment(a.version, b.version));
    match (a.release, b.release) {
        (Some(x), Some(y)) => order.then_with(|| compare_rpm_segment(x, y)),
        _ => order,
    }
}

struct Parts<'a> {
    epoch: u64,
    version: &'a str,
    release: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Self {
        // `(none)` is what a query prints for a package without epoch, which counts as 0.
        let (epoch, rest) = match text.split_once(':') {
            Some(("(none)" | "", rest)) => (0, rest),
            Some((epoch, rest)) => match epoch.parse() {
                Ok(epoch) => (epoch, rest),
                Err(_) => (0, text),
            },
            None => (0, text),
        };
        match rest.rsplit_once('-') {
            Some((version, release)) => Self {
                epoch,
                version,
                release: Some(release),
            },
            None => Self {
                epoch,
                version: rest,
                release: None,
            },
        }
    }
}

/// Compares one version or one release, as rpmvercmp does: runs of digits and runs of letters by turns, a tilde before
/// everything including the end, a caret after the end and before everything else.
pub fn compare_rpm_segment(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    if a == b {
        return Ordering::Equal;
    }
    while !a.is_empty() || !b.is_empty() {
        a = skip_separators(a);
        b = skip_separators(b);
        match (a.first(), b.first()) {
            (Some(b'~'), Some(b'~')) | (Some(b'^'), Some(b'^')) => {
                (a, b) = (after(a), after(b));
                continue;
            }
            (Some(b'~'), _) => return Ordering::Less,
            (_, Some(b'~')) => return Ordering::Greater,
            (Some(b'^'), None) => return Ordering::Greater,
            (None, Some(b'^')) => return Ordering::Less,
            (Some(b'^'), Some(_)) => return Ordering::Less,
            (Some(_), Some(b'^')) => return Ordering::Greater,
            (None, _) | (_, None) => break,
            (Some(x), Some(y)) => {
                // The left side says which kind of run is compared; a number is newer than letters.
                let digits = x.is_ascii_digit();
                if digits != y.is_ascii_digit() {
                    return if digits {
                        Ordering::Greater
                    } else {
                        Ordering::Less
                    };
                }
                let order = compare_run(run(&mut a, digits), run(&mut b, digits), digits);
                if order.is_ne() {
                    return order;
                }
            }
        }
    }
    // Only separators differ, or one side has a run more.
    a.len().min(1).cmp(&b.len().min(1))
}

fn compare_run(a: &[u8], b: &[u8], digits: bool) -> Ordering {
    if !digits {
        return a.cmp(b);
    }
    let (a, b) = (without_zeros(a), without_zeros(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    digits.get(zeros..).unwrap_or_default()
}

fn skip_separators(bytes: &[u8]) -> &[u8] {
    let end = bytes
        .iter()
        .position(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'~' | b'^'))
        .unwrap_or(bytes.len());
    bytes.get(end..).unwrap_or_default()
}

fn run<'a>(bytes: &mut &'a [u8], digits: bool) -> &'a [u8] {
    let belongs = |byte: &u8| match digits {
        true => byte.is_ascii_digit(),
        false => byte.is_ascii_alphabetic(),
    };
    let end = bytes
        .iter()
        .position(|byte| !belongs(byte))
        .unwrap_or(bytes.len());
    let (run, rest) = bytes.split_at(end);
    *bytes = rest;
    run
}

fn after(bytes: &[u8]) -> &[u8] {
    bytes.get(1..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Answers of rpm 4.18.0 itself.
    const KNOWN: &str = include_str!("../../tests/fixtures/versions/rpm-vercmp.txt");

    fn judge(kind: &str, compare: fn(&str, &str) -> Ordering) -> usize {
        let mut judged = 0;
        for line in KNOWN.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [found, a, sign, b] = words[..] else {
                continue;
            };
            if found != kind {
                continue;
            }
            let expected = match sign {
                "<" => Ordering::Less,
                ">" => Ordering::Greater,
                _ => Ordering::Equal,
            };
            assert_eq!(compare(a, b), expected, "{line}");
            assert_eq!(compare(b, a), expected.reverse(), "{line}");
            judged += 1;
        }
        judged
    }

    #[test]
    fn the_order_of_segments_is_that_of_rpm() {
        assert!(judge("segment", compare_rpm_segment) >= 300);
    }

    #[test]
    fn the_order_of_whole_versions_is_that_of_rpm() {
        assert!(judge("evr", compare_rpm) >= 60);
    }

    #[test]
    fn a_version_without_release_equals_every_release_of_it() {
        assert_eq!(compare_rpm("242", "242-1.fc30"), Ordering::Equal);
        assert_eq!(compare_rpm("242", "241-9"), Ordering::Greater);
        assert_eq!(
            compare_rpm("(none):219-67.el7", "0:219-67.el7"),
            Ordering::Equal
        );
    }

    #[test]
    fn broken_versions_have_a_place_and_never_panic() {
        let broken = [
            "",
            " ",
            "-",
            ":",
            "~",
            "^",
            "~^",
            "^~",
            "--",
            "1-",
            "-1",
            "(none)",
            "(none):",
            ":1-1",
            "x:1-1",
            "é",
            "1é",
            "99999999999999999999:1-1",
            "1:2:3-4",
            "\0",
            "1\n2",
            "٣",
            "...",
            "1..2",
            "00",
            "_",
        ];
        for a in broken {
            assert_eq!(compare_rpm(a, a), Ordering::Equal, "{a:?}");
            for b in broken {
                compare_rpm(a, b);
            }
        }
    }

    proptest! {
        #[test]
        fn swapping_the_sides_turns_the_answer(a in "[0-9a-c~^._+]{0,10}", b in "[0-9a-c~^._+]{0,10}") {
            prop_assert_eq!(compare_rpm_segment(&a, &b), compare_rpm_segment(&b, &a).reverse());
        }
    }
}
