//! `ksmd`: merging of equal memory pages, from `/sys/kernel/mm/ksm`.

use std::path::Path;

use crate::collectors::entry::{Collector, Entry, Lane, Sources};
use crate::collectors::error::SetupError;
use crate::collectors::settings::Settings;
use crate::collectors::source::attribute::{Attribute, Scale, families};
use crate::collectors::source::class::{DeviceClass, Plan, shared};
use crate::exposition::family::Family;

const fn file(name: &'static str, help: &'static str, file: &'static str) -> Attribute {
    Attribute::of(Family::gauge(name, help).from("/sys/kernel/mm/ksm"), file)
}

const SCANS: Family = Family::counter("node_ksmd_full_scans_total", "ksmd 'full_scans' file.")
    .from("/sys/kernel/mm/ksm/full_scans");

const TABLE: [Attribute; 9] = [
    Attribute::of(SCANS, "full_scans"),
    file(
        "node_ksmd_merge_across_nodes",
        "ksmd 'merge_across_nodes' file.",
        "merge_across_nodes",
    ),
    file(
        "node_ksmd_pages_shared",
        "ksmd 'pages_shared' file.",
        "pages_shared",
    ),
    file(
        "node_ksmd_pages_sharing",
        "ksmd 'pages_sharing' file.",
        "pages_sharing",
    ),
    file(
        "node_ksmd_pages_to_scan",
        "ksmd 'pages_to_scan' file.",
        "pages_to_scan",
    ),
    file(
        "node_ksmd_pages_unshared",
        "ksmd 'pages_unshared' file.",
        "pages_unshared",
    ),
    file(
        "node_ksmd_pages_volatile",
        "ksmd 'pages_volatile' file.",
        "pages_volatile",
    ),
    file("node_ksmd_run", "ksmd 'run' file.", "run"),
    file(
        "node_ksmd_sleep_seconds",
        "ksmd 'sleep_millisecs' file.",
        "sleep_millisecs",
    )
    .scale(Scale::Over(1000.0)),
];
const FAMILIES: [Family; 9] = families([], &TABLE);

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "ksmd",
    enabled: false,
    lane: Lane::Apart,
    flags: &[],
    families: &FAMILIES,
    open,
};

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let what = ("kernel/mm/ksm", "kernel samepage merging");
    let planner = Box::new(|plan: &mut Plan<'_>, path: &Path, _: Vec<Vec<u8>>| {
        plan.table(&TABLE, 0, &shared(&[]), path);
    });
    Ok(Box::new(DeviceClass::new(
        sources, what, &FAMILIES, planner,
    )))
}
