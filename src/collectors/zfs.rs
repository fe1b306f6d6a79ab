//! `zfs`: caches and pools of ZFS, from `/proc/spl/kstat/zfs`.

use std::path::Path;
use std::sync::Arc;

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::class::shared;
use crate::collectors::source::dir::{Watched, child, names};
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::known::Known;
use crate::collectors::source::scan::{fields, lines, number, signed};
use crate::exposition::family::{Family, Kind};
use crate::exposition::label::Labels;
use crate::exposition::sheet::Sheet;

const KSTAT: Family = Family::untyped(
    "node_zfs_<subsystem>_<field>",
    "kstat.zfs.misc.<file>.<field>",
)
.from("/proc/spl/kstat/zfs/<file>");
const POOL: Family = Family::untyped("node_zfs_zpool_<field>", "kstat.zfs.misc.io.<field>")
    .from("/proc/spl/kstat/zfs/<pool>/io");
const DATASET: Family = Family::untyped(
    "node_zfs_zpool_dataset_<field>",
    "kstat.zfs.misc.objset.<field>",
)
.from("/proc/spl/kstat/zfs/<pool>/objset-<id>");
const STATE: Family = Family::gauge("node_zfs_zpool_state", "kstat.zfs.misc.state")
    .from("/proc/spl/kstat/zfs/<pool>/state");

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "zfs",
    enabled: true,
    lane: Lane::Apart,
    flags: &[],
    families: &[KSTAT, POOL, DATASET, STATE],
    open,
};

/// Part of the families' names, and file.
const FILES: [(&str, &str); 11] = [
    ("zfs_abd", "abdstats"),
    ("zfs_arc", "arcstats"),
    ("zfs_dbuf", "dbufstats"),
    ("zfs_dmu_tx", "dmu_tx"),
    ("zfs_dnode", "dnodestats"),
    ("zfs_fm", "fm"),
    ("zfs_vdev_cache", "vdev_cache_stats"),
    ("zfs_vdev_mirror", "vdev_mirror_stats"),
    ("zfs_xuio", "xuio_stats"),
    ("zfs_zfetch", "zfetchstats"),
    ("zfs_zil", "zil"),
];
const STATES: [&str; 7] = [
    "online",
    "degraded",
    "faulted",
    "offline",
    "removed",
    "unavail",
    "suspended",
];
const STATE_COLUMN: usize = 0;

struct Zfs {
    tree: Watched<Tree>,
    sheet: Sheet,
    /// Columns of the families by file and field.
    columns: Columns,
}

/// Columns by the name in front of the field, each with the fields met so far.
type Columns = Known<Known<Option<usize>>>;

#[derive(Default)]
struct Tree {
    stats: Vec<Stats>,
    pools: Vec<Pool>,
}

/// A file of lines `name type data`.
struct Stats {
    file: HeldFile,
    prefix: &'static str,
    help: &'static str,
    labels: Arc<Labels>,
}

struct Pool {
    labels: Arc<Labels>,
    io: HeldFile,
    state: HeldFile,
    states: [Arc<Labels>; 7],
    name: Vec<u8>,
    datasets: Vec<Dataset>,
}

struct Dataset {
    file: HeldFile,
    name: Vec<u8>,
    labels: Arc<Labels>,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(Zfs {
        tree: Watched::new(&sources.roots.procfs, "spl/kstat/zfs"),
        sheet: Sheet::of(&[STATE]),
        columns: Known::default(),
    }))
}

impl Collector for Zfs {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let keep = self.tree.is_kept();
        let found = self
            .tree
            .get(turn.epoch, |path, names| plan(path, &names, keep));
        let tree = found.map_err(CollectError::without("ZFS"))?;
        self.columns.rewind();
        let mut gather = Gather {
            epoch: turn.epoch,
            scratch: turn.scratch,
            sheet: &mut self.sheet,
            columns: &mut self.columns,
        };
        let mut result = Ok(());
        for stats in &mut tree.stats {
            result = result.and(gather.stats(stats));
        }
        for pool in &mut tree.pools {
            result = result.and(gather.pool(pool));
        }
        self.sheet.write(turn.page);
        result
    }
}

fn plan(path: &Path, entries: &[Vec<u8>], keep: bool) -> Tree {
    let mut tree = Tree::default();
    for entry in entries {
        let place = child(path, entry);
        let known = FILES
            .iter()
            .find(|(_, file)| file.as_bytes() == entry.as_slice());
        if let Some((prefix, help)) = known {
            tree.stats.push(Stats {
                file: HeldFile::at(place, keep, Shape::Stream),
                prefix,
                help,
                labels: shared(&[]),
            });
        } else if place.is_dir() {
            tree.pools.push(pool(&place, entry, keep));
        }
    }
    tree
}

fn pool(dir: &Path, name: &[u8], keep: bool) -> Pool {
    let objsets = names(dir).unwrap_or_default();
    let objsets = objsets.iter().filter(|file| file.starts_with(b"objset-"));
    let dataset = |file: &Vec<u8>| Dataset {
        file: HeldFile::at(child(dir, file), keep, Shape::Stream),
        name: Vec::new(),
        labels: shared(&[("zpool", name)]),
    };
    Pool {
        labels: shared(&[("zpool", name)]),
        io: HeldFile::at(dir.join("io"), keep, Shape::Stream),
        state: HeldFile::at(dir.join("state"), keep, Shape::Stream),
        states: STATES.map(|state| shared(&[("state", state.as_bytes()), ("zpool", name)])),
        name: name.to_vec(),
        datasets: objsets.map(dataset).collect(),
    }
}

/// Where the values of one page go.
struct Gather<'a> {
    epoch: u64,
    scratch: &'a mut Vec<u8>,
    sheet: &'a mut Sheet,
    columns: &'a mut Columns,
}

impl Gather<'_> {
    fn stats(&mut self, stats: &mut Stats) -> Result<(), CollectError> {
        let text = match stats.file.read(self.epoch, self.scratch) {
            Ok(text) => text,
            // The file went with a pool or the module.
            Err(error) if error.is_absent() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let columns = self
            .columns
            .get(stats.prefix.as_bytes(), |_| Known::default());
        columns.rewind();
        let mut result = body(text).map(|_| ());
        for line in body(text).into_iter().flatten() {
            let Some((field, value)) = kstat(line) else {
                continue;
            };
            let column = column(columns, self.sheet, (stats.prefix, stats.help), field);
            match (column, value) {
                (Some(column), Some(value)) => self.sheet.put(column, &stats.labels, value),
                _ => result = Err(CollectError::Parse("zfs kstat")),
            }
        }
        result
    }

    fn pool(&mut self, pool: &mut Pool) -> Result<(), CollectError> {
        let mut result = self.io(pool);
        if let Ok(state) = pool.state.read_trimmed(self.epoch, self.scratch) {
            for (name, labels) in STATES.iter().zip(&pool.states) {
                let is = state.eq_ignore_ascii_case(name.as_bytes());
                self.sheet
                    .put(STATE_COLUMN, labels, f64::from(u8::from(is)));
            }
        }
        for dataset in &mut pool.datasets {
            result = result.and(self.dataset(dataset, &pool.name));
        }
        result
    }

    /// Two lines: names, numbers. Newer versions of ZFS do not have the file.
    fn io(&mut self, pool: &mut Pool) -> Result<(), CollectError> {
        let Ok(text) = pool.io.read(self.epoch, self.scratch) else {
            return Ok(());
        };
        let mut rest = lines(text).skip_while(|line| fields(line).next() != Some(b"nread"));
        let (Some(names), Some(values)) = (rest.next(), rest.next()) else {
            return Ok(());
        };
        let columns = self.columns.get(b"zfs_zpool", |_| Known::default());
        columns.rewind();
        for (field, value) in fields(names).zip(fields(values)) {
            let value = number(value).ok_or(CollectError::Parse("zfs io"))?;
            if let Some(column) = column(columns, self.sheet, ("zfs_zpool", "io"), field) {
                self.sheet.put(column, &pool.labels, value as f64);
            }
        }
        Ok(())
    }

    fn dataset(&mut self, dataset: &mut Dataset, pool: &[u8]) -> Result<(), CollectError> {
        let text = match dataset.file.read(self.epoch, self.scratch) {
            Ok(text) => text,
            Err(error) if error.is_absent() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let columns = self.columns.get(b"zfs_zpool_dataset", |_| Known::default());
        columns.rewind();
        for line in body(text)? {
            let mut parts = fields(line);
            if parts.next() == Some(b"dataset_name") {
                // The name is the rest of the line: it may hold blanks.
                parts.next();
                let name = parts.rest().trim_ascii();
                if name != dataset.name {
                    dataset.name = name.to_vec();
                    dataset.labels = shared(&[("dataset", name), ("zpool", pool)]);
                }
                continue;
            }
            let Some((field, value)) = kstat(line) else {
                continue;
            };
            let names = ("zfs_zpool_dataset", "objset");
            if let (Some(column), Some(value)) = (column(columns, self.sheet, names, field), value)
            {
                self.sheet.put(column, &dataset.labels, value);
            }
        }
        Ok(())
    }
}

/// The lines below `name type data`.
fn body(text: &[u8]) -> Result<impl Iterator<Item = &[u8]>, CollectError> {
    let head: [&[u8]; 3] = [b"name", b"type", b"data"];
    let mut rest = lines(text);
    match rest.find(|line| fields(line).eq(head)) {
        Some(_) => Ok(rest),
        None => Err(CollectError::Parse("zfs kstat")),
    }
}

/// Field and value of a line; `None` for a line that holds no number. Type 3 is signed, 4 is
/// unsigned (`KSTAT_DATA_INT64`, `KSTAT_DATA_UINT64`).
fn kstat(line: &[u8]) -> Option<(&[u8], Option<f64>)> {
    let mut parts = fields(line);
    let (field, kind, value) = (parts.next()?, parts.next()?, parts.next()?);
    match kind {
        b"3" => Some((field, signed(value).map(|value| value as f64))),
        b"4" => Some((field, number(value).map(|value| value as f64))),
        _ => None,
    }
}

fn column(
    columns: &mut Known<Option<usize>>,
    sheet: &mut Sheet,
    (prefix, help): (&str, &str),
    field: &[u8],
) -> Option<usize> {
    *columns.get(field, |field| {
        let last = field.rsplit(|&byte| byte == b'.').next().unwrap_or(field);
        let name = [b"node_", prefix.as_bytes(), b"_", last].concat();
        let help = [b"kstat.zfs.misc.", help.as_bytes(), b".", field].concat();
        sheet.column(&name, Kind::Untyped, &help)
    })
}
