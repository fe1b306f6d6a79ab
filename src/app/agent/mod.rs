//! The agent's process: probes -> engine -> audit, executor and pages, wired once and supervised in one place.

mod boot;
mod by_hand;
mod cluster;
#[cfg(test)]
mod cluster_tests;
mod core;
mod face;
#[cfg(test)]
mod idle_tests;
mod instance;
mod keeping;
#[cfg(test)]
mod ledger_tests;
mod oracle;
mod process;
mod queue;
mod reporter;
mod runs;
mod scribe;
mod server;
mod settings;
mod sight;
mod store;
mod told;

pub use by_hand::run as run_by_hand;
pub use face::{Control, ControlAnswer};
pub use process::run;
