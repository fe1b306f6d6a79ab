//! `os`: the distribution, from `os-release`.

use std::collections::BTreeMap;

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, ReadError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::held::read_once;
use crate::collectors::source::roots::Root;
use crate::collectors::source::scan::{cut, lines};
use crate::exposition::family::{Family, Head};
use crate::exposition::label::Labels;
use crate::exposition::number::parse_f64;

const SOURCE: &str = "/etc/os-release, else /usr/lib/os-release, below --path.rootfs";
const INFO: Family = Family::gauge(
    "node_os_info",
    "A metric with a constant '1' value labeled by build_id, id, id_like, image_id, \
     image_version, name, pretty_name, variant, variant_id, version, version_codename, \
     version_id.",
)
.from(SOURCE);
const VERSION: Family = Family::gauge(
    "node_os_version",
    "Metric containing the major.minor part of the OS version.",
)
.from(SOURCE);
const SUPPORT_END: Family = Family::gauge(
    "node_os_support_end_timestamp_seconds",
    "Metric containing the end-of-life date timestamp of the OS.",
)
.from(SOURCE)
.unit("seconds since 1970");

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "os",
    enabled: true,
    lane: Lane::Apart,
    flags: &[],
    families: &[INFO, VERSION, SUPPORT_END],
    open,
};

/// Label and key, sorted by label.
const WORDS: [(&str, &[u8]); 12] = [
    ("build_id", b"BUILD_ID"),
    ("id", b"ID"),
    ("id_like", b"ID_LIKE"),
    ("image_id", b"IMAGE_ID"),
    ("image_version", b"IMAGE_VERSION"),
    ("name", b"NAME"),
    ("pretty_name", b"PRETTY_NAME"),
    ("variant", b"VARIANT"),
    ("variant_id", b"VARIANT_ID"),
    ("version", b"VERSION"),
    ("version_codename", b"VERSION_CODENAME"),
    ("version_id", b"VERSION_ID"),
];

struct OsRelease {
    root: Root,
    keep: bool,
    epoch: u64,
    read: Result<Release, CollectError>,
    heads: [Head; 3],
    none: Labels,
}

struct Release {
    info: Labels,
    version: Option<(Labels, f64)>,
    support_end: Option<i64>,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(OsRelease {
        root: sources.roots.rootfs.clone(),
        keep: sources.roots.procfs.is_kernel(),
        epoch: 0,
        read: Err(CollectError::NoData("os-release")),
        heads: [INFO, VERSION, SUPPORT_END].each_ref().map(Head::of),
        none: Labels::none(),
    }))
}

impl Collector for OsRelease {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        // It changes with an upgrade only, so once an epoch is soon enough.
        if self.epoch != turn.epoch || !self.keep {
            self.epoch = turn.epoch;
            self.read = read(&self.root);
        }
        let release = self.read.as_ref().map_err(CollectError::clone)?;
        let [info, version, support_end] = &self.heads;
        turn.page.family(info).flag(&release.info, true);
        if let Some((labels, number)) = &release.version {
            turn.page.family(version).float(labels, *number);
        }
        if let Some(seconds) = release.support_end {
            turn.page.family(support_end).signed(&self.none, seconds);
        }
        Ok(())
    }
}

fn read(root: &Root) -> Result<Release, CollectError> {
    let text = match read_once(root.join("etc/os-release")) {
        Err(error) if error.is_absent() => read_once(root.join("usr/lib/os-release")),
        outcome => outcome,
    };
    match text {
        Ok(text) => release(&text),
        Err(error) if ReadError::is_absent(&error) => Err(CollectError::NoData("os-release")),
        Err(error) => Err(error.into()),
    }
}

fn release(text: &[u8]) -> Result<Release, CollectError> {
    let mut values = BTreeMap::new();
    for line in lines(text) {
        let line = line.trim_ascii();
        if let Some((key, value)) = cut(line, b'=')
            && !line.starts_with(b"#")
        {
            values.insert(key.to_vec(), unquoted(value));
        }
    }
    let value = |key: &[u8]| values.get(key).map(Vec::as_slice).unwrap_or_default();
    let pairs = WORDS.map(|(label, key)| (label, value(key)));
    let number = parse_f64(major_minor(value(b"VERSION_ID"))).filter(|number| *number > 0.0);
    let labels = || {
        Labels::new(&[
            ("id", value(b"ID")),
            ("id_like", value(b"ID_LIKE")),
            ("name", value(b"NAME")),
        ])
    };
    let support_end = match value(b"SUPPORT_END") {
        b"" => None,
        date => Some(midnight(date).ok_or(CollectError::Parse("os-release"))?),
    };
    Ok(Release {
        info: Labels::new(&pairs),
        version: number.map(|number| (labels(), number)),
        support_end,
    })
}

/// A shell's value: quoted by either quote, or with backslashes before single characters.
fn unquoted(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut quote = 0;
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' | b'\'' if quote == 0 => quote = byte,
            byte if byte == quote => quote = 0,
            b'\\' if quote != b'\'' => out.extend(bytes.next()),
            byte => out.push(byte),
        }
    }
    out
}

/// `22.04.1` is 22.04.
fn major_minor(text: &[u8]) -> &[u8] {
    let mut dots = 0;
    let end = text.iter().position(|byte| match byte {
        b'.' => {
            dots += 1;
            dots > 1
        }
        byte => !byte.is_ascii_digit(),
    });
    text.get(..end.unwrap_or(text.len())).unwrap_or_default()
}

/// A date's first second in UTC, since 1970.
fn midnight(date: &[u8]) -> Option<i64> {
    let date: jiff::civil::Date = std::str::from_utf8(date).ok()?.parse().ok()?;
    let zoned = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::{major_minor, release, unquoted};

    #[test]
    fn values_lose_their_quotes_and_versions_their_tail() {
        let cases: [(&str, &str); 6] = [
            ("debian", "debian"),
            ("\"Debian GNU/Linux 12\"", "Debian GNU/Linux 12"),
            ("'a \"b\" \\c'", "a \"b\" \\c"),
            ("\"a \\\"b\\\"\"", "a \"b\""),
            ("\"unclosed", "unclosed"),
            ("end\\", "end"),
        ];
        for (text, want) in cases {
            assert_eq!(unquoted(text.as_bytes()), want.as_bytes());
        }
        for (text, want) in [
            ("22.04.1", "22.04"),
            ("12", "12"),
            ("rolling", ""),
            ("", ""),
        ] {
            assert_eq!(major_minor(text.as_bytes()), want.as_bytes());
        }
    }

    #[test]
    fn end_of_support_is_a_date_or_an_error() {
        let end = |text: &str| release(text.as_bytes()).map(|release| release.support_end);
        assert_eq!(end("ID=x").unwrap(), None);
        assert_eq!(end("SUPPORT_END=2026-05-13").unwrap(), Some(1_778_630_400));
        assert!(end("SUPPORT_END=soon").is_err());
    }
}
