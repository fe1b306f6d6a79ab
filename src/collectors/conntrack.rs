//! `conntrack`: the connection tracking table and its counters, summed over processors.

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, ReadError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::scan::{fields, hex, lines, number};
use crate::exposition::family::{Family, Head};
use crate::exposition::label::Labels;

const ENTRIES: Family = Family::gauge(
    "node_nf_conntrack_entries",
    "Number of currently allocated flow entries for connection tracking.",
)
.from("/proc/sys/net/netfilter/nf_conntrack_count");
const LIMIT: Family = Family::gauge(
    "node_nf_conntrack_entries_limit",
    "Maximum size of connection tracking table.",
)
.from("/proc/sys/net/netfilter/nf_conntrack_max");

const fn stat(name: &'static str, help: &'static str) -> Family {
    Family::gauge(name, help).from("/proc/net/stat/nf_conntrack")
}

/// The counters and their columns in `/proc/net/stat/nf_conntrack`.
const STATS: [(Family, usize); 8] = [
    (
        stat(
            "node_nf_conntrack_stat_found",
            "Number of searched entries which were successful.",
        ),
        2,
    ),
    (
        stat(
            "node_nf_conntrack_stat_invalid",
            "Number of packets seen which can not be tracked.",
        ),
        4,
    ),
    (
        stat(
            "node_nf_conntrack_stat_ignore",
            "Number of packets seen which are already connected to a conntrack entry.",
        ),
        5,
    ),
    (
        stat(
            "node_nf_conntrack_stat_insert",
            "Number of entries inserted into the list.",
        ),
        8,
    ),
    (
        stat(
            "node_nf_conntrack_stat_insert_failed",
            "Number of entries for which list insertion was attempted but failed.",
        ),
        9,
    ),
    (
        stat(
            "node_nf_conntrack_stat_drop",
            "Number of packets dropped due to conntrack failure.",
        ),
        10,
    ),
    (
        stat(
            "node_nf_conntrack_stat_early_drop",
            "Number of dropped conntrack entries to make room for new ones, if maximum table size was reached.",
        ),
        11,
    ),
    (
        stat(
            "node_nf_conntrack_stat_search_restart",
            "Number of conntrack table lookups which had to be restarted due to hashtable resizes.",
        ),
        16,
    ),
];
const COLUMNS: usize = 17;
/// A row is 17 columns of 9 characters.
const LONGEST: usize = 256;

/// The table's line.
#[allow(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which refuses an index out of bounds"
)]
pub const ENTRY: Entry = Entry {
    name: "conntrack",
    enabled: true,
    lane: Lane::Page,
    flags: &[],
    families: &{
        let mut all = [ENTRIES; 10];
        all[1] = LIMIT;
        let mut at = 0;
        while at < STATS.len() {
            all[at + 2] = STATS[at].0;
            at += 1;
        }
        all
    },
    open,
};

struct Conntrack {
    count: HeldFile,
    max: HeldFile,
    stat: HeldFile,
    entries: Head,
    limit: Head,
    stats: [(Head, usize); 8],
    none: Labels,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let file = |name, shape| HeldFile::new(&sources.roots.procfs, name, shape);
    Ok(Box::new(Conntrack {
        count: file("sys/net/netfilter/nf_conntrack_count", Shape::Whole),
        max: file("sys/net/netfilter/nf_conntrack_max", Shape::Whole),
        stat: file("net/stat/nf_conntrack", Shape::Records(LONGEST)),
        entries: Head::of(&ENTRIES),
        limit: Head::of(&LIMIT),
        stats: STATS
            .each_ref()
            .map(|(family, column)| (Head::of(family), *column)),
        none: Labels::none(),
    }))
}

impl Collector for Conntrack {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let mut result = Ok(());
        for (file, head) in [
            (&mut self.count, &self.entries),
            (&mut self.max, &self.limit),
        ] {
            let text = file.read_trimmed(turn.epoch, turn.scratch);
            let value = text
                .map_err(absent)
                .and_then(|text| number(text).ok_or(CollectError::Parse("nf_conntrack")));
            let written = value.map(|value| turn.page.family(head).int(&self.none, value));
            result = result.and(written);
        }
        result.and(self.read_stats(turn))
    }
}

impl Conntrack {
    fn read_stats(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let text = self.stat.read(turn.epoch, turn.scratch).map_err(absent)?;
        let mut sums = [0_u64; COLUMNS];
        for line in lines(text).skip(1) {
            let mut columns = 0;
            for (sum, field) in sums.iter_mut().zip(fields(line)) {
                let value = hex(field).ok_or(CollectError::Parse("nf_conntrack"))?;
                *sum = sum.wrapping_add(value);
                columns += 1;
            }
            if columns != COLUMNS {
                return Err(CollectError::Parse("nf_conntrack"));
            }
        }
        for (head, column) in &self.stats {
            let sum = sums.get(*column).copied().unwrap_or_default();
            turn.page.family(head).int(&self.none, sum);
        }
        Ok(())
    }
}

fn absent(error: ReadError) -> CollectError {
    if error.is_absent() {
        CollectError::NoData("connection tracking")
    } else {
        error.into()
    }
}
