//! The composition root: command line, configuration, wiring, supervision. It sees all, and nobody sees it.

mod agent;
pub mod cli;
mod clusters;
mod commands;
mod config;
mod dispatch;
mod exit;
mod playbooks;
mod world;

pub use config::Config;
pub use dispatch::dispatch;
pub use exit::Exit;
