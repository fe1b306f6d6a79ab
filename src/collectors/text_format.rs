//! The Prometheus text format, read strictly as node_exporter does for `textfile`: a broken line
//! costs the whole file.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::collectors::source::scan::{cut, fields};
use crate::exposition::label::Labels;
use crate::exposition::number::parse_f64;

/// Most samples of one file; a larger one is somebody's mistake.
pub const MAX_SAMPLES: usize = 100_000;

/// Why a file is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FormatError {
    /// A line is not in the format.
    #[error("line {0} is not in the Prometheus text format; correct the script that writes it")]
    Line(usize),
    /// A sample has a time of its own.
    #[error("line {0} has a timestamp, which a scrape cannot use; leave it out")]
    Timestamp(usize),
    /// The last line does not end.
    #[error("the last line does not end; write the file elsewhere and rename it into place")]
    Unfinished,
    /// Too many samples.
    #[error("more than {MAX_SAMPLES} samples")]
    TooMany,
}

/// A family of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextFamily {
    /// The word after `# TYPE`; `untyped` where there is none.
    pub kind: Vec<u8>,
    /// Unescaped help, if there is any.
    pub help: Option<Vec<u8>>,
    /// Name with suffix, rendered labels and the value's bits.
    pub samples: Vec<(Vec<u8>, Labels, u64)>,
    is_typed: bool,
}

impl Default for TextFamily {
    fn default() -> TextFamily {
        let kind = b"untyped".to_vec();
        TextFamily {
            kind,
            help: None,
            samples: Vec::new(),
            is_typed: false,
        }
    }
}

impl TextFamily {
    /// The help, where it says something.
    pub fn told_help(&self) -> Option<&[u8]> {
        self.help.as_deref().filter(|help| !help.is_empty())
    }
}

/// The families of a text by name.
///
/// *Errors*: the first line that is not in the format.
pub fn parse(text: &[u8]) -> Result<BTreeMap<Vec<u8>, TextFamily>, FormatError> {
    let mut families: BTreeMap<Vec<u8>, TextFamily> = BTreeMap::new();
    let Some(body) = text.strip_suffix(b"\n") else {
        return if text.is_empty() {
            Ok(families)
        } else {
            Err(FormatError::Unfinished)
        };
    };
    let mut count = 0;
    for (number, line) in (1..).zip(body.split(|&byte| byte == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = line.trim_ascii_start();
        if line.is_empty() {
            continue;
        }
        if let Some(comment) = line.strip_prefix(b"#") {
            take_comment(comment, &mut families).ok_or(FormatError::Line(number))?;
            continue;
        }
        count += 1;
        if count > MAX_SAMPLES {
            return Err(FormatError::TooMany);
        }
        let (name, labels, rest) = split_sample(line).ok_or(FormatError::Line(number))?;
        let mut parts = fields(rest);
        let value = parts
            .next()
            .and_then(parse_f64)
            .ok_or(FormatError::Line(number))?;
        if parts.next().is_some() {
            return Err(FormatError::Timestamp(number));
        }
        let family = family_of(&name, &families);
        families
            .entry(family)
            .or_default()
            .samples
            .push((name, labels, value.to_bits()));
    }
    families.retain(|_, family| !family.samples.is_empty());
    Ok(families)
}

/// `HELP name text` and `TYPE name word`; other comments mean nothing.
fn take_comment(comment: &[u8], families: &mut BTreeMap<Vec<u8>, TextFamily>) -> Option<()> {
    let mut parts = fields(comment);
    let word = parts.next().unwrap_or_default();
    if word != b"HELP" && word != b"TYPE" {
        return Some(());
    }
    let name = parts.next().filter(|name| is_name(name, true))?;
    let family = families.entry(name.to_vec()).or_default();
    if word == b"HELP" {
        let text = unescape(parts.rest().trim_ascii_start())?;
        std::str::from_utf8(&text).ok()?;
        return family.help.replace(text).is_none().then_some(());
    }
    // A line that ends before its type says nothing.
    let Some(kind) = parts.next().map(<[u8]>::to_ascii_lowercase) else {
        return Some(());
    };
    let known: [&[u8]; 5] = [b"counter", b"gauge", b"untyped", b"summary", b"histogram"];
    let fits = known.contains(&kind.as_slice()) && parts.next().is_none();
    if !fits || family.is_typed || !family.samples.is_empty() {
        return None;
    }
    (family.kind, family.is_typed) = (kind, true);
    Some(())
}

/// The family a sample belongs to: a histogram's or summary's parts have suffixes.
fn family_of(name: &[u8], families: &BTreeMap<Vec<u8>, TextFamily>) -> Vec<u8> {
    for (suffix, kinds) in [
        (&b"_bucket"[..], &[&b"histogram"[..]][..]),
        (b"_sum", &[b"histogram", b"summary"]),
        (b"_count", &[b"histogram", b"summary"]),
    ] {
        if let Some(short) = name.strip_suffix(suffix)
            && families
                .get(short)
                .is_some_and(|family| kinds.contains(&family.kind.as_slice()))
        {
            return short.to_vec();
        }
    }
    name.to_vec()
}

/// Name, labels and what follows them.
fn split_sample(line: &[u8]) -> Option<(Vec<u8>, Labels, &[u8])> {
    let end = line
        .iter()
        .position(|byte| matches!(byte, b'{' | b' ' | b'\t'))?;
    let (name, mut rest) = line.split_at_checked(end)?;
    if !is_name(name, true) {
        return None;
    }
    let mut pairs: Vec<(String, Vec<u8>)> = Vec::new();
    rest = rest.trim_ascii_start();
    if let Some(inside) = rest.strip_prefix(b"{") {
        rest = inside.trim_ascii_start();
        while !rest.starts_with(b"}") {
            let (label, after) = cut(rest, b'=')?;
            let label = label.trim_ascii();
            let quoted = after.trim_ascii_start().strip_prefix(b"\"")?;
            let (raw, after) = quoted.split_at_checked(end_of_quote(quoted)?)?;
            let value = unescape(raw)?;
            std::str::from_utf8(&value).ok()?;
            let label = std::str::from_utf8(label).ok()?.to_owned();
            let is_new = pairs.iter().all(|(known, _)| *known != label);
            if !is_name(label.as_bytes(), false) || label == "__name__" || !is_new {
                return None;
            }
            pairs.push((label, value));
            rest = after.get(1..)?.trim_ascii_start();
            match rest.strip_prefix(b",") {
                Some(after) => rest = after.trim_ascii_start(),
                None if rest.starts_with(b"}") => {}
                None => return None,
            }
        }
        rest = rest.get(1..)?;
    }
    pairs.sort();
    // An empty label is none: with and without it, the series is the same.
    let pairs: Vec<(&str, &[u8])> = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_slice()))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    Some((name.to_vec(), Labels::new(&pairs), rest))
}

fn end_of_quote(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    text.iter().position(|&byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next()? {
            b'n' => b'\n',
            b'\\' => b'\\',
            b'"' => b'"',
            _ => return None,
        });
    }
    Some(out)
}

fn is_name(name: &[u8], colons: bool) -> bool {
    let fits =
        |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || (colons && *byte == b':');
    name.first().is_some_and(|byte| !byte.is_ascii_digit()) && name.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use super::{FormatError, parse};
    use proptest::prelude::{any, proptest};

    #[test]
    fn families_are_read_with_help_type_labels_and_suffixes() {
        let text = b"# HELP a_total A \\\\ \\n help\n# TYPE a_total counter\n\
            a_total { b = \"x\\\"y\" , c = \"\" } 1e3 \r\na_total 2\n# a comment\n\
            # HELP h  say \\\"h\\\" \n# TYPE h\n# TYPE h HISTOGRAM\nh_bucket{le=\"+Inf\"} 3\nh_sum 1\nh_count 3\nother NaN\n\n";
        let families = parse(text).unwrap();
        let names: Vec<_> = families
            .keys()
            .map(|name| String::from_utf8_lossy(name))
            .collect();
        assert_eq!(names, ["a_total", "h", "other"]);
        let counter = &families[&b"a_total"[..]];
        assert_eq!(counter.help.as_deref(), Some(&b"A \\ \n help"[..]));
        assert_eq!(counter.samples.len(), 2);
        assert_eq!(counter.samples[0].1.bytes(), b"{b=\"x\\\"y\"} ");
        let histogram = &families[&b"h"[..]];
        assert_eq!(histogram.kind, b"histogram");
        assert_eq!(histogram.help.as_deref(), Some(&b"say \"h\" "[..]));
        assert_eq!(histogram.samples.len(), 3);
        assert_eq!(families[&b"other"[..]].kind, b"untyped");
    }

    #[test]
    fn broken_lines_cost_the_file() {
        let cases: [(&[u8], FormatError); 12] = [
            (b"a 1", FormatError::Unfinished),
            (b"a 1 1234567\n", FormatError::Timestamp(1)),
            (b"a\n", FormatError::Line(1)),
            (b"a 1\nb x\n", FormatError::Line(2)),
            (b"1a 1\n", FormatError::Line(1)),
            (b"a{b=\"c} 1\n", FormatError::Line(1)),
            (b"a{b=\"c\",b=\"d\"} 1\n", FormatError::Line(1)),
            (b"a{b=\"\xff\"} 1\n", FormatError::Line(1)),
            (b"a{b=\"\\x\"} 1\n", FormatError::Line(1)),
            (b"# TYPE a nonsense\n", FormatError::Line(1)),
            (b"# TYPE a gauge\n# TYPE a gauge\n", FormatError::Line(2)),
            (b"a 1\n# TYPE a gauge\n", FormatError::Line(2)),
        ];
        for (text, want) in cases {
            assert_eq!(parse(text), Err(want), "{}", String::from_utf8_lossy(text));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic(text in any::<Vec<u8>>()) {
            let _parsed = parse(&text);
        }

        #[test]
        fn nearly_right_text_is_parsed_without_panic(text in "(a|\\{|\\}|\"|=|\\\\| |\n|1|#|,|TYPE |HELP ){0,40}") {
            let _parsed = parse(text.as_bytes());
        }
    }
}
