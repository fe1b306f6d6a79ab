//! `mdadm`: software RAID, from `/proc/mdstat` and `/sys/block/md<n>/md`.

use std::path::Path;
use std::sync::Arc;

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::attribute::{Format, Scale, parse};
use crate::collectors::source::class::shared;
use crate::collectors::source::dir::{Watched, child};
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::known::Known;
use crate::collectors::source::scan::{cut, fields, lines, number};
use crate::exposition::family::Family;
use crate::exposition::label::Labels;
use crate::exposition::sheet::Sheet;

const fn mdstat(name: &'static str, help: &'static str) -> Family {
    Family::gauge(name, help).from("/proc/mdstat")
}

const FAMILIES: [Family; 7] = [
    mdstat(
        "node_md_disks",
        "Number of active/failed/spare disks of device.",
    ),
    mdstat("node_md_disks_required", "Total number of disks of device."),
    mdstat("node_md_state", "Indicates the state of md-device."),
    mdstat("node_md_blocks", "Total number of blocks on device."),
    mdstat(
        "node_md_blocks_synced",
        "Number of blocks synced on device.",
    ),
    Family::gauge("node_md_raid_disks", "Number of raid disks on device.")
        .from("/sys/block/md<n>/md/raid_disks"),
    Family::gauge("node_md_degraded", "Number of degraded disks on device.")
        .from("/sys/block/md<n>/md/degraded"),
];
/// Label of a state, in the order in which [`Array::state`] counts them.
const STATES: [&str; 5] = ["active", "inactive", "recovering", "resync", "check"];
const COUNTS: [&str; 3] = ["active", "failed", "spare"];

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "mdadm",
    enabled: true,
    lane: Lane::Apart,
    flags: &[],
    families: &FAMILIES,
    open,
};

struct MdAdm {
    file: HeldFile,
    known: Known<ArrayLabels>,
    raids: Watched<Vec<Raid>>,
    sheet: Sheet,
}

struct ArrayLabels {
    device: Arc<Labels>,
    counts: [Arc<Labels>; 3],
    states: [Arc<Labels>; 5],
}

struct Raid {
    labels: Arc<Labels>,
    level: HeldFile,
    disks: HeldFile,
    degraded: HeldFile,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(MdAdm {
        file: HeldFile::new(&sources.roots.procfs, "mdstat", Shape::Stream),
        known: Known::default(),
        raids: Watched::new(&sources.roots.sysfs, "block"),
        sheet: Sheet::of(&FAMILIES),
    }))
}

impl Collector for MdAdm {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let text = self
            .file
            .read(turn.epoch, turn.scratch)
            .map_err(CollectError::without("software RAID"))?;
        self.known.rewind();
        let mut result = Ok(());
        for block in arrays(text) {
            match Array::parse(&block) {
                Some(array) => array.put(&mut self.known, &mut self.sheet),
                None => result = Err(CollectError::Parse("mdstat")),
            }
        }
        let raids = self.read_raids(turn);
        self.sheet.write(turn.page);
        result.and(raids)
    }
}

impl MdAdm {
    fn read_raids(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let keep = self.raids.is_kept();
        let found = self.raids.get(turn.epoch, |path, names| {
            let md = names.iter().filter(|name| name.starts_with(b"md"));
            md.filter_map(|name| raid(path, name, keep)).collect()
        });
        let raids = match found {
            Ok(raids) => raids,
            Err(error) if error.is_absent() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for raid in raids {
            raid.read(turn.epoch, turn.scratch, &mut self.sheet);
        }
        Ok(())
    }
}

/// The lines of one array: the one with its name and those indented below.
fn arrays(text: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut blocks: Vec<Vec<&[u8]>> = Vec::new();
    let mut inside = false;
    for line in lines(text) {
        let head = line.first().is_some_and(|byte| !byte.is_ascii_whitespace());
        if head {
            inside = !line.starts_with(b"unused") && !line.starts_with(b"Personalities");
            if inside {
                blocks.push(vec![line]);
            }
        } else if inside && let Some(block) = blocks.last_mut() {
            block.push(line);
        }
    }
    blocks
}

#[derive(Debug, PartialEq, Eq)]
struct Array<'a> {
    name: &'a [u8],
    /// Place in [`STATES`]; `None` for a state that has no sample of its own.
    state: Option<usize>,
    active: u64,
    total: u64,
    failed: u64,
    spare: u64,
    blocks: u64,
    synced: u64,
}

impl<'a> Array<'a> {
    fn parse(block: &[&'a [u8]]) -> Option<Array<'a>> {
        let [head, status, rest @ ..] = block else {
            return None;
        };
        let mut words = fields(head);
        let name = words.next()?;
        let state = match words.nth(1)? {
            b"active" => Some(0),
            b"inactive" => Some(1),
            _ => None,
        };
        let blocks = fields(status).next().and_then(number)?;
        let (total, active) = disks(head, status)?;
        // The line after an optional one for the bitmap tells of a resync.
        let sync = rest.iter().find(|line| !contains(line, b"bitmap"));
        let (state, synced) = match sync.map(|line| syncing(line)) {
            Some(Some((state, synced))) => (state, synced?),
            _ => (state, blocks),
        };
        Some(Array {
            name,
            state,
            active,
            total,
            failed: count(head, b"(F)"),
            spare: count(head, b"(S)"),
            blocks,
            synced,
        })
    }

    fn put(&self, known: &mut Known<ArrayLabels>, sheet: &mut Sheet) {
        let labels = known.get(self.name, ArrayLabels::new);
        let counts = [self.active, self.failed, self.spare];
        for (labels, count) in labels.counts.iter().zip(counts) {
            sheet.put(0, labels, count as f64);
        }
        sheet.put(1, &labels.device, self.total as f64);
        for (at, labels) in labels.states.iter().enumerate() {
            sheet.put(2, labels, f64::from(u8::from(self.state == Some(at))));
        }
        sheet.put(3, &labels.device, self.blocks as f64);
        sheet.put(4, &labels.device, self.synced as f64);
    }
}

/// How many disks an array wants and has: `[4/3]` in the status line. Arrays without redundancy
/// do not say; there, every disk of the first line is one.
fn disks(head: &[u8], status: &[u8]) -> Option<(u64, u64)> {
    if contains(head, b"raid0") || contains(head, b"linear") {
        let total = count(head, b"[");
        return Some((total, total));
    }
    if contains(head, b"inactive") {
        return Some((0, 0));
    }
    fields(status).find_map(|word| {
        let (total, active) = cut(word.strip_prefix(b"[")?.strip_suffix(b"]")?, b'/')?;
        Some((number(total)?, number(active)?))
    })
}

/// What a line says of a resync: its state and how many blocks are done; `None` if it says nothing.
fn syncing(line: &[u8]) -> Option<(Option<usize>, Option<u64>)> {
    let state = if contains(line, b"recovery") {
        Some(2)
    } else if contains(line, b"reshape") {
        None
    } else if contains(line, b"check") {
        Some(4)
    } else if contains(line, b"resync") {
        Some(3)
    } else {
        return None;
    };
    if contains(line, b"PENDING") || contains(line, b"DELAYED") {
        return Some((state, Some(0)));
    }
    let done = fields(line).find_map(|word| {
        let (done, of) = cut(word.strip_prefix(b"(")?.strip_suffix(b")")?, b'/')?;
        number(of)?;
        number(done)
    });
    Some((state, done))
}

fn contains(line: &[u8], word: &[u8]) -> bool {
    count(line, word) > 0
}

fn count(line: &[u8], word: &[u8]) -> u64 {
    line.windows(word.len())
        .filter(|part| *part == word)
        .count() as u64
}

impl ArrayLabels {
    fn new(name: &[u8]) -> ArrayLabels {
        let with = |state: &&str| shared(&[("device", name), ("state", state.as_bytes())]);
        ArrayLabels {
            device: shared(&[("device", name)]),
            counts: COUNTS.each_ref().map(with),
            states: STATES.each_ref().map(with),
        }
    }
}

fn raid(path: &Path, name: &[u8], keep: bool) -> Option<Raid> {
    let dir = child(path, name).join("md");
    let file = |file: &str| HeldFile::at(dir.join(file), keep, Shape::Whole);
    dir.is_dir().then(|| Raid {
        labels: shared(&[("device", name)]),
        level: file("level"),
        disks: file("raid_disks"),
        degraded: file("degraded"),
    })
}

impl Raid {
    fn read(&mut self, epoch: u64, scratch: &mut Vec<u8>, sheet: &mut Sheet) {
        let container = match self.level.read_trimmed(epoch, scratch) {
            Ok(level) => matches!(level, b"container" | b"imsm" | b"ddf" | b""),
            Err(_) => return,
        };
        if !container && let Ok(text) = self.disks.read_trimmed(epoch, scratch) {
            // While an array is reshaped the file holds `11 (10)`.
            if let Some(disks) = parse(text, Format::Leading, Scale::One) {
                sheet.put(5, &self.labels, disks);
            }
        }
        // Levels without redundancy have no such file and no degraded disks.
        let degraded = match self.degraded.read_trimmed(epoch, scratch) {
            Ok(text) => parse(text, Format::Unsigned, Scale::One),
            Err(error) => error.is_absent().then_some(0.0),
        };
        if let Some(degraded) = degraded {
            sheet.put(6, &self.labels, degraded);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Array, arrays};

    // Shapes as printed by md_seq_show() in drivers/md/md.c of Linux 6.1.
    const TEXT: &[u8] = b"Personalities : [raid1] [raid6]\n\
        md3 : active raid6 sda1[8] sdh1[7] sdg1[6](F) sdf1[5](S)\n      \
        5853468288 blocks super 1.2 level 6, 64k chunk, algorithm 2 [8/7] [UUUUU_UU]\n      \
        bitmap: 0/30 pages [0KB], 65536KB chunk\n      \
        [>....]  recovery =  2.0% (16775552/195310144) finish=17.0min speed=259783K/sec\n\n\
        md4 : active raid0 sda3[2] sdb3[3]\n      4883648 blocks super 1.2 256k chunks\n\n\
        md5 : broken\n\
        md6 : inactive sdb2[2](S)\n      128 blocks super external:imsm\n\n\
        md7 : active (auto-read-only) raid1 sdb1[1] sda1[0]\n      10 blocks [2/2] [UU]\n      \
        \tresync=PENDING\n\nunused devices: <none>\n";

    #[test]
    fn arrays_are_parsed_and_broken_ones_are_told() {
        let blocks = arrays(TEXT);
        let got: Vec<_> = blocks.iter().map(|block| Array::parse(block)).collect();
        let values: Vec<_> = got
            .iter()
            .map(|array| {
                array.as_ref().map(|a| {
                    (
                        a.state, a.total, a.active, a.failed, a.spare, a.blocks, a.synced,
                    )
                })
            })
            .collect();
        assert_eq!(
            values,
            [
                Some((Some(2), 8, 7, 1, 1, 5_853_468_288, 16_775_552)),
                Some((Some(0), 2, 2, 0, 0, 4_883_648, 4_883_648)),
                None,
                Some((Some(1), 0, 0, 0, 1, 128, 128)),
                Some((Some(3), 2, 2, 0, 0, 10, 0)),
            ]
        );
    }
}
