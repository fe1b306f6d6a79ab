//! Real injections: each breaks one thing on a node for real and gives a guard; dropping the guard, or calling its
//! `release`, takes the fault away again.
//!
//! | file | fault |
//! |---|---|
//! | `bus_connection` | PID 1's connection to the bus: muted |
//! | `bus_end` | the same, shut down |
//! | `bus_policy` | the bus daemon denies PID 1's replies |
//! | `process` | a process stopped, or stopped in pulses (slow, but alive) |
//! | `units` | dbus stopped or restarted, a unit in a crash loop |
//! | `sysctl` | a setting changed |
//! | `filesystem` | an ext4 with a real error, a frozen one with a writer hanging on it, a full one |
//! | `cookie` | PID 1's counter of bus messages near its end |
//!
//! Not here: the clock set forward and back. CLOCK_REALTIME is the machine's, no namespace covers it, and the lab must not
//! set the machine's. The engine's simulated week jumps it instead; a real jump needs a node with a kernel of its own.

pub mod bus_connection;
pub mod bus_end;
pub mod bus_policy;
pub mod cookie;
pub mod filesystem;
pub mod process;
pub mod sysctl;
pub mod units;
