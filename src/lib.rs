//! nodemend: the agent that keeps the nodes of a Kubernetes cluster healthy by itself.
pub mod document;
pub mod host;
pub mod probes;
pub mod signal;
pub mod versions;
