//! Which playbook versions somebody vouches for (I15), found from documents, signature files and keys without the product's
//! own reading of them.

use super::jury::Jury;
use crate::executor::Opening;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A step may begin this long after its gates were asked: the slot is waited for in between.
const GRACE: Duration = Duration::from_secs(60);

/// A playbook's texts.
#[derive(Debug, Clone, Default)]
pub struct Papers {
    /// The document.
    pub text: String,
    /// The signature file beside it.
    pub signature: Option<String>,
    /// What everybody calls it by: its id, its version, its digest.
    pub identity: [String; 3],
}

/// Which versions are vouched for, and until when by the wall clock, in microseconds since 1970.
#[derive(Debug, Clone, Default)]
pub(super) struct Vetted(BTreeMap<[String; 3], i64>);

impl Vetted {
    /// Vets papers. `keys` are those that are trusted, as `NAME ed25519:HEX`; `named` are digests that need no signature.
    pub(super) fn of(papers: &[Papers], keys: &[String], named: &BTreeSet<String>) -> Self {
        let mut vetted = BTreeMap::new();
        for paper in papers {
            let mut lines = paper.text.lines();
            let own = lines.find_map(|line| line.strip_prefix("expires:"));
            // In quotes, or with a comment behind it, it is the same day.
            let own = own.map(|text| text.split('#').next().unwrap_or(text).trim());
            let own = own.map(|day| day.trim_matches(['"', '\'']));
            let own = own.map_or(Some(i64::MAX), end_of);
            let [_, _, digest] = &paper.identity;
            let signed = match named.contains(digest) {
                true => Some(i64::MAX),
                false => vouched(paper, keys),
            };
            if let (Some(own), Some(signed)) = (own, signed) {
                vetted.insert(paper.identity.clone(), own.min(signed));
            }
        }
        Self(vetted)
    }

    fn end(&self, opening: &Opening) -> Option<i64> {
        let identity = [
            opening.playbook.clone(),
            opening.version.clone(),
            opening.digest.clone(),
        ];
        self.0.get(&identity).copied()
    }
}

/// Until when a trusted key vouches for exactly these papers.
fn vouched(paper: &Papers, keys: &[String]) -> Option<i64> {
    let text = paper.signature.as_deref()?;
    let field = |name: &str| {
        let found = text.lines().filter_map(|line| line.split_once(": "));
        found
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| value)
            .next()
    };
    let [id, version, digest] = &paper.identity;
    let file = Sha256::digest(paper.text.as_bytes());
    let file: String = file.iter().map(|byte| format!("{byte:02x}")).collect();
    let is_for_it = field("playbook") == Some(id)
        && field("version") == Some(version)
        && field("digest") == Some(digest)
        && field("file") == Some(&file);
    let name = field("key")?;
    let key = keys
        .iter()
        .find_map(|key| key.strip_prefix(name)?.strip_prefix(" ed25519:"))?;
    let key = VerifyingKey::from_bytes(&bytes(key)?.try_into().ok()?).ok()?;
    let signature: [u8; 64] = bytes(field("signature")?)?.try_into().ok()?;
    let (message, _) = text.split_once("signature: ")?;
    let is_made = key.verify_strict(message.as_bytes(), &Signature::from_bytes(&signature));
    if !is_for_it || is_made.is_err() {
        return None;
    }
    match field("expires")? {
        "never" => Some(i64::MAX),
        day => end_of(day),
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = (0..hex.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok())
        .collect()
}

/// The end of a day in UTC, in microseconds since 1970.
fn end_of(day: &str) -> Option<i64> {
    let day: jiff::civil::Date = day.trim().parse().ok()?;
    let zoned = day
        .tomorrow()
        .ok()?
        .to_zoned(jiff::tz::TimeZone::UTC)
        .ok()?;
    Some(zoned.timestamp().as_microsecond())
}

impl Jury {
    /// The executor has a run, or a step of one, of this playbook version, while the node's wall clock shows `wall`.
    pub(super) fn entrusted(
        &mut self,
        now: Duration,
        node: usize,
        opening: &Opening,
        wall: i64,
        is_new: bool,
    ) {
        let Some(record) = self.records.get_mut(node) else {
            return;
        };
        if is_new {
            record.entrusted_at = wall;
        }
        let grace = i64::try_from(GRACE.as_micros()).unwrap_or(0);
        let asked = record.entrusted_at.saturating_sub(grace);
        let what = match self.vetted.end(opening) {
            Some(end) if asked < end => return,
            Some(_) => "has expired",
            None => "is none that anybody vouches for",
        };
        let (id, version, digest) = (&opening.playbook, &opening.version, &opening.digest);
        let short: String = digest.chars().take(12).collect();
        self.blame(
            now,
            node,
            "I15",
            format!("the executor has {id} {version} ({short}), which {what}"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::testing::load_shipped;
    use crate::playbook::{RELEASE_KEYS, SHIPPED};

    fn papers() -> Vec<Papers> {
        super::super::play::papers_of(&load_shipped().0)
    }

    #[test]
    fn every_shipped_playbook_is_vouched_for_and_nothing_that_was_changed() {
        let keys: Vec<String> = RELEASE_KEYS.iter().map(|key| (*key).to_owned()).collect();
        let count =
            |papers: &[Papers], keys: &[String]| Vetted::of(papers, keys, &BTreeSet::new()).0.len();
        let papers = papers();
        assert_eq!(count(&papers, &keys), SHIPPED.len());
        assert_eq!(count(&papers, &[]), 0, "no key is trusted");
        let changed = |change: &dyn Fn(&mut Papers)| {
            let mut all = papers.clone();
            all.iter_mut().for_each(change);
            count(&all, &keys)
        };
        assert_eq!(changed(&|paper| paper.text.push('\n')), 0);
        assert_eq!(changed(&|paper| paper.signature = None), 0);
        assert_eq!(changed(&|paper| paper.identity[1] = "9.9.9".to_owned()), 0);
        let later = |paper: &mut Papers| {
            let text = paper.signature.take().unwrap_or_default();
            paper.signature = Some(text.replace("expires: never", "expires: 2099-01-01"));
        };
        assert_eq!(changed(&later), 0, "the end is signed too");
    }

    #[test]
    fn a_playbook_s_own_last_day_counts_however_it_is_spelled() {
        let mut paper = papers().remove(0);
        let named = BTreeSet::from([paper.identity[2].clone()]);
        let text = paper.text.clone();
        let never = Some(i64::MAX);
        for (line, end) in [
            ("", never),
            ("expires: 2029-12-31\n", end_of("2029-12-31")),
            ("expires: \"2029-12-31\"  # yearly\n", end_of("2029-12-31")),
            ("expires:   '2029-12-31'\n", end_of("2029-12-31")),
            ("expires: soon\n", None),
        ] {
            paper.text = format!("{line}{text}");
            let vetted = Vetted::of(std::slice::from_ref(&paper), &[], &named);
            assert_eq!(vetted.0.get(&paper.identity).copied(), end, "{line}");
        }
    }

    #[test]
    fn a_digest_that_people_name_needs_no_signature() {
        let mut papers = papers();
        papers.iter_mut().for_each(|paper| paper.signature = None);
        let named = papers
            .iter()
            .map(|paper| paper.identity[2].clone())
            .collect();
        assert_eq!(Vetted::of(&papers, &[], &named).0.len(), papers.len());
    }
}
