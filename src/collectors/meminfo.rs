//! `meminfo`: every line of `/proc/meminfo`.

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::known::Known;
use crate::collectors::source::scan::{cut, fields, lines, number};
use crate::exposition::family::{Family, Head, Kind};
use crate::exposition::label::Labels;

const FIELD: Family = Family::gauge(
    "node_memory_<field>_bytes",
    "Memory information field <field>_bytes.",
)
.from("/proc/meminfo")
.unit("bytes")
.differs("node_exporter 1.9 and later leave out fields that their list does not hold; all are kept, as up to 1.8");
const COUNT: Family = Family::gauge(
    "node_memory_HugePages_<field>",
    "Memory information field HugePages_<field>.",
)
.from("/proc/meminfo");

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "meminfo",
    enabled: true,
    lane: Lane::Page,
    flags: &[],
    families: &[FIELD, COUNT],
    open,
};

struct MemInfo {
    file: HeldFile,
    heads: Known<Head>,
    labels: Labels,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(MemInfo {
        file: HeldFile::new(&sources.roots.procfs, "meminfo", Shape::Whole),
        heads: Known::default(),
        labels: Labels::none(),
    }))
}

impl Collector for MemInfo {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let text = self.file.read(turn.epoch, turn.scratch)?;
        self.heads.rewind();
        let before = turn.page.samples();
        for line in lines(text) {
            let Some((key, rest)) = cut(line, b':') else {
                continue;
            };
            let mut parts = fields(rest);
            let Some(count) = parts.next().and_then(number) else {
                continue;
            };
            let (value, unit) = match parts.next() {
                Some(b"kB") => (count.saturating_mul(1024), &b"_bytes"[..]),
                _ => (count, &b""[..]),
            };
            let Some(head) = self.heads.once(key, |key| head(key, unit)) else {
                continue;
            };
            turn.page.family(head).int(&self.labels, value);
        }
        if turn.page.samples() == before {
            Err(CollectError::Parse("meminfo"))
        } else {
            Ok(())
        }
    }
}

/// `Active(anon)` in kB is `node_memory_Active_anon_bytes`.
fn head(key: &[u8], unit: &[u8]) -> Head {
    let mut field: Vec<u8> = key.iter().filter(|&&byte| byte != b')').copied().collect();
    field
        .iter_mut()
        .filter(|byte| **byte == b'(')
        .for_each(|byte| *byte = b'_');
    field.extend_from_slice(unit);
    let name = [b"node_memory_", field.as_slice()].concat();
    let help = [b"Memory information field ", field.as_slice(), b"."].concat();
    Head::named(&name, Kind::Gauge, &help)
}
