//! The gates, in the order in which people read their answers.

use super::clearance::Gate;

/// Every gate.
pub fn all() -> Vec<Box<dyn Gate>> {
    Vec::new()
}
