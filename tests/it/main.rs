//! Tests.

mod sources;
mod systemd;
