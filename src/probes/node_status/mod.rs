//! The own Node as the API server shows it. Not a probe that runs: the watch of the agent in a cluster fills it, and without
//! a cluster its signals are unknown.

mod signals;

pub use signals::READY;

use super::ProbeSpec;
use crate::signal::{Batch, MissingReason};
use std::time::Duration;

/// Named by batches and metrics. It is not in the table of probes: nothing calls it.
pub const SPEC: ProbeSpec = ProbeSpec {
    name: "node_status",
    title: "own Node",
    // The server's bookmarks, by which a quiet watch shows that it lives.
    period: Duration::from_secs(60),
    timeout: Duration::from_secs(60),
    keys: &[&READY.spec],
    cost: "one watch request in 30 to 60 min; no CPU while the Node does not change",
};

/// What an event of the watch says: whether the Node is ready, as far as the kubelet said so.
pub fn batch(ready: Option<bool>) -> Batch {
    let mut batch = Batch::of(SPEC.name);
    match ready {
        Some(ready) => batch.set(&READY, ready),
        None => batch.missing(&READY.spec, MissingReason::NotYet),
    }
    batch
}
