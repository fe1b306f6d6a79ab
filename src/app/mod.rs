//! The composition root: command line, configuration, wiring.

pub mod commands;
pub mod exit;
