//! Every playbook that could be read, and which of them may run.

use super::document::{Checks, OnFailure, Playbook};
use super::keys::PinnedKey;
use super::trust::{self, Vouched};
use crate::document::{Place, Problem, Problems};
use crate::signal::Wall;
use semver::Version;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A playbook's texts, as a directory or the binary holds them.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The name that messages call it by: a path.
    pub name: &'a str,
    /// The document.
    pub text: &'a str,
    /// The signature file beside it, if there is one.
    pub signature: Option<&'a str>,
}

/// Whom to believe.
#[derive(Debug, Clone, Default)]
pub struct TrustRoot {
    /// The keys whose signatures count.
    pub keys: Vec<PinnedKey>,
    /// Digests that the configuration names: these run unsigned.
    pub digests: BTreeSet<Arc<str>>,
    /// The lowest version of each playbook that a signature can vouch for: what was loaded once is never rolled back
    /// (safety.md, T8). The app keeps it over restarts.
    pub floors: BTreeMap<Arc<str>, Version>,
}

/// Whether a playbook may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// A pinned key vouches for it.
    Signed {
        /// The key's name.
        key: Arc<str>,
    },
    /// The configuration names exactly this document.
    NamedByDigest,
    /// It does not run.
    Untrusted {
        /// Why not, and what to do.
        why: String,
    },
}

impl Trust {
    /// Whether it may run.
    pub fn is_trusted(&self) -> bool {
        !matches!(self, Trust::Untrusted { .. })
    }
}

impl std::fmt::Display for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trust::Signed { key } => write!(f, "signed by {key}"),
            Trust::NamedByDigest => f.write_str("named by digest in the configuration"),
            Trust::Untrusted { why } => write!(f, "not trusted: {why}"),
        }
    }
}

/// One playbook of the catalogue.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The playbook.
    pub playbook: Playbook,
    /// The document as it was read.
    pub text: Arc<str>,
    /// The signature file beside it as it was read, if there was one.
    pub signature: Option<Arc<str>>,
    /// Where it was read.
    pub origin: Arc<str>,
    /// Whether the binary brought it.
    pub is_shipped: bool,
    vouched: Result<Vouched, String>,
    is_named: bool,
    floor: Option<Version>,
}

impl Listed {
    /// The moment from which on it may not run any more, whoever vouches for it now.
    pub fn expires(&self) -> Option<Wall> {
        let vouched = self.vouched.as_ref().ok().filter(|_| !self.is_named);
        let ends = [self.playbook.expires, vouched.and_then(|it| it.expires)];
        ends.into_iter().flatten().min()
    }

    /// Whether it may run at `now`.
    pub fn trust(&self, now: Wall) -> Trust {
        let untrusted = |why: String| Trust::Untrusted { why };
        let is_over = |end: Option<Wall>| end.is_some_and(|end| now >= end);
        if is_over(self.playbook.expires) {
            return untrusted("its `expires` date is over; load a newer version".into());
        }
        // A person who names the digest means exactly this document, whatever its version.
        if self.is_named {
            return Trust::NamedByDigest;
        }
        let vouched = match &self.vouched {
            Ok(vouched) => vouched,
            Err(why) => return untrusted(why.clone()),
        };
        if is_over(vouched.expires) {
            return untrusted(format!(
                "the signature of {} has expired; load a newer version",
                vouched.key
            ));
        }
        if let Some(floor) = self
            .floor
            .as_ref()
            .filter(|floor| self.playbook.version < **floor)
        {
            return untrusted(format!(
                "version {floor} was loaded here before and an older one is not taken again; name its digest in the configuration if you mean it"
            ));
        }
        Trust::Signed {
            key: vouched.key.clone(),
        }
    }
}

/// Why a playbook cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// No playbook has this id.
    #[error("no playbook `{id}`; `nodemend playbook list` names them all")]
    Unknown {
        /// What was asked for.
        id: String,
    },
    /// The playbook has no such version.
    #[error("playbook {id} has no version {version}; it has {known}")]
    UnknownVersion {
        /// The playbook.
        id: String,
        /// What was asked for.
        version: String,
        /// The versions that are there.
        known: String,
    },
    /// No version of it may run.
    #[error("playbook {id} {version} does not run: {why}")]
    Untrusted {
        /// The playbook.
        id: String,
        /// Its newest version.
        version: Version,
        /// Why not, and what to do.
        why: String,
    },
}

impl CatalogueError {
    /// A short stable word: metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            CatalogueError::Unknown { .. } => "unknown",
            CatalogueError::UnknownVersion { .. } => "unknown-version",
            CatalogueError::Untrusted { .. } => "untrusted",
        }
    }
}

/// Every playbook that could be read, by id and version.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    entries: BTreeMap<(Arc<str>, Version), Listed>,
}

impl Catalogue {
    /// Reads the shipped playbooks and then those of a directory. A file with a problem is left out whole and its problems
    /// are returned; the others stand. A file that would replace a version with another content is such a problem, because a
    /// released version is never edited.
    pub fn load(
        shipped: &[Source<'_>],
        overlay: &[Source<'_>],
        trust: &TrustRoot,
        checks: &Checks<'_>,
    ) -> (Catalogue, Vec<Problems>) {
        let mut catalogue = Catalogue::default();
        let mut bad = Vec::new();
        let sources = shipped.iter().map(|source| (source, true));
        for (source, is_shipped) in sources.chain(overlay.iter().map(|source| (source, false))) {
            if let Err(problems) = catalogue.add(source, is_shipped, trust, checks) {
                bad.push(problems);
            }
        }
        bad.extend(catalogue.escalations());
        (catalogue, bad)
    }

    fn add(
        &mut self,
        source: &Source<'_>,
        is_shipped: bool,
        trust: &TrustRoot,
        checks: &Checks<'_>,
    ) -> Result<(), Problems> {
        let playbook = Playbook::parse(source.name, source.text, checks)?;
        let key = (playbook.id.clone(), playbook.version.clone());
        if let Some(known) = self.entries.get(&key) {
            if known.playbook.digest == playbook.digest {
                return Ok(());
            }
            let mut problems = Problems::of(source.name);
            problems.add(
                Place::default(),
                format!("{} {} is already there with another content ({}); give a changed playbook a new version", key.0, key.1, known.origin),
            );
            return Err(problems);
        }
        let vouched = match source.signature {
            Some(signature) => trust::verify(&playbook, source.text, signature, &trust.keys)
                .map_err(|error| format!("its signature does not hold: {error}")),
            None => Err(format!(
                "it is not signed; sign it, or name its digest {} in the configuration",
                playbook.digest
            )),
        };
        let listed = Listed {
            is_named: trust.digests.contains(&playbook.digest),
            floor: trust.floors.get(&playbook.id).cloned(),
            text: source.text.into(),
            signature: source.signature.map(Arc::from),
            origin: source.name.into(),
            is_shipped,
            vouched,
            playbook,
        };
        self.entries.insert(key, listed);
        Ok(())
    }

    /// Escalations that lead nowhere or in a circle. The playbooks stay: where an escalation cannot be followed, the case
    /// needs a human.
    fn escalations(&self) -> Vec<Problems> {
        let mut bad = Vec::new();
        for listed in self.entries.values() {
            let mut seen = BTreeSet::from([listed.playbook.id.clone()]);
            let mut next = &listed.playbook.on_failure;
            while let OnFailure::Escalate(target) = next {
                let message = match self.versions(target).last() {
                    None => format!(
                        "escalates to `{target}`, which is not there; the case will need a human instead"
                    ),
                    Some(_) if !seen.insert(target.clone()) => {
                        format!(
                            "escalates in a circle by way of `{target}`; end it with `needsHuman: true`"
                        )
                    }
                    Some(found) => {
                        next = &found.playbook.on_failure;
                        continue;
                    }
                };
                bad.push(Problems {
                    origin: listed.origin.to_string(),
                    list: vec![Problem {
                        place: Place::default(),
                        message,
                    }],
                });
                break;
            }
        }
        bad
    }

    /// All playbooks by id, versions ascending.
    pub fn iter(&self) -> impl Iterator<Item = &Listed> {
        self.entries.values()
    }

    /// The versions of one playbook, ascending.
    pub fn versions<'a>(
        &'a self,
        id: &str,
    ) -> impl DoubleEndedIterator<Item = &'a Listed> + use<'a> {
        let id: Arc<str> = id.into();
        self.entries
            .values()
            .filter(move |listed| listed.playbook.id == id)
    }

    /// The playbook that `name` means: `ID` (the newest version) or `ID@VERSION`; trusted or not.
    ///
    /// # Errors
    /// None such.
    pub fn find(&self, name: &str) -> Result<&Listed, CatalogueError> {
        let (id, version) = match name.split_once('@') {
            Some((id, version)) => (id, Some(version)),
            None => (name, None),
        };
        let short = |text: &str| text.chars().take(80).collect::<String>();
        let newest = self
            .versions(id)
            .last()
            .ok_or_else(|| CatalogueError::Unknown { id: short(id) })?;
        let Some(version) = version else {
            return Ok(newest);
        };
        self.versions(id)
            .find(|listed| listed.playbook.version.to_string() == version)
            .ok_or_else(|| {
                let known: Vec<String> = self
                    .versions(id)
                    .map(|listed| listed.playbook.version.to_string())
                    .collect();
                CatalogueError::UnknownVersion {
                    id: short(id),
                    version: short(version),
                    known: known.join(", "),
                }
            })
    }

    /// The newest version of `id` that may run at `now`, and why it may (safety.md, I15). A newer one that may not run does
    /// not stand in the way of an older one that may, unless the older one lies below the floor.
    ///
    /// # Errors
    /// None such, or none that may run.
    pub fn runnable(&self, id: &str, now: Wall) -> Result<(&Listed, Trust), CatalogueError> {
        for listed in self.versions(id).rev() {
            let trust = listed.trust(now);
            if trust.is_trusted() {
                return Ok((listed, trust));
            }
        }
        let newest = self.find(id)?;
        Err(CatalogueError::Untrusted {
            id: newest.playbook.id.to_string(),
            version: newest.playbook.version.clone(),
            why: match newest.trust(now) {
                Trust::Untrusted { why } => why,
                // The loop above went through every version.
                trusted => trusted.to_string(),
            },
        })
    }

    /// Digests that may run at `now`, each with the reason: what `policy::Facts::trusted` takes.
    pub fn trusted(&self, now: Wall) -> BTreeMap<Arc<str>, Arc<str>> {
        self.iter()
            .map(|listed| (listed.playbook.digest.clone(), listed.trust(now)))
            .filter(|(_, trust)| trust.is_trusted())
            .map(|(digest, trust)| (digest, trust.to_string().into()))
            .collect()
    }

    /// The floors after this load: for each playbook the highest version that a key vouches for at `now`, never below the
    /// floor that was given. The app keeps them and hands them to the next [`Catalogue::load`].
    pub fn floors(&self, trust: &TrustRoot, now: Wall) -> BTreeMap<Arc<str>, Version> {
        let mut floors = trust.floors.clone();
        for listed in self.iter() {
            if matches!(listed.trust(now), Trust::Signed { .. }) {
                let floor = floors
                    .entry(listed.playbook.id.clone())
                    .or_insert_with(|| listed.playbook.version.clone());
                if *floor < listed.playbook.version {
                    *floor = listed.playbook.version.clone();
                }
            }
        }
        floors
    }
}
