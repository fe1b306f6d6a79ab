//! The composition root: command line, configuration, wiring, supervision. It sees all, and nobody sees it.

pub mod commands;
mod config;
mod exit;
pub mod playbooks;

pub use config::Config;
pub use exit::Exit;
