//! The playbooks that the binary brings, and the key that vouches for them.

use super::catalogue::Source;

/// Public keys that every build trusts: `NAME ed25519:HEX`. The private halves are not in this repository.
pub const RELEASE_KEYS: &[&str] = &[];

/// One released version: its texts.
macro_rules! released {
    ($($path:literal),* $(,)?) => {
        &[$(Source {
            name: concat!("shipped:", $path),
            text: include_str!(concat!("../../remediations/playbooks/", $path)),
            signature: Some(include_str!(concat!("../../remediations/playbooks/", $path, ".sig"))),
        }),*]
    };
}

/// Every released version. A line is added for a new version; no line and no file is ever changed.
pub const SHIPPED: &[Source<'static>] = released![];
