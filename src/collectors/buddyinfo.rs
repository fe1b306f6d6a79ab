//! `buddyinfo`: free blocks of memory by node, zone and size, from `/proc/buddyinfo`.

use std::sync::Arc;

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::class::shared;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::known::Known;
use crate::collectors::source::scan::{fields, lines, number};
use crate::exposition::family::Family;
use crate::exposition::label::Labels;
use crate::exposition::sheet::Sheet;

const BLOCKS: Family = Family::gauge(
    "node_buddyinfo_blocks",
    "Count of free blocks according to size.",
)
.from("/proc/buddyinfo");

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "buddyinfo",
    enabled: false,
    lane: Lane::Apart,
    flags: &[],
    families: &[BLOCKS],
    open,
};

struct BuddyInfo {
    file: HeldFile,
    known: Known<Vec<Arc<Labels>>>,
    sheet: Sheet,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(BuddyInfo {
        file: HeldFile::new(&sources.roots.procfs, "buddyinfo", Shape::Stream),
        known: Known::default(),
        sheet: Sheet::of(&[BLOCKS]),
    }))
}

impl Collector for BuddyInfo {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let text = self.file.read(turn.epoch, turn.scratch)?;
        self.known.rewind();
        let mut result = Ok(());
        for line in lines(text) {
            // `Node 0, zone    DMA32    759    572 ...`
            let mut parts = fields(line);
            let (Some(node), Some(zone)) = (parts.nth(1), parts.nth(1)) else {
                result = Err(CollectError::Parse("buddyinfo"));
                continue;
            };
            let (node, zone) = (bare(node), bare(zone));
            let key = [node, b" ", zone].concat();
            let labels = self.known.get(&key, |_| Vec::new());
            for (size, text) in parts.enumerate() {
                let Some(count) = number(text) else {
                    result = Err(CollectError::Parse("buddyinfo"));
                    break;
                };
                if labels.len() <= size {
                    let size = size.to_string();
                    let pairs = [("node", node), ("size", size.as_bytes()), ("zone", zone)];
                    labels.push(shared(&pairs));
                }
                if let Some(labels) = labels.get(size) {
                    self.sheet.put(0, labels, count as f64);
                }
            }
        }
        self.sheet.write(turn.page);
        result
    }
}

fn bare(word: &[u8]) -> &[u8] {
    word.strip_suffix(b",").unwrap_or(word)
}
