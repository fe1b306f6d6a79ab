//! One file per command (or family of commands): typed request in, text and exit code out.

pub mod audit;
pub mod check;
mod files;
pub mod metrics;
pub mod playbook;
pub mod remote;
pub mod signature;
pub mod simulate;
pub mod slot;
mod streams;

pub use streams::Streams;

#[cfg(test)]
mod tests;
