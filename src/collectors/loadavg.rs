//! `loadavg`: the three load averages.

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::scan::fields;
use crate::exposition::family::{Family, Head};
use crate::exposition::label::Labels;
use crate::exposition::number::parse_f64;

const FAMILIES: [Family; 3] = [
    Family::gauge("node_load1", "1m load average.").from("/proc/loadavg"),
    Family::gauge("node_load5", "5m load average.").from("/proc/loadavg"),
    Family::gauge("node_load15", "15m load average.").from("/proc/loadavg"),
];

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "loadavg",
    enabled: true,
    lane: Lane::Page,
    flags: &[],
    families: &FAMILIES,
    open,
};

struct LoadAverage {
    file: HeldFile,
    heads: [Head; 3],
    labels: Labels,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(LoadAverage {
        file: HeldFile::new(&sources.roots.procfs, "loadavg", Shape::Whole),
        heads: FAMILIES.each_ref().map(Head::of),
        labels: Labels::none(),
    }))
}

impl Collector for LoadAverage {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let text = self.file.read(turn.epoch, turn.scratch)?;
        let mut parts = fields(text);
        for head in &self.heads {
            let load = parts
                .next()
                .and_then(parse_f64)
                .ok_or(CollectError::Parse("loadavg"))?;
            turn.page.family(head).float(&self.labels, load);
        }
        Ok(())
    }
}
