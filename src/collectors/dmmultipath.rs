//! `dmmultipath`: disks reached over more than one path, from `/sys/block/dm-*`.

use std::path::Path;
use std::sync::Arc;

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::class::shared;
use crate::collectors::source::dir::{Watched, child, names};
use crate::collectors::source::held::{HeldFile, Shape, word};
use crate::collectors::source::scan::number;
use crate::exposition::family::Family;
use crate::exposition::label::Labels;
use crate::exposition::sheet::Sheet;

/// `size` of a block device is in sectors of this many bytes, whatever the device's own.
const SECTOR_BYTES: f64 = 512.0;

const INFO: Family = Family::gauge(
    "node_dmmultipath_device_info",
    "Non-numeric information about a DM-multipath device.",
)
.from("/sys/block/dm-<n>/dm/name and uuid");
const ACTIVE: Family = Family::gauge(
    "node_dmmultipath_device_active",
    "Whether the multipath device-mapper device is active (1) or suspended (0).",
)
.from("/sys/block/dm-<n>/dm/suspended");
const SIZE: Family = Family::gauge(
    "node_dmmultipath_device_size_bytes",
    "Size of the multipath device in bytes, read from /sys/block/<dm>/size.",
)
.from("/sys/block/dm-<n>/size")
.unit("bytes");
const PATHS: Family = Family::gauge(
    "node_dmmultipath_device_paths",
    "Number of paths for a multipath device.",
)
.from("/sys/block/dm-<n>/slaves");
const PATHS_ACTIVE: Family = Family::gauge(
    "node_dmmultipath_device_paths_active",
    "Number of paths in active state (SCSI running or NVMe live) for a multipath device.",
)
.from("/sys/block/<path>/device/state");
const PATHS_FAILED: Family = Family::gauge(
    "node_dmmultipath_device_paths_failed",
    "Number of paths not in active state for a multipath device.",
)
.from("/sys/block/<path>/device/state")
.differs(
    "a path whose state cannot be read is counted as failed and has no path_state; node_exporter \
     then shows no device at all",
);
const STATE: Family = Family::gauge(
    "node_dmmultipath_path_state",
    "Reports the underlying device state for a multipath path, as read from \
     /sys/block/<dev>/device/state.",
)
.from("/sys/block/<path>/device/state");

const FAMILIES: [Family; 7] = [INFO, ACTIVE, SIZE, PATHS, PATHS_ACTIVE, PATHS_FAILED, STATE];

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "dmmultipath",
    enabled: true,
    lane: Lane::Apart,
    flags: &[],
    families: &FAMILIES,
    open,
};

struct DmMultipath {
    maps: Watched<Vec<Map>>,
    sheet: Sheet,
}

/// One multipath device.
struct Map {
    info: Arc<Labels>,
    labels: Arc<Labels>,
    suspended: HeldFile,
    size: HeldFile,
    paths: Vec<Reach>,
}

/// One way to the disk.
struct Reach {
    map: Vec<u8>,
    name: Vec<u8>,
    file: HeldFile,
    /// `None` before the first read.
    state: Option<Vec<u8>>,
    labels: Arc<Labels>,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(DmMultipath {
        maps: Watched::new(&sources.roots.sysfs, "block"),
        sheet: Sheet::of(&FAMILIES),
    }))
}

impl Collector for DmMultipath {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let keep = self.maps.is_kept();
        let found = self.maps.get(turn.epoch, |dir, names| {
            let mapped = names.iter().filter(|name| name.starts_with(b"dm-"));
            mapped.filter_map(|name| plan(dir, name, keep)).collect()
        });
        let maps = found.map_err(CollectError::without("block devices"))?;
        let mut result = Ok(());
        for map in maps {
            let outcome = map.read(turn.epoch, turn.scratch, &mut self.sheet);
            result = result.and(outcome);
        }
        self.sheet.write(turn.page);
        result
    }
}

impl Map {
    fn read(
        &mut self,
        epoch: u64,
        scratch: &mut Vec<u8>,
        sheet: &mut Sheet,
    ) -> Result<(), CollectError> {
        sheet.put(0, &self.info, 1.0);
        let suspended = number_of(&mut self.suspended, epoch, scratch)
            .map(|value| sheet.put(1, &self.labels, f64::from(u8::from(value != 1))));
        let size = number_of(&mut self.size, epoch, scratch)
            .map(|sectors| sheet.put(2, &self.labels, sectors as f64 * SECTOR_BYTES));
        let mut result = suspended.and(size);
        let mut active = 0;
        for path in &mut self.paths {
            match path.read(epoch, scratch) {
                Ok(()) => {
                    active += u32::from(path.is_active());
                    sheet.put(6, &path.labels, 1.0);
                }
                Err(error) => result = result.and(Err(error)),
            }
        }
        let count = self.paths.len() as f64;
        sheet.put(3, &self.labels, count);
        sheet.put(4, &self.labels, f64::from(active));
        sheet.put(5, &self.labels, count - f64::from(active));
        result
    }
}

impl Reach {
    fn read(&mut self, epoch: u64, scratch: &mut Vec<u8>) -> Result<(), CollectError> {
        let state = self.file.read_trimmed(epoch, scratch)?;
        if self.state.as_deref() != Some(state) {
            self.labels = shared(&[
                ("device", &self.map),
                ("path", &self.name),
                ("state", state),
            ]);
            self.state = Some(state.to_vec());
        }
        Ok(())
    }

    /// SCSI says `running`, NVMe `live`.
    fn is_active(&self) -> bool {
        matches!(self.state.as_deref(), Some(b"running" | b"live"))
    }
}

fn number_of(file: &mut HeldFile, epoch: u64, scratch: &mut Vec<u8>) -> Result<u64, CollectError> {
    number(file.read_trimmed(epoch, scratch)?).ok_or(CollectError::Parse("multipath devices"))
}

/// `None` for a mapped device that is not a multipath one.
fn plan(block: &Path, name: &[u8], keep: bool) -> Option<Map> {
    let dir = child(block, name);
    let uuid = word(dir.join("dm/uuid")).filter(|uuid| uuid.starts_with(b"mpath-"))?;
    let map = word(dir.join("dm/name")).unwrap_or_default();
    let file = |path| HeldFile::at(path, keep, Shape::Whole);
    let reach = |path: Vec<u8>| Reach {
        map: map.clone(),
        file: file(child(block, &path).join("device/state")),
        name: path,
        state: None,
        labels: Arc::new(Labels::none()),
    };
    let slaves = names(&dir.join("slaves")).unwrap_or_default();
    Some(Map {
        info: shared(&[("device", &map), ("sysfs_name", name), ("uuid", &uuid)]),
        labels: shared(&[("device", &map), ("sysfs_name", name)]),
        suspended: file(dir.join("dm/suspended")),
        size: file(dir.join("size")),
        paths: slaves.into_iter().map(reach).collect(),
    })
}
