//! Signals of the container runtime.

use crate::signal::{Key, Unit};
use std::sync::Arc;
use std::time::Duration;

/// Three runs of the probe.
const MAX_AGE: Duration = Duration::from_secs(45);

/// Whether it answers.
pub const ANSWERS: Key<bool> = Key::<bool>::new(
    "runtime.answers",
    Unit::None,
    MAX_AGE,
    "The container runtime answers calls on its socket; an error is an answer, too.",
    "CRI: RuntimeService.Version and RuntimeService.Status",
)
.per("unit");

/// How fast it answers.
pub const LATENCY: Key<Duration> = Key::<Duration>::new(
    "runtime.latency",
    Unit::Seconds,
    MAX_AGE,
    "Time until the container runtime had answered both calls, connecting included.",
    "CRI: RuntimeService.Version and RuntimeService.Status",
)
.per("unit");

/// How long its answer is waited for.
pub const DEADLINE: Key<Duration> = Key::<Duration>::new(
    "runtime.deadline",
    Unit::Seconds,
    MAX_AGE,
    "How long the container runtime's answers are waited for, connecting included.",
    "a constant of the agent",
)
.per("unit");

/// How it failed to answer, or what error it answered with.
pub const ERROR: Key<Arc<str>> = Key::<Arc<str>>::new(
    "runtime.error",
    Unit::None,
    MAX_AGE,
    "Why the container runtime gave no good answer (late, refused, closed, status-14 ...); empty where it did.",
    "CRI: RuntimeService.Version and RuntimeService.Status",
)
.per("unit");

/// Whether it can run containers.
pub const READY: Key<bool> = Key::<bool>::new(
    "runtime.ready",
    Unit::None,
    MAX_AGE,
    "The container runtime says that it can run containers.",
    "CRI: RuntimeService.Status, condition RuntimeReady",
)
.per("unit");

/// Whether it can give pods a network.
pub const NETWORK_READY: Key<bool> = Key::<bool>::new(
    "runtime.network_ready",
    Unit::None,
    MAX_AGE,
    "The container runtime says that the pod network is configured.",
    "CRI: RuntimeService.Status, condition NetworkReady",
)
.per("unit");

/// What it is.
pub const VERSION: Key<Arc<str>> = Key::<Arc<str>>::new(
    "runtime.version",
    Unit::None,
    MAX_AGE,
    "Name and version of the container runtime.",
    "CRI: RuntimeService.Version",
)
.per("unit");
