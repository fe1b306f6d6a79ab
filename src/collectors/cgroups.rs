//! `cgroups`: control groups by controller, from `/proc/cgroups`.

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

const CGROUPS: Family = Family::gauge(
    "node_cgroups_cgroups",
    "Current cgroup number of the subsystem.",
)
.from("/proc/cgroups");
const ENABLED: Family = Family::gauge(
    "node_cgroups_enabled",
    "Current cgroup number of the subsystem.",
)
.from("/proc/cgroups");

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "cgroups",
    enabled: false,
    lane: Lane::Apart,
    flags: &[],
    families: &[CGROUPS, ENABLED],
    open,
};

struct Cgroups {
    file: HeldFile,
    known: Known<Arc<Labels>>,
    sheet: Sheet,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(Cgroups {
        file: HeldFile::new(&sources.roots.procfs, "cgroups", Shape::Whole),
        known: Known::default(),
        sheet: Sheet::of(&[CGROUPS, ENABLED]),
    }))
}

impl Collector for Cgroups {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let text = self.file.read(turn.epoch, turn.scratch)?;
        self.known.rewind();
        let mut result = Ok(());
        for line in lines(text).filter(|line| !line.starts_with(b"#")) {
            let mut parts = fields(line);
            let name = parts.next();
            let mut numbers = parts.skip(1).map_while(number);
            let (Some(name), Some(count), Some(enabled)) = (name, numbers.next(), numbers.next())
            else {
                result = Err(CollectError::Parse("cgroups"));
                continue;
            };
            let labels = self
                .known
                .get(name, |name| shared(&[("subsys_name", name)]));
            self.sheet.put(0, labels, count as f64);
            self.sheet.put(1, labels, enabled as f64);
        }
        self.sheet.write(turn.page);
        result
    }
}
