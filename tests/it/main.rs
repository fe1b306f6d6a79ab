//! Tests.

mod systemd;
