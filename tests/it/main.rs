//! Tests.

mod metrics;
mod node;
