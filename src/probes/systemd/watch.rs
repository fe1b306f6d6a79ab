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

/// Remembers who was in trouble, and whose turn it is to be asked.
///
/// A service that was in trouble once is reported for as long as it stays loaded: that it is well again has to be seen before
/// a case can close, and a unit that merely vanished from the list says nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch {
    troubled: BTreeSet<String>,
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
            if is_troubled(unit) {
                self.remember(&unit.name);
            }
            let name = unit.name.as_str();
            let is_essential = ESSENTIAL.contains(&name);
            if is_essential || is_troubled(unit) || self.troubled.contains(name) {
                reported.insert((!is_essential, name), unit);
            } else {
                others.insert(name, unit);
            }
        }
        self.troubled
            .retain(|name| reported.contains_key(&(!ESSENTIAL.contains(&name.as_str()), name)));
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
        let active = others
            .values()
            .copied()
            .filter(|unit| unit.active == "active");
        let turn: Vec<&ListedUnit> = match &self.last_asked {
            None => active.collect(),
            Some(last) => {
                let (before, after): (Vec<&ListedUnit>, Vec<&ListedUnit>) =
                    active.partition(|unit| unit.name <= *last);
                let cyclic = after.into_iter().chain(before);
                cyclic.take(ASKED_IN_TURN).collect()
            }
        };
        if let Some(last) = turn.last() {
            self.last_asked = Some(last.name.clone());
        }
        turn.into_iter().cloned().collect()
    }

    /// Learns how often a unit was restarted; answers whether it is worth reporting for that alone.
    pub(super) fn learn(&mut self, unit: &str, restarts: Option<u32>) -> bool {
        let is_restarted = restarts.is_some_and(|count| count > 0);
        if is_restarted {
            self.remember(unit);
        }
        is_restarted
    }

    fn remember(&mut self, unit: &str) {
        if self.troubled.len() < MAX_WATCHED {
            self.troubled.insert(unit.to_owned());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str, load: &str, active: &str) -> ListedUnit {
        ListedUnit {
            name: name.to_owned(),
            load: load.to_owned(),
            active: active.to_owned(),
            sub: String::new(),
        }
    }

    fn names(units: &[ListedUnit]) -> Vec<&str> {
        units.iter().map(|unit| unit.name.as_str()).collect()
    }

    #[test]
    fn units_that_are_only_named_by_others_or_masked_are_left_out() {
        let services = [
            unit("kubelet.service", "not-found", "inactive"),
            unit("chrony.service", "masked", "inactive"),
            unit("ssh.service", "loaded", "inactive"),
        ];
        let choice = Watch::default().choose(&services, &[]);
        assert_eq!(names(&choice.reported), ["ssh.service"]);
    }

    #[test]
    fn after_the_first_run_the_others_are_asked_in_turn_and_nobody_is_left_out() {
        let services: Vec<ListedUnit> = (0..30)
            .map(|number| unit(&format!("a{number:02}.service"), "loaded", "active"))
            .collect();
        let mut watch = Watch::default();
        assert_eq!(watch.choose(&services, &[]).asked.len(), 30);
        let mut asked = BTreeSet::new();
        for _ in 0..3 {
            let choice = watch.choose(&services, &[]);
            assert_eq!(choice.asked.len(), ASKED_IN_TURN);
            asked.extend(choice.asked.into_iter().map(|unit| unit.name));
        }
        assert_eq!(asked.len(), 30);
    }

    #[test]
    fn a_unit_that_was_in_trouble_is_reported_until_it_is_no_longer_loaded() {
        let mut services: Vec<ListedUnit> = (0..40)
            .map(|number| unit(&format!("a{number:02}.service"), "loaded", "active"))
            .collect();
        let mut watch = Watch::default();
        watch.choose(&services, &[unit("b.service", "loaded", "failed")]);
        assert!(watch.learn("a07.service", Some(2)));
        services.push(unit("b.service", "loaded", "active"));
        for restarts in [Some(2), Some(0), None] {
            let choice = watch.choose(&services, &[]);
            assert_eq!(names(&choice.reported), ["a07.service", "b.service"]);
            watch.learn("a07.service", restarts);
        }
        services.retain(|unit| unit.name != "a07.service");
        watch.choose(&services, &[]);
        services.push(unit("a07.service", "loaded", "active"));
        let choice = watch.choose(&services, &[]);
        assert_eq!(names(&choice.reported), ["b.service"]);
    }

    #[test]
    fn the_memory_of_trouble_is_bounded() {
        let services: Vec<ListedUnit> = (0..2_000)
            .map(|number| unit(&format!("a{number}.service"), "loaded", "failed"))
            .collect();
        let mut watch = Watch::default();
        let choice = watch.choose(&services, &[]);
        assert!(choice.is_cut);
        assert_eq!(choice.reported.len(), MAX_WATCHED);
        assert!(watch.troubled.len() <= MAX_WATCHED);
    }

    #[test]
    fn the_oldest_job_counts_and_an_empty_queue_is_zero() {
        let job = |id| Job {
            id,
            unit: "a.service".to_owned(),
            kind: "start".to_owned(),
            state: "running".to_owned(),
        };
        let at = |seconds| Uptime::new(Duration::from_secs(seconds));
        let mut ages = JobAges::default();
        assert_eq!(ages.note(at(10), &[]), Duration::ZERO);
        assert_eq!(ages.note(at(20), &[job(1)]), Duration::ZERO);
        assert_eq!(
            ages.note(at(50), &[job(1), job(2)]),
            Duration::from_secs(30)
        );
        assert_eq!(ages.note(at(60), &[job(2)]), Duration::from_secs(10));
    }
}
