//! `netdev`: packets and bytes of each network device.

use std::sync::{Arc, Mutex};

use crate::collectors::entry::{Collector, Entry, Flag, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::{Filter, Settings};
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::known::Known;
use crate::collectors::source::links::{COUNTERS, Links};
use crate::collectors::source::scan::{cut, fields, lines, number};
use crate::collectors::source::shared::lock;
use crate::exposition::family::{Family, Head, Kind};
use crate::exposition::label::Labels;
use crate::exposition::page::Page;

const STATISTIC: Family = Family::counter(
    "node_network_<direction>_<statistic>_total",
    "Network device statistic <direction>_<statistic>.",
)
.from("RTM_GETLINK (IFLA_STATS64), or /proc/net/dev with --no-collector.netdev.netlink");

const INCLUDE: &str = "collector.netdev.device-include";
const EXCLUDE: &str = "collector.netdev.device-exclude";
const NETLINK: &str = "collector.netdev.netlink";
const DETAILED: &str = "collector.netdev.enable-detailed-metrics";

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "netdev",
    enabled: true,
    lane: Lane::Apart,
    flags: &[
        Flag::optional(
            INCLUDE,
            "Regexp of net devices to include (mutually exclusive to device-exclude).",
        ),
        Flag::optional(
            EXCLUDE,
            "Regexp of net devices to exclude (mutually exclusive to device-include).",
        ),
        Flag::on(
            NETLINK,
            "Use netlink to gather stats instead of /proc/net/dev.",
        ),
        Flag::off(
            DETAILED,
            "Use (incompatible) metric names that provide more detailed stats on Linux.",
        ),
    ],
    families: &[STATISTIC],
    open,
};

/// What `/proc/net/dev` shows, each the sum of counters of `struct rtnl_link_stats64` by place
/// (net/core/net-procfs.c adds them up the same way).
const PLAIN: [(&str, &[usize]); 17] = [
    ("receive_bytes", &[2]),
    ("receive_compressed", &[21]),
    ("receive_drop", &[6, 15]),
    ("receive_errs", &[4]),
    ("receive_fifo", &[14]),
    ("receive_frame", &[13, 10, 11, 12]),
    ("receive_multicast", &[8]),
    ("receive_nohandler", &[23]),
    ("receive_packets", &[0]),
    ("transmit_bytes", &[3]),
    ("transmit_carrier", &[17, 16, 19, 20]),
    ("transmit_colls", &[9]),
    ("transmit_compressed", &[22]),
    ("transmit_drop", &[7]),
    ("transmit_errs", &[5]),
    ("transmit_fifo", &[18]),
    ("transmit_packets", &[1]),
];
/// Every counter by its own name, in the order of `struct rtnl_link_stats64`.
const DETAILS: [&str; COUNTERS] = [
    "receive_packets",
    "transmit_packets",
    "receive_bytes",
    "transmit_bytes",
    "receive_errors",
    "transmit_errors",
    "receive_dropped",
    "transmit_dropped",
    "multicast",
    "collisions",
    "receive_length_errors",
    "receive_over_errors",
    "receive_crc_errors",
    "receive_frame_errors",
    "receive_fifo_errors",
    "receive_missed_errors",
    "transmit_aborted_errors",
    "transmit_carrier_errors",
    "transmit_fifo_errors",
    "transmit_heartbeat_errors",
    "transmit_window_errors",
    "receive_compressed",
    "transmit_compressed",
    "receive_nohandler",
];
/// A row of `/proc/net/dev`: a name and 16 counters.
const LONGEST: usize = 512;

struct Device {
    shown: bool,
    labels: Labels,
    values: Vec<u64>,
    turn: u64,
}

struct NetDev {
    source: Source,
    filter: Filter,
    heads: Vec<Head>,
    devices: Known<Device>,
}

enum Source {
    Links {
        links: Arc<Mutex<Links>>,
        detailed: bool,
    },
    File(HeldFile),
}

fn open(settings: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let detailed = settings.is_on(DETAILED);
    // A tree that is not the kernel's own has no netlink: there the file is the truth.
    let source = if settings.is_on(NETLINK) && sources.roots.procfs.is_kernel() {
        Source::Links {
            links: Arc::clone(&sources.links),
            detailed,
        }
    } else {
        Source::File(HeldFile::new(
            &sources.roots.procfs,
            "net/dev",
            Shape::Records(LONGEST),
        ))
    };
    let heads = match (&source, detailed) {
        (Source::Links { .. }, true) => DETAILS.iter().map(|name| head(name.as_bytes())).collect(),
        (Source::Links { .. }, false) => PLAIN
            .iter()
            .map(|(name, _)| head(name.as_bytes()))
            .collect(),
        (Source::File(_), _) => Vec::new(),
    };
    let filter = settings.filter(INCLUDE, EXCLUDE)?;
    Ok(Box::new(NetDev {
        source,
        filter,
        heads,
        devices: Known::default(),
    }))
}

impl Collector for NetDev {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        self.devices.rewind();
        let result = match &mut self.source {
            Source::Links { links, detailed } => read_links(
                links,
                *detailed,
                turn.number,
                &mut self.devices,
                &self.filter,
            ),
            Source::File(file) => {
                let text = file.read(turn.epoch, turn.scratch)?;
                read_file(
                    text,
                    turn.number,
                    &mut self.devices,
                    &self.filter,
                    &mut self.heads,
                )
            }
        };
        self.devices.retain(|device| device.turn == turn.number);
        self.write(turn.page);
        result
    }
}

impl NetDev {
    fn write(&self, page: &mut Page) {
        for (place, head) in self.heads.iter().enumerate() {
            let mut family = page.family(head);
            for device in self.devices.iter().filter(|device| device.shown) {
                if let Some(value) = device.values.get(place) {
                    family.int(&device.labels, *value);
                }
            }
        }
    }
}

fn read_links(
    links: &Mutex<Links>,
    detailed: bool,
    turn: u64,
    devices: &mut Known<Device>,
    filter: &Filter,
) -> Result<(), CollectError> {
    let mut links = lock(links);
    for link in links.of_turn(turn)? {
        let Some(counters) = &link.counters else {
            continue;
        };
        let device = devices.get(&link.name, |name| Device::new(name, filter));
        device.turn = turn;
        device.values.clear();
        if detailed {
            device.values.extend_from_slice(counters);
        } else {
            device.values.extend(PLAIN.iter().map(|(_, places)| {
                let counts = places.iter().filter_map(|place| counters.get(*place));
                counts.fold(0_u64, |sum, count| sum.wrapping_add(*count))
            }));
        }
    }
    Ok(())
}

fn read_file(
    text: &[u8],
    turn: u64,
    devices: &mut Known<Device>,
    filter: &Filter,
    heads: &mut Vec<Head>,
) -> Result<(), CollectError> {
    let mut rows = lines(text).skip(1);
    let header = rows.next().ok_or(CollectError::Parse("net/dev"))?;
    if heads.is_empty() {
        *heads = header_heads(header).ok_or(CollectError::Parse("net/dev"))?;
    }
    let mut result = Ok(());
    for line in rows {
        // The name may hold a colon (an alias); the counters never do.
        let parts = line.iter().rposition(|&byte| byte == b':').and_then(|at| {
            let (name, rest) = line.split_at_checked(at)?;
            Some((name.trim_ascii(), rest.get(1..)?))
        });
        let Some((name, rest)) = parts else {
            result = Err(CollectError::Parse("net/dev"));
            continue;
        };
        let device = devices.get(name, |name| Device::new(name, filter));
        device.turn = turn;
        device.values.clear();
        device.values.extend(fields(rest).map_while(number));
        if device.values.len() != heads.len() {
            device.values.clear();
            result = Err(CollectError::Parse("net/dev"));
        }
    }
    result
}

/// ` face |bytes packets ...|bytes packets ...`: the columns of each direction.
fn header_heads(header: &[u8]) -> Option<Vec<Head>> {
    let (_, rest) = cut(header, b'|')?;
    let (receive, transmit) = cut(rest, b'|')?;
    let named = |direction: &'static [u8], columns| {
        fields(columns).map(move |name| head(&[direction, name].concat()))
    };
    Some(
        named(b"receive_", receive)
            .chain(named(b"transmit_", transmit))
            .collect(),
    )
}

fn head(key: &[u8]) -> Head {
    let help = [b"Network device statistic ", key, b"."].concat();
    Head::named(
        &[b"node_network_", key, b"_total"].concat(),
        Kind::Counter,
        &help,
    )
}

impl Device {
    fn new(name: &[u8], filter: &Filter) -> Device {
        Device {
            shown: !filter.is_ignored(name),
            labels: Labels::new(&[("device", name)]),
            values: Vec::new(),
            turn: 0,
        }
    }
}
