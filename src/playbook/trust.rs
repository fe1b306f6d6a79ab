//! Detached signatures: who vouches for exactly this document, and until when.
//!
//! A signature file (`1.0.0.yaml.sig`, beside the document) is text with a fixed form. The signed message is the file's own
//! lines up to the signature, so nothing in it can be read in two ways. It names the document's identity (digest) and the
//! digest of its bytes: the first is what everything else calls the playbook by, the second makes a changed comment show.

use super::document::{Playbook, end_of_day};
use super::keys::{PinnedKey, PrivateKey, from_hex, to_hex};
use crate::document::sha256_hex;
use crate::signal::Wall;
use ed25519_dalek::{Signature as Ed25519, Signer};
use semver::Version;
use std::sync::Arc;

/// The first line of a signature file. It is signed too, so a signature for anything else is none for a playbook.
const FORM: &str = "nodemend playbook signature 1";
/// A signature file has about 450 bytes.
pub const MAX_SIGNATURE_BYTES: usize = 2048;

/// Why a signature does not vouch for a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The file is not in its form.
    #[error("line {line}: {what}; sign the playbook again with `nodemend playbook sign`")]
    Form {
        /// The line, from 1; 0 for the file as a whole.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// It is for another document.
    #[error(
        "it is for {what}; the document or its signature was changed or mixed up: fetch both again, or sign anew"
    )]
    OtherDocument {
        /// What it is for, and what this is.
        what: String,
    },
    /// The key is not among the pinned ones.
    #[error(
        "its key `{key}` is not trusted here; add it to trust.keys in the configuration if you mean to trust it"
    )]
    UnknownKey {
        /// The key's name.
        key: String,
    },
    /// The key did not make it.
    #[error(
        "key `{key}` did not make it: the document, the signature or the key was changed; fetch them again"
    )]
    Forged {
        /// The key's name.
        key: String,
    },
}

impl SignatureError {
    /// A short stable word: metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            SignatureError::Form { .. } => "form",
            SignatureError::OtherDocument { .. } => "other-document",
            SignatureError::UnknownKey { .. } => "unknown-key",
            SignatureError::Forged { .. } => "forged",
        }
    }
}

/// A signature that was verified: the key that vouches, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouched {
    /// The key's name.
    pub key: Arc<str>,
    /// The moment from which on it vouches no more.
    pub expires: Option<Wall>,
}

/// Signs `playbook`, which was read from `text`. `expires` is the last day (UTC, YYYY-MM-DD) on which the signature holds.
///
/// # Errors
/// A day that is none.
pub fn sign(
    playbook: &Playbook,
    text: &str,
    expires: Option<&str>,
    key: &PrivateKey,
) -> Result<String, SignatureError> {
    if let Some(day) = expires
        && end_of_day(day).is_none()
    {
        return Err(SignatureError::Form {
            line: 0,
            what: format!("`{day}` is not a day like 2028-12-31"),
        });
    }
    let message = message(playbook, text, expires.unwrap_or("never"), key.name());
    let signature = key.key.sign(message.as_bytes());
    Ok(format!(
        "{message}signature: {}\n",
        to_hex(&signature.to_bytes())
    ))
}

/// The lines that are signed.
fn message(playbook: &Playbook, text: &str, expires: &str, key: &str) -> String {
    format!(
        "{FORM}\nplaybook: {}\nversion: {}\ndigest: {}\nfile: {}\nexpires: {expires}\nkey: {key}\n",
        playbook.id,
        playbook.version,
        playbook.digest,
        sha256_hex(text.as_bytes()),
    )
}

/// Whether `signature` (the text of the file) vouches for `playbook`, which was read from `text`. Does not look at the time:
/// see [`Vouched::expires`].
///
/// # Errors
/// Why it does not.
pub fn verify(
    playbook: &Playbook,
    text: &str,
    signature: &str,
    keys: &[PinnedKey],
) -> Result<Vouched, SignatureError> {
    let parts = Parts::read(signature)?;
    let other = |what: String| SignatureError::OtherDocument { what };
    let (id, version) = (&*playbook.id, playbook.version.to_string());
    if (parts.id, parts.version) != (id, version.as_str()) {
        return Err(other(format!(
            "{} {}, and this is {id} {version}",
            parts.id, parts.version
        )));
    }
    if parts.digest != &*playbook.digest || parts.file != sha256_hex(text.as_bytes()) {
        return Err(other(format!("another content of {id} {version}")));
    }
    let unknown = || SignatureError::UnknownKey {
        key: parts.key.chars().take(63).collect(),
    };
    let pinned = keys
        .iter()
        .find(|key| *key.name == *parts.key)
        .ok_or_else(unknown)?;
    pinned
        .key
        .verify_strict(
            parts.message.as_bytes(),
            &Ed25519::from_bytes(&parts.signature),
        )
        .map_err(|_| SignatureError::Forged {
            key: parts.key.to_owned(),
        })?;
    Ok(Vouched {
        key: pinned.name.clone(),
        expires: parts.expires,
    })
}

/// The lines of a signature file.
struct Parts<'a> {
    message: &'a str,
    id: &'a str,
    version: &'a str,
    digest: &'a str,
    file: &'a str,
    expires: Option<Wall>,
    key: &'a str,
    signature: [u8; 64],
}

impl<'a> Parts<'a> {
    fn read(text: &'a str) -> Result<Parts<'a>, SignatureError> {
        let wrong = |line, what: &str| SignatureError::Form {
            line,
            what: what.to_owned(),
        };
        if text.len() > MAX_SIGNATURE_BYTES {
            return Err(wrong(0, "the file is larger than any signature"));
        }
        if !text.ends_with('\n') {
            return Err(wrong(
                text.split('\n').count(),
                "the last line has no end; the file was cut short",
            ));
        }
        let mut lines = text.split('\n').zip(1..);
        if lines.next().map(|(line, _)| line) != Some(FORM) {
            return Err(SignatureError::Form {
                line: 1,
                what: format!("the first line is not `{FORM}`"),
            });
        }
        let mut field = |name| field(&mut lines, name);
        let (id, version) = (field("playbook")?, field("version")?);
        let (digest, file) = (field("digest")?, field("file")?);
        let (expires, key, signature) = (field("expires")?, field("key")?, field("signature")?);
        if lines.next().map(|(line, _)| line) != Some("") || lines.next().is_some() {
            return Err(wrong(9, "nothing follows the signature"));
        }
        if Version::parse(version).is_err() {
            return Err(wrong(3, "the version is not MAJOR.MINOR.PATCH"));
        }
        for (number, value) in [(4, digest), (5, file)] {
            if from_hex::<32>(value).is_none() {
                return Err(wrong(
                    number,
                    "a digest has 64 lower-case hexadecimal digits",
                ));
            }
        }
        let expires = match expires {
            "never" => None,
            day => Some(
                end_of_day(day)
                    .ok_or_else(|| wrong(6, "`expires` is `never` or a day like 2028-12-31"))?,
            ),
        };
        let hex = signature;
        let signature = from_hex(hex)
            .ok_or_else(|| wrong(8, "a signature has 128 lower-case hexadecimal digits"))?;
        let tail = "signature: ".len() + hex.len() + 1;
        let message = text
            .get(..text.len().saturating_sub(tail))
            .unwrap_or_default();
        Ok(Parts {
            message,
            id,
            version,
            digest,
            file,
            expires,
            key,
            signature,
        })
    }
}

/// The value of the next line, which must be `name: value`.
fn field<'a>(
    lines: &mut impl Iterator<Item = (&'a str, usize)>,
    name: &str,
) -> Result<&'a str, SignatureError> {
    let (line, number) = lines.next().unwrap_or(("", 1));
    line.strip_prefix(name)
        .and_then(|rest| rest.strip_prefix(": "))
        .filter(|value| !value.is_empty())
        .ok_or_else(|| SignatureError::Form {
            line: number,
            what: format!("expected `{name}: ` and a value"),
        })
}
