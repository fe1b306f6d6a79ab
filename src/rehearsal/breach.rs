//! What the jury found.

use std::fmt;
use std::time::Duration;

/// What must hold did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// Virtual time since the beginning.
    pub at: Duration,
    /// The node.
    pub node: String,
    /// The invariant's number in safety.md: `I5`.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at.as_secs();
        let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
        let (node, invariant, what) = (&self.node, self.invariant, &self.what);
        write!(
            f,
            "{invariant} broken at {hours:02}:{minutes:02}:{:02} on {node}: {what}",
            seconds % 60
        )
    }
}
