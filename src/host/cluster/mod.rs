//! The API server: a small port with exactly the calls that the agent's RBAC allows, and the kube client behind it.
//!
//! Objects are JSON values that `fields` reads one by one, so that every refusal of a garbled answer names the object and
//! the field. Nothing here retries; [`crate::host::retry`] does where that is safe.

mod call;
mod client;
#[cfg(test)]
mod client_tests;
mod error;
mod fields;
mod node;

pub use call::{Call, PatchKind, Resource, Verb};
pub use client::{Access, KubeCluster, Tally};
pub use error::{ApiError, BadObject};
pub use fields::Fields;
pub use node::{NodeCondition, NodeView};

use crate::host::BoxFuture;
use serde_json::Value;
use std::time::Duration;

/// How long one call may take, with its answer. Three fit between two renewals of a slot (safety.md, section 2).
pub const CALL_LIMIT: Duration = Duration::from_secs(5);

/// The API server.
pub trait Cluster: Send + Sync {
    /// Sends one call, once, and gives the object or list that came back. Takes at most [`CALL_LIMIT`].
    ///
    /// *Cancel safety*: may be dropped; a write may have been made then.
    ///
    /// # Errors
    /// The server refused, did not answer, or answered with something else than JSON of a sane size.
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Value, ApiError>>;

    /// Opens a watch.
    ///
    /// # Errors
    /// As for [`Cluster::call`].
    fn watch(&self, call: Call) -> BoxFuture<'_, Result<Box<dyn Watching>, ApiError>>;
}

/// A watch that is open.
pub trait Watching: Send {
    /// The next event as the server sent it (`type`, `object`). `None`: the server closed the watch.
    ///
    /// *Cancel safety*: may be dropped; nothing is lost.
    ///
    /// # Errors
    /// The connection broke, or an event is too large or not JSON.
    fn next(&mut self) -> BoxFuture<'_, Option<Result<Value, ApiError>>>;
}
