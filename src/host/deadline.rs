//! One limit that spans several waits.

use super::clock;
use crate::signal::Uptime;
use std::future::Future;
use std::time::Duration;

/// The moment by which everything has to be done, so that connect, authentication and call share one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    began: Uptime,
    ends: Uptime,
}

/// The deadline passed before the future was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not done within {} ms", .after.as_millis())]
pub struct Elapsed {
    /// How long was waited in all, from the start of the deadline.
    pub after: Duration,
}

impl Deadline {
    /// A deadline that begins now.
    pub fn after(span: Duration) -> Self {
        let began = clock::now().uptime;
        Self {
            began,
            ends: began.plus(span),
        }
    }

    /// When it began.
    pub fn began(self) -> Uptime {
        self.began
    }

    /// What is left of it; zero when it has passed.
    pub fn remaining(self) -> Duration {
        self.ends.since(clock::now().uptime)
    }

    /// How long it is in all.
    pub fn span(self) -> Duration {
        self.ends.since(self.began)
    }

    /// A new deadline that begins now and ends after `share`, or with this one if that is earlier.
    pub fn at_most(self, share: Duration) -> Self {
        Self::after(share.min(self.remaining()))
    }

    /// Waits for `future`, at the longest until the deadline.
    ///
    /// *Errors*: [`Elapsed`] when time is up; the future is dropped then.
    pub async fn bound<F: Future>(self, future: F) -> Result<F::Output, Elapsed> {
        tokio::time::timeout(self.remaining(), future)
            .await
            .map_err(|_elapsed| Elapsed { after: self.span() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_passed_deadline_still_takes_what_is_ready_and_waits_for_nothing_else() {
        let deadline = Deadline::after(Duration::ZERO);
        assert_eq!(deadline.bound(std::future::ready(7)).await, Ok(7));
        assert!(deadline.bound(std::future::pending::<()>()).await.is_err());
        assert_eq!(
            deadline.at_most(Duration::from_secs(9)).span(),
            Duration::ZERO
        );
    }
}
