//! Tests.
mod node;
