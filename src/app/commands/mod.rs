//! One file per command (or family of commands): typed request in, text and exit code out.

pub mod check;
pub mod remote;
pub mod signature;
