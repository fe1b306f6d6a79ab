//! `stat`: interrupts, context switches, forks, boot time, running and blocked processes.

use std::sync::{Arc, Mutex};

use crate::collectors::entry::{Collector, Entry, Flag, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::scan::{fields, lines, number};
use crate::collectors::source::shared::{SharedFile, lock};
use crate::exposition::family::{Family, Head};
use crate::exposition::label::Labels;

const INTERRUPTS: Family =
    Family::counter("node_intr_total", "Total number of interrupts serviced.").from("/proc/stat");
const SWITCHES: Family = Family::counter(
    "node_context_switches_total",
    "Total number of context switches.",
)
.from("/proc/stat");
const FORKS: Family =
    Family::counter("node_forks_total", "Total number of forks.").from("/proc/stat");
const BOOT: Family = Family::gauge("node_boot_time_seconds", "Node boot time, in unixtime.")
    .from("/proc/stat")
    .unit("seconds");
const RUNNING: Family = Family::gauge(
    "node_procs_running",
    "Number of processes in runnable state.",
)
.from("/proc/stat");
const BLOCKED: Family = Family::gauge(
    "node_procs_blocked",
    "Number of processes blocked waiting for I/O to complete.",
)
.from("/proc/stat");
const SOFTIRQS: Family =
    Family::counter("node_softirqs_total", "Number of softirq calls.").from("/proc/stat");

const SOFTIRQ_FLAG: &str = "collector.stat.softirq";
/// The key of each line in `/proc/stat`, in the order of the families.
const KEYS: [&[u8]; 6] = [
    b"intr",
    b"ctxt",
    b"processes",
    b"btime",
    b"procs_running",
    b"procs_blocked",
];
/// The columns of the `softirq` line after its sum.
const VECTORS: [&str; 10] = [
    "hi",
    "timer",
    "net_tx",
    "net_rx",
    "block",
    "block_iopoll",
    "tasklet",
    "sched",
    "hrtimer",
    "rcu",
];

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "stat",
    enabled: true,
    lane: Lane::Page,
    flags: &[Flag::off(SOFTIRQ_FLAG, "Export softirq calls per vector.")],
    families: &[
        INTERRUPTS, SWITCHES, FORKS, BOOT, RUNNING, BLOCKED, SOFTIRQS,
    ],
    open,
};

struct Stat {
    file: Arc<Mutex<SharedFile>>,
    heads: [Head; 6],
    none: Labels,
    softirqs: Option<Head>,
    vectors: [Labels; 10],
}

fn open(settings: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let heads = [INTERRUPTS, SWITCHES, FORKS, BOOT, RUNNING, BLOCKED];
    Ok(Box::new(Stat {
        file: Arc::clone(&sources.stat),
        heads: heads.each_ref().map(Head::of),
        none: Labels::none(),
        softirqs: settings.is_on(SOFTIRQ_FLAG).then(|| Head::of(&SOFTIRQS)),
        vectors: VECTORS.map(|vector| Labels::new(&[("vector", vector.as_bytes())])),
    }))
}

impl Collector for Stat {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let mut file = lock(&self.file);
        let text = file.read(turn.number, turn.epoch)?;
        // The lines for processors come first and are the longest part; one pass over the rest.
        let mut met = [false; KEYS.len() + 1];
        for line in lines(text).filter(|line| !line.starts_with(b"cpu")) {
            let mut parts = fields(line);
            let (Some(key), Some(value)) = (parts.next(), parts.next()) else {
                continue;
            };
            let place = KEYS.iter().position(|name| *name == key);
            // A line that is there twice must not put the same series on the page twice.
            let softirq = (key == b"softirq").then_some(KEYS.len());
            let Some(slot) = place.or(softirq).and_then(|place| met.get_mut(place)) else {
                continue;
            };
            if std::mem::replace(slot, true) {
                continue;
            }
            if let Some(head) = place.and_then(|place| self.heads.get(place)) {
                number(value).ok_or(CollectError::Parse("stat"))?;
                turn.page.family(head).digits(&self.none, value);
            } else if let Some(head) = &self.softirqs {
                let mut family = turn.page.family(head);
                for (labels, count) in self.vectors.iter().zip(parts) {
                    family.digits(labels, count);
                }
            }
        }
        Ok(())
    }
}
