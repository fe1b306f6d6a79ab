//! `diskstats`: counters of block devices, with what udev and sysfs know of each.

use crate::collectors::disk_info::DiskInfo;
use crate::collectors::entry::{Collector, Entry, Flag, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::{Filter, Settings};
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::known::Known;
use crate::collectors::source::roots::Roots;
use crate::collectors::source::scan::{fields, lines, number};
use crate::exposition::family::{Family, Head};
use crate::exposition::label::Labels;
use crate::exposition::page::Page;

const SOURCE: &str = "/proc/diskstats";
const fn counter(name: &'static str, help: &'static str) -> Family {
    Family::counter(name, help).from(SOURCE)
}
const fn seconds(name: &'static str, help: &'static str) -> Family {
    Family::counter(name, help).from(SOURCE).unit("seconds")
}
const fn bytes(name: &'static str, help: &'static str) -> Family {
    Family::counter(name, help).from(SOURCE).unit("bytes")
}

/// How a column becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    Count,
    /// Sectors of 512 bytes, whatever the device's own are.
    Sectors,
    Millis,
}

/// The columns after the device's name.
const COLUMNS: [(Family, Scale); 17] = [
    (
        counter(
            "node_disk_reads_completed_total",
            "The total number of reads completed successfully.",
        ),
        Scale::Count,
    ),
    (
        counter(
            "node_disk_reads_merged_total",
            "The total number of reads merged.",
        ),
        Scale::Count,
    ),
    (
        bytes(
            "node_disk_read_bytes_total",
            "The total number of bytes read successfully.",
        ),
        Scale::Sectors,
    ),
    (
        seconds(
            "node_disk_read_time_seconds_total",
            "The total number of seconds spent by all reads.",
        ),
        Scale::Millis,
    ),
    (
        counter(
            "node_disk_writes_completed_total",
            "The total number of writes completed successfully.",
        ),
        Scale::Count,
    ),
    (
        counter(
            "node_disk_writes_merged_total",
            "The number of writes merged.",
        ),
        Scale::Count,
    ),
    (
        bytes(
            "node_disk_written_bytes_total",
            "The total number of bytes written successfully.",
        ),
        Scale::Sectors,
    ),
    (
        seconds(
            "node_disk_write_time_seconds_total",
            "This is the total number of seconds spent by all writes.",
        ),
        Scale::Millis,
    ),
    (
        Family::gauge(
            "node_disk_io_now",
            "The number of I/Os currently in progress.",
        )
        .from(SOURCE),
        Scale::Count,
    ),
    (
        seconds(
            "node_disk_io_time_seconds_total",
            "Total seconds spent doing I/Os.",
        ),
        Scale::Millis,
    ),
    (
        seconds(
            "node_disk_io_time_weighted_seconds_total",
            "The weighted # of seconds spent doing I/Os.",
        ),
        Scale::Millis,
    ),
    (
        counter(
            "node_disk_discards_completed_total",
            "The total number of discards completed successfully.",
        ),
        Scale::Count,
    ),
    (
        counter(
            "node_disk_discards_merged_total",
            "The total number of discards merged.",
        ),
        Scale::Count,
    ),
    (
        counter(
            "node_disk_discarded_sectors_total",
            "The total number of sectors discarded successfully.",
        ),
        Scale::Count,
    ),
    (
        seconds(
            "node_disk_discard_time_seconds_total",
            "This is the total number of seconds spent by all discards.",
        ),
        Scale::Millis,
    ),
    (
        counter(
            "node_disk_flush_requests_total",
            "The total number of flush requests completed successfully",
        ),
        Scale::Count,
    ),
    (
        seconds(
            "node_disk_flush_requests_time_seconds_total",
            "This is the total number of seconds spent by all flush requests.",
        ),
        Scale::Millis,
    ),
];
/// Kernels before 4.18 have this many columns.
const LEAST_COLUMNS: usize = 11;
const SECTOR_BYTES: f64 = 512.0;
/// node_exporter multiplies by this instead of dividing by 1000, which shows in the last digit.
const SECONDS_PER_MILLI: f64 = 0.001;
/// A row: two numbers, a name of up to 32 characters and 17 counters.
const LONGEST: usize = 512;

const INCLUDE: &str = "collector.diskstats.device-include";
const EXCLUDE: &str = "collector.diskstats.device-exclude";

/// The table's line.
#[allow(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which refuses an index out of bounds"
)]
pub const ENTRY: Entry = Entry {
    name: "diskstats",
    enabled: true,
    lane: Lane::Page,
    flags: &[
        Flag::value(
            EXCLUDE,
            r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$",
            "Regexp of diskstats devices to exclude (mutually exclusive to device-include).",
        ),
        Flag::optional(
            INCLUDE,
            "Regexp of diskstats devices to include (mutually exclusive to device-exclude).",
        ),
    ],
    families: &{
        let mut all = [COLUMNS[0].0; COLUMNS.len() + crate::collectors::disk_info::FAMILIES.len()];
        let mut at = 0;
        while at < COLUMNS.len() {
            all[at] = COLUMNS[at].0;
            at += 1;
        }
        while at < all.len() {
            all[at] = crate::collectors::disk_info::FAMILIES[at - COLUMNS.len()];
            at += 1;
        }
        all
    },
    open,
};

struct Device {
    shown: bool,
    labels: Labels,
    values: [u64; COLUMNS.len()],
    columns: usize,
    info: DiskInfo,
    epoch: u64,
    turn: u64,
}

struct DiskStats {
    file: HeldFile,
    filter: Filter,
    roots: Roots,
    heads: [(Head, Scale); COLUMNS.len()],
    info_heads: [Head; 6],
    devices: Known<Device>,
}

fn open(settings: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let include = settings.text(INCLUDE).is_some();
    let filter = if include {
        // node_exporter lets an include take the place of the default exclude.
        settings.filter(INCLUDE, "")?
    } else {
        settings.filter(INCLUDE, EXCLUDE)?
    };
    Ok(Box::new(DiskStats {
        file: HeldFile::new(&sources.roots.procfs, "diskstats", Shape::Records(LONGEST)),
        filter,
        roots: sources.roots.clone(),
        heads: COLUMNS
            .each_ref()
            .map(|(family, scale)| (Head::of(family), *scale)),
        info_heads: crate::collectors::disk_info::FAMILIES
            .each_ref()
            .map(Head::of),
        devices: Known::default(),
    }))
}

impl Collector for DiskStats {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let text = self.file.read(turn.epoch, turn.scratch)?;
        self.devices.rewind();
        let mut result = Ok(());
        for line in lines(text) {
            if self.read_row(line, turn.number, turn.epoch).is_none() {
                // A broken row costs that device, not the others.
                result = Err(CollectError::Parse("diskstats"));
            }
        }
        self.write(turn.page, turn.number);
        self.devices.retain(|device| device.turn == turn.number);
        result
    }
}

impl DiskStats {
    fn read_row(&mut self, line: &[u8], turn: u64, epoch: u64) -> Option<()> {
        let mut parts = fields(line);
        let (major, minor) = (number(parts.next()?)?, number(parts.next()?)?);
        let name = parts.next()?;
        let (filter, roots) = (&self.filter, &self.roots);
        let device = self.devices.get(name, |name| Device {
            shown: !filter.is_ignored(name),
            labels: Labels::new(&[("device", name)]),
            values: [0; COLUMNS.len()],
            columns: 0,
            info: DiskInfo::default(),
            epoch: 0,
            turn: 0,
        });
        if !device.shown {
            device.turn = turn;
            return Some(());
        }
        let mut columns = 0;
        for (slot, part) in device.values.iter_mut().zip(parts) {
            *slot = number(part)?;
            columns += 1;
        }
        if columns < LEAST_COLUMNS {
            return None;
        }
        if device.epoch != epoch || !(roots.udev.is_kernel() || roots.sysfs.is_kernel()) {
            device.info = DiskInfo::look(roots, name, major, minor);
            device.epoch = epoch;
        }
        (device.columns, device.turn) = (columns, turn);
        Some(())
    }

    fn write(&self, page: &mut Page, turn: u64) {
        let shown = || {
            self.devices
                .iter()
                .filter(move |one| one.shown && one.turn == turn)
        };
        let mut infos = self.info_heads.iter().enumerate();
        if let Some((place, head)) = infos.next() {
            let mut family = page.family(head);
            shown().for_each(|device| device.info.write(place, &mut family));
        }
        for (place, (head, scale)) in self.heads.iter().enumerate() {
            let mut family = page.family(head);
            for device in shown().filter(|device| device.columns > place) {
                let value = device.values.get(place).copied().unwrap_or_default();
                match scale {
                    Scale::Count => family.int(&device.labels, value),
                    Scale::Sectors => family.float(&device.labels, value as f64 * SECTOR_BYTES),
                    Scale::Millis => {
                        let seconds = value as f64 * SECONDS_PER_MILLI;
                        family.scaled(&device.labels, value, 3, seconds);
                    }
                }
            }
        }
        for (place, head) in infos {
            let mut family = page.family(head);
            shown().for_each(|device| device.info.write(place, &mut family));
        }
    }
}
