//! nodemend: the agent that keeps the nodes of a Kubernetes cluster healthy by itself.
//!
//! # The code, in the order in which data flows
//!
//! ```text
//! probes -> signal -> signatures -> diagnosis -> policy -> lease -> executor -> report
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`document`] | texts that people write -> values, with every error and its place (pure) |
//! | [`probes`] | the machine -> batches of readings and log lines |
//! | [`signal`] | what was seen, kept in a bounded timeline (pure) |
//! | [`versions`] | package versions and which of them are faulty (pure) |
//! | [`signatures`] | rules over signals -> verdicts: present, absent, unknown (pure) |
//! | [`diagnosis`] | verdicts over time -> cases (pure) |
//! | [`policy`] | may we act? All gates are asked; the only maker of `Cleared` (pure) |
//! | [`playbook`] | versioned, signed lists of typed steps (pure) |
//! | [`engine`] | all decisions: `turn(now, input) -> commands` (pure) |
//! | [`lease`] | slots; the only maker of `Permit` |
//! | [`steps`], [`executor`] | what can be done to a machine, and the loop that does it, journal first |
//! | [`report`] | views, audit log, this program's own metrics |
//! | [`simulate`], [`rehearsal`] | one node's life, and whole clusters, in virtual time |
//! | [`collectors`], [`exposition`], [`scrape`] | the node's metrics, as node_exporter names them |
//! | [`host`] | ports to the machine |
//! | [`app`] | command line, configuration, wiring; it sees all, and nobody sees it |
//!
//! # What always holds
//!
//! - No step without a `Permit`, no `Permit` without a `Cleared`, no `Cleared` without every gate.
//! - `Unknown` neither opens nor closes a case. A probe that fails yields a missing reading, never an old value.
//! - Durations come from the boot clock, which a person cannot set; the wall clock is for windows and messages.
//! - What cannot be written down (audit log, ledger, journal) is not done.
//!
//! `tests/it/tidy.rs` checks the layout; `docs/architecture.md` says where the next thing goes.
pub mod app;
pub mod collectors;
pub mod diagnosis;
pub mod document;
pub mod engine;
pub mod executor;
pub mod exposition;
pub mod host;
pub mod lease;
pub mod playbook;
pub mod policy;
pub mod probes;
pub mod rehearsal;
pub mod report;
pub mod scrape;
pub mod signal;
pub mod signatures;
pub mod simulate;
pub mod steps;
pub mod versions;
