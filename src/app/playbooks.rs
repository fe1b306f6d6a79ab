//! The playbooks in force: shipped ones, overlaid by the configured folder, and whom to believe.

use super::config::Config;
use super::world;
use crate::document::{Place, Problems};
use crate::playbook::{Catalogue, Checks, PinnedKey, RELEASE_KEYS, SHIPPED, Source, TrustRoot};
use crate::signatures::Expression;
use crate::steps::Kinds;
use std::path::Path;
use std::sync::Arc;

/// A playbook's texts as read from a folder.
pub struct Texts {
    /// The path.
    pub name: String,
    /// The document.
    pub text: String,
    /// The signature file beside it.
    pub signature: Option<String>,
}

/// Whether a condition of a playbook is one that can be judged.
///
/// # Errors
/// What is wrong with it.
pub fn check_condition(text: &str) -> Result<(), String> {
    let expression = Expression::compile(text).map_err(|mistakes| mistakes.join("; "))?;
    let catalogue = world::catalogue();
    let unknown = expression
        .questions()
        .iter()
        .filter_map(|question| question.topic())
        .find(|topic| catalogue.get(&topic.key).is_none());
    match unknown {
        Some(topic) => Err(format!(
            "there is no signal `{}`; nodemend signature signals lists them",
            topic.key
        )),
        None => Ok(()),
    }
}

/// Reads the texts of a folder (or one file) with the signatures beside them.
///
/// # Errors
/// A path that cannot be read.
pub fn read(path: &Path) -> Result<Vec<Texts>, Problems> {
    let sources = world::yaml_sources(path)?;
    Ok(sources
        .into_iter()
        .map(|source| {
            let signature = std::fs::read_to_string(format!("{}.sig", source.origin)).ok();
            Texts {
                name: source.origin,
                text: source.text,
                signature,
            }
        })
        .collect())
}

/// Whom this configuration believes.
pub fn trust_root(config: &Config) -> (TrustRoot, Vec<Problems>) {
    let mut root = TrustRoot::default();
    let mut reports = Vec::new();
    let configured = config
        .trust
        .keys
        .iter()
        .map(|(name, key)| format!("{name} {key}"));
    for text in RELEASE_KEYS
        .iter()
        .map(|key| (*key).to_owned())
        .chain(configured)
    {
        match PinnedKey::parse(&text) {
            Ok(key) => root.keys.push(key),
            Err(error) => {
                let mut problems = Problems::of(config.origin.to_string());
                problems.add(Place::default(), format!("trust.keys: {error}"));
                reports.push(problems);
            }
        }
    }
    root.digests = config
        .trust
        .digests
        .iter()
        .map(|digest| Arc::from(digest.as_str()))
        .collect();
    (root, reports)
}

/// The playbooks in force. Bad files are left out whole and reported.
pub fn load(config: &Config) -> (Catalogue, Vec<Problems>) {
    let (root, mut reports) = trust_root(config);
    let mut texts = Vec::new();
    if let Some(dir) = &config.playbooks_dir {
        match read(dir) {
            Ok(found) => texts = found,
            Err(problems) => reports.push(problems),
        }
    }
    let overlay: Vec<Source<'_>> = texts
        .iter()
        .map(|texts| Source {
            name: &texts.name,
            text: &texts.text,
            signature: texts.signature.as_deref(),
        })
        .collect();
    let checks = Checks {
        kinds: &Kinds,
        condition: &check_condition,
    };
    let (catalogue, found) = Catalogue::load(SHIPPED, &overlay, &root, &checks);
    reports.extend(found);
    (catalogue, reports)
}
