//! The part of `cpu` that is off by default: `/proc/cpuinfo` as labels.

use std::fs::File;
use std::path::PathBuf;

use regex::bytes::Regex;

use crate::collectors::entry::{Flag, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::scan::{cut, fields, lines};
use crate::exposition::family::{Family, Head};
use crate::exposition::label::Labels;
use crate::exposition::number::parse_f64;

/// One series for each processor.
pub const INFO: Family =
    Family::gauge("node_cpu_info", "CPU information from /proc/cpuinfo.").from("/proc/cpuinfo");
/// The clock, where the `cpufreq` collector is switched on but the kernel does not tell it: as in node_exporter 1.12.1, only
/// that there both would stand on the page with different labels and help, and the scrape fail.
pub const FREQUENCY: Family = Family::gauge(
    "node_cpu_frequency_hertz",
    "CPU frequency in hertz from /proc/cpuinfo.",
)
.from("/proc/cpuinfo")
.unit("hertz")
.differs("not in node_exporter 1.5; not where cpufreq/cpuinfo_cur_freq can be read, which tells the same family");
/// Features of the first processor.
pub const FLAG_INFO: Family = Family::gauge(
    "node_cpu_flag_info",
    "The `flags` field of CPU information from /proc/cpuinfo taken from the first core.",
)
.from("/proc/cpuinfo");
/// Known faults of the first processor.
pub const BUG_INFO: Family = Family::gauge(
    "node_cpu_bug_info",
    "The `bugs` field of CPU information from /proc/cpuinfo taken from the first core.",
)
.from("/proc/cpuinfo");

/// Switches all of this on.
pub const INFO_FLAG: Flag = Flag::off("collector.cpu.info", "Enables metric cpu_info.");
/// Which features are shown.
pub const FLAGS_FLAG: Flag = Flag::optional(
    "collector.cpu.info.flags-include",
    "Filter the `flags` field in cpuInfo with a value that must be a regular expression.",
);
/// Which faults are shown.
pub const BUGS_FLAG: Flag = Flag::optional(
    "collector.cpu.info.bugs-include",
    "Filter the `bugs` field in cpuInfo with a value that must be a regular expression.",
);

const CLOCK: &str = "devices/system/cpu/cpu0/cpufreq/cpuinfo_cur_freq";

/// Label and the key in `/proc/cpuinfo`, sorted by label.
const LABELS: [(&str, &[u8]); 10] = [
    ("cachesize", b"cache size"),
    ("core", b"core id"),
    ("cpu", b"processor"),
    ("family", b"cpu family"),
    ("microcode", b"microcode"),
    ("model", b"model"),
    ("model_name", b"model name"),
    ("package", b"physical id"),
    ("stepping", b"stepping"),
    ("vendor", b"vendor_id"),
];

/// Reads `/proc/cpuinfo`. It is large and hardly changes, and nobody has it on by default, so it
/// is simply parsed on every page.
#[derive(Debug)]
pub struct CpuInfo {
    file: HeldFile,
    flags: Option<Regex>,
    bugs: Option<Regex>,
    /// The kernel's own clock of the first processor; `None` where no clock is to be told.
    clock: Option<PathBuf>,
    heads: [Head; 4],
}

impl CpuInfo {
    /// `None` unless one of the three flags asks for it.
    ///
    /// *Errors*: a filter is no regular expression.
    pub fn open(settings: &Settings, sources: &Sources) -> Result<Option<CpuInfo>, SetupError> {
        let flags = settings.pattern(FLAGS_FLAG.name)?;
        let bugs = settings.pattern(BUGS_FLAG.name)?;
        if !settings.is_on(INFO_FLAG.name) && flags.is_none() && bugs.is_none() {
            return Ok(None);
        }
        Ok(Some(CpuInfo {
            file: HeldFile::new(&sources.roots.procfs, "cpuinfo", Shape::Stream),
            flags,
            bugs,
            clock: settings
                .is_on("collector.cpufreq")
                .then(|| sources.roots.sysfs.join(CLOCK)),
            heads: [INFO, FREQUENCY, FLAG_INFO, BUG_INFO]
                .each_ref()
                .map(Head::of),
        }))
    }

    /// Writes the four families.
    ///
    /// *Errors*: `/proc/cpuinfo` cannot be read.
    pub fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let text = self.file.read(turn.epoch, turn.scratch)?;
        let mut processors: Vec<Vec<(&[u8], &[u8])>> = Vec::new();
        for line in lines(text) {
            let Some((key, value)) = cut(line, b':') else {
                continue;
            };
            let (key, value) = (key.trim_ascii(), value.trim_ascii());
            if key == b"processor" {
                processors.push(Vec::new());
            }
            if let Some(last) = processors.last_mut() {
                last.push((key, value));
            }
        }
        let [info, frequency, flag, bug] = &self.heads;
        let mut family = turn.page.family(info);
        for processor in &processors {
            let pairs = LABELS.map(|(label, key)| (label, find(processor, key)));
            family.flag(&Labels::new(&pairs), true);
        }
        drop(family);
        let is_told = |path: &PathBuf| File::open(path).is_err();
        let tells = self.clock.as_ref().is_some_and(is_told);
        let mut family = turn.page.family(frequency);
        for processor in processors.iter().filter(|_| tells) {
            if let Some(megahertz) = parse_f64(find(processor, b"cpu MHz")) {
                let names = [
                    ("core", &b"core id"[..]),
                    ("cpu", b"processor"),
                    ("package", b"physical id"),
                ];
                let pairs = names.map(|(label, key)| (label, find(processor, key)));
                family.float(&Labels::new(&pairs), megahertz * 1e6);
            }
        }
        drop(family);
        let first = processors.first().map(Vec::as_slice).unwrap_or_default();
        let kinds = [
            (flag, "flag", &b"flags"[..], &self.flags),
            (bug, "bug", b"bugs", &self.bugs),
        ];
        for (head, label, key, wanted) in kinds {
            let Some(wanted) = wanted else { continue };
            let mut family = turn.page.family(head);
            for word in fields(find(first, key)).filter(|word| wanted.is_match(word)) {
                family.flag(&Labels::new(&[(label, word)]), true);
            }
        }
        Ok(())
    }
}

fn find<'a>(processor: &[(&[u8], &'a [u8])], key: &[u8]) -> &'a [u8] {
    processor
        .iter()
        .find(|(name, _)| *name == key)
        .map(|(_, value)| *value)
        .unwrap_or_default()
}
