//! nodemend.
pub mod collectors;
pub mod exposition;
