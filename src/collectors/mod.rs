//! node_exporter's collectors, one file each: same names, types, help, labels and values.
//!
//! Contract: a collector is opened once from the operator's settings and then asked for its part
//! of each page. It keeps its files open and what it rendered; in the steady state it opens
//! nothing and allocates nothing. What it cannot read costs its own series only. It says in its
//! entry whether its sources can make a thread hang ([`Lane::Apart`]): those never run on the
//! thread that renders the page.
//!
//! Adding one: a file with a `pub const ENTRY`, one `mod` line and one line in [`TABLE`].

pub mod entry;
pub mod error;
pub mod settings;
pub mod source;

pub mod arp;
pub mod conntrack;
pub mod cpu;
pub mod cpu_info;
pub mod disk_info;
pub mod diskstats;
pub mod entropy;
pub mod filefd;
pub mod filesystem;
pub mod kernel_hung;
pub mod loadavg;
pub mod meminfo;
pub mod netclass;
pub mod netdev;
pub mod netstat;
pub mod os;
pub mod pressure;
pub mod schedstat;
pub mod sockstat;
pub mod softnet;
pub mod stat;
pub mod text_format;
pub mod textfile;
pub mod time;
pub mod timex;
pub mod udp_queues;
pub mod uname;
pub mod vmstat;

pub use entry::{Collector, Entry, Flag, Lane, Sources, Turn};

/// Every collector, in the order in which its families stand on the page.
pub static TABLE: &[&Entry] = &[
    &arp::ENTRY,
    &conntrack::ENTRY,
    &cpu::ENTRY,
    &diskstats::ENTRY,
    &entropy::ENTRY,
    &filefd::ENTRY,
    &filesystem::ENTRY,
    &kernel_hung::ENTRY,
    &loadavg::ENTRY,
    &meminfo::ENTRY,
    &netclass::ENTRY,
    &netdev::ENTRY,
    &netstat::ENTRY,
    &os::ENTRY,
    &pressure::ENTRY,
    &schedstat::ENTRY,
    &sockstat::ENTRY,
    &softnet::ENTRY,
    &stat::ENTRY,
    &textfile::ENTRY,
    &time::ENTRY,
    &timex::ENTRY,
    &udp_queues::ENTRY,
    &uname::ENTRY,
    &vmstat::ENTRY,
];
