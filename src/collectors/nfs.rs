//! `nfs`: calls of the NFS client, from `/proc/net/rpc/nfs`.

use crate::collectors::entry::{Collector, Entry, Lane, Sources};
use crate::collectors::error::SetupError;
use crate::collectors::nfs_table::{CLIENT_4, VERSION_2, VERSION_3};
use crate::collectors::settings::Settings;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::rpc::{RpcFile, RpcLine};
use crate::exposition::family::Family;

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family::counter(name, help).from("/proc/net/rpc/nfs")
}

const FAMILIES: [Family; 6] = [
    counter(
        "node_nfs_packets_total",
        "Total NFSd network packets (sent+received) by protocol type.",
    ),
    counter(
        "node_nfs_connections_total",
        "Total number of NFSd TCP connections.",
    ),
    counter("node_nfs_rpcs_total", "Total number of RPCs performed."),
    counter(
        "node_nfs_rpc_retransmissions_total",
        "Number of RPC transmissions performed.",
    ),
    counter(
        "node_nfs_rpc_authentication_refreshes_total",
        "Number of RPC authentication refreshes performed.",
    ),
    counter(
        "node_nfs_requests_total",
        "Number of NFS procedures invoked.",
    ),
];

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "nfs",
    enabled: true,
    lane: Lane::Apart,
    flags: &[],
    families: &FAMILIES,
    open,
};

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let file = HeldFile::new(&sources.roots.procfs, "net/rpc/nfs", Shape::Whole);
    let lines = vec![
        RpcLine::labels("net", 0, "protocol", &["", "udp", "tcp"]),
        RpcLine::columns("net", &[None, None, None, Some(1)]),
        RpcLine::columns("rpc", &[Some(2), Some(3), Some(4)]),
        RpcLine::procedures("proc2", 5, "2", &VERSION_2),
        RpcLine::procedures("proc3", 5, "3", &VERSION_3),
        RpcLine::procedures("proc4", 5, "4", &CLIENT_4),
    ];
    let collector = RpcFile::new(file, "NFS client", &FAMILIES, lines);
    Ok(Box::new(collector))
}
