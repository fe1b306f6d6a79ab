//! `fibrechannel`: host ports of Fibre Channel adapters, from `/sys/class/fc_host`.

use std::path::Path;

use crate::collectors::entry::{Collector, Entry, Lane, Sources};
use crate::collectors::error::SetupError;
use crate::collectors::settings::Settings;
use crate::collectors::source::attribute::{Attribute, Format, families};
use crate::collectors::source::class::{DeviceClass, Plan, shared};
use crate::collectors::source::dir::child;
use crate::collectors::source::info::Info;
use crate::exposition::family::Family;

const fn counter(name: &'static str, help: &'static str, file: &'static str) -> Attribute {
    Attribute::of(
        Family::counter(name, help).from("/sys/class/fc_host/<host>/statistics"),
        file,
    )
    .format(Format::Prefixed)
}

const TABLE: [Attribute; 14] = [
    counter(
        "node_fibrechannel_dumped_frames_total",
        "Number of dumped frames",
        "statistics/dumped_frames",
    ),
    counter(
        "node_fibrechannel_error_frames_total",
        "Number of errors in frames",
        "statistics/error_frames",
    ),
    counter(
        "node_fibrechannel_fcp_packet_aborts_total",
        "Number of aborted packets",
        "statistics/fcp_packet_aborts",
    ),
    counter(
        "node_fibrechannel_invalid_crc_total",
        "Invalid Cyclic Redundancy Check count",
        "statistics/invalid_crc_count",
    ),
    counter(
        "node_fibrechannel_invalid_tx_words_total",
        "Number of invalid words transmitted by host port",
        "statistics/invalid_tx_word_count",
    ),
    counter(
        "node_fibrechannel_link_failure_total",
        "Number of times the host port link has failed",
        "statistics/link_failure_count",
    ),
    counter(
        "node_fibrechannel_loss_of_signal_total",
        "Number of times signal has been lost",
        "statistics/loss_of_signal_count",
    ),
    counter(
        "node_fibrechannel_loss_of_sync_total",
        "Number of failures on either bit or transmission word boundaries",
        "statistics/loss_of_sync_count",
    ),
    counter(
        "node_fibrechannel_nos_total",
        "Number Not_Operational Primitive Sequence received by host port",
        "statistics/nos_count",
    ),
    counter(
        "node_fibrechannel_rx_frames_total",
        "Number of frames received",
        "statistics/rx_frames",
    ),
    counter(
        "node_fibrechannel_rx_words_total",
        "Number of words received by host port",
        "statistics/rx_words",
    ),
    counter(
        "node_fibrechannel_seconds_since_last_reset_total",
        "Number of seconds since last host port reset",
        "statistics/seconds_since_last_reset",
    ),
    counter(
        "node_fibrechannel_tx_frames_total",
        "Number of frames transmitted by host port",
        "statistics/tx_frames",
    ),
    counter(
        "node_fibrechannel_tx_words_total",
        "Number of words transmitted by host port",
        "statistics/tx_words",
    ),
];
const INFO: Family = Family::gauge(
    "node_fibrechannel_info",
    "Non-numeric data from /sys/class/fc_host/<host>, value is always 1.",
)
.from("/sys/class/fc_host/<host>");
const FAMILIES: [Family; 15] = families([INFO], &TABLE);

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "fibrechannel",
    enabled: true,
    lane: Lane::Apart,
    flags: &[],
    families: &FAMILIES,
    open,
};

/// Files whose words become labels of the same name.
const WORDS: [(&str, &str); 7] = [
    ("dev_loss_tmo", "dev_loss_tmo"),
    ("port_state", "port_state"),
    ("port_type", "port_type"),
    ("speed", "speed"),
    ("supported_classes", "supported_classes"),
    ("supported_speeds", "supported_speeds"),
    ("symbolic_name", "symbolic_name"),
];

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let what = ("class/fc_host", "Fibre Channel hosts");
    let planner = Box::new(|plan: &mut Plan<'_>, path: &Path, names: Vec<Vec<u8>>| {
        for name in names {
            let dir = child(path, &name);
            let file = |file: &str| (dir.join(file), plan.keep);
            let info = Info::new(&[("fc_host", &name)], false)
                .files((&dir, plan.keep), &WORDS)
                .hex("fabric_name", file("fabric_name"))
                .hex("port_id", file("port_id"))
                .hex("port_name", file("port_name"));
            plan.info(0, info);
            plan.table(&TABLE, 1, &shared(&[("fc_host", &name)]), &dir);
        }
    });
    Ok(Box::new(DeviceClass::new(
        sources, what, &FAMILIES, planner,
    )))
}
