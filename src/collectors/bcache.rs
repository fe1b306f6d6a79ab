//! `bcache`: disks cached on faster ones, from `/sys/fs/bcache`.

use std::path::Path;
use std::sync::Arc;

use crate::collectors::entry::{Collector, Entry, Flag, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::attribute::{Attribute, Format, Readings, Scale, is_unfilled};
use crate::collectors::source::class::{numbered, shared};
use crate::collectors::source::dir::{Watched, child, names};
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::human;
use crate::collectors::source::scan::lines;
use crate::exposition::family::Family;
use crate::exposition::label::Labels;
use crate::exposition::sheet::Sheet;

const PRIORITY: &str = "collector.bcache.priorityStats";
const ABSENT: &str = "a file that is missing has no sample; node_exporter shows 0";

const fn gauge(name: &'static str, help: &'static str, source: &'static str) -> Family {
    Family::gauge(name, help).from(source).differs(ABSENT)
}

const fn counter(name: &'static str, help: &'static str, source: &'static str) -> Family {
    Family::counter(name, help).from(source).differs(ABSENT)
}

const fn size(family: Family, file: &'static str) -> Attribute {
    Attribute::of(family, file).format(Format::Bcache)
}

const SET_SOURCE: &str = "/sys/fs/bcache/<uuid>";
const BACKING_SOURCE: &str = "/sys/fs/bcache/<uuid>/bdev<n>";
const DEBUG_SOURCE: &str = "/sys/fs/bcache/<uuid>/bdev<n>/writeback_rate_debug";
const CACHE_SOURCE: &str = "/sys/fs/bcache/<uuid>/cache<n>";

/// Attributes of a set of caches and the disks behind them.
const SET: [Attribute; 10] = [
    size(
        gauge(
            "node_bcache_average_key_size_sectors",
            "Average data per key in the btree (sectors).",
            SET_SOURCE,
        ),
        "average_key_size",
    ),
    size(
        gauge(
            "node_bcache_btree_cache_size_bytes",
            "Amount of memory currently used by the btree cache.",
            SET_SOURCE,
        )
        .unit("bytes"),
        "btree_cache_size",
    ),
    size(
        gauge(
            "node_bcache_cache_available_percent",
            "Percentage of cache device without dirty data, usable for writeback (may contain clean cached data).",
            SET_SOURCE,
        ),
        "cache_available_percent",
    ),
    size(
        gauge("node_bcache_congested", "Congestion.", SET_SOURCE),
        "congested",
    ),
    size(
        gauge(
            "node_bcache_root_usage_percent",
            "Percentage of the root btree node in use (tree depth increases if too high).",
            SET_SOURCE,
        ),
        "root_usage_percent",
    ),
    size(
        gauge("node_bcache_tree_depth", "Depth of the btree.", SET_SOURCE),
        "tree_depth",
    ),
    size(
        gauge(
            "node_bcache_active_journal_entries",
            "Number of journal entries that are newer than the index.",
            SET_SOURCE,
        ),
        "internal/active_journal_entries",
    ),
    size(
        gauge(
            "node_bcache_btree_nodes",
            "Total nodes in the btree.",
            SET_SOURCE,
        ),
        "internal/btree_nodes",
    ),
    // The file counts microseconds; node_exporter takes them for nanoseconds, and so do we.
    size(
        gauge(
            "node_bcache_btree_read_average_duration_seconds",
            "Average btree read duration.",
            SET_SOURCE,
        )
        .unit("seconds"),
        "internal/btree_read_average_duration_us",
    )
    .scale(Scale::Times(1e-9)),
    size(
        counter(
            "node_bcache_cache_read_races_total",
            "Counts instances where while data was being read from the cache, the bucket was reused and invalidated - i.e. where the pointer was stale after the read completed.",
            SET_SOURCE,
        ),
        "internal/cache_read_races",
    ),
];

/// Attributes of a disk that is cached.
const BACKING: [Attribute; 7] = [
    size(
        gauge(
            "node_bcache_dirty_data_bytes",
            "Amount of dirty data for this backing device in the cache.",
            BACKING_SOURCE,
        )
        .unit("bytes"),
        "dirty_data",
    ),
    size(
        counter(
            "node_bcache_bypassed_bytes_total",
            "Amount of IO (both reads and writes) that has bypassed the cache.",
            BACKING_SOURCE,
        )
        .unit("bytes"),
        "stats_total/bypassed",
    ),
    size(
        counter(
            "node_bcache_cache_hits_total",
            "Hits counted per individual IO as bcache sees them.",
            BACKING_SOURCE,
        ),
        "stats_total/cache_hits",
    ),
    size(
        counter(
            "node_bcache_cache_misses_total",
            "Misses counted per individual IO as bcache sees them.",
            BACKING_SOURCE,
        ),
        "stats_total/cache_misses",
    ),
    size(
        counter(
            "node_bcache_cache_bypass_hits_total",
            "Hits for IO intended to skip the cache.",
            BACKING_SOURCE,
        ),
        "stats_total/cache_bypass_hits",
    ),
    size(
        counter(
            "node_bcache_cache_bypass_misses_total",
            "Misses for IO intended to skip the cache.",
            BACKING_SOURCE,
        ),
        "stats_total/cache_bypass_misses",
    ),
    size(
        counter(
            "node_bcache_cache_miss_collisions_total",
            "Instances where data insertion from cache miss raced with write (data already present).",
            BACKING_SOURCE,
        ),
        "stats_total/cache_miss_collisions",
    ),
];

/// Attributes of a cache.
const CACHE: [Attribute; 3] = [
    size(
        gauge(
            "node_bcache_io_errors",
            "Number of errors that have occurred, decayed by io_error_halflife.",
            CACHE_SOURCE,
        ),
        "io_errors",
    ),
    size(
        counter(
            "node_bcache_metadata_written_bytes_total",
            "Sum of all non data writes (btree writes and all other metadata).",
            CACHE_SOURCE,
        )
        .unit("bytes"),
        "metadata_written",
    ),
    size(
        counter(
            "node_bcache_written_bytes_total",
            "Sum of all data that has been written to the cache.",
            CACHE_SOURCE,
        )
        .unit("bytes"),
        "written",
    ),
];

/// What is not one file with one number.
const OWN: [Family; 8] = [
    counter(
        "node_bcache_cache_readaheads_total",
        "Count of times readahead occurred.",
        "/sys/fs/bcache/<uuid>/bdev<n>/stats_total/cache_readaheads, if not 0",
    ),
    gauge(
        "node_bcache_dirty_target_bytes",
        "Current dirty data target threshold for this backing device in bytes.",
        DEBUG_SOURCE,
    )
    .unit("bytes"),
    gauge(
        "node_bcache_writeback_rate",
        "Current writeback rate for this backing device in bytes.",
        DEBUG_SOURCE,
    ),
    gauge(
        "node_bcache_writeback_rate_proportional_term",
        "Current result of proportional controller, part of writeback rate",
        DEBUG_SOURCE,
    ),
    gauge(
        "node_bcache_writeback_rate_integral_term",
        "Current result of integral controller, part of writeback rate",
        DEBUG_SOURCE,
    ),
    gauge(
        "node_bcache_writeback_change",
        "Last writeback rate change step for this backing device.",
        DEBUG_SOURCE,
    ),
    gauge(
        "node_bcache_priority_stats_unused_percent",
        "The percentage of the cache that doesn't contain any data.",
        "/sys/fs/bcache/<uuid>/cache<n>/priority_stats, with its flag",
    ),
    gauge(
        "node_bcache_priority_stats_metadata_percent",
        "Bcache's metadata overhead.",
        "/sys/fs/bcache/<uuid>/cache<n>/priority_stats, with its flag",
    ),
];

const BACKING_AT: usize = OWN.len() + SET.len();
const CACHE_AT: usize = BACKING_AT + BACKING.len();
const COUNT: usize = CACHE_AT + CACHE.len();

#[allow(
    clippy::indexing_slicing,
    reason = "evaluated when compiling, where an index past the end is a compile error"
)]
const FAMILIES: [Family; COUNT] = {
    let mut all = [OWN[0]; COUNT];
    let mut at = 0;
    while at < COUNT {
        all[at] = if at < OWN.len() {
            OWN[at]
        } else if at < BACKING_AT {
            SET[at - OWN.len()].family
        } else if at < CACHE_AT {
            BACKING[at - BACKING_AT].family
        } else {
            CACHE[at - CACHE_AT].family
        };
        at += 1;
    }
    all
};

/// What ends the value of a line.
const DEBUG: [(&[u8], &[u8], usize); 5] = [
    (b"target:", b"", 1),
    (b"rate:", b"/sec", 2),
    (b"proportional:", b"", 3),
    (b"integral:", b"", 4),
    (b"change:", b"/sec", 5),
];
const SHARES: [(&[u8], &[u8], usize); 2] = [(b"Unused:", b"%", 6), (b"Metadata:", b"%", 7)];

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "bcache",
    enabled: true,
    lane: Lane::Apart,
    flags: &[Flag::off(PRIORITY, "Expose expensive priority stats.")],
    families: &FAMILIES,
    open,
};

struct Bcache {
    sets: Watched<Caches>,
    sheet: Sheet,
    with_shares: bool,
}

#[derive(Default)]
struct Caches {
    readings: Readings,
    readaheads: Vec<(HeldFile, Arc<Labels>)>,
    tables: Vec<Table>,
}

/// A file with one value on each line: how it begins, what ends it, its column.
struct Table {
    file: HeldFile,
    labels: Arc<Labels>,
    keys: &'static [(&'static [u8], &'static [u8], usize)],
}

fn open(settings: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(Bcache {
        sets: Watched::new(&sources.roots.sysfs, "fs/bcache"),
        sheet: Sheet::of(&FAMILIES),
        with_shares: settings.is_on(PRIORITY),
    }))
}

impl Collector for Bcache {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let (keep, with_shares) = (self.sets.is_kept(), self.with_shares);
        let found = self.sets.get(turn.epoch, |path, names| {
            let mut caches = Caches::default();
            for uuid in names.iter().filter(|name| name.contains(&b'-')) {
                caches.add(&child(path, uuid), uuid, (keep, with_shares));
            }
            caches
        });
        let caches = match found {
            Ok(caches) => caches,
            Err(error) if error.is_absent() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let (epoch, sheet) = (turn.epoch, &mut self.sheet);
        let mut result = caches.readings.read(epoch, turn.scratch, sheet, "bcache");
        for (file, labels) in &mut caches.readaheads {
            let outcome = match file.read_trimmed(epoch, turn.scratch) {
                Ok(text) => match human::bcache(text) {
                    Some(0.0) => Ok(()),
                    Some(count) => {
                        sheet.put(0, labels, count);
                        Ok(())
                    }
                    None => Err(CollectError::Parse("bcache")),
                },
                Err(error) if is_unfilled(&error) => Ok(()),
                Err(error) => Err(error.into()),
            };
            result = result.and(outcome);
        }
        for table in &mut caches.tables {
            result = result.and(table.read(epoch, turn.scratch, sheet));
        }
        sheet.write(turn.page);
        result
    }
}

impl Caches {
    fn add(&mut self, dir: &Path, uuid: &[u8], (keep, with_shares): (bool, bool)) {
        let labels = shared(&[("uuid", uuid)]);
        self.readings
            .add_table(&SET, OWN.len(), &labels, (dir, keep));
        let file = |path| HeldFile::at(path, keep, Shape::Whole);
        for name in names(dir).unwrap_or_default() {
            let below = child(dir, &name);
            if numbered(&name, b"bdev").is_some() {
                let labels = shared(&[("backing_device", &name), ("uuid", uuid)]);
                self.readings
                    .add_table(&BACKING, BACKING_AT, &labels, (&below, keep));
                let readaheads = file(below.join("stats_total/cache_readaheads"));
                self.readaheads.push((readaheads, Arc::clone(&labels)));
                self.tables.push(Table {
                    file: file(below.join("writeback_rate_debug")),
                    labels,
                    keys: &DEBUG,
                });
            } else if numbered(&name, b"cache").is_some() {
                let labels = shared(&[("cache_device", &name), ("uuid", uuid)]);
                self.readings
                    .add_table(&CACHE, CACHE_AT, &labels, (&below, keep));
                if with_shares {
                    self.tables.push(Table {
                        file: file(below.join("priority_stats")),
                        labels,
                        keys: &SHARES,
                    });
                }
            }
        }
    }
}

impl Table {
    fn read(
        &mut self,
        epoch: u64,
        scratch: &mut Vec<u8>,
        sheet: &mut Sheet,
    ) -> Result<(), CollectError> {
        let text = match self.file.read(epoch, scratch) {
            Ok(text) => text,
            Err(error) if is_unfilled(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut result = Ok(());
        for (key, end, column) in self.keys {
            let mut all = lines(text);
            let Some(rest) = all.find_map(|line| line.strip_prefix(*key)) else {
                continue;
            };
            let value = rest.trim_ascii();
            match signed_size(value.strip_suffix(*end).unwrap_or(value)) {
                Some(value) => sheet.put(*column, &self.labels, value),
                None => result = Err(CollectError::Parse("bcache")),
            }
        }
        result
    }
}

fn signed_size(text: &[u8]) -> Option<f64> {
    match text.strip_prefix(b"-") {
        Some(rest) => human::bcache(rest).map(|value| -value),
        None => human::bcache(text),
    }
}
