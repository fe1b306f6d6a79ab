//! `os`: the distribution, from `os-release`.

use std::collections::BTreeMap;

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::held::read_once;
use crate::collectors::source::roots::Root;
use crate::collectors::source::scan::{cut, lines};
use crate::exposition::family::{Family, Head};
use crate::exposition::label::Labels;
use crate::exposition::number::parse_f64;

const SOURCE: &str = "/etc/os-release or /usr/lib/os-release";
const INFO: Family = Family::gauge(
    "node_os_info",
    "A metric with a constant '1' value labeled by build_id, id, id_like, image_id, image_version, name, pretty_name, variant, variant_id, version, version_codename, version_id.",
)
.from(SOURCE)
.differs("read below --path.rootfs, so that an agent in a pod shows the host and not its image");
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
.unit("seconds");

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "os",
    enabled: true,
    lane: Lane::Page,
    flags: &[],
    families: &[INFO, VERSION, SUPPORT_END],
    open,
};

/// Label and key in `os-release`, sorted by label.
const LABELS: [(&str, &str); 12] = [
    ("build_id", "BUILD_ID"),
    ("id", "ID"),
    ("id_like", "ID_LIKE"),
    ("image_id", "IMAGE_ID"),
    ("image_version", "IMAGE_VERSION"),
    ("name", "NAME"),
    ("pretty_name", "PRETTY_NAME"),
    ("variant", "VARIANT"),
    ("variant_id", "VARIANT_ID"),
    ("version", "VERSION"),
    ("version_codename", "VERSION_CODENAME"),
    ("version_id", "VERSION_ID"),
];

struct Os {
    root: Root,
    heads: [Head; 3],
    none: Labels,
    epoch: u64,
    release: Option<Release>,
}

struct Release {
    info: Labels,
    version: Option<(Labels, f64)>,
    support_end: Option<i64>,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(Os {
        root: sources.roots.rootfs.clone(),
        heads: [INFO, VERSION, SUPPORT_END].each_ref().map(Head::of),
        none: Labels::none(),
        epoch: 0,
        release: None,
    }))
}

impl Collector for Os {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        // It changes with an upgrade of the distribution; once an epoch is enough.
        if self.epoch != turn.epoch {
            self.epoch = turn.epoch;
            let text = read_once(self.root.join("etc/os-release"))
                .or_else(|_| read_once(self.root.join("usr/lib/os-release")));
            self.release = text.ok().map(|text| Release::parse(&text));
        }
        let release = self
            .release
            .as_ref()
            .ok_or(CollectError::NoData("os-release file"))?;
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

impl Release {
    fn parse(text: &[u8]) -> Release {
        let mut values = BTreeMap::new();
        for line in lines(text)
            .map(<[u8]>::trim_ascii)
            .filter(|line| !line.starts_with(b"#"))
        {
            if let Some((key, value)) = cut(line, b'=') {
                values.insert(key.to_vec(), unquote(value));
            }
        }
        let get = |key: &str| {
            values
                .get(key.as_bytes())
                .map(Vec::as_slice)
                .unwrap_or_default()
        };
        let pairs = LABELS.map(|(label, key)| (label, get(key)));
        let names = [
            ("id", get("ID")),
            ("id_like", get("ID_LIKE")),
            ("name", get("NAME")),
        ];
        let version = major_minor(get("VERSION_ID")).map(|value| (Labels::new(&names), value));
        Release {
            info: Labels::new(&pairs),
            version,
            support_end: midnight(get("SUPPORT_END")),
        }
    }
}

/// Takes the quotes and backslashes off a shell word.
fn unquote(value: &[u8]) -> Vec<u8> {
    let value = value.trim_ascii();
    let quoted = |quote: &[u8; 1]| value.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(inner) = quoted(b"'") {
        return inner.to_vec();
    }
    let inner = quoted(b"\"").unwrap_or(value);
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        out.push(if byte == b'\\' {
            bytes.next().copied().unwrap_or(byte)
        } else {
            byte
        });
    }
    out
}

/// `22.04.1` is 22.04.
fn major_minor(version: &[u8]) -> Option<f64> {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let major = digits(version);
    let rest = version.get(major..)?;
    let minor = rest.strip_prefix(b".").map_or(0, |rest| digits(rest) + 1);
    parse_f64(
        version
            .get(..major + minor)?
            .strip_suffix(b".")
            .unwrap_or(version.get(..major + minor)?),
    )
    .filter(|_| major > 0)
}

/// `2026-05-10` as seconds since 1970, UTC.
fn midnight(date: &[u8]) -> Option<i64> {
    let date: jiff::civil::Date = std::str::from_utf8(date).ok()?.parse().ok()?;
    Some(
        date.to_zoned(jiff::tz::TimeZone::UTC)
            .ok()?
            .timestamp()
            .as_second(),
    )
}

#[cfg(test)]
mod tests {
    use super::{Release, major_minor, midnight, unquote};

    #[test]
    fn versions_and_quotes_are_read_like_a_shell_and_node_exporter_do() {
        let versions: [(&[u8], Option<f64>); 6] = [
            (b"12", Some(12.0)),
            (b"22.04", Some(22.04)),
            (b"22.04.1", Some(22.04)),
            (b"7.", Some(7.0)),
            (b"", None),
            (b"rolling", None),
        ];
        for (text, want) in versions {
            assert_eq!(major_minor(text), want);
        }
        assert_eq!(unquote(b"\"a \\\"b\\\" c\""), b"a \"b\" c");
        assert_eq!(unquote(b"'x\\y'"), b"x\\y");
        assert_eq!(midnight(b"2026-05-10"), Some(1_778_371_200));
        assert_eq!(midnight(b"never"), None);
    }

    #[test]
    fn release_of_any_bytes_is_read_without_panic() {
        let release = Release::parse(b"ID=\xff\n=\nVERSION_ID\n# x\nNAME=\"\n");
        assert!(release.version.is_none());
    }
}
