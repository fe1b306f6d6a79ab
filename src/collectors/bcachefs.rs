//! `bcachefs`: filesystems of that kind, from `/sys/fs/bcachefs`.

use std::path::Path;
use std::sync::Arc;

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::attribute::{Attribute, Format, Readings, Scale, is_unfilled};
use crate::collectors::source::class::shared;
use crate::collectors::source::dir::{Watched, child, names};
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::human;
use crate::collectors::source::info::Info;
use crate::collectors::source::known::Known;
use crate::collectors::source::scan::{cut, fields, lines, number};
use crate::exposition::family::{Family, Kind};
use crate::exposition::label::Labels;
use crate::exposition::sheet::Sheet;

const ABSENT: &str = "a file that is missing has no sample; node_exporter shows 0";
const DEVICE: &str = "/sys/fs/bcachefs/<uuid>/dev-<n>";

const FAMILIES: [Family; 13] = [
    Family::gauge("node_bcachefs_info", "Filesystem information.").from("/sys/fs/bcachefs/<uuid>"),
    Family::gauge(
        "node_bcachefs_btree_cache_size_bytes",
        "Btree cache memory usage in bytes.",
    )
    .from("/sys/fs/bcachefs/<uuid>/btree_cache_size")
    .unit("bytes")
    .differs(ABSENT),
    Family::gauge(
        "node_bcachefs_compression_compressed_bytes",
        "Compressed size by algorithm.",
    )
    .from("/sys/fs/bcachefs/<uuid>/compression_stats")
    .unit("bytes"),
    Family::gauge(
        "node_bcachefs_compression_uncompressed_bytes",
        "Uncompressed size by algorithm.",
    )
    .from("/sys/fs/bcachefs/<uuid>/compression_stats")
    .unit("bytes"),
    Family::counter("node_bcachefs_errors_total", "Error count by error type.")
        .from("/sys/fs/bcachefs/<uuid>/errors"),
    Family::counter(
        "node_bcachefs_btree_writes_total",
        "Number of btree writes by type.",
    )
    .from("/sys/fs/bcachefs/<uuid>/btree_write_stats"),
    Family::gauge(
        "node_bcachefs_btree_write_average_size_bytes",
        "Average btree write size by type.",
    )
    .from("/sys/fs/bcachefs/<uuid>/btree_write_stats")
    .unit("bytes"),
    Family::gauge("node_bcachefs_device_info", "Device information.").from(DEVICE),
    Family::gauge(
        "node_bcachefs_device_bucket_size_bytes",
        "Bucket size in bytes.",
    )
    .from(DEVICE)
    .unit("bytes")
    .differs(ABSENT),
    Family::gauge("node_bcachefs_device_buckets", "Total number of buckets.")
        .from("/sys/fs/bcachefs/<uuid>/dev-<n>/nbuckets")
        .differs(ABSENT),
    Family::gauge(
        "node_bcachefs_device_durability",
        "Device durability setting.",
    )
    .from(DEVICE)
    .differs(ABSENT),
    Family::counter(
        "node_bcachefs_device_io_done_bytes_total",
        "IO bytes by operation type and data type.",
    )
    .from("/sys/fs/bcachefs/<uuid>/dev-<n>/io_done; beside these, one family node_bcachefs_<name>_total for each file of /sys/fs/bcachefs/<uuid>/counters")
    .unit("bytes"),
    Family::counter(
        "node_bcachefs_device_io_errors_total",
        "IO errors by error type.",
    )
    .from("/sys/fs/bcachefs/<uuid>/dev-<n>/io_errors, since the filesystem was made"),
];
const FILESYSTEM_INFO: usize = 0;
const DEVICE_INFO: usize = 7;
const WHOLE: [Attribute; 1] =
    [Attribute::of(FAMILIES[1], "btree_cache_size").format(Format::Bcachefs)];
const DISK: [Attribute; 3] = [
    Attribute::of(FAMILIES[8], "bucket_size").format(Format::Bcachefs),
    Attribute::of(FAMILIES[9], "nbuckets"),
    Attribute::of(FAMILIES[10], "durability"),
];

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "bcachefs",
    enabled: true,
    lane: Lane::Apart,
    flags: &[],
    families: &FAMILIES,
    open,
};

struct Bcachefs {
    found: Watched<Filesystems>,
    sheet: Sheet,
}

#[derive(Default)]
struct Filesystems {
    infos: Vec<(usize, Info)>,
    readings: Readings,
    tables: Vec<Table>,
}

/// What a file's lines say, with the columns of their values.
/// What there is none of on most machines.
const FILESYSTEMS: &str = "bcachefs filesystems";

#[derive(Debug, Clone, Copy)]
enum Form {
    /// `name: size size`, below a title.
    Sizes(usize, usize),
    /// `name: count size`, below a title.
    CountAndSize(usize, usize),
    /// `name count time`.
    Count(usize),
    /// `name: count` below `read:` or `write:`.
    Operations(usize),
    /// `name: count` in the section since the filesystem was made.
    Creation(usize),
}

struct Table {
    file: HeldFile,
    form: Form,
    /// The labels that all lines share, in the order of their names.
    device: Option<Vec<u8>>,
    uuid: Vec<u8>,
    known: Known<Arc<Labels>>,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(Bcachefs {
        found: Watched::new(&sources.roots.sysfs, "fs/bcachefs"),
        sheet: Sheet::of(&FAMILIES),
    }))
}

impl Collector for Bcachefs {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let (keep, sheet) = (self.found.is_kept(), &mut self.sheet);
        let found = self.found.get(turn.epoch, |path, names| {
            let mut found = Filesystems::default();
            for uuid in &names {
                let dir = child(path, uuid);
                if dir.is_dir() {
                    found.add(&dir, uuid, keep, sheet);
                }
            }
            found
        });
        let found = found.map_err(CollectError::without(FILESYSTEMS))?;
        if found.infos.is_empty() {
            return Err(CollectError::NoData(FILESYSTEMS));
        }
        let sheet = &mut self.sheet;
        for (column, info) in &mut found.infos {
            sheet.put(*column, info.read(turn.epoch, turn.scratch), 1.0);
        }
        let mut result = found
            .readings
            .read(turn.epoch, turn.scratch, sheet, "bcachefs");
        for table in &mut found.tables {
            result = result.and(table.read(turn.epoch, turn.scratch, sheet));
        }
        sheet.write(turn.page);
        result
    }
}

impl Filesystems {
    fn add(&mut self, dir: &Path, uuid: &[u8], keep: bool, sheet: &mut Sheet) {
        let labels = shared(&[("uuid", uuid)]);
        let info = Info::new(&[("uuid", uuid)], false);
        self.infos.push((FILESYSTEM_INFO, info));
        self.readings.add_table(&WHOLE, 1, &labels, (dir, keep));
        for (file, form) in [
            ("compression_stats", Form::Sizes(2, 3)),
            ("errors", Form::Count(4)),
            ("btree_write_stats", Form::CountAndSize(5, 6)),
        ] {
            self.table((dir, keep), file, form, (None, uuid));
        }
        for name in names(dir).unwrap_or_default() {
            let below = child(dir, &name);
            let Some(device) = name.strip_prefix(b"dev-").filter(|_| below.is_dir()) else {
                continue;
            };
            let info = Info::new(&[("device", device), ("uuid", uuid)], false);
            let info = info.files((&below, keep), &[("label", "label"), ("state", "state")]);
            self.infos.push((DEVICE_INFO, info));
            let labels = shared(&[("device", device), ("uuid", uuid)]);
            self.readings
                .add_table(&DISK, DEVICE_INFO + 1, &labels, (&below, keep));
            for (file, form) in [
                ("io_done", Form::Operations(11)),
                ("io_errors", Form::Creation(12)),
            ] {
                self.table((&below, keep), file, form, (Some(device), uuid));
            }
        }
        let counters = dir.join("counters");
        for name in names(&counters).unwrap_or_default() {
            let family = [b"node_bcachefs_", name.as_slice(), b"_total"].concat();
            let help = [
                b"Bcachefs counter ",
                name.as_slice(),
                b" since filesystem creation.",
            ];
            let column = sheet.column(&family, Kind::Counter, &help.concat());
            if let Some(column) = column {
                let how = (Format::Since, Scale::One);
                self.readings
                    .add(column, &labels, (child(&counters, &name), keep), how);
            }
        }
    }

    fn table(
        &mut self,
        (dir, keep): (&Path, bool),
        file: &str,
        form: Form,
        (device, uuid): (Option<&[u8]>, &[u8]),
    ) {
        self.tables.push(Table {
            file: HeldFile::at(dir.join(file), keep, Shape::Whole),
            form,
            device: device.map(<[u8]>::to_vec),
            uuid: uuid.to_vec(),
            known: Known::default(),
        });
    }
}

impl Table {
    fn read(
        &mut self,
        epoch: u64,
        scratch: &mut Vec<u8>,
        sheet: &mut Sheet,
    ) -> Result<(), CollectError> {
        let text = match self.file.read(epoch, scratch) {
            Ok(text) => text,
            Err(error) if is_unfilled(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.known.rewind();
        let device = self.device.as_deref().unwrap_or_default();
        let mut rows = Rows {
            device,
            uuid: &self.uuid,
            known: &mut self.known,
            sheet,
        };
        let read = match self.form {
            Form::Sizes(first, second) => rows.pairs(text, ("algorithm", first, second), |text| {
                human::bcachefs(text)
            }),
            Form::CountAndSize(count, size) => rows.pairs(text, ("type", count, size), count_of),
            Form::Count(column) => rows.errors(text, column),
            Form::Operations(column) => rows.operations(text, column),
            Form::Creation(column) => rows.creation(text, column),
        };
        read.ok_or(CollectError::Parse("bcachefs"))
    }
}

/// The lines of one file on their way to the sheet.
struct Rows<'a> {
    device: &'a [u8],
    uuid: &'a [u8],
    known: &'a mut Known<Arc<Labels>>,
    sheet: &'a mut Sheet,
}

impl Rows<'_> {
    /// `None` in each of these: a value is no number. The lines before it are kept.
    fn pairs(
        &mut self,
        text: &[u8],
        (label, first, second): (&str, usize, usize),
        parse: fn(&[u8]) -> Option<f64>,
    ) -> Option<()> {
        for line in lines(text).skip(1) {
            let mut parts = fields(line);
            let (Some(name), Some(one), Some(two)) = (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            let name = name.strip_suffix(b":").unwrap_or(name);
            let uuid = self.uuid;
            let make = |name: &[u8]| {
                let mut pairs = [(label, name), ("uuid", uuid)];
                pairs.sort_unstable();
                shared(&pairs)
            };
            if let Some(labels) = self.known.once(name, make) {
                self.sheet.put(first, labels, parse(one)?);
                self.sheet.put(second, labels, human::bcachefs(two)?);
            }
        }
        Some(())
    }

    fn errors(&mut self, text: &[u8], column: usize) -> Option<()> {
        for line in lines(text) {
            let mut parts = fields(line);
            let (Some(name), Some(count)) = (parts.next(), parts.next()) else {
                continue;
            };
            let uuid = self.uuid;
            let make = |name: &[u8]| shared(&[("error_type", name), ("uuid", uuid)]);
            if let Some(labels) = self.known.once(name, make) {
                self.sheet.put(column, labels, count_of(count)?);
            }
        }
        Some(())
    }

    fn operations(&mut self, text: &[u8], column: usize) -> Option<()> {
        let mut operation: &[u8] = b"";
        for line in lines(text).map(<[u8]>::trim_ascii) {
            match line {
                b"read:" => operation = b"read",
                b"write:" => operation = b"write",
                _ if operation.is_empty() => {}
                _ => {
                    let Some((kind, count)) = cut(line, b':') else {
                        continue;
                    };
                    let kind = kind.trim_ascii();
                    let (device, uuid) = (self.device, self.uuid);
                    let make = |_: &[u8]| {
                        shared(&[
                            ("data_type", kind),
                            ("device", device),
                            ("operation", operation),
                            ("uuid", uuid),
                        ])
                    };
                    // The same kinds stand below both operations.
                    let start = if operation == b"read" { b"r" } else { b"w" };
                    let key = [start, kind].concat();
                    if let Some(labels) = self.known.once(&key, make) {
                        self.sheet
                            .put(column, labels, count_of(count.trim_ascii())?);
                    }
                }
            }
        }
        Some(())
    }

    fn creation(&mut self, text: &[u8], column: usize) -> Option<()> {
        let mut rest = lines(text)
            .skip_while(|line| !line.starts_with(b"IO errors since filesystem creation"));
        rest.next();
        for line in rest.take_while(|line| !line.starts_with(b"IO errors since ")) {
            let Some((kind, count)) = cut(line, b':') else {
                continue;
            };
            let (device, uuid) = (self.device, self.uuid);
            let make = |kind: &[u8]| shared(&[("device", device), ("type", kind), ("uuid", uuid)]);
            if let Some(labels) = self.known.once(kind.trim_ascii(), make) {
                self.sheet
                    .put(column, labels, count_of(count.trim_ascii())?);
            }
        }
        Some(())
    }
}

fn count_of(text: &[u8]) -> Option<f64> {
    number(text).map(|count| count as f64)
}
