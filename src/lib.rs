//! nodemend: the agent that keeps the nodes of a Kubernetes cluster healthy by itself.
pub mod collectors;
pub mod diagnosis;
pub mod document;
pub mod exposition;
pub mod host;
pub mod policy;
pub mod probes;
pub mod scrape;
pub mod signal;
pub mod signatures;
