//! A command on the host, run as a transient systemd service.
//!
//! It gets its own cgroup, time limit and journal, it outlives the agent (which the step may be restarting), and it needs
//! neither a shell nor the host's namespaces. Its unit name is derived by the caller from run and step, so that after a crash it
//! is found again and never started twice.
//!
//! Life of a command: [`start`] (again after a crash: the name decides), [`wait`] or [`state`], [`output`], [`remove`].

mod error;
mod model;
mod output;
mod run;

pub use error::CommandError;
pub use model::{CommandEnd, CommandOutput, CommandState, HostCommand, Started};
pub use output::{MAX_OUTPUT_BYTES, output};
pub use run::{remove, start, state, wait};
