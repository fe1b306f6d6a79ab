//! `softnet`: what each processor did with packets from the network cards.

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::known::Known;
use crate::collectors::source::scan::{fields, hex, lines};
use crate::exposition::family::{Family, Head};
use crate::exposition::label::Labels;

const SOURCE: &str = "/proc/net/softnet_stat";
const fn counter(name: &'static str, help: &'static str) -> Family {
    Family::counter(name, help).from(SOURCE)
}

const PROCESSED: Family = counter(
    "node_softnet_processed_total",
    "Number of processed packets",
);
const DROPPED: Family = counter("node_softnet_dropped_total", "Number of dropped packets");
const SQUEEZED: Family = counter(
    "node_softnet_times_squeezed_total",
    "Number of times processing packets ran out of quota",
);
const COLLISION: Family = counter(
    "node_softnet_cpu_collision_total",
    "Number of collision occur while obtaining device lock while transmitting",
);
const RPS: Family = counter(
    "node_softnet_received_rps_total",
    "Number of times cpu woken up received_rps",
);
const FLOW_LIMIT: Family = counter(
    "node_softnet_flow_limit_count_total",
    "Number of times flow limit has been reached",
);
const BACKLOG: Family =
    Family::gauge("node_softnet_backlog_len", "Softnet backlog status").from(SOURCE);

/// Each family and its column. Columns 0 to 8 are in every kernel; 9 and 10 came together, as did
/// 11 and 12 (the processor's number). What a kernel lacks is 0, as in node_exporter.
const COLUMNS: [(Family, usize); 7] = [
    (PROCESSED, 0),
    (DROPPED, 1),
    (SQUEEZED, 2),
    (COLLISION, 8),
    (RPS, 9),
    (FLOW_LIMIT, 10),
    (BACKLOG, 11),
];
const LEAST_COLUMNS: usize = 9;
const MOST_COLUMNS: usize = 13;
const PROCESSOR: usize = 12;
/// A row is up to 15 columns of 9 characters.
const LONGEST: usize = 256;

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "softnet",
    enabled: true,
    lane: Lane::Page,
    flags: &[],
    families: &[
        PROCESSED, DROPPED, SQUEEZED, COLLISION, RPS, FLOW_LIMIT, BACKLOG,
    ],
    open,
};

struct Row {
    labels: Labels,
    values: [u64; MOST_COLUMNS],
    turn: u64,
}

struct Softnet {
    file: HeldFile,
    heads: [(Head, usize); 7],
    rows: Known<Row>,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(Softnet {
        file: HeldFile::new(
            &sources.roots.procfs,
            "net/softnet_stat",
            Shape::Records(LONGEST),
        ),
        heads: COLUMNS
            .each_ref()
            .map(|(family, column)| (Head::of(family), *column)),
        rows: Known::default(),
    }))
}

impl Collector for Softnet {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let text = self.file.read(turn.epoch, turn.scratch)?;
        self.rows.rewind();
        for (place, line) in lines(text).enumerate() {
            let mut values = [0; MOST_COLUMNS];
            let mut columns = 0;
            for (slot, field) in values.iter_mut().zip(fields(line)) {
                *slot = hex(field).ok_or(CollectError::Parse("softnet_stat"))?;
                columns += 1;
            }
            if columns < LEAST_COLUMNS {
                return Err(CollectError::Parse("softnet_stat"));
            }
            let numbered = values.get(PROCESSOR).filter(|_| columns > PROCESSOR);
            let processor = numbered.copied().unwrap_or(place as u64);
            let row = self.rows.get(&processor.to_le_bytes(), |_| Row {
                labels: Labels::new(&[("cpu", processor.to_string().as_bytes())]),
                values,
                turn: 0,
            });
            (row.values, row.turn) = (values, turn.number);
        }
        self.rows.retain(|row| row.turn == turn.number);
        for (head, column) in &self.heads {
            let mut family = turn.page.family(head);
            for row in self.rows.iter() {
                family.int(
                    &row.labels,
                    row.values.get(*column).copied().unwrap_or_default(),
                );
            }
        }
        Ok(())
    }
}
