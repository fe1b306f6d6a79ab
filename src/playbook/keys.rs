//! Key pairs for signing playbooks, and their text forms.

use ed25519_dalek::{SigningKey, VerifyingKey};
use std::fmt;
use std::sync::Arc;

/// The first line of a private key file.
const KEY_FORM: &str = "nodemend playbook signing key 1";

/// What is wrong with a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A private key file is not in its form.
    #[error("line {line}: {what}; a signing key is what `nodemend playbook keygen` writes")]
    Private {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A public key is not in its form.
    #[error(
        "`{text}` is not a public key: {what}; it is written NAME ed25519:64-HEX-DIGITS, as `nodemend playbook keygen` prints it"
    )]
    Public {
        /// What was written, cut to a readable length.
        text: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A key name is not in its form.
    #[error("`{name}` is not a key name; use up to 63 of a-z, 0-9 and -")]
    Name {
        /// What was given, cut to a readable length.
        name: String,
    },
}

impl KeyError {
    /// A short stable word: metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            KeyError::Private { .. } => "private-key",
            KeyError::Public { .. } => "public-key",
            KeyError::Name { .. } => "key-name",
        }
    }
}

/// A public key that is trusted, under the name that signatures and messages call it by.
#[derive(Clone, PartialEq, Eq)]
pub struct PinnedKey {
    /// Its name, kebab-case.
    pub name: Arc<str>,
    pub(super) key: VerifyingKey,
}

impl PinnedKey {
    /// Reads `NAME ed25519:HEX`, the form in which `keygen` prints it.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<PinnedKey, KeyError> {
        match text.split_once(' ') {
            Some((name, key)) => Self::named(name, key),
            None => Err(KeyError::Public {
                text: text.chars().take(40).collect(),
                what: "name and key are separated by one blank",
            }),
        }
    }

    /// The key called `name` from its text `ed25519:HEX`, as the configuration's `trust.keys` gives them.
    ///
    /// # Errors
    /// What is wrong with either.
    pub fn named(name: &str, key: &str) -> Result<PinnedKey, KeyError> {
        let wrong = |what| KeyError::Public {
            text: format!("{name} {key}").chars().take(40).collect(),
            what,
        };
        if !super::document::is_id(name) {
            return Err(wrong("the name is not kebab-case"));
        }
        let hex = key
            .strip_prefix("ed25519:")
            .ok_or_else(|| wrong("`ed25519:` is missing"))?;
        let bytes: [u8; 32] = from_hex(hex)
            .ok_or_else(|| wrong("the key is not 64 lower-case hexadecimal digits"))?;
        let key = VerifyingKey::from_bytes(&bytes)
            .map_err(|_| wrong("the digits are not a point of the curve"))?;
        // The curve library takes some points in two spellings; we take the canonical one.
        if key.to_edwards().compress().to_bytes() != bytes {
            return Err(wrong(
                "the digits are not the canonical spelling of the point",
            ));
        }
        // A key of small order accepts signatures that nobody made.
        if key.is_weak() {
            return Err(wrong("the key is weak"));
        }
        Ok(PinnedKey {
            name: name.into(),
            key,
        })
    }
}

impl fmt::Display for PinnedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ed25519:{}", self.name, to_hex(self.key.as_bytes()))
    }
}

impl fmt::Debug for PinnedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A private key with its name. Its memory is wiped when it is dropped; it is never printed but by [`PrivateKey::to_text`].
pub struct PrivateKey {
    name: Arc<str>,
    pub(super) key: SigningKey,
}

impl PrivateKey {
    /// A key pair called `name` from 32 bytes of the system's randomness, which the caller brings.
    ///
    /// # Errors
    /// A name that is not kebab-case.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<PrivateKey, KeyError> {
        if !super::document::is_id(name) {
            return Err(KeyError::Name {
                name: name.chars().take(40).collect(),
            });
        }
        Ok(PrivateKey {
            name: name.into(),
            key: SigningKey::from_bytes(seed),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public half.
    pub fn public(&self) -> PinnedKey {
        PinnedKey {
            name: self.name.clone(),
            key: self.key.verifying_key(),
        }
    }

    /// The file that keeps it. Secret: the caller writes it with mode 0600.
    pub fn to_text(&self) -> String {
        format!(
            "{KEY_FORM}\nname: {}\nsecret: {}\n",
            self.name,
            to_hex(self.key.as_bytes())
        )
    }

    /// Reads what [`PrivateKey::to_text`] writes.
    ///
    /// # Errors
    /// The line that is wrong. Nothing of the key is repeated in it.
    pub fn parse(text: &str) -> Result<PrivateKey, KeyError> {
        let wrong = |line, what| KeyError::Private { line, what };
        let mut lines = text.split('\n');
        if lines.next() != Some(KEY_FORM) {
            return Err(wrong(1, "the first line is not that of a signing key"));
        }
        let name = lines
            .next()
            .and_then(|line| line.strip_prefix("name: "))
            .filter(|name| super::document::is_id(name))
            .ok_or_else(|| wrong(2, "expected `name: ` and a kebab-case name"))?;
        let seed: [u8; 32] = lines
            .next()
            .and_then(|line| line.strip_prefix("secret: "))
            .and_then(from_hex)
            .ok_or_else(|| {
                wrong(
                    3,
                    "expected `secret: ` and 64 lower-case hexadecimal digits",
                )
            })?;
        if lines.next() != Some("") || lines.next().is_some() {
            return Err(wrong(
                4,
                "nothing follows the secret but the end of its line",
            ));
        }
        Ok(PrivateKey {
            name: name.into(),
            key: SigningKey::from_bytes(&seed),
        })
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|half| char::from_digit(half.into(), 16))
        .collect()
}

/// Exactly `N` bytes in lower-case hexadecimal. One value has one text, so a changed letter is a changed signature.
pub(super) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let half = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        *byte = half(high)? << 4 | half(low)?;
    }
    Some(bytes)
}
