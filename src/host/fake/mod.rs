//! The ports again, without a machine behind them, and able to fail on request. Only tests see them.

mod clock;

pub use clock::HandClock;
