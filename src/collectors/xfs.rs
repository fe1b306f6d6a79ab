//! `xfs`: counters of XFS filesystems, from `/sys/fs/xfs/<device>/stats/stats`.

use std::sync::Arc;

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::class::shared;
use crate::collectors::source::dir::{Watched, child};
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::scan::{fields, lines, number};
use crate::collectors::xfs_table::{FAMILIES, LINES};
use crate::exposition::label::Labels;
use crate::exposition::sheet::Sheet;

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "xfs",
    enabled: true,
    lane: Lane::Apart,
    flags: &[],
    families: &FAMILIES,
    open,
};

struct Xfs {
    filesystems: Watched<Vec<(HeldFile, Arc<Labels>)>>,
    sheet: Sheet,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(Xfs {
        filesystems: Watched::new(&sources.roots.sysfs, "fs/xfs"),
        sheet: Sheet::of(&FAMILIES),
    }))
}

impl Collector for Xfs {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let keep = self.filesystems.is_kept();
        let found = self.filesystems.get(turn.epoch, |path, names| {
            // `/sys/fs/xfs/stats` is the sum of all; `debug` holds switches.
            let devices = names
                .iter()
                .filter(|name| child(path, name).join("stats/stats").is_file());
            let device = |name: &Vec<u8>| {
                let file = child(path, name).join("stats/stats");
                let file = HeldFile::at(file, keep, Shape::Whole);
                (file, shared(&[("device", name)]))
            };
            devices.map(device).collect()
        });
        let filesystems = match found {
            Ok(filesystems) => filesystems,
            Err(error) if error.is_absent() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut result = Ok(());
        for (file, labels) in filesystems {
            let outcome = file
                .read(turn.epoch, turn.scratch)
                .map_err(CollectError::from)
                .and_then(|text| gather(text, labels, &mut self.sheet));
            result = result.and(outcome);
        }
        self.sheet.write(turn.page);
        result
    }
}

/// A line that is missing, or too short, costs its own counters.
fn gather(text: &[u8], labels: &Arc<Labels>, sheet: &mut Sheet) -> Result<(), CollectError> {
    let mut result = Ok(());
    let mut first = 0;
    for (word, count) in LINES {
        let columns = first..first + count;
        first += count;
        let Some(line) = lines(text).find(|line| fields(line).next() == Some(word)) else {
            continue;
        };
        let values = fields(line).skip(1).map_while(number);
        if values.clone().count() < count {
            result = Err(CollectError::Parse("xfs/stats"));
            continue;
        }
        for (column, value) in columns.zip(values) {
            sheet.put(column, labels, value as f64);
        }
    }
    result
}
