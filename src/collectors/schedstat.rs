//! `schedstat`: how long each processor ran tasks and how long tasks waited for it.

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::known::Known;
use crate::collectors::source::scan::{fields, lines, number};
use crate::exposition::family::{Family, Head};
use crate::exposition::label::Labels;

const RUNNING: Family = Family::counter(
    "node_schedstat_running_seconds_total",
    "Number of seconds CPU spent running a process.",
)
.from("/proc/schedstat")
.unit("seconds");
const WAITING: Family = Family::counter(
    "node_schedstat_waiting_seconds_total",
    "Number of seconds spent by processing waiting for this CPU.",
)
.from("/proc/schedstat")
.unit("seconds");
const SLICES: Family = Family::counter(
    "node_schedstat_timeslices_total",
    "Number of timeslices executed by CPU.",
)
.from("/proc/schedstat");

/// Columns before the three that are shown.
const SKIPPED: usize = 6;

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "schedstat",
    enabled: true,
    lane: Lane::Page,
    flags: &[],
    families: &[RUNNING, WAITING, SLICES],
    open,
};

struct Processor {
    labels: Labels,
    running: u64,
    waiting: u64,
    slices: u64,
    turn: u64,
}

struct SchedStat {
    file: HeldFile,
    heads: [Head; 3],
    processors: Known<Processor>,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(SchedStat {
        // One record holds a processor's line and those of all its domains, with masks as long
        // as the machine is wide, so no bound can be given.
        file: HeldFile::new(&sources.roots.procfs, "schedstat", Shape::Stream),
        heads: [RUNNING, WAITING, SLICES].each_ref().map(Head::of),
        processors: Known::default(),
    }))
}

impl Collector for SchedStat {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let text = self.file.read(turn.epoch, turn.scratch).map_err(|error| {
            if error.is_absent() {
                CollectError::NoData("scheduler statistics")
            } else {
                error.into()
            }
        })?;
        self.processors.rewind();
        for line in lines(text) {
            let Some(rest) = line.strip_prefix(b"cpu") else {
                continue;
            };
            let mut parts = fields(rest);
            let Some(name) = parts.next() else { continue };
            let mut next = || parts.next().and_then(number);
            for _ in 0..SKIPPED {
                next();
            }
            let (Some(running), Some(waiting), Some(slices)) = (next(), next(), next()) else {
                return Err(CollectError::Parse("schedstat"));
            };
            let processor = self.processors.get(name, |name| Processor {
                labels: Labels::new(&[("cpu", name)]),
                running,
                waiting,
                slices,
                turn: 0,
            });
            processor.turn = turn.number;
            (processor.running, processor.waiting, processor.slices) = (running, waiting, slices);
        }
        self.processors
            .retain(|processor| processor.turn == turn.number);
        let [running, waiting, slices] = &self.heads;
        let mut family = turn.page.family(running);
        for one in self.processors.iter() {
            family.scaled(&one.labels, one.running, 9, one.running as f64 / 1e9);
        }
        drop(family);
        let mut family = turn.page.family(waiting);
        for one in self.processors.iter() {
            family.scaled(&one.labels, one.waiting, 9, one.waiting as f64 / 1e9);
        }
        drop(family);
        let mut family = turn.page.family(slices);
        for one in self.processors.iter() {
            family.int(&one.labels, one.slices);
        }
        Ok(())
    }
}
