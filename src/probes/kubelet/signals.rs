//! Signals of the kubelet.

use crate::signal::{Key, Unit};
use std::sync::Arc;
use std::time::Duration;

/// Six runs of the probe: one that waits for a mute kubelet takes as long as its deadline.
const MAX_AGE: Duration = Duration::from_secs(30);

/// Whether it calls itself healthy.
pub const HEALTHZ_OK: Key<bool> = Key::<bool>::new(
    "kubelet.healthz.ok",
    Unit::None,
    MAX_AGE,
    "The kubelet answers its health check with ok.",
    "GET /healthz where the kubelet was told to answer, else http://127.0.0.1:10248/healthz",
)
.per("unit");

/// How fast it answers.
pub const HEALTHZ_LATENCY: Key<Duration> = Key::<Duration>::new(
    "kubelet.healthz.latency",
    Unit::Seconds,
    MAX_AGE,
    "Time until the kubelet answered its health check, connecting included.",
    "GET /healthz where the kubelet was told to answer, else http://127.0.0.1:10248/healthz",
)
.per("unit");

/// How the health check failed.
pub const HEALTHZ_ERROR: Key<Arc<str>> = Key::<Arc<str>>::new(
    "kubelet.healthz.error",
    Unit::None,
    MAX_AGE,
    "Why the kubelet's health check is not ok (refused, late, closed, status-500 ...); empty where it is.",
    "GET /healthz where the kubelet was told to answer, else http://127.0.0.1:10248/healthz",
)
.per("unit");

/// How many pods it knows.
pub const PODS: Key<i64> = Key::<i64>::new(
    "kubelet.pods",
    Unit::None,
    MAX_AGE,
    "Pods that the kubelet keeps a directory for, ended ones that are not yet removed included.",
    "pods in the kubelet's home (--root-dir), else /var/lib/kubelet/pods",
)
.per("unit");

/// How many of them wait for their cgroup.
pub const PODS_WAITING: Key<i64> = Key::<i64>::new(
    "kubelet.pods.waiting",
    Unit::None,
    MAX_AGE,
    "Pods that the kubelet took on and that have neither a cgroup nor a container after 15 s; those that wait for more than an hour are left out, as leftovers of an earlier kubelet look the same.",
    "pods/*/containers in the kubelet's home and the cgroups below kubepods",
)
.per("unit");

/// How long the oldest of them waits.
pub const PODS_WAITING_OLDEST: Key<Duration> = Key::<Duration>::new(
    "kubelet.pods.waiting.oldest",
    Unit::Seconds,
    MAX_AGE,
    "How long the agent has seen the pod that waits longest for its cgroup do so; 0 where none waits.",
    "pods/*/containers in the kubelet's home and the cgroups below kubepods",
)
.per("unit");
