//! Signals of the journal.

use crate::signal::{Key, Unit};
use std::time::Duration;

/// Fifteen runs of the probe: a long journal may take a few to read.
const MAX_AGE: Duration = Duration::from_secs(30);

/// Lines that were lost.
pub const GAPS: Key<i64> = Key::new(
    "journal.gaps",
    Unit::None,
    MAX_AGE,
    "Journal lines that were dropped by journald, deleted before the agent read them, or unreadable, since it started.",
    "the journal files: sequence numbers, and journald's own N_DROPPED",
);

/// Lines whose sender is not believed.
pub const UNTRUSTED: Key<i64> = Key::new(
    "journal.untrusted",
    Unit::None,
    MAX_AGE,
    "Journal lines of containers, users and unknown senders, which no rule gets to see, since the agent started.",
    "the journal's trusted fields _SYSTEMD_CGROUP, _SYSTEMD_UNIT, _PID and _UID",
);
