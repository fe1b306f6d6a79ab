//! The commands, one file each: plain functions over parsed arguments that write to a [`Streams`] and return an exit code.

pub mod audit;
pub mod playbook;
mod streams;

pub use streams::Streams;
