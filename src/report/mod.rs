//! What the agent tells the outside: the audit log, and the exporters.

pub mod audit;
