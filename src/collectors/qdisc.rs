//! `qdisc`: queueing disciplines of the links, from the kernel's routing netlink.

use std::sync::{Arc, Mutex};

use nix::sys::socket::SockProtocol;

use crate::collectors::entry::{Collector, Entry, Flag, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::{Filter, Settings};
use crate::collectors::source::class::shared;
use crate::collectors::source::known::Known;
use crate::collectors::source::links::{Link, Links};
use crate::collectors::source::netlink::{Dump, attributes, u32_at, u64_at};
use crate::collectors::source::shared::lock;
use crate::exposition::family::Family;
use crate::exposition::label::Labels;
use crate::exposition::sheet::Sheet;

const INCLUDE: &str = "collector.qdisc.device-include";
const EXCLUDE: &str = "collector.qdisc.device-exclude";
const SOURCE: &str = "RTM_GETQDISC of the process's network namespace";

const FAMILIES: [Family; 7] = [
    Family::counter("node_qdisc_bytes_total", "Number of bytes sent.")
        .from(SOURCE)
        .unit("bytes"),
    Family::counter("node_qdisc_packets_total", "Number of packets sent.").from(SOURCE),
    Family::counter("node_qdisc_drops_total", "Number of packets dropped.").from(SOURCE),
    Family::counter(
        "node_qdisc_requeues_total",
        "Number of packets dequeued, not transmitted, and requeued.",
    )
    .from(SOURCE),
    Family::counter(
        "node_qdisc_overlimits_total",
        "Number of overlimit packets.",
    )
    .from(SOURCE),
    Family::gauge(
        "node_qdisc_current_queue_length",
        "Number of packets currently in queue to be sent.",
    )
    .from(SOURCE),
    Family::gauge(
        "node_qdisc_backlog",
        "Number of bytes currently in queue to be sent.",
    )
    .from(SOURCE)
    .unit("bytes"),
];

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "qdisc",
    enabled: false,
    lane: Lane::Apart,
    flags: &[
        Flag::optional(
            INCLUDE,
            "Regexp of qdisc devices to include (mutually exclusive to device-exclude).",
        ),
        Flag::optional(
            EXCLUDE,
            "Regexp of qdisc devices to exclude (mutually exclusive to device-include).",
        ),
    ],
    families: &FAMILIES,
    open,
};

const RTM_GETQDISC: u16 = 38;
/// `struct tcmsg`: family, index, handle, parent, info.
const MESSAGE_BYTES: usize = 20;
const INDEX_AT: usize = 4;
const PARENT_AT: usize = 12;
/// `TC_H_ROOT`: the discipline hangs on the link itself and not on a class of another.
const ROOT: u32 = u32::MAX;
const TCA_KIND: u16 = 1;
const TCA_STATS2: u16 = 7;
const TCA_STATS_BASIC: u16 = 1;
const TCA_STATS_QUEUE: u16 = 3;

struct Qdisc {
    dump: Dump,
    links: Arc<Mutex<Links>>,
    filter: Filter,
    known: Known<Arc<Labels>>,
    sheet: Sheet,
}

fn open(settings: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(Qdisc {
        dump: Dump::new(SockProtocol::NetlinkRoute),
        links: Arc::clone(&sources.links),
        filter: settings.filter(INCLUDE, EXCLUDE)?,
        known: Known::default(),
        sheet: Sheet::of(&FAMILIES),
    }))
}

/// One discipline at the root of a link.
#[derive(Debug, PartialEq, Eq)]
struct Discipline<'a> {
    index: u32,
    kind: &'a [u8],
    /// In the order of [`FAMILIES`].
    values: [u64; 7],
}

impl Collector for Qdisc {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let mut links = lock(&self.links);
        let links = links.of_turn(turn.number)?;
        let (known, sheet, filter) = (&mut self.known, &mut self.sheet, &self.filter);
        known.rewind();
        let ran = self.dump.run(RTM_GETQDISC, &[0; MESSAGE_BYTES], |message| {
            let Some(discipline) = Discipline::parse(message) else {
                return;
            };
            let name = |link: &&Link| link.index == discipline.index;
            let Some(link) = links.iter().find(name) else {
                return;
            };
            if filter.is_ignored(&link.name) {
                return;
            }
            let key = [link.name.as_slice(), b" ", discipline.kind].concat();
            let labels = known.get(&key, |_| {
                shared(&[("device", &link.name), ("kind", discipline.kind)])
            });
            for (column, value) in discipline.values.into_iter().enumerate() {
                sheet.put(column, labels, value as f64);
            }
        });
        self.sheet.write(turn.page);
        ran.map_err(|source| CollectError::System {
            call: "RTM_GETQDISC",
            source,
        })
    }
}

impl<'a> Discipline<'a> {
    /// `None` for one that is not at a link's root, or a message that is cut.
    fn parse(message: &'a [u8]) -> Option<Discipline<'a>> {
        let index = u32_at(message, INDEX_AT)?;
        if u32_at(message, PARENT_AT)? != ROOT {
            return None;
        }
        let mut discipline = Discipline {
            index,
            kind: b"",
            values: [0; 7],
        };
        let [bytes, packets, drops, requeues, overlimits, length, backlog] = &mut discipline.values;
        for (kind, value) in attributes(message.get(MESSAGE_BYTES..)?) {
            match kind {
                TCA_KIND => discipline.kind = value.strip_suffix(b"\0").unwrap_or(value),
                TCA_STATS2 => {
                    for (kind, value) in attributes(value) {
                        let number = |at| u32_at(value, at).map(u64::from);
                        match kind {
                            TCA_STATS_BASIC => {
                                *bytes = u64_at(value, 0)?;
                                *packets = number(8)?;
                            }
                            TCA_STATS_QUEUE => {
                                *length = number(0)?;
                                *backlog = number(4)?;
                                *drops = number(8)?;
                                *requeues = number(12)?;
                                *overlimits = number(16)?;
                            }
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Some(discipline)
    }
}

#[cfg(test)]
mod tests {
    use super::{Discipline, ROOT};

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut out = (4 + value.len() as u16).to_ne_bytes().to_vec();
        out.extend(kind.to_ne_bytes());
        out.extend(value);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn message(parent: u32) -> Vec<u8> {
        let words = |words: &[u32]| {
            words
                .iter()
                .flat_map(|n| n.to_ne_bytes())
                .collect::<Vec<_>>()
        };
        let stats = [
            attribute(
                1,
                &[100_u64.to_ne_bytes().to_vec(), words(&[7, 0])].concat(),
            ),
            attribute(3, &words(&[1, 2, 3, 4, 5])),
        ];
        [
            words(&[0, 2, 0, parent, 0]),
            attribute(1, b"fq_codel\0"),
            attribute(7, &stats.concat()),
        ]
        .concat()
    }

    #[test]
    fn disciplines_at_the_root_are_shown_and_others_not() {
        let text = message(ROOT);
        let want = Discipline {
            index: 2,
            kind: b"fq_codel",
            values: [100, 7, 3, 4, 5, 1, 2],
        };
        assert_eq!(Discipline::parse(&text), Some(want));
        assert_eq!(Discipline::parse(&message(0x10001)), None);
        for end in 0..text.len() {
            let cut = Discipline::parse(&text[..end]);
            assert!(cut.is_none() || end >= 20);
        }
    }
}
