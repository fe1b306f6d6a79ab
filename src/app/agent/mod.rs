//! The agent's process: probes -> engine -> audit, executor and pages, wired once and supervised in one place.

mod boot;
mod core;
mod face;
mod oracle;
mod process;
mod runs;
mod scribe;
mod server;
mod sight;
mod store;

pub use face::{Control, ControlAnswer};
pub use process::run;
