//! How long news for the API server may rest. Pure: what 5,000 nodes that fall sick together send each minute is arithmetic,
//! and `nodemend simulate manifests/scenarios/all-sick.yaml` adds it up.
//!
//! | news | told |
//! |---|---|
//! | a condition flips, a case opens or closes (condition and annotations, one patch) | at once; more within 5 s of it together |
//! | events of runs, the call for a person, a node that mends: a slot bounds how many nodes tell it | at once |
//! | events of cases, why a node waits: may come from every node in the same second | within 0.6 s x agents, at random |
//! | a condition that stands | every 15 min and up to 0.6 s x agents more |

use crate::signal::Uptime;
use std::time::Duration;

/// Changes within this time after a write are written together; a condition waits for no other writes than those of conditions.
pub const COALESCE: Duration = Duration::from_secs(5);
/// How often a condition that stands is written again at the most: with a watch that is opened twice an hour, a node with a
/// standing problem stays within the 6 requests an hour that an idle one may take.
pub const HEARTBEAT: Duration = Duration::from_secs(900);
/// A write of something else carries the standing conditions along, unless they were written within this time: heartbeats come
/// not more often than every 5 min.
pub const MIN_HEARTBEAT: Duration = Duration::from_secs(300);

/// The size of cluster that the figures are made for; also what an agent assumes that does not know how many there are.
const LARGE: u64 = 5_000;
/// The longest rest of quiet news in a cluster of [`LARGE`]. 5,000 events and 5,000 notes in these 43 minutes are 2 x 118 a
/// minute; later looks (up to 430) and watches (111) leave about as much below 1,000.
const QUIET: Duration = Duration::from_secs(3_000);
/// The shortest is this share of it: after the first looks at the slots, which have 7 minutes to themselves.
const QUIET_FROM: f64 = 0.15;

/// How long news rests that may come from every node in the same second. `draw`: from 0 up to 1, another one each time.
pub fn quiet_rest(agents: Option<u64>, draw: f64) -> Duration {
    longest_quiet(agents).mul_f64(QUIET_FROM + (1.0 - QUIET_FROM) * draw.clamp(0.0, 1.0))
}

/// How long a condition that stands rests before it is written again.
pub fn beat_rest(agents: Option<u64>, draw: f64) -> Duration {
    HEARTBEAT.saturating_add(longest_quiet(agents).mul_f64(draw.clamp(0.0, 1.0)))
}

/// When something is told that may rest: drawn once, and counted by how many agents are known of when it is asked. An agent that
/// has just started does not know yet, and must not rest as one of five thousand for that.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moment {
    /// When the rest began.
    pub since: Uptime,
    /// From 0 up to 1.
    pub draw: f64,
}

impl Moment {
    /// The moment, with one of the rests above.
    pub fn of(&self, rest: fn(Option<u64>, f64) -> Duration, agents: Option<u64>) -> Uptime {
        self.since.plus(rest(agents, self.draw))
    }
}

fn longest_quiet(agents: Option<u64>) -> Duration {
    let agents = agents.unwrap_or(LARGE).min(LARGE);
    QUIET.mul_f64(agents as f64 / LARGE as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_cluster_is_told_at_once_and_a_large_one_over_minutes() {
        for (agents, from, to) in [
            (Some(0), 0.0, 0.0),
            (Some(3), 0.27, 1.8),
            (Some(100), 9.0, 60.0),
            (Some(1_000), 90.0, 600.0),
            (Some(5_000), 450.0, 3_000.0),
            (Some(u64::MAX), 450.0, 3_000.0),
            (None, 450.0, 3_000.0),
        ] {
            let rests = [quiet_rest(agents, 0.0), quiet_rest(agents, 1.0)];
            let seconds = rests.map(|rest| rest.as_secs_f64());
            assert!(
                (seconds[0] - from).abs() < 0.001 && (seconds[1] - to).abs() < 0.001,
                "{agents:?}: {rests:?}"
            );
            assert_eq!(beat_rest(agents, 0.0), HEARTBEAT);
            assert_eq!(beat_rest(agents, 1.0), HEARTBEAT + rests[1]);
        }
    }
}
