//! Tests.
mod sources;
