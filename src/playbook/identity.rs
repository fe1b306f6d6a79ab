//! The identity of a playbook: what must be the same for two documents to be the same playbook.

use crate::document::{Node, canonical_json, sha256_hex};
use std::sync::Arc;

/// SHA-256 over the canonical JSON (RFC 8785) of the parsed document, in lower-case hexadecimal. Comments, the order of keys
/// and the way of quoting do not count; every value does.
///
/// # Errors
/// A number that JSON cannot hold.
pub fn identity(node: &Node) -> Result<Arc<str>, serde_json::Error> {
    let canonical = canonical_json(&node.to_json())?;
    Ok(sha256_hex(canonical.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::parse;

    fn id(text: &str) -> Arc<str> {
        identity(&parse("f", text).expect("parses")).expect("canonical")
    }

    #[test]
    fn only_values_make_the_identity() {
        let same = id("a: 1\nb: [u, v]\n");
        assert_eq!(id("# a comment\nb:\n  - 'u'\n  - \"v\"\na: 1\n"), same);
        for other in [
            "a: 2\nb: [u, v]",
            "a: 1\nb: [v, u]",
            "a: '1'\nb: [u, v]",
            "a: 1\nb: [u, v]\nc: ~",
        ] {
            assert_ne!(id(other), same, "{other}");
        }
    }
}
