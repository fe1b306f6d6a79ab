//! `host::systemd`, `host::command` and the probes of systemd, against fakes and a real bus daemon.

mod client;
mod daemon;
mod fake;
mod probe;
mod real;
mod wire;
