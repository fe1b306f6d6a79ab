//! `dmi`: what the firmware says of the machine, from `/sys/class/dmi/id`.

use std::path::Path;

use crate::collectors::entry::{Collector, Entry, Lane, Sources};
use crate::collectors::error::SetupError;
use crate::collectors::settings::Settings;
use crate::collectors::source::class::{DeviceClass, Plan, shared};
use crate::collectors::source::held::word;
use crate::exposition::family::Family;

const INFO: Family = Family::gauge(
    "node_dmi_info",
    "A metric with a constant '1' value labeled by bios_date, bios_release, bios_vendor, \
     bios_version, board_asset_tag, board_name, board_serial, board_vendor, board_version, \
     chassis_asset_tag, chassis_serial, chassis_vendor, chassis_version, product_family, \
     product_name, product_serial, product_sku, product_uuid, product_version, system_vendor \
     if provided by DMI.",
)
.from("/sys/class/dmi/id (serial numbers are readable by root only)");

/// Label and file, sorted by label.
const WORDS: [(&str, &str); 20] = [
    ("bios_date", "bios_date"),
    ("bios_release", "bios_release"),
    ("bios_vendor", "bios_vendor"),
    ("bios_version", "bios_version"),
    ("board_asset_tag", "board_asset_tag"),
    ("board_name", "board_name"),
    ("board_serial", "board_serial"),
    ("board_vendor", "board_vendor"),
    ("board_version", "board_version"),
    ("chassis_asset_tag", "chassis_asset_tag"),
    ("chassis_serial", "chassis_serial"),
    ("chassis_vendor", "chassis_vendor"),
    ("chassis_version", "chassis_version"),
    ("product_family", "product_family"),
    ("product_name", "product_name"),
    ("product_serial", "product_serial"),
    ("product_sku", "product_sku"),
    ("product_uuid", "product_uuid"),
    ("product_version", "product_version"),
    ("system_vendor", "sys_vendor"),
];
/// What is taken of one file; the kernel's own limit for a DMI string is far below it.
const MAX_WORD_BYTES: usize = 128;

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "dmi",
    enabled: true,
    lane: Lane::Apart,
    flags: &[],
    families: &[INFO],
    open,
};

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let what = ("class/dmi/id", "DMI information");
    let planner = Box::new(|plan: &mut Plan<'_>, path: &Path, _: Vec<Vec<u8>>| {
        let found: Vec<(&str, Vec<u8>)> = WORDS
            .iter()
            .filter_map(|(label, file)| Some((*label, word(path.join(file))?)))
            .collect();
        let pairs: Vec<(&str, &[u8])> = found
            .iter()
            .map(|(label, text)| {
                let text = text.get(..MAX_WORD_BYTES).unwrap_or(text);
                (*label, text.trim_ascii())
            })
            .collect();
        if !pairs.is_empty() {
            plan.constant(0, &shared(&pairs), 1.0);
        }
    });
    Ok(Box::new(DeviceClass::new(sources, what, &[INFO], planner)))
}
