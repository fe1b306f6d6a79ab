//! `watchdog`: hardware and software watchdogs, from `/sys/class/watchdog`.

use crate::collectors::entry::{Collector, Entry, Lane, Sources};
use crate::collectors::error::SetupError;
use crate::collectors::settings::Settings;
use crate::collectors::source::attribute::{Attribute, Format, families};
use crate::collectors::source::class::{DeviceClass, Plan, shared};
use crate::collectors::source::dir::child;
use crate::collectors::source::info::Info;
use crate::exposition::family::Family;

const fn value(name: &'static str, help: &'static str, file: &'static str) -> Attribute {
    Attribute::of(
        Family::gauge(name, help).from("/sys/class/watchdog/<watchdog>"),
        file,
    )
    .format(Format::Prefixed)
}

const TABLE: [Attribute; 7] = [
    value(
        "node_watchdog_bootstatus",
        "Value of /sys/class/watchdog/<watchdog>/bootstatus",
        "bootstatus",
    ),
    value(
        "node_watchdog_fw_version",
        "Value of /sys/class/watchdog/<watchdog>/fw_version",
        "fw_version",
    ),
    value(
        "node_watchdog_nowayout",
        "Value of /sys/class/watchdog/<watchdog>/nowayout",
        "nowayout",
    ),
    value(
        "node_watchdog_timeleft_seconds",
        "Value of /sys/class/watchdog/<watchdog>/timeleft",
        "timeleft",
    ),
    value(
        "node_watchdog_timeout_seconds",
        "Value of /sys/class/watchdog/<watchdog>/timeout",
        "timeout",
    ),
    value(
        "node_watchdog_pretimeout_seconds",
        "Value of /sys/class/watchdog/<watchdog>/pretimeout",
        "pretimeout",
    ),
    value(
        "node_watchdog_access_cs0",
        "Value of /sys/class/watchdog/<watchdog>/access_cs0",
        "access_cs0",
    ),
];
const INFO: Family = Family::gauge(
    "node_watchdog_info",
    "Info of /sys/class/watchdog/<watchdog>",
)
.from("/sys/class/watchdog/<watchdog>");
const FAMILIES: [Family; 8] = families([INFO], &TABLE);

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "watchdog",
    enabled: true,
    lane: Lane::Apart,
    flags: &[],
    families: &FAMILIES,
    open,
};

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let what = ("class/watchdog", "watchdogs");
    let planner = Box::new(
        |plan: &mut Plan<'_>, path: &std::path::Path, names: Vec<Vec<u8>>| {
            for name in names {
                let dir = child(path, &name);
                let keep = plan.keep;
                let info = Info::new(&[("name", &name)], false).files(
                    (&dir, keep),
                    &[
                        ("options", "options"),
                        ("identity", "identity"),
                        ("state", "state"),
                        ("status", "status"),
                        ("pretimeout_governor", "pretimeout_governor"),
                    ],
                );
                plan.info(0, info);
                plan.table(&TABLE, 1, &shared(&[("name", &name)]), &dir);
            }
        },
    );
    Ok(Box::new(DeviceClass::new(
        sources, what, &FAMILIES, planner,
    )))
}
