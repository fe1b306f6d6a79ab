//! How long pods wait for their cgroup. Pure.

use crate::signal::Uptime;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A kubelet makes a pod's cgroup within a second of taking it on, and within a few on a loaded node.
const PATIENCE: Duration = Duration::from_secs(15);

/// A directory that a removed pod left behind looks like a pod that waits for ever (kubernetes#60987). What began to wait
/// long ago is no evidence of what is wrong now.
const LEFTOVER: Duration = Duration::from_secs(3_600);

/// Since when each waiting pod was seen to wait.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    since: BTreeMap<Arc<str>, Uptime>,
}

/// What the waits come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Waits {
    /// Pods that wait for too long.
    pub count: i64,
    /// How long the first of these has waited.
    pub oldest: Duration,
}

impl Waiting {
    /// Notes which pods wait now.
    pub(super) fn note(&mut self, now: Uptime, pods: &BTreeSet<Arc<str>>) -> Waits {
        self.since.retain(|pod, _| pods.contains(pod));
        let mut waits = Waits::default();
        for pod in pods {
            let since = *self.since.entry(pod.clone()).or_insert(now);
            let age = now.since(since);
            if (PATIENCE..LEFTOVER).contains(&age) {
                waits.count += 1;
                waits.oldest = waits.oldest.max(age);
            }
        }
        waits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_counts_once_it_waited_too_long_and_no_more_when_it_began_or_is_a_leftover() {
        let at = |seconds| Uptime::new(Duration::from_secs(seconds));
        let pods = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
        let mut waiting = Waiting::default();
        for (second, names, count, oldest) in [
            (100, vec!["a"], 0, 0),
            (114, vec!["a"], 0, 0),
            (115, vec!["a", "b"], 1, 15),
            (140, vec!["a", "b"], 2, 40),
            (145, vec!["b"], 1, 30),
            // It began and waits anew.
            (150, vec!["a", "b"], 1, 35),
            (3_714, vec!["a", "b"], 2, 3_599),
            (3_715, vec!["a", "b"], 1, 3_565),
            (3_760, vec!["a", "b"], 0, 0),
            (3_800, vec![], 0, 0),
        ] {
            let waits = waiting.note(at(second), &pods(&names));
            let oldest = Duration::from_secs(oldest);
            assert_eq!(waits, Waits { count, oldest }, "at {second} s");
        }
        assert_eq!(waiting, Waiting::default());
    }
}
