//! Signals of the own Node.

use crate::signal::{Key, Unit};
use std::time::Duration;

/// Whether the Node is ready, with every flip that the watch showed.
pub const READY: Key<bool> = Key::new(
    "node.ready",
    Unit::None,
    // A watch that lives brings a bookmark every minute; after four silent ones it is dead.
    Duration::from_secs(240),
    "Whether the control plane counts this node as ready; in a cluster only.",
    "API server: watch of the own Node, status.conditions[type=Ready]",
);
