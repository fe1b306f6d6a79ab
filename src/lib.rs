//! nodemend: the agent that keeps the nodes of a Kubernetes cluster healthy by itself.
pub mod document;
pub mod executor;
pub mod host;
pub mod lease;
pub mod policy;
pub mod probes;
pub mod signal;
