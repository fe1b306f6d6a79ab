//! `btrfs`: space and commits of Btrfs filesystems, from `/sys/fs/btrfs`.

use std::path::Path;

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::attribute::{Attribute, Format, Readings, Scale, is_unfilled};
use crate::collectors::source::class::shared;
use crate::collectors::source::dir::{Watched, child, names};
use crate::collectors::source::held::{HeldFile, Shape, word};
use crate::collectors::source::info::Info;
use crate::collectors::source::scan::{fields, lines, number};
use crate::exposition::family::Family;
use crate::exposition::label::Labels;
use crate::exposition::sheet::Sheet;
use std::sync::Arc;

const SOURCE: &str = "/sys/fs/btrfs/<uuid>";
/// `size` of a device is in sectors of this many bytes.
const SECTOR_BYTES: f64 = 512.0;

const INFO: Family = Family::gauge("node_btrfs_info", "Filesystem information").from(SOURCE);
const RESERVE: Family = Family::gauge(
    "node_btrfs_global_rsv_size_bytes",
    "Size of global reserve.",
)
.from(SOURCE)
.unit("bytes");
const COMMITS: Family = Family::counter(
    "node_btrfs_commits_total",
    "The total number of commits that have occurred.",
)
.from("/sys/fs/btrfs/<uuid>/commit_stats (Linux 6.0)");
const LAST_COMMIT: Family = Family::gauge(
    "node_btrfs_last_commit_seconds",
    "Duration of the most recent commit, in seconds.",
)
.from("/sys/fs/btrfs/<uuid>/commit_stats")
.unit("seconds");
const MAX_COMMIT: Family = Family::gauge(
    "node_btrfs_max_commit_seconds",
    "Duration of the slowest commit, in seconds.",
)
.from("/sys/fs/btrfs/<uuid>/commit_stats")
.unit("seconds");
const COMMIT_TIME: Family = Family::counter(
    "node_btrfs_commit_seconds_total",
    "Sum of the duration of all commits, in seconds.",
)
.from("/sys/fs/btrfs/<uuid>/commit_stats")
.unit("seconds");
const RESERVED: Family = Family::gauge(
    "node_btrfs_reserved_bytes",
    "Amount of space reserved for a data type",
)
.from("/sys/fs/btrfs/<uuid>/allocation/<type>/bytes_reserved")
.unit("bytes");
const USED: Family = Family::gauge(
    "node_btrfs_used_bytes",
    "Amount of used space by a layout/data type",
)
.from("/sys/fs/btrfs/<uuid>/allocation/<type>/<mode>/used_bytes")
.unit("bytes");
const SIZE: Family = Family::gauge(
    "node_btrfs_size_bytes",
    "Amount of space allocated for a layout/data type",
)
.from("/sys/fs/btrfs/<uuid>/allocation/<type>/<mode>/total_bytes")
.unit("bytes");
const RATIO: Family = Family::gauge(
    "node_btrfs_allocation_ratio",
    "Data allocation ratio for a layout/data type",
)
.from("the mode's name and the count of devices");
const DEVICE: Family = Family::gauge(
    "node_btrfs_device_size_bytes",
    "Size of a device that is part of the filesystem.",
)
.from("/sys/fs/btrfs/<uuid>/devices/<device>/size")
.unit("bytes")
.differs(
    "node_exporter asks mounted filesystems by ioctl and then adds the label btrfs_dev_uuid and \
     the families node_btrfs_device_unused_bytes and node_btrfs_device_errors_total; left out, \
     because ioctl(2) needs unsafe code, which this program forbids, and sysfs names a device's \
     errors only by its number in the filesystem",
);

const FAMILIES: [Family; 11] = [
    INFO,
    RESERVE,
    COMMITS,
    LAST_COMMIT,
    MAX_COMMIT,
    COMMIT_TIME,
    RESERVED,
    USED,
    SIZE,
    RATIO,
    DEVICE,
];
/// Key in `commit_stats`, column of its family, and what divides it.
const COMMIT_KEYS: [(&[u8], usize, f64); 4] = [
    (b"commits", 2, 1.0),
    (b"last_commit_ms", 3, 1000.0),
    (b"max_commit_ms", 4, 1000.0),
    (b"total_commit_ms", 5, 1000.0),
];
const GLOBAL: [Attribute; 1] = [Attribute::of(RESERVE, "allocation/global_rsv_size")];
const SPACE: [Attribute; 1] = [Attribute::of(RESERVED, "bytes_reserved")];
const LAYOUT: [Attribute; 2] = [
    Attribute::of(USED, "used_bytes"),
    Attribute::of(SIZE, "total_bytes"),
];

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "btrfs",
    enabled: true,
    lane: Lane::Apart,
    flags: &[],
    families: &FAMILIES,
    open,
};

struct Btrfs {
    filesystems: Watched<Vec<Filesystem>>,
    sheet: Sheet,
}

struct Filesystem {
    info: Info,
    labels: Arc<Labels>,
    commits: HeldFile,
    ratios: Vec<(Arc<Labels>, f64)>,
    readings: Readings,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(Btrfs {
        filesystems: Watched::new(&sources.roots.sysfs, "fs/btrfs"),
        sheet: Sheet::of(&FAMILIES),
    }))
}

impl Collector for Btrfs {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let keep = self.filesystems.is_kept();
        let found = self.filesystems.get(turn.epoch, |path, names| {
            let uuids = names.iter().filter(|name| name.contains(&b'-'));
            uuids
                .map(|name| plan(&child(path, name), name, keep))
                .collect()
        });
        let filesystems = match found {
            Ok(filesystems) => filesystems,
            Err(error) if error.is_absent() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut result = Ok(());
        for filesystem in filesystems {
            let outcome = filesystem.read(turn.epoch, turn.scratch, &mut self.sheet);
            result = result.and(outcome);
        }
        self.sheet.write(turn.page);
        result
    }
}

impl Filesystem {
    fn read(
        &mut self,
        epoch: u64,
        scratch: &mut Vec<u8>,
        sheet: &mut Sheet,
    ) -> Result<(), CollectError> {
        sheet.put(0, self.info.read(epoch, scratch), 1.0);
        for (labels, ratio) in &self.ratios {
            sheet.put(9, labels, *ratio);
        }
        let commits = self.read_commits(epoch, scratch, sheet);
        self.readings
            .read(epoch, scratch, sheet, "Btrfs sizes")
            .and(commits)
    }

    /// Kernels before 6.0 have no such file; node_exporter shows zeros then.
    fn read_commits(
        &mut self,
        epoch: u64,
        scratch: &mut Vec<u8>,
        sheet: &mut Sheet,
    ) -> Result<(), CollectError> {
        let text = match self.commits.read(epoch, scratch) {
            Ok(text) => text,
            Err(error) if is_unfilled(&error) => b"",
            Err(error) => return Err(error.into()),
        };
        let mut values = [0.0; COMMIT_KEYS.len()];
        for line in lines(text) {
            let mut parts = fields(line);
            let (Some(key), Some(value)) = (parts.next(), parts.next().and_then(number)) else {
                return Err(CollectError::Parse("commit_stats"));
            };
            let place = COMMIT_KEYS.iter().position(|(known, ..)| *known == key);
            if let Some(slot) = place.and_then(|at| values.get_mut(at)) {
                *slot = value as f64;
            }
        }
        for ((_, column, divisor), value) in COMMIT_KEYS.iter().zip(values) {
            sheet.put(*column, &self.labels, value / divisor);
        }
        Ok(())
    }
}

fn plan(dir: &Path, name: &[u8], keep: bool) -> Filesystem {
    let uuid = word(dir.join("metadata_uuid"))
        .filter(|uuid| !uuid.is_empty())
        .unwrap_or_else(|| name.to_vec());
    let labels = shared(&[("uuid", &uuid)]);
    let mut readings = Readings::default();
    readings.add_table(&GLOBAL, 1, &labels, (dir, keep));
    let devices = names(&dir.join("devices")).unwrap_or_default();
    for device in &devices {
        let labels = shared(&[("device", device), ("uuid", &uuid)]);
        let path = child(&dir.join("devices"), device).join("size");
        let how = (Format::Unsigned, Scale::Times(SECTOR_BYTES));
        readings.add(10, &labels, (path, keep), how);
    }
    let mut ratios = Vec::new();
    for kind in ["data", "metadata", "system"] {
        let dir = dir.join("allocation").join(kind);
        let group: (&str, &[u8]) = ("block_group_type", kind.as_bytes());
        readings.add_table(&SPACE, 6, &shared(&[group, ("uuid", &uuid)]), (&dir, keep));
        for mode in names(&dir).unwrap_or_default() {
            let layout = child(&dir, &mode);
            if layout.is_dir() {
                let labels = shared(&[group, ("mode", &mode), ("uuid", &uuid)]);
                readings.add_table(&LAYOUT, 7, &labels, (&layout, keep));
                ratios.push((labels, ratio(&mode, devices.len() as f64)));
            }
        }
    }
    Filesystem {
        info: Info::new(&[("uuid", &uuid)], false).files((dir, keep), &[("label", "label")]),
        labels,
        commits: HeldFile::at(dir.join("commit_stats"), keep, Shape::Whole),
        ratios,
        readings,
    }
}

/// How many bytes of the devices one byte of data takes; 0 for a mode that is not known.
fn ratio(mode: &[u8], devices: f64) -> f64 {
    match mode {
        b"single" | b"raid0" => 1.0,
        b"dup" | b"raid1" | b"raid10" => 2.0,
        b"raid1c3" => 3.0,
        b"raid1c4" => 4.0,
        b"raid5" => devices / (devices - 1.0),
        b"raid6" => devices / (devices - 2.0),
        _ => 0.0,
    }
}
