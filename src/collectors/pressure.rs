//! `pressure`: time that work waited for CPU, IO, memory and interrupts (PSI, Linux 4.20).

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::scan::{fields, lines, number};
use crate::exposition::family::{Family, Head};
use crate::exposition::label::Labels;

const fn total(name: &'static str, help: &'static str, source: &'static str) -> Family {
    Family::counter(name, help).from(source).unit("seconds")
}

const CPU: Family = total(
    "node_pressure_cpu_waiting_seconds_total",
    "Total time in seconds that processes have waited for CPU time",
    "/proc/pressure/cpu",
);
const IO_SOME: Family = total(
    "node_pressure_io_waiting_seconds_total",
    "Total time in seconds that processes have waited due to IO congestion",
    "/proc/pressure/io",
);
const IO_FULL: Family = total(
    "node_pressure_io_stalled_seconds_total",
    "Total time in seconds no process could make progress due to IO congestion",
    "/proc/pressure/io",
);
const MEMORY_SOME: Family = total(
    "node_pressure_memory_waiting_seconds_total",
    "Total time in seconds that processes have waited for memory",
    "/proc/pressure/memory",
);
const MEMORY_FULL: Family = total(
    "node_pressure_memory_stalled_seconds_total",
    "Total time in seconds no process could make progress due to memory congestion",
    "/proc/pressure/memory",
);
const IRQ_FULL: Family = total(
    "node_pressure_irq_stalled_seconds_total",
    "Total time in seconds no process could make progress due to IRQ congestion",
    "/proc/pressure/irq (Linux 6.1)",
);

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "pressure",
    enabled: true,
    lane: Lane::Page,
    flags: &[],
    families: &[CPU, IO_SOME, IO_FULL, MEMORY_SOME, MEMORY_FULL, IRQ_FULL],
    open,
};

struct Resource {
    file: HeldFile,
    some: Option<Head>,
    full: Option<Head>,
}

struct Pressure {
    resources: [Resource; 4],
    labels: Labels,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let resource = |name: &str, some: Option<Family>, full: Option<Family>| Resource {
        file: HeldFile::new(
            &sources.roots.procfs,
            format!("pressure/{name}"),
            Shape::Whole,
        ),
        some: some.as_ref().map(Head::of),
        full: full.as_ref().map(Head::of),
    };
    Ok(Box::new(Pressure {
        resources: [
            resource("cpu", Some(CPU), None),
            resource("io", Some(IO_SOME), Some(IO_FULL)),
            resource("memory", Some(MEMORY_SOME), Some(MEMORY_FULL)),
            resource("irq", None, Some(IRQ_FULL)),
        ],
        labels: Labels::none(),
    }))
}

impl Collector for Pressure {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let mut found = false;
        for Resource { file, some, full } in &mut self.resources {
            // Not built in, or `psi=0`: then opening works and reading says EOPNOTSUPP.
            let Ok(text) = file.read(turn.epoch, turn.scratch) else {
                continue;
            };
            // Taken when used, so that a line that is there twice does not count twice.
            let (mut some, mut full) = (some.as_ref(), full.as_ref());
            for line in lines(text) {
                let mut parts = fields(line);
                let head = match parts.next() {
                    Some(b"some") => some.take(),
                    Some(b"full") => full.take(),
                    _ => None,
                };
                let Some(head) = head else { continue };
                let micros = parts
                    .find_map(|part| part.strip_prefix(b"total="))
                    .and_then(number)
                    .ok_or(CollectError::Parse("pressure"))?;
                found = true;
                let seconds = micros as f64 / 1000.0 / 1000.0;
                turn.page
                    .family(head)
                    .scaled(&self.labels, micros, 6, seconds);
            }
        }
        if found {
            Ok(())
        } else {
            Err(CollectError::NoData("pressure stall information"))
        }
    }
}
