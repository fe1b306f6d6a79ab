//! `host::systemd`, `host::command` and the probes of systemd, against fakes and a real bus daemon.

mod client;
mod fake;
mod wire;
