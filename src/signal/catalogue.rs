//! All signals that this build of the agent can read: rules are checked against it.

use super::key::KeySpec;
use std::collections::BTreeMap;
use std::time::Duration;

/// The signals of one probe.
#[derive(Debug, Clone, Copy)]
pub struct ProbeKeys {
    /// The probe's name.
    pub probe: &'static str,
    /// How often the probe runs.
    pub period: Duration,
    /// Its signals.
    pub keys: &'static [&'static KeySpec],
}

/// A signal and the probe that reads it.
#[derive(Debug, Clone, Copy)]
pub struct KeyEntry {
    /// The signal.
    pub spec: &'static KeySpec,
    /// Its probe's name.
    pub probe: &'static str,
    /// How often that probe runs.
    pub period: Duration,
}

/// All signals by name.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    entries: BTreeMap<&'static str, KeyEntry>,
}

impl Catalogue {
    /// The catalogue of these probes. A name that two probes declare is kept once; the test `tidy` refuses doubles.
    pub fn of(probes: &[ProbeKeys]) -> Self {
        let mut entries = BTreeMap::new();
        for probe in probes {
            for spec in probe.keys {
                entries.insert(
                    spec.name,
                    KeyEntry {
                        spec,
                        probe: probe.probe,
                        period: probe.period,
                    },
                );
            }
        }
        Self { entries }
    }

    /// The signal called `name`.
    pub fn get(&self, name: &str) -> Option<&KeyEntry> {
        self.entries.get(name)
    }

    /// All signals in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &KeyEntry> {
        self.entries.values()
    }
}
