//! systemd over D-Bus: a small client of our own that speaks to the system bus and to PID 1's private socket.
//!
//! Own, because `zbus` refuses every answer of PID 1 on its private socket, and because a deadline has to span connect,
//! authentication and call. Header and framing are ours (`message`), bodies are `zvariant`'s.
//!
//! | file | what it is |
//! |---|---|
//! | `port` | where the two sockets are, and how to open one |
//! | `handshake` | connecting and the greeting |
//! | `connection` | calls out, answers in |
//! | `line` | a way that is kept open, or waited for, between calls |
//! | `calls` | one function a method |
//! | `unit` | state of a unit, jobs |
//! | `reexec` | making PID 1 execute itself anew |
//! | `message` | bytes of the protocol |

mod calls;
mod connection;
mod error;
mod handshake;
mod line;
mod message;
#[cfg(test)]
mod message_tests;
mod port;
mod reexec;
mod unit;

pub use calls::{Job, ListedUnit, SERVICE, Settings, UNIT, UnitVerb, is_from_systemd, property};
pub use connection::{BUS_DAEMON, Connection, Pending, Reply, SYSTEMD};
pub use error::{BusError, Phase};
pub use handshake::{Handshake, Route};
pub use line::Line;
pub use message::{Body, Call, MAX_MESSAGE_BYTES, Malformed};
pub use port::Systemd;
pub use reexec::{Reexecuted, TerminateError, terminate_pid1};
pub use unit::{Exit, UnitState, monotonic, unit_path};
