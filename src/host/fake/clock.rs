//! Time that a test turns by hand.

use crate::host::BoxFuture;
use crate::host::clock::Clock;
use crate::signal::{Timestamp, Uptime, Wall};
use std::sync::Mutex;
use std::time::Duration;

/// What its wall clock shows at first, in microseconds since 1970.
const AT_FIRST: i64 = 1_764_000_000_000_000;

/// A clock that moves only when somebody sleeps on it or turns it.
#[derive(Debug)]
pub struct HandClock(Mutex<Timestamp>);

impl HandClock {
    /// A clock that shows `seconds` since boot.
    pub fn at(seconds: u64) -> Self {
        Self(Mutex::new(Timestamp {
            uptime: Uptime::new(Duration::from_secs(seconds)),
            wall: Wall(AT_FIRST),
        }))
    }

    /// Sets the wall clock this many microseconds off from what it showed at first, as a person or a bad time server does.
    pub fn set_wall_off_by(&self, micros: i64) {
        let mut now = self.0.lock().expect("no test panics while holding it");
        now.wall = Wall(AT_FIRST.saturating_add(micros));
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
