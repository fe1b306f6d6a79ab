//! `powersupplyclass`: batteries and mains, from `/sys/class/power_supply`.

use std::path::Path;

use crate::collectors::entry::{Collector, Entry, Flag, Lane, Sources};
use crate::collectors::error::SetupError;
use crate::collectors::powersupplyclass_table::SUPPLY;
use crate::collectors::settings::Settings;
use crate::collectors::source::attribute::families;
use crate::collectors::source::class::{DeviceClass, Plan, shared};
use crate::collectors::source::dir::child;
use crate::collectors::source::info::Info;
use crate::exposition::family::Family;

const IGNORED: &str = "collector.powersupply.ignored-supplies";

const INFO: Family = Family::gauge(
    "node_power_supply_info",
    "info of /sys/class/power_supply/<power_supply>.",
)
.from("/sys/class/power_supply/<power_supply>");
const FAMILIES: [Family; 50] = families([INFO], &SUPPLY);

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "powersupplyclass",
    enabled: true,
    lane: Lane::Apart,
    flags: &[Flag::value(
        IGNORED,
        "^$",
        "Regexp of power supplies to ignore for powersupplyclass collector.",
    )],
    families: &FAMILIES,
    open,
};

/// Files whose words become labels of the same name.
const WORDS: [(&str, &str); 11] = [
    ("capacity_level", "capacity_level"),
    ("charge_type", "charge_type"),
    ("health", "health"),
    ("manufacturer", "manufacturer"),
    ("model_name", "model_name"),
    ("scope", "scope"),
    ("serial_number", "serial_number"),
    ("status", "status"),
    ("technology", "technology"),
    ("type", "type"),
    ("usb_type", "usb_type"),
];

fn open(settings: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let ignored = settings.pattern(IGNORED)?;
    let what = ("class/power_supply", "power supplies");
    let planner = Box::new(
        move |plan: &mut Plan<'_>, path: &Path, names: Vec<Vec<u8>>| {
            for name in names {
                if ignored
                    .as_ref()
                    .is_some_and(|ignored| ignored.is_match(&name))
                {
                    continue;
                }
                let dir = child(path, &name);
                let info =
                    Info::new(&[("power_supply", &name)], true).files((&dir, plan.keep), &WORDS);
                plan.info(0, info);
                plan.table(&SUPPLY, 1, &shared(&[("power_supply", &name)]), &dir);
            }
        },
    );
    Ok(Box::new(DeviceClass::new(
        sources, what, &FAMILIES, planner,
    )))
}
