//! `edac`: memory errors by controller, row and channel, from `/sys/devices/system/edac`.

use std::path::Path;

use crate::collectors::entry::{Collector, Entry, Lane, Sources};
use crate::collectors::error::SetupError;
use crate::collectors::settings::Settings;
use crate::collectors::source::attribute::{Attribute, families};
use crate::collectors::source::class::{DeviceClass, Plan, numbered, shared};
use crate::collectors::source::dir::{child, names};
use crate::collectors::source::held::word;
use crate::exposition::family::Family;

const fn errors(name: &'static str, help: &'static str) -> Family {
    Family::counter(name, help).from("/sys/devices/system/edac/mc")
}

const CORRECTED: Family = errors(
    "node_edac_correctable_errors_total",
    "Total correctable memory errors.",
);
const UNCORRECTED: Family = errors(
    "node_edac_uncorrectable_errors_total",
    "Total uncorrectable memory errors.",
);
const ROW_CORRECTED: Family = errors(
    "node_edac_csrow_correctable_errors_total",
    "Total correctable memory errors for this csrow.",
);
const ROW_UNCORRECTED: Family = errors(
    "node_edac_csrow_uncorrectable_errors_total",
    "Total uncorrectable memory errors for this csrow.",
);
const CHANNEL_CORRECTED: Family = errors(
    "node_edac_channel_correctable_errors_total",
    "Total correctable memory errors for this channel.",
)
.differs("not in node_exporter 1.5");
const CHANNEL_UNCORRECTED: Family = errors(
    "node_edac_channel_uncorrectable_errors_total",
    "Total uncorrectable memory errors for this channel.",
)
.differs("not in node_exporter 1.5");

const CONTROLLER: [Attribute; 2] = [
    Attribute::of(CORRECTED, "ce_count"),
    Attribute::of(UNCORRECTED, "ue_count"),
];
/// Errors of a controller that it could not lay to a row.
const NO_ROW: [Attribute; 2] = [
    Attribute::of(ROW_CORRECTED, "ce_noinfo_count"),
    Attribute::of(ROW_UNCORRECTED, "ue_noinfo_count"),
];
const ROW: [Attribute; 2] = [
    Attribute::of(ROW_CORRECTED, "ce_count"),
    Attribute::of(ROW_UNCORRECTED, "ue_count"),
];
/// The files' names begin with the channel: `ch0_ce_count`.
const CHANNEL: [Attribute; 2] = [
    Attribute::of(CHANNEL_CORRECTED, "_ce_count"),
    Attribute::of(CHANNEL_UNCORRECTED, "_ue_count"),
];
const FAMILIES: [Family; 6] = families(
    [CORRECTED, UNCORRECTED, ROW_CORRECTED, ROW_UNCORRECTED],
    &CHANNEL,
);
const FIRST_ROW: usize = 2;
const FIRST_CHANNEL: usize = 4;

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "edac",
    enabled: true,
    lane: Lane::Apart,
    flags: &[],
    families: &FAMILIES,
    open,
};

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let what = ("devices/system/edac/mc", "memory controllers");
    let planner = Box::new(
        |plan: &mut Plan<'_>, path: &Path, controllers: Vec<Vec<u8>>| {
            for name in &controllers {
                if let Some(controller) = numbered(name, b"mc") {
                    plan_controller(plan, &child(path, name), controller);
                }
            }
        },
    );
    let class = DeviceClass::new(sources, what, &FAMILIES, planner);
    Ok(Box::new(class.absent_is_empty()))
}

fn plan_controller(plan: &mut Plan<'_>, dir: &Path, controller: &[u8]) {
    plan.table(&CONTROLLER, 0, &shared(&[("controller", controller)]), dir);
    let none = shared(&[("controller", controller), ("csrow", b"unknown")]);
    plan.table(&NO_ROW, FIRST_ROW, &none, dir);
    for name in names(dir).unwrap_or_default() {
        let Some(row) = numbered(&name, b"csrow") else {
            continue;
        };
        let dir = child(dir, &name);
        let labels = shared(&[("controller", controller), ("csrow", row)]);
        plan.table(&ROW, FIRST_ROW, &labels, &dir);
        for file in names(&dir).unwrap_or_default() {
            let channel = numbered(&file, b"ch").and_then(|rest| rest.strip_suffix(b"_ce_count"));
            if let Some(channel) = channel {
                plan_channel(plan, &dir, (controller, row, channel));
            }
        }
    }
}

fn plan_channel(plan: &mut Plan<'_>, dir: &Path, place: (&[u8], &[u8], &[u8])) {
    let (controller, row, channel) = place;
    let file = |rest: &str| child(dir, &[b"ch", channel, rest.as_bytes()].concat());
    let dimm = word(file("_dimm_label")).map_or_else(|| b"unknown".to_vec(), |text| label(&text));
    let labels = shared(&[
        ("channel", channel),
        ("controller", controller),
        ("csrow", row),
        ("dimm_label", &dimm),
    ]);
    for (at, count) in CHANNEL.iter().enumerate() {
        let path = (file(count.file), plan.keep);
        let how = (count.format, count.scale);
        plan.readings.add(FIRST_CHANNEL + at, &labels, path, how);
    }
}

/// `mc#0csrow#1channel#0` becomes `mc0_csrow1_channel0`.
fn label(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text).replace('#', "");
    let text = text.replace("csrow", "_csrow");
    text.replace("channel", "_channel").into_bytes()
}
