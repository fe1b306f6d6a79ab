//! `udp_queues`: bytes waiting in UDP sockets.

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::scan::{cut, fields, hex, lines};
use crate::exposition::family::{Family, Head};
use crate::exposition::label::Labels;

const QUEUES: Family = Family::gauge(
    "node_udp_queues",
    "Number of allocated memory in the kernel for UDP datagrams in bytes.",
)
.from("/proc/net/udp, /proc/net/udp6")
.unit("bytes");

/// A row: addresses, queues, counters and an inode.
const LONGEST: usize = 256;
/// `sl local_address rem_address st tx_queue:rx_queue`.
const QUEUE_COLUMN: usize = 4;

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "udp_queues",
    enabled: true,
    lane: Lane::Page,
    flags: &[],
    families: &[QUEUES],
    open,
};

struct UdpQueues {
    files: [(HeldFile, [Labels; 2]); 2],
    head: Head,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let file = |name, ip: &str| {
        let labels =
            |queue: &str| Labels::new(&[("ip", ip.as_bytes()), ("queue", queue.as_bytes())]);
        let file = HeldFile::new(&sources.roots.procfs, name, Shape::Records(LONGEST));
        (file, [labels("tx"), labels("rx")])
    };
    Ok(Box::new(UdpQueues {
        files: [file("net/udp", "v4"), file("net/udp6", "v6")],
        head: Head::of(&QUEUES),
    }))
}

impl Collector for UdpQueues {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let mut found = false;
        let mut family = turn.page.family(&self.head);
        for (file, labels) in &mut self.files {
            let text = match file.read(turn.epoch, turn.scratch) {
                Ok(text) => text,
                Err(error) if error.is_absent() => continue,
                Err(error) => return Err(error.into()),
            };
            let mut sums = [0_u64; 2];
            for line in lines(text).skip(1) {
                let queues = fields(line)
                    .nth(QUEUE_COLUMN)
                    .and_then(|field| cut(field, b':'));
                let (Some(sent), Some(received)) =
                    queues.map_or((None, None), |(sent, received)| (hex(sent), hex(received)))
                else {
                    return Err(CollectError::Parse("udp"));
                };
                for (sum, value) in sums.iter_mut().zip([sent, received]) {
                    *sum = sum.saturating_add(value);
                }
            }
            for (labels, sum) in labels.iter().zip(sums) {
                family.int(labels, sum);
            }
            found = true;
        }
        if found {
            Ok(())
        } else {
            Err(CollectError::NoData("UDP sockets"))
        }
    }
}
