//! `nvme`: NVMe controllers and their namespaces, from `/sys/class/nvme`.

use std::path::Path;
use std::sync::Arc;

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::class::shared;
use crate::collectors::source::dir::{Watched, child, names};
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::info::Info;
use crate::collectors::source::scan::number;
use crate::exposition::family::Family;
use crate::exposition::label::Labels;
use crate::exposition::sheet::Sheet;

const INFO: Family = Family::gauge(
    "node_nvme_info",
    "Non-numeric data from /sys/class/nvme/<device>, value is always 1.",
)
.from("/sys/class/nvme/<device>");
const NAMESPACE: Family = Family::gauge(
    "node_nvme_namespace_info",
    "Information about NVMe namespaces. Value is always 1",
)
.from("/sys/class/nvme/<device>/<namespace>/ana_state");
const CAPACITY: Family = Family::gauge(
    "node_nvme_namespace_capacity_bytes",
    "Capacity of the NVMe namespace in bytes. Computed as namespace_size * namespace_logical_block_size",
)
.from("/sys/class/nvme/<device>/<namespace>/size")
.unit("bytes");
const SIZE: Family = Family::gauge(
    "node_nvme_namespace_size_bytes",
    "Size of the NVMe namespace in bytes. Available in /sys/class/nvme/<device>/<namespace>/size",
)
.from("/sys/class/nvme/<device>/<namespace>/size")
.unit("bytes");
const USED: Family = Family::gauge(
    "node_nvme_namespace_used_bytes",
    "Used space of the NVMe namespace in bytes. Available in /sys/class/nvme/<device>/<namespace>/nuse",
)
.from("/sys/class/nvme/<device>/<namespace>/nuse")
.unit("bytes");
const BLOCK: Family = Family::gauge(
    "node_nvme_namespace_logical_block_size_bytes",
    "Logical block size of the NVMe namespace in bytes. Usually 4Kb. Available in /sys/class/nvme/<device>/<namespace>/queue/logical_block_size",
)
.from("/sys/class/nvme/<device>/<namespace>/queue/logical_block_size")
.unit("bytes");
const FAMILIES: [Family; 6] = [INFO, NAMESPACE, CAPACITY, SIZE, USED, BLOCK];

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "nvme",
    enabled: true,
    lane: Lane::Apart,
    flags: &[],
    families: &FAMILIES,
    open,
};

struct Nvme {
    controllers: Watched<Vec<Controller>>,
    sheet: Sheet,
}

struct Controller {
    info: Info,
    namespaces: Vec<Namespace>,
}

struct Namespace {
    info: Info,
    labels: Arc<Labels>,
    used: HeldFile,
    size: HeldFile,
    block: HeldFile,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(Nvme {
        controllers: Watched::new(&sources.roots.sysfs, "class/nvme"),
        sheet: Sheet::of(&FAMILIES),
    }))
}

impl Collector for Nvme {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let keep = self.controllers.is_kept();
        let found = self.controllers.get(turn.epoch, |path, names| {
            let plan = |name: &Vec<u8>| controller(&child(path, name), name, keep);
            names.iter().map(plan).collect()
        });
        let controllers = found.map_err(CollectError::without("NVMe devices"))?;
        for controller in controllers {
            let labels = controller.info.read(turn.epoch, turn.scratch);
            self.sheet.put(0, labels, 1.0);
            for namespace in &mut controller.namespaces {
                namespace.read(turn.epoch, turn.scratch, &mut self.sheet);
            }
        }
        self.sheet.write(turn.page);
        Ok(())
    }
}

impl Namespace {
    /// A number that cannot be read leaves out what is made of it.
    fn read(&mut self, epoch: u64, scratch: &mut Vec<u8>, sheet: &mut Sheet) {
        sheet.put(1, self.info.read(epoch, scratch), 1.0);
        let mut value =
            |file: &mut HeldFile| file.read_trimmed(epoch, scratch).ok().and_then(number);
        let block = value(&mut self.block);
        let bytes = |blocks: Option<u64>| Some(blocks?.wrapping_mul(block?) as f64);
        let size = bytes(value(&mut self.size));
        let used = bytes(value(&mut self.used));
        let columns = [
            (2, size),
            (3, size),
            (4, used),
            (5, block.map(|n| n as f64)),
        ];
        for (column, value) in columns {
            if let Some(value) = value {
                sheet.put(column, &self.labels, value);
            }
        }
    }
}

fn controller(dir: &Path, name: &[u8], keep: bool) -> Controller {
    let info = Info::new(&[("device", name)], false).files(
        (dir, keep),
        &[
            ("cntlid", "cntlid"),
            ("firmware_revision", "firmware_rev"),
            ("model", "model"),
            ("serial", "serial"),
            ("state", "state"),
        ],
    );
    let namespace = |entry: &Vec<u8>| {
        let number = namespace_number(entry)?;
        let dir = child(dir, entry);
        let file = |file: &str| HeldFile::at(dir.join(file), keep, Shape::Whole);
        let pairs = [("device", name), ("nsid", number)];
        Some(Namespace {
            info: Info::new(&pairs, false).file(
                "ana_state",
                (dir.join("ana_state"), keep),
                "unknown",
            ),
            labels: shared(&pairs),
            used: file("nuse"),
            size: file("size"),
            block: file("queue/logical_block_size"),
        })
    };
    let entries = names(dir).unwrap_or_default();
    Controller {
        info,
        namespaces: entries.iter().filter_map(namespace).collect(),
    }
}

/// The `1` of `nvme0n1`; a path of a shared namespace (`nvme0c1n1`) is none.
fn namespace_number(name: &[u8]) -> Option<&[u8]> {
    let rest = name.strip_prefix(b"nvme")?;
    let digits = |text: &[u8]| {
        text.iter()
            .position(|byte| !byte.is_ascii_digit())
            .unwrap_or(text.len())
    };
    let (controller, rest) = rest.split_at_checked(digits(rest))?;
    let rest = rest.strip_prefix(b"n")?;
    let number = rest.get(..digits(rest))?;
    (!controller.is_empty() && !number.is_empty()).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::namespace_number;

    #[test]
    fn only_namespaces_have_a_number() {
        let cases: [(&[u8], Option<&[u8]>); 6] = [
            (b"nvme0n1", Some(b"1")),
            (b"nvme12n34", Some(b"34")),
            (b"nvme0c1n1", None),
            (b"nvme0", None),
            (b"nvmen1", None),
            (b"power", None),
        ];
        for (name, want) in cases {
            assert_eq!(namespace_number(name), want);
        }
    }
}
