//! Which units are worth watching, and how old jobs are. Pure.

use crate::host::systemd::{Job, ListedUnit};
use crate::signal::Uptime;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Services that a node cannot do without, watched also while they are well.
const ESSENTIAL: &[&str] = &[
    "kubelet.service",
    "containerd.service",
    "crio.service",
    "cri-o.service",
    "docker.service",
    "cri-docker.service",
    "k3s.service",
    "k3s-agent.service",
    "rke2-server.service",
    "rke2-agent.service",
    "etcd.service",
    "kube-proxy.service",
    "dbus.service",
    "dbus-broker.service",
    "systemd-journald.service",
    "systemd-logind.service",
    "systemd-udevd.service",
    "systemd-networkd.service",
    "systemd-resolved.service",
    "NetworkManager.service",
    "chrony.service",
    "chronyd.service",
    "systemd-timesyncd.service",
    "ntp.service",
    "ntpd.service",
    "ntpsec.service",
    "ssh.service",
    "sshd.service",
];

/// How many units are reported at most; four signals each, of 4,096 that the timeline holds.
pub(super) const MAX_WATCHED: usize = 256;

/// How many of the other services are asked in each run whether they were restarted. 60 services take five runs, 75 s.
const ASKED_IN_TURN: usize = 12;

/// The units that one run looks at, in the order in which they matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Choice {
    /// Reported whatever they answer: essential, failed, or being started again and again.
    pub reported: Vec<ListedUnit>,
    /// Asked, and reported only if they were restarted.
    pub asked: Vec<ListedUnit>,
    /// Some that should be reported are not, because there are too many.
    pub is_cut: bool,
}

/// Remembers who was restarted, and whose turn it is to be asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch {
    restarted: BTreeSet<String>,
    last_asked: Option<String>,
}

impl Watch {
    /// Picks the units of this run. The first run asks all services, later ones some in turn.
    pub(super) fn choose(&mut self, services: &[ListedUnit], failed: &[ListedUnit]) -> Choice {
        let mut reported = BTreeMap::new();
        let mut others = BTreeMap::new();
        for unit in services.iter().chain(failed) {
            if is_absent(unit) {
                continue;
            }
            let name = unit.name.as_str();
            if ESSENTIAL.contains(&name) || is_troubled(unit) {
                reported.insert((!ESSENTIAL.contains(&name), name), unit);
            } else {
                others.insert(name, unit);
            }
        }
        let is_cut = reported.len() > MAX_WATCHED;
        let reported: Vec<_> = reported.into_values().take(MAX_WATCHED).cloned().collect();
        let asked = self.in_turn(&others);
        let room = MAX_WATCHED.saturating_sub(reported.len());
        Choice {
            is_cut: is_cut || asked.len() > room,
            reported,
            asked: asked.into_iter().take(room).collect(),
        }
    }

    fn in_turn(&mut self, others: &BTreeMap<&str, &ListedUnit>) -> Vec<ListedUnit> {
        let (known, unknown): (Vec<_>, Vec<_>) = others
            .values()
            .copied()
            .filter(|unit| unit.active == "active")
            .partition(|unit| self.restarted.contains(&unit.name));
        let turn: Vec<&ListedUnit> = match &self.last_asked {
            None => unknown,
            Some(last) => {
                let (before, after): (Vec<&ListedUnit>, Vec<&ListedUnit>) =
                    unknown.into_iter().partition(|unit| unit.name <= *last);
                let cyclic = after.into_iter().chain(before);
                cyclic.take(ASKED_IN_TURN).collect()
            }
        };
        if let Some(last) = turn.last() {
            self.last_asked = Some(last.name.clone());
        }
        known.into_iter().chain(turn).cloned().collect()
    }

    /// Learns how often a unit was restarted; answers whether it is worth reporting for that alone.
    pub(super) fn learn(&mut self, unit: &str, restarts: Option<u32>) -> bool {
        if restarts.is_some_and(|count| count > 0) {
            if self.restarted.len() < MAX_WATCHED {
                self.restarted.insert(unit.to_owned());
            }
            true
        } else {
            self.restarted.remove(unit);
            false
        }
    }
}

/// Named by another unit and not there, or masked by an administrator.
fn is_absent(unit: &ListedUnit) -> bool {
    matches!(unit.load.as_str(), "not-found" | "masked")
}

fn is_troubled(unit: &ListedUnit) -> bool {
    unit.active == "failed" || (unit.active == "activating" && unit.name.ends_with(".service"))
}

/// Since when jobs have been seen: PID 1 does not tell when it queued them.
#[derive(Debug, Clone, Default)]
pub(super) struct JobAges {
    seen: BTreeMap<u32, Uptime>,
}

impl JobAges {
    /// Notes the present queue; answers how old the oldest job is.
    pub(super) fn note(&mut self, now: Uptime, jobs: &[Job]) -> Duration {
        let ids: BTreeSet<u32> = jobs.iter().map(|job| job.id).collect();
        self.seen.retain(|id, _| ids.contains(id));
        for id in ids {
            self.seen.entry(id).or_insert(now);
        }
        let oldest = self.seen.values().min();
        oldest.map_or(Duration::ZERO, |first| now.since(*first))
    }
}
