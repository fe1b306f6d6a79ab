//! The ports again, without a machine behind them, and able to fail on request. Only tests see them.

mod clock;
mod cluster;

pub use clock::HandClock;
pub use cluster::{Failure, FakeCluster};
