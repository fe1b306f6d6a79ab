//! nodemend: the agent that keeps the nodes of a Kubernetes cluster healthy by itself.
pub mod diagnosis;
pub mod document;
pub mod engine;
pub mod host;
pub mod policy;
pub mod probes;
pub mod signal;
pub mod signatures;
pub mod versions;
