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

pub mod bonding;
pub mod btrfs;
pub mod cpufreq;
pub mod dmi;
pub mod edac;
pub mod entropy;
pub mod fibrechannel;
pub mod filefd;
pub mod hwmon;
pub mod hwmon_sensor;
pub mod infiniband;
pub mod infiniband_table;
pub mod ipvs;
pub mod ksmd;
pub mod loadavg;
pub mod mdadm;
pub mod meminfo;
pub mod nfs;
pub mod nfs_table;
pub mod nfsd;
pub mod nvme;
pub mod os;
pub mod powersupplyclass;
pub mod powersupplyclass_table;
pub mod pressure;
pub mod rapl;
pub mod selinux;
pub mod sockstat;
pub mod tapestats;
pub mod thermal_zone;
pub mod vmstat;
pub mod watchdog;
pub mod xfs;
pub mod xfs_table;
pub mod zfs;

pub use entry::{Collector, Entry, Flag, Lane, Sources, Turn};

/// Every collector, in the order in which its families stand on the page.
pub static TABLE: &[&Entry] = &[
    &bonding::ENTRY,
    &btrfs::ENTRY,
    &cpufreq::ENTRY,
    &dmi::ENTRY,
    &edac::ENTRY,
    &entropy::ENTRY,
    &fibrechannel::ENTRY,
    &filefd::ENTRY,
    &hwmon::ENTRY,
    &infiniband::ENTRY,
    &ipvs::ENTRY,
    &ksmd::ENTRY,
    &loadavg::ENTRY,
    &mdadm::ENTRY,
    &meminfo::ENTRY,
    &nfs::ENTRY,
    &nfsd::ENTRY,
    &nvme::ENTRY,
    &os::ENTRY,
    &powersupplyclass::ENTRY,
    &pressure::ENTRY,
    &rapl::ENTRY,
    &selinux::ENTRY,
    &sockstat::ENTRY,
    &tapestats::ENTRY,
    &thermal_zone::ENTRY,
    &vmstat::ENTRY,
    &watchdog::ENTRY,
    &xfs::ENTRY,
    &zfs::ENTRY,
];
