//! The table of probes, in the order in which pages list them.

use super::{Probe, ProbeSpec};
use super::{
    certificates, headroom, journal, kernel, kernel_log, kubelet, node_status, os, packages,
    runtime, slices, storage, systemd,
};
use crate::host::Host;
use crate::signal::{Catalogue, ProbeKeys};
use crate::versions::embedded_tables;
use std::path::{Path, PathBuf};

/// Every probe of this build.
pub const SPECS: &[&ProbeSpec] = &[
    &systemd::bus::SPEC,
    &systemd::units::SPEC,
    &kubelet::SPEC,
    &runtime::SPEC,
    &kernel_log::SPEC,
    &journal::SPEC,
    &os::SPEC,
    &packages::SPEC,
    &kernel::SPEC,
    &storage::SPEC,
    &certificates::SPEC,
    &headroom::SPEC,
    &headroom::inotify::SPEC,
    &slices::SPEC,
];

/// One instance of every probe for one look at this machine, in the order of [`SPECS`]. Nothing is kept for later.
pub fn build(host: &Host) -> Vec<Box<dyn Probe>> {
    build_for(host, &[])
}

/// The same with the files and directories to look for certificates in; the usual ones if there are none.
pub fn build_for(host: &Host, certificates: &[PathBuf]) -> Vec<Box<dyn Probe>> {
    let store = Box::new(journal::MemoryStore::default());
    build_with(host, store, certificates)
}

/// One instance of every probe for an agent that stays, in the order of [`SPECS`]: it keeps how far it read the journal in
/// `state`, a directory that exists.
pub fn build_resident(host: &Host, state: &Path, certificates: &[PathBuf]) -> Vec<Box<dyn Probe>> {
    let store = journal::FileStore::at(state.join("journal.position"));
    build_with(host, Box::new(store), certificates)
}

fn build_with(
    host: &Host,
    store: Box<dyn journal::PositionStore>,
    certificates: &[PathBuf],
) -> Vec<Box<dyn Probe>> {
    // Decided once for both, so that no line of the kernel comes twice or not at all.
    let (kernel_log, journal): (Box<dyn Probe>, journal::JournalLog) =
        if kernel_log::is_readable(host) {
            let ring = kernel_log::KernelLog::new(kernel_log::Trust::KernelOnly);
            (Box::new(ring), journal::JournalLog::new(store))
        } else {
            let stood_in = kernel_log::StoodIn::default();
            (Box::new(stood_in), journal::JournalLog::with_kernel(store))
        };
    vec![
        Box::new(systemd::bus::BusProbe::new()),
        Box::new(systemd::units::UnitsProbe::new()),
        Box::new(kubelet::Kubelet::new()),
        Box::new(runtime::Runtime::new()),
        kernel_log,
        Box::new(journal),
        Box::new(os::probe()),
        // A test keeps the shipped tables right; without tables nothing is called affected.
        Box::new(packages::Packages::new(
            embedded_tables().unwrap_or_default(),
            Box::new(packages::RpmCommand),
        )),
        Box::new(kernel::probe()),
        Box::new(storage::Storage::new()),
        Box::new(certificates::Certificates::new(certificates)),
        Box::new(headroom::probe()),
        Box::new(headroom::inotify::probe()),
        Box::new(slices::probe()),
    ]
}

/// All signals of this build.
pub fn catalogue() -> Catalogue {
    let probes: Vec<ProbeKeys> = SPECS
        .iter()
        .copied()
        .chain([&node_status::SPEC])
        .map(|spec| ProbeKeys {
            probe: spec.name,
            period: spec.period,
            keys: spec.keys,
        })
        .collect();
    Catalogue::of(&probes)
}
