//! systemd: does it answer, by which way, and what does it say about its units.
//!
//! | file | what it is |
//! |---|---|
//! | `signals` | the keys |
//! | `bus` | the probe `systemd-bus` |
//! | `answers` | its answers as signals, pure |
//! | `serial` | PID 1's message counter, pure |
//! | `units` | the probe `systemd-units` |
//! | `watch` | which units are worth watching, pure |
//! | `pid1` | whether PID 1 runs what is on disk, pure |

mod answers;
pub(crate) mod bus;
mod pid1;
mod serial;
pub mod signals;
pub(crate) mod units;
mod watch;
