//! `cpu`: seconds by mode, guests, throttling, isolation, and on request `/proc/cpuinfo`.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::collectors::cpu_info::{self, CpuInfo};
use crate::collectors::entry::{Collector, Entry, Flag, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::dir::{Watched, child};
use crate::collectors::source::held::{HeldFile, Shape, word};
use crate::collectors::source::known::Known;
use crate::collectors::source::roots::Root;
use crate::collectors::source::scan::{fields, lines, number};
use crate::collectors::source::shared::{SharedFile, lock};
use crate::exposition::family::{Family, Head};
use crate::exposition::label::Labels;

const SECONDS: Family = Family::counter(
    "node_cpu_seconds_total",
    "Seconds the CPUs spent in each mode.",
)
.from("/proc/stat")
.unit("seconds");
const GUEST: Family = Family::counter(
    "node_cpu_guest_seconds_total",
    "Seconds the CPUs spent in guests (VMs) for each mode.",
)
.from("/proc/stat")
.unit("seconds");
const CORE_THROTTLES: Family = Family::counter(
    "node_cpu_core_throttles_total",
    "Number of times this CPU core has been throttled.",
)
.from("/sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count");
const PACKAGE_THROTTLES: Family = Family::counter(
    "node_cpu_package_throttles_total",
    "Number of times this CPU package has been throttled.",
)
.from("/sys/devices/system/cpu/cpu*/thermal_throttle/package_throttle_count");
const ISOLATED: Family = Family::gauge(
    "node_cpu_isolated",
    "Whether each core is isolated, information from /sys/devices/system/cpu/isolated.",
)
.from("/sys/devices/system/cpu/isolated");
const ONLINE: Family = Family::gauge(
    "node_cpu_online",
    "CPUs that are online and being scheduled.",
)
.from("/sys/devices/system/cpu/online");

const MODES: [&str; 8] = [
    "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal",
];
const GUEST_MODES: [&str; 2] = ["user", "nice"];
const FIELDS: usize = MODES.len() + GUEST_MODES.len();
const IDLE: usize = 3;
/// An idle counter that falls by this many ticks (3 s) means that the processor was replugged; less
/// is the jitter of the kernel's own arithmetic and is smoothed over.
const REPLUG_TICKS: u64 = 300;
/// `USER_HZ` is 100 on every architecture with node_exporter builds.
const TICKS_PER_SECOND: f64 = 100.0;

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "cpu",
    enabled: true,
    lane: Lane::Page,
    flags: &[
        Flag::on(
            "collector.cpu.guest",
            "Enables metric node_cpu_guest_seconds_total.",
        ),
        cpu_info::INFO_FLAG,
        cpu_info::FLAGS_FLAG,
        cpu_info::BUGS_FLAG,
    ],
    families: &[
        cpu_info::INFO,
        cpu_info::FREQUENCY,
        cpu_info::FLAG_INFO,
        cpu_info::BUG_INFO,
        SECONDS,
        GUEST,
        ISOLATED,
        ONLINE,
        CORE_THROTTLES,
        PACKAGE_THROTTLES,
    ],
    open,
};

struct Processor {
    ticks: [u64; FIELDS],
    labels: [Labels; FIELDS],
    turn: u64,
}

struct Cpu {
    stat: Arc<Mutex<SharedFile>>,
    info: Option<CpuInfo>,
    guest: bool,
    processors: Known<Processor>,
    sysfs: Watched<Topology>,
    heads: [Head; 6],
}

/// What sysfs says of the processors, looked at once an epoch.
#[derive(Default)]
struct Topology {
    isolated: Vec<Labels>,
    /// Every processor; empty where the first one cannot be switched off, as on most x86.
    numbers: Vec<(u64, Labels)>,
    online: Option<HeldFile>,
    cores: Vec<(Labels, HeldFile)>,
    packages: Vec<(Labels, HeldFile)>,
}

fn open(settings: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let heads = [
        SECONDS,
        GUEST,
        ISOLATED,
        ONLINE,
        CORE_THROTTLES,
        PACKAGE_THROTTLES,
    ];
    Ok(Box::new(Cpu {
        stat: Arc::clone(&sources.stat),
        info: CpuInfo::open(settings, sources)?,
        guest: settings.is_on("collector.cpu.guest"),
        processors: Known::default(),
        sysfs: Watched::new(&sources.roots.sysfs, "devices/system/cpu"),
        heads: heads.each_ref().map(Head::of),
    }))
}

impl Collector for Cpu {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let info = self.info.as_mut().map_or(Ok(()), |info| info.collect(turn));
        let stat = self.read_stat(turn);
        if stat.is_ok() {
            self.write_seconds(turn);
        }
        self.write_topology(turn);
        info.and(stat)
    }
}

impl Cpu {
    fn read_stat(&mut self, turn: &Turn<'_>) -> Result<(), CollectError> {
        let mut stat = lock(&self.stat);
        let text = stat.read(turn.number, turn.epoch)?;
        self.processors.rewind();
        let mut found = false;
        for line in lines(text) {
            let Some(rest) = line.strip_prefix(b"cpu") else {
                continue;
            };
            let mut parts = fields(rest);
            if !rest.first().is_some_and(u8::is_ascii_digit) {
                continue;
            }
            let Some(name) = parts.next() else { continue };
            let mut ticks = [0; FIELDS];
            // Kernels before 2.6.33 have fewer columns; what is missing is zero.
            for (slot, part) in ticks.iter_mut().zip(parts) {
                *slot = number(part).ok_or(CollectError::Parse("stat"))?;
            }
            self.processors
                .get(name, Processor::new)
                .update(ticks, turn.number);
            found = true;
        }
        if found {
            Ok(())
        } else {
            Err(CollectError::Parse("stat"))
        }
    }

    fn write_seconds(&mut self, turn: &mut Turn<'_>) {
        let number = turn.number;
        let [seconds, guest, ..] = &self.heads;
        let shown = || self.processors.iter().filter(move |one| one.turn == number);
        let mut family = turn.page.family(seconds);
        for processor in shown() {
            for (labels, &ticks) in processor.columns().take(MODES.len()) {
                family.scaled(labels, ticks, 2, ticks as f64 / TICKS_PER_SECOND);
            }
        }
        drop(family);
        let mut family = turn.page.family(guest);
        for processor in shown().filter(|_| self.guest) {
            for (labels, &ticks) in processor.columns().skip(MODES.len()) {
                family.scaled(labels, ticks, 2, ticks as f64 / TICKS_PER_SECOND);
            }
        }
        drop(family);
        self.processors.retain(|processor| processor.turn == number);
    }

    fn write_topology(&mut self, turn: &mut Turn<'_>) {
        let Ok(topology) = self.sysfs.get(turn.epoch, Topology::look) else {
            return;
        };
        let [_, _, isolated, online, cores, packages] = &self.heads;
        let mut family = turn.page.family(isolated);
        for labels in &topology.isolated {
            family.flag(labels, true);
        }
        drop(family);
        let mut family = turn.page.family(online);
        if let Some(file) = topology
            .online
            .as_mut()
            .filter(|_| !topology.numbers.is_empty())
            && let Ok(list) = file.read_trimmed(turn.epoch, turn.scratch)
        {
            for (number, labels) in &topology.numbers {
                family.flag(labels, ranges(list).any(|range| range.contains(number)));
            }
        }
        drop(family);
        for (head, counts) in [
            (cores, &mut topology.cores),
            (packages, &mut topology.packages),
        ] {
            let mut family = turn.page.family(head);
            for (labels, file) in counts {
                let count = file
                    .read_trimmed(turn.epoch, turn.scratch)
                    .ok()
                    .and_then(number);
                if let Some(count) = count {
                    family.int(labels, count);
                }
            }
        }
    }
}

impl Processor {
    fn new(name: &[u8]) -> Processor {
        let mut modes = MODES.iter().chain(&GUEST_MODES);
        let labels = std::array::from_fn(|_| {
            let mode = modes.next().copied().unwrap_or_default();
            Labels::new(&[("cpu", name), ("mode", mode.as_bytes())])
        });
        Processor {
            ticks: [0; FIELDS],
            labels,
            turn: 0,
        }
    }

    /// Takes new counters; one that fell a little stays where it was.
    fn update(&mut self, ticks: [u64; FIELDS], turn: u64) {
        self.turn = turn;
        let idle = |ticks: &[u64; FIELDS]| ticks.get(IDLE).copied().unwrap_or_default();
        if idle(&self.ticks).saturating_sub(idle(&ticks)) >= REPLUG_TICKS {
            self.ticks = ticks;
            return;
        }
        for (kept, new) in self.ticks.iter_mut().zip(ticks) {
            *kept = (*kept).max(new);
        }
    }

    fn columns(&self) -> impl Iterator<Item = (&Labels, &u64)> {
        self.labels.iter().zip(&self.ticks)
    }
}

impl Topology {
    fn look(path: &Path, names: Vec<Vec<u8>>) -> Topology {
        let root = Root::at(path);
        let file = |path| HeldFile::at(path, root.is_kernel(), Shape::Whole);
        let isolated = word(path.join("isolated")).unwrap_or_default();
        let has_online = path.join("cpu0/online").exists();
        let mut topology = Topology {
            isolated: isolated_labels(&isolated),
            online: Some(file(path.join("online"))),
            ..Topology::default()
        };
        let mut seen: Vec<(u64, Option<u64>)> = Vec::new();
        for name in names {
            let Some(digits) = name
                .strip_prefix(b"cpu")
                .filter(|rest| number(rest).is_some())
            else {
                continue;
            };
            let dir = child(path, &name);
            let id = |what: &str| word(dir.join("topology").join(what)).and_then(|id| number(&id));
            if has_online && let Some(number) = number(digits) {
                topology
                    .numbers
                    .push((number, Labels::new(&[("cpu", digits)])));
            }
            let (Some(package), Some(core)) = (id("physical_package_id"), id("core_id")) else {
                continue;
            };
            let (package_text, core_text) = (package.to_string(), core.to_string());
            let count = |what: &str| Some(dir.join("thermal_throttle").join(what));
            // Threads of one core count together, so the first that has the file speaks for all.
            if !seen.contains(&(package, Some(core)))
                && let Some(path) = count("core_throttle_count").filter(|path| path.exists())
            {
                seen.push((package, Some(core)));
                let labels = [
                    ("core", core_text.as_bytes()),
                    ("package", package_text.as_bytes()),
                ];
                topology.cores.push((Labels::new(&labels), file(path)));
            }
            if !seen.contains(&(package, None))
                && let Some(path) = count("package_throttle_count").filter(|path| path.exists())
            {
                seen.push((package, None));
                let labels = Labels::new(&[("package", package_text.as_bytes())]);
                topology.packages.push((labels, file(path)));
            }
        }
        topology
    }
}

/// `1-3,8` as one label set for each processor.
fn isolated_labels(list: &[u8]) -> Vec<Labels> {
    let numbers: BTreeSet<u64> = ranges(list).flatten().collect();
    let labels = |number: &u64| Labels::new(&[("cpu", number.to_string().as_bytes())]);
    numbers.iter().map(labels).collect()
}

/// The ranges of a list such as `1-3,8`; what is not one is left out.
fn ranges(list: &[u8]) -> impl Iterator<Item = std::ops::RangeInclusive<u64>> {
    /// More processors than Linux supports (8,192), so that a broken list stays bounded.
    const MAX_PROCESSORS: u64 = 65_536;
    list.split(|&byte| byte == b',').filter_map(|range| {
        let mut ends = range.splitn(2, |&byte| byte == b'-').map(number);
        let first = ends.next()??;
        Some(first..=ends.next().flatten().unwrap_or(first).min(MAX_PROCESSORS))
    })
}

#[cfg(test)]
mod tests {
    use super::{FIELDS, IDLE, Processor, isolated_labels};

    #[test]
    fn counters_that_fall_a_little_stay_and_a_replugged_processor_starts_anew() {
        let mut processor = Processor::new(b"0");
        processor.update([1000; FIELDS], 1);
        let mut less = [999; FIELDS];
        less[IDLE] = 900;
        processor.update(less, 2);
        assert_eq!(processor.ticks, [1000; FIELDS]);
        processor.update([5; FIELDS], 3);
        assert_eq!(processor.ticks, [5; FIELDS]);
    }

    #[test]
    fn isolated_list_is_spread_out() {
        let cases: [(&[u8], usize); 6] = [
            (b"", 0),
            (b"3", 1),
            (b"1-3,8", 4),
            (b"x", 0),
            (b"5-2", 0),
            (b",,", 0),
        ];
        for (list, want) in cases {
            assert_eq!(isolated_labels(list).len(), want);
        }
        assert!(isolated_labels(b"0-99999999999").len() <= 65_537);
    }
}
