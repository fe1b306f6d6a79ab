//! What is left of the limits that a node runs into: connection tracking, file handles, process numbers, inotify. Past
//! them everything fails in ways that name anything but the limit.

pub mod inotify;
mod parse;
mod signals;
#[cfg(test)]
mod tests;

pub use parse::{
    count_watches, free_share, read_effective_user, read_file_nr, read_number, read_task_count,
};
pub use signals::{CONNTRACK, FILE_HANDLES, INOTIFY_INSTANCES, INOTIFY_WATCHES, PIDS};

use super::ProbeSpec;
use super::error::ProbeError;
use super::off_thread::OneRead;
use super::text_file::read_value;
use crate::host::Host;
use crate::signal::{Batch, Key};
use std::time::Duration;

/// The probe's description.
pub static SPEC: ProbeSpec = ProbeSpec {
    name: "headroom",
    title: "kernel limits",
    period: Duration::from_secs(15),
    timeout: Duration::from_secs(5),
    keys: &[&CONNTRACK.spec, &FILE_HANDLES.spec, &PIDS.spec],
    cost: "0.1 ms (least wall time of 12 starts, release build, a busy VM of 2 cores)",
};

/// Reads what is used of the kernel's limits, and the limits.
pub fn probe() -> OneRead {
    OneRead::new(&SPEC, read)
}

/// Each limit by itself: one that cannot be read leaves the others.
fn read(host: &Host) -> Result<Batch, ProbeError> {
    let mut batch = Batch::of(SPEC.name);
    let mut put = |key: &Key<f64>, share: Result<f64, ProbeError>| match share {
        Ok(share) => batch.set(key, share),
        Err(error) => batch.missing(&key.spec, error.missing_reason()),
    };
    put(&CONNTRACK, conntrack(host));
    put(&FILE_HANDLES, file_handles(host));
    put(&PIDS, pids(host));
    Ok(batch)
}

fn conntrack(host: &Host) -> Result<f64, ProbeError> {
    let used = read_value(
        host,
        "/proc/sys/net/netfilter/nf_conntrack_count",
        read_number,
    )?;
    let limit = read_value(
        host,
        "/proc/sys/net/netfilter/nf_conntrack_max",
        read_number,
    )?;
    Ok(free_share(used, limit))
}

fn file_handles(host: &Host) -> Result<f64, ProbeError> {
    let (used, limit) = read_value(host, "/proc/sys/fs/file-nr", read_file_nr)?;
    Ok(free_share(used, limit))
}

fn pids(host: &Host) -> Result<f64, ProbeError> {
    let used = read_value(host, "/proc/loadavg", read_task_count)?;
    let pids = read_value(host, "/proc/sys/kernel/pid_max", read_number)?;
    let threads = read_value(host, "/proc/sys/kernel/threads-max", read_number)?;
    Ok(free_share(used, pids.min(threads)))
}
