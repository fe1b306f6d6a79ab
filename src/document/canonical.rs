//! Canonical JSON (RFC 8785) and digests over it: the identity of playbooks and of audit records.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// The canonical JSON text of `value`.
///
/// # Errors
/// A value that JSON cannot hold, such as a number that is not finite.
pub fn canonical_json(value: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json_canonicalizer::to_string(value)
}

/// The SHA-256 of `bytes` in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let digest = Sha256::digest(bytes);
    digest
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a String cannot fail.
            write!(text, "{byte:02x}").ok();
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_sorted_and_spaces_are_gone() {
        let text =
            canonical_json(&json!({"b": 1, "a": [1.0, "é\n", null], "ab": {}})).expect("canonical");
        assert_eq!(text, "{\"a\":[1,\"é\\n\",null],\"ab\":{},\"b\":1}");
    }

    #[test]
    fn sha256_is_the_known_one() {
        assert_eq!(
            sha256_hex(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
