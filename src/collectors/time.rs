//! `time`: the clock, the time zone and the clock sources.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::dir::{Watched, child};
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::known::Known;
use crate::collectors::source::roots::Root;
use crate::collectors::source::scan::fields;
use crate::exposition::family::{Family, Head};
use crate::exposition::label::Labels;

const NOW: Family = Family::gauge(
    "node_time_seconds",
    "System time in seconds since epoch (1970).",
)
.from("clock_gettime(CLOCK_REALTIME)")
.unit("seconds");
const ZONE: Family = Family::gauge(
    "node_time_zone_offset_seconds",
    "System time zone offset in seconds.",
)
.from("/etc/localtime or TZ")
.unit("seconds");
const AVAILABLE: Family = Family::gauge(
    "node_time_clocksource_available_info",
    "Available clocksources read from '/sys/devices/system/clocksource'.",
)
.from("/sys/devices/system/clocksource/clocksource*/available_clocksource");
const CURRENT: Family = Family::gauge(
    "node_time_clocksource_current_info",
    "Current clocksource read from '/sys/devices/system/clocksource'.",
)
.from("/sys/devices/system/clocksource/clocksource*/current_clocksource");

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "time",
    enabled: true,
    lane: Lane::Page,
    flags: &[],
    families: &[NOW, ZONE, AVAILABLE, CURRENT],
    open,
};

struct Time {
    heads: [Head; 4],
    none: Labels,
    zone: Option<(u64, Labels, i64)>,
    sources: Watched<Vec<ClockSource>>,
}

struct ClockSource {
    device: Vec<u8>,
    available: Vec<Labels>,
    current: HeldFile,
    known: Known<Labels>,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(Time {
        heads: [NOW, ZONE, AVAILABLE, CURRENT].each_ref().map(Head::of),
        none: Labels::none(),
        zone: None,
        sources: Watched::new(&sources.roots.sysfs, "devices/system/clocksource"),
    }))
}

impl Collector for Time {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let [now, zone, available, current] = &self.heads;
        let nanos = u64::try_from(turn.wall.as_nanos()).unwrap_or(u64::MAX);
        turn.page
            .family(now)
            .scaled(&self.none, nanos, 9, nanos as f64 / 1e9);
        // The offset changes twice a year, so a minute late is soon enough.
        if self
            .zone
            .as_ref()
            .is_none_or(|(epoch, _, _)| *epoch != turn.epoch)
        {
            let (labels, offset) = zone_at(turn.wall.as_secs());
            self.zone = Some((turn.epoch, labels, offset));
        }
        if let Some((_, labels, offset)) = &self.zone {
            turn.page.family(zone).signed(labels, *offset);
        }
        let epoch = turn.epoch;
        let sources = self
            .sources
            .get(epoch, |path, names| look(path, names, epoch))?;
        let mut family = turn.page.family(available);
        for labels in sources.iter().flat_map(|source| &source.available) {
            family.flag(labels, true);
        }
        drop(family);
        let mut family = turn.page.family(current);
        for ClockSource {
            device,
            current,
            known,
            ..
        } in sources
        {
            let name = current.read_trimmed(turn.epoch, turn.scratch)?;
            known.rewind();
            family.flag(known.get(name, |name| source_labels(device, name)), true);
        }
        Ok(())
    }
}

fn look(path: &Path, names: Vec<Vec<u8>>, epoch: u64) -> Vec<ClockSource> {
    let keep = Root::at(path).is_kernel();
    let mut scratch = Vec::new();
    let mut sources = Vec::new();
    for name in names {
        let Some(device) = name.strip_prefix(b"clocksource") else {
            continue;
        };
        let dir = child(path, &name);
        let mut file = HeldFile::at(dir.join("available_clocksource"), false, Shape::Stream);
        let text = file.read(epoch, &mut scratch).unwrap_or_default();
        let line = text.trim_ascii();
        let names: BTreeSet<&[u8]> = fields(line).collect();
        sources.push(ClockSource {
            device: device.to_vec(),
            available: names
                .iter()
                .map(|name| source_labels(device, name))
                .collect(),
            current: HeldFile::at(dir.join("current_clocksource"), keep, Shape::Whole),
            known: Known::default(),
        });
    }
    sources
}

fn source_labels(device: &[u8], name: &[u8]) -> Labels {
    Labels::new(&[("clocksource", name), ("device", device)])
}

fn zone_at(seconds: u64) -> (Labels, i64) {
    let now = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok());
    let zone = TimeZone::system();
    let info = zone.to_offset_info(now.unwrap_or_default());
    let labels = Labels::new(&[("time_zone", info.abbreviation().as_bytes())]);
    (labels, i64::from(info.offset().seconds()))
}
