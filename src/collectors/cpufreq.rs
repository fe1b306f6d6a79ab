//! `cpufreq`: frequencies and governors of the processors, from
//! `/sys/devices/system/cpu/cpu<n>/cpufreq`.

use std::path::Path;
use std::sync::Arc;

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::attribute::{Attribute, Readings, Scale, families};
use crate::collectors::source::class::{numbered, shared};
use crate::collectors::source::dir::{Watched, child};
use crate::collectors::source::held::{HeldFile, Shape, word};
use crate::exposition::family::Family;
use crate::exposition::label::Labels;
use crate::exposition::sheet::Sheet;

/// The kernel counts in kilohertz.
const KILO: Scale = Scale::Times(1000.0);

const fn hertz(name: &'static str, help: &'static str, file: &'static str) -> Attribute {
    let family = Family::gauge(name, help)
        .from("/sys/devices/system/cpu/cpu<n>/cpufreq")
        .unit("hertz");
    Attribute::of(family, file).scale(KILO)
}

const GOVERNOR: Family = Family::gauge(
    "node_cpu_scaling_governor",
    "Current enabled CPU frequency governor.",
)
.from("/sys/devices/system/cpu/cpu<n>/cpufreq/scaling_governor")
.differs("not in node_exporter 1.5");
const TABLE: [Attribute; 7] = [
    hertz(
        "node_cpu_frequency_hertz",
        "Current CPU thread frequency in hertz.",
        "cpuinfo_cur_freq",
    ),
    hertz(
        "node_cpu_frequency_avg_hertz",
        "Average CPU thread frequency in hertz.",
        "cpuinfo_avg_freq",
    ),
    hertz(
        "node_cpu_frequency_min_hertz",
        "Minimum CPU thread frequency in hertz.",
        "cpuinfo_min_freq",
    ),
    hertz(
        "node_cpu_frequency_max_hertz",
        "Maximum CPU thread frequency in hertz.",
        "cpuinfo_max_freq",
    ),
    hertz(
        "node_cpu_scaling_frequency_hertz",
        "Current scaled CPU thread frequency in hertz.",
        "scaling_cur_freq",
    ),
    hertz(
        "node_cpu_scaling_frequency_min_hertz",
        "Minimum scaled CPU thread frequency in hertz.",
        "scaling_min_freq",
    ),
    hertz(
        "node_cpu_scaling_frequency_max_hertz",
        "Maximum scaled CPU thread frequency in hertz.",
        "scaling_max_freq",
    ),
];
const FAMILIES: [Family; 8] = families([GOVERNOR], &TABLE);

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "cpufreq",
    enabled: true,
    lane: Lane::Apart,
    flags: &[],
    families: &FAMILIES,
    open,
};

struct CpuFrequency {
    cpus: Watched<Cpus>,
    sheet: Sheet,
}

#[derive(Default)]
struct Cpus {
    readings: Readings,
    governors: Vec<Governor>,
    /// Whether there is any processor; without one the tree is broken.
    any: bool,
}

struct Governor {
    file: HeldFile,
    known: Vec<(Vec<u8>, Arc<Labels>)>,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(CpuFrequency {
        cpus: Watched::new(&sources.roots.sysfs, "devices/system/cpu"),
        sheet: Sheet::of(&FAMILIES),
    }))
}

impl Collector for CpuFrequency {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let keep = self.cpus.is_kept();
        let cpus = self
            .cpus
            .get(turn.epoch, |path, names| plan(path, &names, keep))?;
        if !cpus.any {
            return Err(CollectError::NoData("processors"));
        }
        for governor in &mut cpus.governors {
            governor.read(turn.epoch, turn.scratch, &mut self.sheet);
        }
        let result = cpus
            .readings
            .read(turn.epoch, turn.scratch, &mut self.sheet, "cpufreq");
        self.sheet.write(turn.page);
        result
    }
}

impl Governor {
    fn read(&mut self, epoch: u64, scratch: &mut Vec<u8>, sheet: &mut Sheet) {
        let Ok(current) = self.file.read_trimmed(epoch, scratch) else {
            return;
        };
        if !current.is_empty() {
            for (name, labels) in &self.known {
                sheet.put(0, labels, f64::from(u8::from(name == current)));
            }
        }
    }
}

fn plan(path: &Path, names: &[Vec<u8>], keep: bool) -> Cpus {
    let mut cpus = Cpus::default();
    for name in names {
        let Some(cpu) = numbered(name, b"cpu") else {
            continue;
        };
        cpus.any = true;
        let dir = child(path, name).join("cpufreq");
        if !dir.is_dir() {
            continue;
        }
        let labels = shared(&[("cpu", cpu)]);
        cpus.readings.add_table(&TABLE, 1, &labels, (&dir, keep));
        let available = word(dir.join("scaling_available_governors")).unwrap_or_default();
        let known = available.split(|&byte| byte == b' ').map(|governor| {
            let labels = shared(&[("cpu", cpu), ("governor", governor)]);
            (governor.to_vec(), labels)
        });
        cpus.governors.push(Governor {
            file: HeldFile::at(dir.join("scaling_governor"), keep, Shape::Whole),
            known: known.collect(),
        });
    }
    cpus
}
