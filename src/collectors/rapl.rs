//! `rapl`: energy that processors and memory used, from `/sys/class/powercap`.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::collectors::entry::{Collector, Entry, Flag, Lane, Sources};
use crate::collectors::error::SetupError;
use crate::collectors::settings::Settings;
use crate::collectors::source::attribute::{Format, Scale};
use crate::collectors::source::class::{DeviceClass, Plan, shared};
use crate::collectors::source::dir::child;
use crate::collectors::source::held::word;
use crate::collectors::source::scan::number;
use crate::exposition::family::{Family, Kind};

const ZONE_LABEL: &str = "collector.rapl.enable-zone-label";
const HELP: &[u8] = b"Current RAPL value in joules";

const JOULES: Family = Family::counter(
    "node_rapl_<zone>_joules_total",
    "Current RAPL <zone> value in joules",
)
.from("/sys/class/powercap/<zone>/energy_uj")
.unit("joules");
const LABELLED: Family = Family::counter("node_rapl_joules_total", "Current RAPL value in joules")
    .from("/sys/class/powercap/<zone>/energy_uj, with --collector.rapl.enable-zone-label")
    .unit("joules");

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "rapl",
    enabled: true,
    lane: Lane::Apart,
    flags: &[Flag::off(
        ZONE_LABEL,
        "Enables service unit metric unit_start_time_seconds",
    )],
    families: &[JOULES, LABELLED],
    open,
};

fn open(settings: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let labelled = settings.is_on(ZONE_LABEL);
    let what = ("class/powercap", "power zones");
    let planner = Box::new(
        move |plan: &mut Plan<'_>, path: &Path, dirs: Vec<Vec<u8>>| {
            let mut counts = BTreeMap::new();
            for dir in dirs.iter().map(|name| child(path, name)) {
                let Some(text) = word(dir.join("name")) else {
                    continue;
                };
                let (zone, index) = indexed(&text, &mut counts);
                let index = index.to_string();
                let place = dir.as_os_str().as_bytes();
                let pairs = [
                    ("index", index.as_bytes()),
                    ("path", place),
                    ("rapl_zone", zone),
                ];
                let (labels, column) = if labelled {
                    let name = b"node_rapl_joules_total";
                    (shared(&pairs), plan.sheet.column(name, Kind::Counter, HELP))
                } else {
                    let name = [b"node_rapl_", zone, b"_joules_total"].concat();
                    let help = [b"Current RAPL ", zone, b" value in joules"].concat();
                    let [index, place, _] = pairs;
                    let column = plan.sheet.column(&name, Kind::Counter, &help);
                    (shared(&[index, place]), column)
                };
                if let Some(column) = column {
                    let how = (Format::Unsigned, Scale::Over(1e6));
                    let file = (dir.join("energy_uj"), plan.keep);
                    plan.readings.add(column, &labels, file, how);
                }
            }
        },
    );
    Ok(Box::new(DeviceClass::new(sources, what, &[], planner)))
}

/// `package-1` is the package with index 1; a name without number has the count of its namesakes
/// met before as index.
fn indexed<'a>(text: &'a [u8], counts: &mut BTreeMap<Vec<u8>, u64>) -> (&'a [u8], u64) {
    let mut parts = text.split(|&byte| byte == b'-');
    let (zone, index) = match (parts.next(), parts.next().and_then(number), parts.next()) {
        (Some(zone), Some(index), None) => (zone, index),
        _ => (text, counts.get(text).copied().unwrap_or_default()),
    };
    counts.insert(zone.to_vec(), index.saturating_add(1));
    (zone, index)
}

#[cfg(test)]
mod tests {
    use super::indexed;
    use std::collections::BTreeMap;

    #[test]
    fn zones_are_numbered_by_name_or_by_count() {
        let mut counts = BTreeMap::new();
        type Case<'a> = (&'a [u8], (&'a [u8], u64));
        let cases: [Case<'_>; 6] = [
            (b"package-1", (b"package", 1)),
            (b"dram", (b"dram", 0)),
            (b"dram", (b"dram", 1)),
            (b"psys-a", (b"psys-a", 0)),
            (b"a-b-1", (b"a-b-1", 0)),
            (b"", (b"", 0)),
        ];
        for (text, want) in cases {
            assert_eq!(indexed(text, &mut counts), want);
        }
    }
}
