//! `nfsd`: calls of the NFS server, from `/proc/net/rpc/nfsd`.

use crate::collectors::entry::{Collector, Entry, Lane, Sources};
use crate::collectors::error::SetupError;
use crate::collectors::nfs_table::{SERVER_2, SERVER_3, SERVER_4};
use crate::collectors::settings::Settings;
use crate::collectors::source::held::{HeldFile, Shape};
use crate::collectors::source::rpc::{RpcFile, RpcLine};
use crate::exposition::family::Family;

const SOURCE: &str = "/proc/net/rpc/nfsd";

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family::counter(name, help).from(SOURCE)
}

const FAMILIES: [Family; 14] = [
    counter(
        "node_nfsd_reply_cache_hits_total",
        "Total number of NFSd Reply Cache hits (client lost server response).",
    ),
    counter(
        "node_nfsd_reply_cache_misses_total",
        "Total number of NFSd Reply Cache an operation that requires caching (idempotent).",
    ),
    counter(
        "node_nfsd_reply_cache_nocache_total",
        "Total number of NFSd Reply Cache non-idempotent operations (rename/delete/…).",
    ),
    counter(
        "node_nfsd_file_handles_stale_total",
        "Total number of NFSd stale file handles",
    ),
    counter("node_nfsd_disk_bytes_read_total", "Total NFSd bytes read.").unit("bytes"),
    counter(
        "node_nfsd_disk_bytes_written_total",
        "Total NFSd bytes written.",
    )
    .unit("bytes"),
    Family::gauge(
        "node_nfsd_server_threads",
        "Total number of NFSd kernel threads that are running.",
    )
    .from(SOURCE),
    Family::gauge(
        "node_nfsd_read_ahead_cache_size_blocks",
        "How large the read ahead cache is in blocks.",
    )
    .from(SOURCE),
    counter(
        "node_nfsd_read_ahead_cache_not_found_total",
        "Total number of NFSd read ahead cache not found.",
    ),
    counter(
        "node_nfsd_packets_total",
        "Total NFSd network packets (sent+received) by protocol type.",
    ),
    counter(
        "node_nfsd_connections_total",
        "Total number of NFSd TCP connections.",
    ),
    counter("node_nfsd_server_rpcs_total", "Total number of NFSd RPCs."),
    counter(
        "node_nfsd_rpc_errors_total",
        "Total number of NFSd RPC errors by error type.",
    ),
    counter(
        "node_nfsd_requests_total",
        "Total number NFSd Requests by method and protocol.",
    ),
];
const REQUESTS: usize = 13;

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "nfsd",
    enabled: true,
    lane: Lane::Apart,
    flags: &[],
    families: &FAMILIES,
    open,
};

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let file = HeldFile::new(&sources.roots.procfs, "net/rpc/nfsd", Shape::Whole);
    // The read-ahead line has the cache's size, ten places of a histogram, and what was not found.
    let mut read_ahead = [None; 12];
    let [size, .., not_found] = &mut read_ahead;
    (*size, *not_found) = (Some(7), Some(8));
    let lines = vec![
        RpcLine::columns("rc", &[Some(0), Some(1), Some(2)]),
        RpcLine::columns("fh", &[Some(3)]),
        RpcLine::columns("io", &[Some(4), Some(5)]),
        RpcLine::columns("th", &[Some(6)]),
        RpcLine::columns("ra", &read_ahead),
        RpcLine::labels("net", 9, "proto", &["", "udp", "tcp"]),
        RpcLine::columns("net", &[None, None, None, Some(10)]),
        RpcLine::columns("rpc", &[Some(11)]),
        RpcLine::labels("rpc", 12, "error", &["", "", "fmt", "auth", "cInt"]),
        RpcLine::procedures("proc2", REQUESTS, "2", &SERVER_2),
        RpcLine::procedures("proc3", REQUESTS, "3", &SERVER_3),
        RpcLine::procedures("proc4ops", REQUESTS, "4", &SERVER_4),
        RpcLine::one("wdeleg_getattr", REQUESTS, "4", "WdelegGetattr"),
    ];
    let collector = RpcFile::new(file, "NFS server", &FAMILIES, lines);
    Ok(Box::new(collector))
}
