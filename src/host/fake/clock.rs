//! Time that a test turns by hand.

use crate::host::BoxFuture;
use crate::host::clock::Clock;
use crate::signal::{Timestamp, Uptime, Wall};
use std::sync::Mutex;
use std::time::Duration;

/// A clock that moves only when somebody sleeps on it or turns it.
#[derive(Debug)]
pub struct HandClock(Mutex<Timestamp>);

impl HandClock {
    /// A clock that shows `seconds` since boot.
    pub fn at(seconds: u64) -> Self {
        Self(Mutex::new(Timestamp {
            uptime: Uptime::new(Duration::from_secs(seconds)),
            wall: Wall(1_764_000_000_000_000),
        }))
    }

    /// Moves both clocks on.
    pub fn turn(&self, span: Duration) {
        let mut now = self.0.lock().expect("no test panics while holding it");
        *now = now.plus(span);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("no test panics while holding it")
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'_, ()> {
        self.turn(span);
        // One yield, so that whatever else is ready gets its turn as in a real wait.
        Box::pin(tokio::task::yield_now())
    }
}
