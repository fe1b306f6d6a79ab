//! The table of probes, in the order in which pages list them.

use super::{Probe, ProbeSpec};
use crate::host::Host;
use crate::signal::{Catalogue, ProbeKeys};

/// Every probe of this build.
pub const SPECS: &[&ProbeSpec] = &[];

/// One instance of every probe for this machine, in the order of [`SPECS`].
pub fn build(_host: &Host) -> Vec<Box<dyn Probe>> {
    Vec::new()
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
