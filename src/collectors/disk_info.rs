//! The part of `diskstats` that udev and sysfs know: who made a disk and what is on it.
//!
//! It changes when a device appears or is written to by `udevadm`, so it is looked at once an
//! epoch, not on every page.

use std::collections::BTreeMap;

use crate::collectors::source::dir::child;
use crate::collectors::source::held::{read_once, word};
use crate::collectors::source::roots::Roots;
use crate::collectors::source::scan::{cut, lines, number};
use crate::exposition::family::Family;
use crate::exposition::label::Labels;
use crate::exposition::number::parse_f64;
use crate::exposition::page::FamilyWriter;

const UDEV: &str = "/run/udev/data/b<major>:<minor>";

/// The families, in the order of their places.
pub const FAMILIES: [Family; 6] = [
    Family::gauge("node_disk_info", "Info of /sys/block/<block_device>.")
        .from("/run/udev/data/b<major>:<minor>, /sys/block/<device>/queue/rotational"),
    Family::gauge("node_disk_filesystem_info", "Info about disk filesystem.").from(UDEV),
    Family::gauge(
        "node_disk_device_mapper_info",
        "Info about disk device mapper.",
    )
    .from(UDEV),
    Family::gauge("node_disk_ata_write_cache", "ATA disk has a write cache.").from(UDEV),
    Family::gauge(
        "node_disk_ata_write_cache_enabled",
        "ATA disk has its write cache enabled.",
    )
    .from(UDEV),
    Family::gauge(
        "node_disk_ata_rotation_rate_rpm",
        "ATA disk rotation rate in RPMs (0 for SSDs).",
    )
    .from(UDEV)
    .unit("revolutions per minute"),
];
/// udev's keys of the last three families.
const ATA: [&[u8]; 3] = [
    b"ID_ATA_WRITE_CACHE",
    b"ID_ATA_WRITE_CACHE_ENABLED",
    b"ID_ATA_ROTATION_RATE_RPM",
];

/// The series of one disk, each with the place of its family.
#[derive(Debug, Default)]
pub struct DiskInfo {
    series: Vec<(usize, Labels, f64)>,
}

impl DiskInfo {
    /// Reads udev's and sysfs's word on a disk. What cannot be read is left out or empty.
    pub fn look(roots: &Roots, name: &[u8], major: u64, minor: u64) -> DiskInfo {
        let text = read_once(roots.udev.join(format!("b{major}:{minor}"))).unwrap_or_default();
        let udev: BTreeMap<&[u8], &[u8]> = lines(&text)
            .filter_map(|line| cut(line.strip_prefix(b"E:")?, b'='))
            .collect();
        let get = |key: &[u8]| udev.get(key).copied().unwrap_or_default();
        let first = |keys: [&[u8]; 3]| {
            keys.into_iter()
                .map(get)
                .find(|text| !text.is_empty())
                .unwrap_or_default()
        };
        let block = child(&roots.sysfs.join("block"), name);
        let (major, minor) = (major.to_string(), minor.to_string());
        let rotational = word(block.join("queue/rotational")).and_then(|text| number(&text));
        let rotational = format!("{:b}", rotational.unwrap_or_default());
        let mut series = vec![(
            0,
            Labels::new(&[
                ("device", name),
                ("major", major.as_bytes()),
                ("minor", minor.as_bytes()),
                ("model", get(b"ID_MODEL")),
                ("path", get(b"ID_PATH")),
                ("revision", get(b"ID_REVISION")),
                ("rotational", rotational.as_bytes()),
                // The serial on the label of the disk; virtio devices only have the last.
                (
                    "serial",
                    first([b"SCSI_IDENT_SERIAL", b"ID_SERIAL_SHORT", b"ID_SERIAL"]),
                ),
                ("wwn", get(b"ID_WWN")),
            ]),
            1.0,
        )];
        if !get(b"ID_FS_TYPE").is_empty() {
            let labels = Labels::new(&[
                ("device", name),
                ("type", get(b"ID_FS_TYPE")),
                ("usage", get(b"ID_FS_USAGE")),
                ("uuid", get(b"ID_FS_UUID")),
                ("version", get(b"ID_FS_VERSION")),
            ]);
            series.push((1, labels, 1.0));
        }
        if !get(b"DM_NAME").is_empty() {
            let labels = Labels::new(&[
                ("device", name),
                ("lv_layer", get(b"DM_LV_LAYER")),
                ("lv_name", get(b"DM_LV_NAME")),
                ("name", get(b"DM_NAME")),
                ("uuid", get(b"DM_UUID")),
                ("vg_name", get(b"DM_VG_NAME")),
            ]);
            series.push((2, labels, 1.0));
        }
        if !get(b"ID_ATA").is_empty() {
            for (place, key) in (3..).zip(ATA) {
                if let Some(value) = udev.get(key).and_then(|text| parse_f64(text)) {
                    series.push((place, Labels::new(&[("device", name)]), value));
                }
            }
        }
        DiskInfo { series }
    }

    /// Writes this disk's series of the family at `place`.
    pub fn write(&self, place: usize, family: &mut FamilyWriter<'_>) {
        for (_, labels, value) in self.series.iter().filter(|(at, _, _)| *at == place) {
            family.float(labels, *value);
        }
    }
}
