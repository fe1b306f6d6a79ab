//! Documents people write (configuration, signatures, playbooks): YAML text -> values, with every error and its place.
//!
//! `serde` stops at the first error. Operators deserve all of them at once, so the text becomes a tree of [`Node`]s that
//! know their line and column, and [`Fields`] reads that tree while it collects each [`Problem`]. Nothing of a document
//! with a problem is ever used.

mod canonical;
mod duration;
mod in_full;
mod node;
mod problem;
mod read;

pub use canonical::{canonical_json, sha256_hex};
pub use duration::{format_span, parse_span};
pub use in_full::in_full;
pub use node::{Key, MAX_DOCUMENT_BYTES, Node, Tree, parse};
pub use problem::{Place, Problem, Problems};
pub use read::{Fields, FromNode, closest, items};
