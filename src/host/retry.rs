//! The one place where calls are repeated, and where waits are spread over time.

use super::clock;
use super::cluster::{ApiError, Call, Cluster};
use backon::{BackoffBuilder, ExponentialBuilder};
use serde_json::Value;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// How long a watch stays open at least; up to as much again is added, so that agents do not reconnect together.
pub const WATCH_FOR: Duration = Duration::from_secs(1800);
/// How long a loop that never gives up waits after a failure, doubled each time up to [`MAX_REST`].
pub const MIN_REST: Duration = Duration::from_secs(2);
/// See [`MIN_REST`].
pub const MAX_REST: Duration = Duration::from_secs(120);
/// The rests of a loop that never gives up.
#[derive(Debug, Clone, Copy)]
pub struct Rests(Duration);

impl Default for Rests {
    fn default() -> Self {
        Self(MIN_REST)
    }
}

impl Rests {
    /// What was tried went well.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// How long to rest now: twice as long as last time, what the server asked for if that is longer, and up to as much again.
    /// A server that asks for nothing, or for a second each time, is not asked more often for that. `draw`: from 0 up to 1,
    /// another one each time.
    pub fn next(&mut self, asked: Option<Duration>, draw: f64) -> Duration {
        let rest = asked.unwrap_or_default().max(self.0);
        self.0 = self.0.saturating_mul(2).min(MAX_REST);
        rest.saturating_add(rest.mul_f64(draw.clamp(0.0, 1.0)))
    }
}

/// The wait before the first repetition of a call.
pub const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait between two tries, and the most that a server's Retry-After is obeyed for.
pub const MAX_WAIT: Duration = Duration::from_secs(30);
/// How often a call is repeated. Whoever cares longer calls again with fresher data.
pub const MAX_TRIES: usize = 4;

/// Sends a call that may be repeated without harm (a read, or a patch that says the whole of what it is about): 429, 5xx
/// and silence are waited out, and a Retry-After is honoured. Never for lease writes.
///
/// # Errors
/// The first final refusal, or the last of the errors.
pub async fn persist(cluster: &dyn Cluster, call: Call) -> Result<Value, ApiError> {
    let mut waits = ExponentialBuilder::default()
        .with_min_delay(FIRST_WAIT)
        .with_max_delay(MAX_WAIT)
        .with_max_times(MAX_TRIES)
        .build();
    loop {
        let error = match cluster.call(call.clone()).await {
            Ok(object) => return Ok(object),
            Err(error) => error,
        };
        let Some(wait) = waits.next().filter(|_| !error.is_final()) else {
            return Err(error);
        };
        let wait = error.retry_after().unwrap_or(wait).min(MAX_WAIT);
        // On top, never less than what the server asked for.
        let wait = wait.saturating_add(spread(&call.what(), wait / 2));
        tracing::debug!(%error, ?wait, "trying again");
        tokio::time::sleep(wait).await;
    }
}

/// A span from nothing up to `most`, different on every call and on every node: what many agents do at the same moment is
/// spread out by it. Not for secrets.
pub fn spread(salt: &str, most: Duration) -> Duration {
    most.mul_f64(share(salt))
}

/// A number from 0 up to 1, different on every call and on every node. Not for secrets.
pub fn share(salt: &str) -> f64 {
    let mut hasher = DefaultHasher::new();
    salt.hash(&mut hasher);
    std::process::id().hash(&mut hasher);
    clock::now().uptime.since_boot().hash(&mut hasher);
    (hasher.finish() % 10_000) as f64 / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_asks_for_little_is_not_asked_more_often() {
        // Retry-After: 0 was a loop without any rest, and 1 one without end at a second's pace.
        for asked in [None, Some(0), Some(1), Some(60)] {
            let asked = asked.map(Duration::from_secs);
            let mut rests = Rests::default();
            let taken: Vec<u64> = (0..8).map(|_| rests.next(asked, 0.0).as_secs()).collect();
            let least = asked.unwrap_or_default().as_secs();
            let own = [2, 4, 8, 16, 32, 64, 120, 120];
            assert_eq!(taken, own.map(|rest| least.max(rest)), "{asked:?}");
        }
    }
}
