//! What the operator set.

use crate::policy::{Disruption, Window};
use std::sync::Arc;
use std::time::Duration;

/// What the operator set, apart from the node's own settings.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Windows in which disruptive runs may start. Empty means always.
    pub windows: Vec<Window>,
    /// The most attempts per signature in the span.
    pub max_attempts: u32,
    /// The span over which attempts are counted.
    pub attempts_span: Duration,
    /// The least time between attempts at the same signature.
    pub cooldown: Duration,
    /// The highest disruption class that this setup can carry out, and why not more.
    pub capable: (Disruption, Arc<str>),
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            windows: Vec::new(),
            // safety.md, I10: at most 3 runs per node and signature in 24 h.
            max_attempts: 3,
            attempts_span: Duration::from_secs(86_400),
            cooldown: Duration::from_secs(600),
            capable: (
                Disruption::Restart,
                Arc::from("draining and rebooting are not built yet"),
            ),
        }
    }
}
