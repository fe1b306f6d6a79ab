//! `thermal_zone`: temperatures and cooling devices, from `/sys/class/thermal`.

use std::path::Path;

use crate::collectors::entry::{Collector, Entry, Lane, Sources};
use crate::collectors::error::SetupError;
use crate::collectors::settings::Settings;
use crate::collectors::source::attribute::{Attribute, Format, Scale, families};
use crate::collectors::source::class::{DeviceClass, Plan, numbered, shared};
use crate::collectors::source::dir::child;
use crate::collectors::source::held::word;
use crate::exposition::family::Family;

const TEMPERATURE: Family = Family::gauge("node_thermal_zone_temp", "Zone temperature in Celsius")
    .from("/sys/class/thermal/thermal_zone<n>/temp")
    .unit("celsius")
    .differs("a zone that cannot be read is left out, as in node_exporter 1.12; with 1.5 it takes the whole collector");
const CURRENT: Family = Family::gauge(
    "node_cooling_device_cur_state",
    "Current throttle state of the cooling device",
)
.from("/sys/class/thermal/cooling_device<n>/cur_state");
const MAXIMUM: Family = Family::gauge(
    "node_cooling_device_max_state",
    "Maximum throttle state of the cooling device",
)
.from("/sys/class/thermal/cooling_device<n>/max_state");

const ZONE: [Attribute; 1] = [Attribute::of(TEMPERATURE, "temp")
    .format(Format::Signed)
    .scale(Scale::Over(1000.0))];
/// `cur_state` is -1 where a driver does not know it, such as intel_powerclamp.
const COOLING: [Attribute; 2] = [
    Attribute::of(CURRENT, "cur_state").format(Format::Signed),
    Attribute::of(MAXIMUM, "max_state").format(Format::Signed),
];
const FAMILIES: [Family; 3] = families([TEMPERATURE], &COOLING);

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "thermal_zone",
    enabled: true,
    lane: Lane::Apart,
    flags: &[],
    families: &FAMILIES,
    open,
};

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let what = ("class/thermal", "thermal zones");
    let planner = Box::new(|plan: &mut Plan<'_>, path: &Path, names: Vec<Vec<u8>>| {
        for name in names {
            let dir = child(path, &name);
            let kind = word(dir.join("type")).unwrap_or_default();
            if let Some(zone) = numbered(&name, b"thermal_zone") {
                let labels = shared(&[("type", &kind), ("zone", zone)]);
                plan.table(&ZONE, 0, &labels, &dir);
            } else if let Some(number) = numbered(&name, b"cooling_device") {
                let labels = shared(&[("name", number), ("type", &kind)]);
                plan.table(&COOLING, 1, &labels, &dir);
            }
        }
    });
    let class = DeviceClass::new(sources, what, &FAMILIES, planner);
    Ok(Box::new(class.absent_is_empty()))
}
