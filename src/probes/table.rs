//! The table of probes, in the order in which pages list them.

use super::{Probe, ProbeSpec};
use super::{kernel, kernel_log, os, packages, storage, systemd};
use crate::host::Host;
use crate::signal::{Catalogue, ProbeKeys};
use crate::versions::embedded_tables;

/// Every probe of this build.
pub const SPECS: &[&ProbeSpec] = &[
    &systemd::bus::SPEC,
    &systemd::units::SPEC,
    &kernel_log::SPEC,
    &os::SPEC,
    &packages::SPEC,
    &kernel::SPEC,
    &storage::SPEC,
];

/// One instance of every probe for this machine, in the order of [`SPECS`].
pub fn build(_host: &Host) -> Vec<Box<dyn Probe>> {
    vec![
        Box::new(systemd::bus::BusProbe::new()),
        Box::new(systemd::units::UnitsProbe::new()),
        Box::new(kernel_log::KernelLog::new(kernel_log::Trust::KernelOnly)),
        Box::new(os::OperatingSystem::new()),
        // A test keeps the shipped tables right; without tables nothing is called affected.
        Box::new(packages::Packages::new(
            embedded_tables().unwrap_or_default(),
            None,
        )),
        Box::new(kernel::KernelSettings::new()),
        Box::new(storage::Storage::new()),
    ]
}

/// All signals of this build.
pub fn catalogue() -> Catalogue {
    let probes: Vec<ProbeKeys> = SPECS
        .iter()
        .map(|spec| ProbeKeys {
            probe: spec.name,
            period: spec.period,
            keys: spec.keys,
        })
        .collect();
    Catalogue::of(&probes)
}
