//! nodemend.
pub mod collectors;
pub mod exposition;
pub mod scrape;
