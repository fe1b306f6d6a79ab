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
pub mod bcache;
pub mod bcachefs;
pub mod bonding;
pub mod btrfs;
pub mod buddyinfo;
pub mod cgroups;
pub mod conntrack;
pub mod cpu;
pub mod cpu_info;
pub mod cpufreq;
pub mod disk_info;
pub mod diskstats;
pub mod dmi;
pub mod dmmultipath;
pub mod edac;
pub mod entropy;
pub mod fibrechannel;
pub mod filefd;
pub mod filesystem;
pub mod hwmon;
pub mod hwmon_sensor;
pub mod infiniband;
pub mod infiniband_table;
pub mod interrupts;
pub mod ipvs;
pub mod kernel_hung;
pub mod ksmd;
pub mod loadavg;
pub mod mdadm;
pub mod meminfo;
pub mod mountstats;
pub mod mountstats_table;
pub mod netclass;
pub mod netclass_table;
pub mod netdev;
pub mod netstat;
pub mod nfs;
pub mod nfs_table;
pub mod nfsd;
pub mod nvme;
pub mod os;
pub mod powersupplyclass;
pub mod powersupplyclass_table;
pub mod pressure;
pub mod processes;
pub mod qdisc;
pub mod rapl;
pub mod schedstat;
pub mod selinux;
pub mod slabinfo;
pub mod sockstat;
pub mod softnet;
pub mod stat;
pub mod systemd;
pub mod tapestats;
pub mod tcpstat;
pub mod text_format;
pub mod textfile;
pub mod thermal_zone;
pub mod time;
pub mod timex;
pub mod udp_queues;
pub mod uname;
pub mod vmstat;
pub mod watchdog;
pub mod xfs;
pub mod xfs_table;
pub mod zfs;

pub use entry::{Collector, Entry, Flag, Lane, Sources, Turn};

/// Every collector, in the order in which its families stand on the page.
pub static TABLE: &[&Entry] = &[
    &arp::ENTRY,
    &bcache::ENTRY,
    &bcachefs::ENTRY,
    &bonding::ENTRY,
    &btrfs::ENTRY,
    &buddyinfo::ENTRY,
    &cgroups::ENTRY,
    &conntrack::ENTRY,
    &cpu::ENTRY,
    &cpufreq::ENTRY,
    &diskstats::ENTRY,
    &dmi::ENTRY,
    &dmmultipath::ENTRY,
    &edac::ENTRY,
    &entropy::ENTRY,
    &fibrechannel::ENTRY,
    &filefd::ENTRY,
    &filesystem::ENTRY,
    &hwmon::ENTRY,
    &infiniband::ENTRY,
    &interrupts::ENTRY,
    &ipvs::ENTRY,
    &kernel_hung::ENTRY,
    &ksmd::ENTRY,
    &loadavg::ENTRY,
    &mdadm::ENTRY,
    &meminfo::ENTRY,
    &mountstats::ENTRY,
    &netclass::ENTRY,
    &netdev::ENTRY,
    &netstat::ENTRY,
    &nfs::ENTRY,
    &nfsd::ENTRY,
    &nvme::ENTRY,
    &os::ENTRY,
    &powersupplyclass::ENTRY,
    &pressure::ENTRY,
    &processes::ENTRY,
    &qdisc::ENTRY,
    &rapl::ENTRY,
    &schedstat::ENTRY,
    &selinux::ENTRY,
    &slabinfo::ENTRY,
    &sockstat::ENTRY,
    &softnet::ENTRY,
    &stat::ENTRY,
    &systemd::ENTRY,
    &tapestats::ENTRY,
    &tcpstat::ENTRY,
    &textfile::ENTRY,
    &thermal_zone::ENTRY,
    &time::ENTRY,
    &timex::ENTRY,
    &udp_queues::ENTRY,
    &uname::ENTRY,
    &vmstat::ENTRY,
    &watchdog::ENTRY,
    &xfs::ENTRY,
    &zfs::ENTRY,
];
