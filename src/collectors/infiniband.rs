//! `infiniband`: ports of InfiniBand and RoCE adapters, from `/sys/class/infiniband`.

use std::path::Path;

use crate::collectors::entry::{Collector, Entry, Flag, Lane, Sources};
use crate::collectors::error::SetupError;
use crate::collectors::infiniband_table::PORT;
use crate::collectors::settings::Settings;
use crate::collectors::source::attribute::{Attribute, Format, Scale, families};
use crate::collectors::source::class::{DeviceClass, Plan, shared};
use crate::collectors::source::dir::{child, names};
use crate::collectors::source::info::Info;
use crate::exposition::family::Family;

const INCLUDE: &str = "collector.infiniband.device-include";
const EXCLUDE: &str = "collector.infiniband.device-exclude";
const PORT_DIR: &str = "/sys/class/infiniband/<device>/ports/<port>";
/// The rate is given in gigabits.
const BYTES_PER_GIGABIT: f64 = 125_000_000.0;

const INFO: Family = Family::gauge(
    "node_infiniband_info",
    "Non-numeric data from /sys/class/infiniband/<device>, value is always 1.",
)
.from("/sys/class/infiniband/<device>");
const STATE: Family = Family::gauge(
    "node_infiniband_state_id",
    "State of the InfiniBand port (0: no change, 1: down, 2: init, 3: armed, 4: active, 5: act defer)",
)
.from(PORT_DIR);
const PHYSICAL: Family = Family::gauge(
    "node_infiniband_physical_state_id",
    "Physical state of the InfiniBand port (0: no change, 1: sleep, 2: polling, 3: disable, 4: shift, 5: link up, 6: link error recover, 7: phytest)",
)
.from(PORT_DIR);
const RATE: Family = Family::gauge(
    "node_infiniband_rate_bytes_per_second",
    "Maximum signal transfer rate",
)
.from(PORT_DIR)
.unit("bytes per second");
const LIFESPAN: Family = Family::gauge(
    "node_infiniband_lifespan_seconds",
    "The maximum period in ms which defines the aging of the counter reads. Two consecutive reads within this period might return the same values.",
)
.from(PORT_DIR)
.unit("seconds");
/// What every port has; the counters follow.
const BASE: [Attribute; 4] = [
    Attribute::of(STATE, "state").format(Format::Leading),
    Attribute::of(PHYSICAL, "phys_state").format(Format::Leading),
    Attribute::of(RATE, "rate")
        .format(Format::LeadingFloat)
        .scale(Scale::Times(BYTES_PER_GIGABIT)),
    Attribute::of(LIFESPAN, "hw_counters/lifespan").scale(Scale::Whole(1000.0)),
];
const FAMILIES: [Family; 64] = families([INFO, STATE, PHYSICAL, RATE, LIFESPAN], &PORT);

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "infiniband",
    enabled: true,
    lane: Lane::Apart,
    flags: &[
        Flag::optional(
            INCLUDE,
            "Regexp of infiniband devices to include (mutually exclusive to device-exclude).",
        ),
        Flag::optional(
            EXCLUDE,
            "Regexp of infiniband devices to exclude (mutually exclusive to device-include).",
        ),
    ],
    families: &FAMILIES,
    open,
};

fn open(settings: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let filter = settings.filter(INCLUDE, EXCLUDE)?;
    let what = ("class/infiniband", "InfiniBand devices");
    let planner = Box::new(
        move |plan: &mut Plan<'_>, path: &Path, devices: Vec<Vec<u8>>| {
            for name in devices.iter().filter(|name| !filter.is_ignored(name)) {
                plan_device(plan, &child(path, name), name);
            }
        },
    );
    Ok(Box::new(DeviceClass::new(
        sources, what, &FAMILIES, planner,
    )))
}

fn plan_device(plan: &mut Plan<'_>, dir: &Path, name: &[u8]) {
    let info = Info::new(&[("device", name)], false).files(
        (dir, plan.keep),
        &[
            ("board_id", "board_id"),
            ("firmware_version", "fw_ver"),
            ("hca_type", "hca_type"),
        ],
    );
    plan.info(0, info);
    let ports = dir.join("ports");
    // A device without ports has its info line and nothing else.
    for port in names(&ports).unwrap_or_default() {
        let labels = shared(&[("device", name), ("port", &port)]);
        let dir = child(&ports, &port);
        plan.table(&BASE, 1, &labels, &dir);
        plan.table(&PORT, 1 + BASE.len(), &labels, &dir);
    }
}
