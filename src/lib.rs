//! nodemend: the agent that keeps the nodes of a Kubernetes cluster healthy by itself.
pub mod app;
pub mod diagnosis;
pub mod document;
pub mod engine;
pub mod executor;
pub mod host;
pub mod lease;
pub mod playbook;
pub mod policy;
pub mod probes;
pub mod report;
pub mod signal;
pub mod signatures;
pub mod steps;
pub mod versions;
