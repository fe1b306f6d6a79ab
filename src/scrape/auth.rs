//! Basic authentication against bcrypt hashes.
//!
//! A hash takes tens of milliseconds on purpose, so it is computed off the async threads, one at
//! a time, and the answer for a pair of name and password is remembered (as exporter-toolkit
//! does), keyed by a digest so that no password stays in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::collectors::source::shared::lock;

/// Most remembered answers of either kind; past it all of that kind are forgotten.
const MAX_REMEMBERED: usize = 128;
/// Longest `Authorization` value that is looked at.
const MAX_HEADER: usize = 4096;
/// A hash of nothing that anybody knows, of the usual cost: an unknown name takes as long as a
/// wrong password, so that names cannot be found out.
const NOBODY: &str = "$2b$10$C6UzMDM.H6dfI/f/IKcEeO7ZrjqTYxQqCvJzM5g6bqgFf5dkNUW6W";

/// Who may come in.
#[derive(Debug)]
pub struct Doorkeeper {
    users: BTreeMap<String, String>,
    admitted: Mutex<BTreeSet<[u8; 32]>>,
    refused: Mutex<BTreeSet<[u8; 32]>>,
    hashing: Arc<Semaphore>,
}

impl Doorkeeper {
    /// Admits these users with their bcrypt hashes; everybody if there are none.
    pub fn new(users: BTreeMap<String, String>) -> Doorkeeper {
        Doorkeeper {
            users,
            admitted: Mutex::default(),
            refused: Mutex::default(),
            hashing: Arc::new(Semaphore::new(1)),
        }
    }

    /// Whether the sender of this `Authorization` header may come in.
    ///
    /// *Cost*: one digest for a pair seen before, else one bcrypt hash on a blocking thread.
    pub async fn admits(&self, authorization: Option<&str>) -> bool {
        if self.users.is_empty() {
            return true;
        }
        let Some((name, password)) = authorization.and_then(credentials) else {
            return false;
        };
        let hash = self
            .users
            .get(&name)
            .map_or(NOBODY, String::as_str)
            .to_owned();
        let mut digest = Sha256::new();
        for part in [hash.as_bytes(), name.as_bytes(), password.as_bytes()] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        let key: [u8; 32] = digest.finalize().into();
        if lock(&self.admitted).contains(&key) {
            return true;
        }
        if lock(&self.refused).contains(&key) {
            return false;
        }
        let known = self.users.contains_key(&name);
        let Ok(_turn) = self.hashing.acquire().await else {
            return false;
        };
        let check = move || bcrypt::verify(password, &hash).unwrap_or(false);
        let admitted = tokio::task::spawn_blocking(check).await.unwrap_or(false) && known;
        let kind = if admitted {
            &self.admitted
        } else {
            &self.refused
        };
        let mut remembered = lock(kind);
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(key);
        admitted
    }
}

/// `Basic <base64 of name:password>`.
fn credentials(header: &str) -> Option<(String, String)> {
    if header.len() > MAX_HEADER {
        return None;
    }
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(base64(encoded.trim())?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

/// Base64 of RFC 4648 with padding; `None` for anything else.
fn base64(text: &str) -> Option<Vec<u8>> {
    let body = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - body.len() > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(body.len());
    let mut bits = 0_u32;
    let mut count = 0;
    for sign in body.bytes() {
        let value = match sign {
            b'A'..=b'Z' => sign - b'A',
            b'a'..=b'z' => sign - b'a' + 26,
            b'0'..=b'9' => sign - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::{Doorkeeper, base64, credentials};
    use std::collections::BTreeMap;

    #[test]
    fn credentials_are_read_or_refused() {
        let cases = [
            ("Basic YW5uOnNlY3JldA==", Some(("ann", "secret"))),
            ("basic YW5uOg==", Some(("ann", ""))),
            ("Basic YW5uOmE6Yg==", Some(("ann", "a:b"))),
            ("Basic YW5u", None),
            ("Basic !", None),
            ("Bearer YW5uOnNlY3JldA==", None),
            ("", None),
        ];
        for (header, want) in cases {
            let want = want.map(|(name, word)| (name.to_owned(), word.to_owned()));
            assert_eq!(credentials(header), want, "{header}");
        }
        assert_eq!(base64("AAECAw==").as_deref(), Some(&[0, 1, 2, 3][..]));
        assert_eq!(base64("A==="), None);
    }

    #[tokio::test]
    async fn only_the_right_password_comes_in_also_when_remembered() {
        let hash = bcrypt::hash("secret", 4).unwrap();
        let door = Doorkeeper::new(BTreeMap::from([("ann".to_owned(), hash)]));
        for _ in 0..2 {
            assert!(door.admits(Some("Basic YW5uOnNlY3JldA==")).await);
            assert!(!door.admits(Some("Basic YW5uOndyb25n")).await);
            assert!(!door.admits(Some("Basic Ym9iOnNlY3JldA==")).await);
            assert!(!door.admits(None).await);
        }
        assert!(Doorkeeper::new(BTreeMap::new()).admits(None).await);
    }
}
