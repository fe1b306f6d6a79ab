//! Tests.

mod journald;
mod sources;
mod systemd;
