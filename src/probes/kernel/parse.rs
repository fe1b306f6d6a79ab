//! sysctl.d files: which value is declared for a kernel setting.
//!
//! *Source*: sysctl.d(5); behaviour of systemd-sysctl 252. A plain name beats every pattern, the later line beats the
//! earlier one, and `-name` without a value takes the name out of all patterns.

use std::collections::BTreeMap;

/// The longest value that is kept; the longest that the kernel has for our settings are two numbers.
const MAX_VALUE_BYTES: usize = 256;

/// How many lines of all files together are kept.
const MAX_ASSIGNMENTS: usize = 4_096;

/// One line of a sysctl.d file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The path below `/proc/sys`, maybe a pattern: `net/ipv4/conf/*/rp_filter`.
    pub path: String,
    /// The value, or `None` where the line takes the name out of patterns.
    pub value: Option<String>,
    /// The file that the line is in.
    pub file: String,
}

impl Assignment {
    fn is_pattern(&self) -> bool {
        self.path.contains(['*', '?', '['])
    }
}

/// Reads the lines of `file` and adds them to `found`. Lines that are no assignment are left out, as systemd does it.
pub fn read_assignments(file: &str, text: &str, found: &mut Vec<Assignment>) {
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) || found.len() >= MAX_ASSIGNMENTS {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim())),
            None => (line, None),
        };
        let optional = name.strip_prefix('-');
        if optional.is_none() && value.is_none() {
            continue;
        }
        let path = path_of(optional.unwrap_or(name).trim());
        let fits = value.is_none_or(|value| value.len() <= MAX_VALUE_BYTES);
        if is_plain(&path) && fits {
            found.push(Assignment {
                path,
                value: value.map(str::to_owned),
                file: file.to_owned(),
            });
        }
    }
}

/// Turns `net.ipv4.ip_forward` into `net/ipv4/ip_forward`. The first separator decides which of the two is one, so that
/// `net/ipv4/conf/eth0.100/rp_filter` and `net.ipv4.conf.eth0/100.rp_filter` are the same.
pub fn path_of(name: &str) -> String {
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    match name.find(['.', '/']) {
        Some(at) if name.get(at..).is_some_and(|rest| rest.starts_with('.')) => {
            name.chars().map(swap).collect()
        }
        _ => name.to_owned(),
    }
}

fn is_plain(path: &str) -> bool {
    let steps = || path.split('/');
    !path.is_empty() && path.len() <= 256 && steps().all(|step| !step.is_empty() && step != "..")
}

/// What is declared for each of `names` (dotted): the last word of all lines. A name without one is left out.
pub fn declared<'a>(
    assignments: &'a [Assignment],
    names: &[&'static str],
) -> BTreeMap<&'static str, &'a Assignment> {
    let mut wanted = BTreeMap::new();
    for name in names {
        let path = path_of(name);
        let plain = assignments
            .iter()
            .rev()
            .find(|line| !line.is_pattern() && line.path == path);
        let line = match plain {
            Some(line) => Some(line),
            None => assignments
                .iter()
                .rev()
                .find(|line| line.is_pattern() && line.value.is_some() && fits(&line.path, &path)),
        };
        if let Some(line) = line.filter(|line| line.value.is_some()) {
            wanted.insert(*name, line);
        }
    }
    wanted
}

/// Whether a pattern of glob(7) fits a path; no wildcard stands for a slash.
fn fits(pattern: &str, path: &str) -> bool {
    let mut steps = path.split('/');
    let all = pattern.split('/').all(|part| {
        steps.next().is_some_and(|step| {
            let part: Vec<char> = part.chars().collect();
            let step: Vec<char> = step.chars().collect();
            part_fits(&part, &step)
        })
    });
    all && steps.next().is_none()
}

/// Remembers the last star only, so that a hostile pattern costs at most its length times that of the name.
fn part_fits(pattern: &[char], name: &[char]) -> bool {
    let (mut rest, mut left) = (pattern, name);
    let mut retry: Option<(&[char], &[char])> = None;
    loop {
        let step = match rest.split_first() {
            Some(('*', after)) => {
                retry = Some((after, left));
                rest = after;
                continue;
            }
            None if left.is_empty() => return true,
            None => None,
            Some(_) => left.split_first().and_then(|(c, after)| {
                let remaining = one_fits(rest, *c)?;
                Some((remaining, after))
            }),
        };
        match (step, retry) {
            (Some((pattern, name)), _) => (rest, left) = (pattern, name),
            (None, Some((pattern, name))) => {
                let Some((_, shorter)) = name.split_first() else {
                    return false;
                };
                retry = Some((pattern, shorter));
                (rest, left) = (pattern, shorter);
            }
            (None, None) => return false,
        }
    }
}

/// The pattern after its first element, if that fits `c`.
fn one_fits(pattern: &[char], c: char) -> Option<&[char]> {
    match pattern {
        ['?', rest @ ..] => Some(rest),
        ['[', rest @ ..] => {
            let (negated, body) = match rest {
                ['!' | '^', body @ ..] => (true, body),
                body => (false, body),
            };
            // A closing bracket that comes first is one of the set.
            let close = body.iter().skip(1).position(|x| *x == ']')? + 1;
            let (set, after) = body.split_at_checked(close)?;
            let listed = set.contains(&c)
                || set
                    .windows(3)
                    .any(|w| matches!(w, [low, '-', high] if (*low..=*high).contains(&c)));
            (listed != negated).then(|| after.get(1..).unwrap_or_default())
        }
        [first, rest @ ..] if *first == c => Some(rest),
        _ => None,
    }
}

/// Whether the kernel's value is the wanted one: the same words, numbers compared as numbers.
pub fn is_same(value: &str, wanted: &str) -> bool {
    let number = |word: &str| word.parse::<i64>().ok();
    let mut left = value.split_whitespace();
    let mut right = wanted.split_whitespace();
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if a == b || (number(a).is_some() && number(a) == number(b)) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMES: &[&str] = &[
        "net.ipv4.ip_forward",
        "net.ipv4.conf.all.rp_filter",
        "net.ipv4.conf.default.rp_filter",
    ];

    fn wants(text: &str) -> String {
        let mut found = Vec::new();
        read_assignments("f.conf", text, &mut found);
        let wanted = declared(&found, NAMES);
        let words: Vec<String> = wanted
            .iter()
            .map(|(name, line)| {
                let short = name.trim_start_matches("net.ipv4.").replace("conf.", "");
                format!("{short}={}", line.value.as_deref().unwrap_or("-"))
            })
            .collect();
        words.join(" ")
    }

    #[test]
    fn the_last_word_is_found_as_systemd_sysctl_finds_it() {
        for (text, expected) in [
            ("net.ipv4.ip_forward=1", "ip_forward=1"),
            ("net/ipv4/ip_forward = 1", "ip_forward=1"),
            ("  net.ipv4.ip_forward  =  1  ", "ip_forward=1"),
            ("-net.ipv4.ip_forward=1", "ip_forward=1"),
            ("- net.ipv4.ip_forward=1", "ip_forward=1"),
            (
                "net.ipv4.ip_forward=0\nnet.ipv4.ip_forward=1",
                "ip_forward=1",
            ),
            (
                "net.ipv4.ip_forward=1\nnet/ipv4/ip_forward=0",
                "ip_forward=0",
            ),
            ("#net.ipv4.ip_forward=1\n;net.ipv4.ip_forward=1", ""),
            ("net.ipv4.ip_forward", ""),
            ("-net.ipv4.ip_forward", ""),
            ("net.ipv4.ip_forward=1\n-net.ipv4.ip_forward", ""),
            (
                "net.ipv4.conf.*.rp_filter=2",
                "all.rp_filter=2 default.rp_filter=2",
            ),
            (
                "net.ipv4.conf.all.rp_filter=1\nnet.ipv4.conf.*.rp_filter=2",
                "all.rp_filter=1 default.rp_filter=2",
            ),
            // Debian's and Fedora's own 50-default.conf.
            (
                "net.ipv4.conf.default.rp_filter = 2\nnet.ipv4.conf.*.rp_filter = 2\n-net.ipv4.conf.all.rp_filter",
                "default.rp_filter=2",
            ),
            (
                "net.ipv4.conf.*.rp_filter=2\nnet.ipv4.conf.*.rp_filter=0",
                "all.rp_filter=0 default.rp_filter=0",
            ),
            ("net.ipv4.conf.a*.rp_filter=2", "all.rp_filter=2"),
            ("net.ipv4.conf.???.rp_filter=2", "all.rp_filter=2"),
            ("net.ipv4.conf.[!a]*.rp_filter=2", "default.rp_filter=2"),
            ("net.ipv4.conf.[a-c]ll.rp_filter=2", "all.rp_filter=2"),
            ("net.ipv4.*.rp_filter=2", ""),
            ("net.*=2", ""),
            ("net.ipv4.ip_forward=", "ip_forward="),
        ] {
            assert_eq!(wants(text), expected, "{text:?}");
        }
    }

    #[test]
    fn broken_lines_declare_nothing() {
        for text in [
            "",
            "=",
            "=1",
            "-",
            "-=1",
            ".=1",
            "..=1",
            "/=1",
            "net..ipv4.ip_forward=1",
            "net/../x=1",
            "/net/ipv4/ip_forward=1",
            "net.ipv4.ip_forward.=1",
            ".net.ipv4.ip_forward=1",
            "net ipv4 ip_forward=1",
            "\0=1",
            "net.ipv4.ip_forward:1",
            "net.ipv4.conf.[.rp_filter=1",
            "net.ipv4.conf.[].rp_filter=1",
            "net.ipv4.conf.[a.rp_filter=1",
            "é=1",
            "\u{feff}",
        ] {
            assert_eq!(wants(text), "", "{text:?}");
        }
        assert_eq!(
            wants(&format!("net.ipv4.ip_forward={}", "1".repeat(400))),
            ""
        );
        assert_eq!(wants(&format!("net.ipv4.{}=1", "a".repeat(400))), "");
    }

    #[test]
    fn a_separator_in_an_interface_name_survives() {
        for (name, path) in [
            (
                "net.ipv4.conf.eth0/100.rp_filter",
                "net/ipv4/conf/eth0.100/rp_filter",
            ),
            (
                "net/ipv4/conf/eth0.100/rp_filter",
                "net/ipv4/conf/eth0.100/rp_filter",
            ),
            ("vm.swappiness", "vm/swappiness"),
            ("plain", "plain"),
        ] {
            assert_eq!(path_of(name), path);
        }
    }

    #[test]
    fn values_are_compared_by_words_and_numbers() {
        for (value, wanted, same) in [
            ("1\n", "1", true),
            ("32768\t60999\n", "32768 60999", true),
            ("1", "01", true),
            ("-1", "-1", true),
            ("1", "0", false),
            ("1 2", "1", false),
            ("", "", true),
            ("a", "b", false),
        ] {
            assert_eq!(is_same(value, wanted), same, "{value:?} {wanted:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>(), pattern in "[*?\\[\\]!a-c/-]{0,20}", name in "[a-c/]{0,20}") {
            wants(&text);
            fits(&pattern, &name);
        }

        #[test]
        fn a_star_fits_every_single_step(name in "[a-z0-9_]{1,20}") {
            let path = format!("net/{name}/x");
            prop_assert!(fits("net/*/x", &path));
            prop_assert!(fits(&path, &path));
            prop_assert!(!fits("net/*", &path));
        }
    }
}
