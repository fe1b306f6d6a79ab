//! What the engine needs to know of playbooks.

use crate::policy::{Disruption, PlaybookRef};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A playbook, as far as decisions are concerned.
#[derive(Debug, Clone, PartialEq)]
pub struct Remedy {
    /// Which playbook, exactly.
    pub playbook: PlaybookRef,
    /// What it does to the node's work.
    pub disruption: Disruption,
    /// Its own limit of attempts in its span.
    pub max_attempts: u32,
    /// The span over which it counts attempts.
    pub attempts_span: Duration,
    /// How long it wants to wait after an attempt.
    pub cooldown: Duration,
    /// Who vouches for it; `None`: nobody, so it never runs.
    pub voucher: Option<Arc<str>>,
}

/// All playbooks by id.
pub type Remedies = BTreeMap<Arc<str>, Remedy>;
