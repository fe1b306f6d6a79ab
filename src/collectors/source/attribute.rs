//! Files that hold one number each: most of what drivers show below sysfs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;

use crate::collectors::error::{CollectError, ReadError};
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::human;
use crate::collectors::source::scan::{hex, lines, number, signed};
use crate::exposition::family::Family;
use crate::exposition::label::Labels;
use crate::exposition::number::parse_f64;
use crate::exposition::sheet::Sheet;

/// The most files that one collector keeps open between pages. A large server has a thousand
/// sensor files and a process commonly may hold 1,024 descriptors; the files past this are
/// opened for each page.
const MAX_HELD: usize = 64;
/// The most files of one collector, far above any real machine.
const MAX_READINGS: usize = 65_536;

/// What drivers show in place of a counter that their device does not have: InfiniBand ports
/// without the counters, Fibre Channel adapters without that one.
const NOT_COUNTED: [&[u8]; 3] = [b"N/A (no PMA)", b"N/A", b"0xffffffffffffffff"];

/// What the text of an attribute is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A decimal without sign.
    Unsigned,
    /// A decimal with an optional sign.
    Signed,
    /// Hexadecimal with or without `0x`.
    Hex,
    /// Signed; hexadecimal if it begins with `0x`.
    Prefixed,
    /// A decimal fraction.
    Float,
    /// A decimal fraction; what is none, or cannot be read, is passed over.
    Sensor,
    /// 1 for the text `1`, 0 for any other.
    Flag,
    /// The number before the first colon or blank, as in `4: ACTIVE`.
    Leading,
    /// The fraction before the first blank, as in `2.5 Gb/sec (1X)`.
    LeadingFloat,
    /// A size as bcache prints it, as in `12.5M`.
    Bcache,
    /// A size as bcachefs prints it, as in `2.05G`.
    Bcachefs,
    /// The size after `since filesystem creation:` in a counter of bcachefs.
    Since,
}

/// What turns the kernel's unit into the family's. Multiplying and dividing differ in the last
/// digit of a float, so each attribute does what node_exporter does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// The same unit.
    One,
    /// Times this.
    Times(f64),
    /// Divided by this.
    Over(f64),
    /// Divided by this and cut to a whole number.
    Whole(f64),
}

/// A family whose value is one file's content.
#[derive(Debug, Clone, Copy)]
pub struct Attribute {
    /// The family.
    pub family: Family,
    /// The file below the device's directory.
    pub file: &'static str,
    /// What the text is.
    pub format: Format,
    /// What turns it into the family's unit.
    pub scale: Scale,
}

impl Attribute {
    /// An unsigned number in the kernel's unit.
    pub const fn of(family: Family, file: &'static str) -> Attribute {
        Attribute {
            family,
            file,
            format: Format::Unsigned,
            scale: Scale::One,
        }
    }

    /// The same attribute in another format.
    pub const fn format(self, format: Format) -> Attribute {
        Attribute { format, ..self }
    }

    /// The same attribute scaled.
    pub const fn scale(self, scale: Scale) -> Attribute {
        Attribute { scale, ..self }
    }
}

/// The families of an entry: some of its own, then those of a table of attributes. `N` is the
/// sum of both counts.
#[allow(
    clippy::indexing_slicing,
    reason = "evaluated when compiling, where an index past the end is a compile error"
)]
pub const fn families<const A: usize, const B: usize, const N: usize>(
    own: [Family; A],
    table: &[Attribute; B],
) -> [Family; N] {
    let mut out = [table[0].family; N];
    let mut at = 0;
    while at < N {
        out[at] = if at < A {
            own[at]
        } else {
            table[at - A].family
        };
        at += 1;
    }
    out
}

/// The number in an attribute's text; `None` if it is no number of that format.
pub fn parse(text: &[u8], format: Format, scale: Scale) -> Option<f64> {
    let text = text.trim_ascii();
    let value = match format {
        Format::Unsigned => number(text)? as f64,
        Format::Signed => signed(text)? as f64,
        Format::Hex => hex(text)? as f64,
        Format::Prefixed if text.starts_with(b"0x") => hex(text)? as f64,
        Format::Prefixed if text.starts_with(b"-") => signed(text)? as f64,
        Format::Prefixed => number(text)? as f64,
        Format::Float | Format::Sensor => parse_f64(text)?,
        Format::Flag => f64::from(u8::from(text == b"1")),
        Format::LeadingFloat => parse_f64(text.split(|&byte| byte == b' ').next()?)?,
        Format::Bcache => human::bcache(text)?,
        Format::Bcachefs => human::bcachefs(text)?,
        Format::Since => since(text)?,
        Format::Leading => {
            let end = text.iter().position(|byte| matches!(byte, b':' | b' '));
            number(text.get(..end.unwrap_or(text.len()))?)? as f64
        }
    };
    Some(match scale {
        Scale::One => value,
        Scale::Times(factor) => value * factor,
        Scale::Over(divisor) => value / divisor,
        Scale::Whole(divisor) => (value / divisor).trunc(),
    })
}

/// 0 for a counter that is told since the mount only, as node_exporter shows it.
fn since(text: &[u8]) -> Option<f64> {
    let after = |key: &[u8]| lines(text).find_map(|line| line.strip_prefix(key));
    match after(b"since filesystem creation:") {
        Some(value) => human::bcachefs(value),
        None => after(b"since mount:").map(|_| 0.0),
    }
}

/// Files to read on each page, with where their values go.
#[derive(Debug, Default)]
pub struct Readings {
    list: Vec<Reading>,
}

#[derive(Debug)]
struct Reading {
    column: usize,
    labels: Arc<Labels>,
    file: HeldFile,
    format: Format,
    scale: Scale,
}

impl Readings {
    /// Adds one file at `path`; `keep` says whether the kernel makes it.
    pub fn add(
        &mut self,
        column: usize,
        labels: &Arc<Labels>,
        (path, keep): (PathBuf, bool),
        (format, scale): (Format, Scale),
    ) {
        if self.list.len() < MAX_READINGS {
            let keep = keep && self.list.len() < MAX_HELD;
            self.list.push(Reading {
                column,
                labels: Arc::clone(labels),
                file: HeldFile::at(path, keep, Shape::Whole),
                format,
                scale,
            });
        }
    }

    /// Adds the attributes of one device; their columns begin at `first`.
    pub fn add_table(
        &mut self,
        table: &[Attribute],
        first: usize,
        labels: &Arc<Labels>,
        (dir, keep): (&Path, bool),
    ) {
        for (at, attribute) in table.iter().enumerate() {
            let how = (attribute.format, attribute.scale);
            self.add(first + at, labels, (dir.join(attribute.file), keep), how);
        }
    }

    /// Reads every file into the sheet. A file that is not there, or that its driver does not
    /// fill, is passed over; so is a [`Format::Sensor`] that is no number.
    ///
    /// *Errors*: the first file that failed otherwise; all others were read nevertheless.
    pub fn read(
        &mut self,
        epoch: u64,
        scratch: &mut Vec<u8>,
        sheet: &mut Sheet,
        what: &'static str,
    ) -> Result<(), CollectError> {
        let mut result = Ok(());
        for reading in &mut self.list {
            let outcome = match reading.file.read_trimmed(epoch, scratch) {
                Ok(text) if text.is_empty() || NOT_COUNTED.contains(&text) => continue,
                Ok(text) => parse(text, reading.format, reading.scale)
                    .map(|value| sheet.put(reading.column, &reading.labels, value))
                    .ok_or(CollectError::Parse(what)),
                Err(error) if is_unfilled(&error) => continue,
                Err(error) => Err(error.into()),
            };
            if result.is_ok() && reading.format != Format::Sensor {
                result = outcome;
            }
        }
        result
    }
}

/// Whether a driver has nothing to say in this file, or not to this user.
pub fn is_unfilled(error: &ReadError) -> bool {
    error.is_absent()
        || matches!(
            error.errno(),
            Some(
                Errno::EACCES
                    | Errno::EPERM
                    | Errno::EINVAL
                    | Errno::EOPNOTSUPP
                    | Errno::ENODATA
                    | Errno::EAGAIN
                    // An offline processor's frequency.
                    | Errno::EBUSY
            )
        )
}

#[cfg(test)]
mod tests {
    use super::{Format, Readings, Scale, parse};
    use crate::exposition::family::Family;
    use crate::exposition::label::Labels;
    use crate::exposition::page::Page;
    use crate::exposition::sheet::Sheet;
    use std::sync::Arc;

    #[test]
    fn text_is_a_number_of_its_format_or_none() {
        let cases: [(&[u8], Format, Option<f64>); 15] = [
            (
                b"since mount: 7\nsince filesystem creation: 1.5k\n",
                Format::Since,
                Some(1536.0),
            ),
            (b"since mount: 7", Format::Since, Some(0.0)),
            (b"7", Format::Since, None),
            (b"7\n", Format::Unsigned, Some(7.0)),
            (b"-7", Format::Unsigned, None),
            (b" -7 ", Format::Signed, Some(-7.0)),
            (b"0x1f", Format::Hex, Some(31.0)),
            (b"ff", Format::Hex, Some(255.0)),
            (b"0x1f", Format::Prefixed, Some(31.0)),
            (b"-12", Format::Prefixed, Some(-12.0)),
            (b"zz", Format::Prefixed, None),
            (b"1.5", Format::Float, Some(1.5)),
            (b"\xff", Format::Float, None),
            (b"4: ACTIVE", Format::Leading, Some(4.0)),
            (b": ACTIVE", Format::Leading, None),
        ];
        for (text, format, want) in cases {
            assert_eq!(parse(text, format, Scale::One), want, "{format:?}");
        }
        assert_eq!(parse(b"2500", Format::Signed, Scale::Over(1e3)), Some(2.5));
    }

    #[test]
    fn a_broken_file_costs_its_own_sample_and_is_told() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("a", "1"), ("b", "x"), ("c", ""), ("e", "5")] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let mut sheet = Sheet::of(&[Family::gauge("v", "V.")]);
        for (format, told) in [(Format::Unsigned, Some("parse")), (Format::Sensor, None)] {
            let mut readings = Readings::default();
            for name in ["a", "b", "c", "d", "e"] {
                let labels = Arc::new(Labels::new(&[("f", name.as_bytes())]));
                let how = (format, Scale::One);
                readings.add(0, &labels, (dir.path().join(name), false), how);
            }
            let result = readings.read(1, &mut Vec::new(), &mut sheet, "numbers");
            assert_eq!(result.err().map(|error| error.kind()), told);
            let mut page = Page::new();
            sheet.write(&mut page);
            assert_eq!(page.samples(), 2);
        }
    }
}
