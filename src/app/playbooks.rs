//! The playbooks in force: shipped ones, overlaid by the configured folder, and whom to believe.

use super::config::Config;
use super::world;
use crate::document::{Place, Problems};
use crate::host::clock;
use crate::playbook::{
    Catalogue, Checks, PinnedKey, RELEASE_KEYS, SHIPPED, Source, TrustRoot, floors_to_text,
    parse_floors,
};
use crate::signatures::Expression;
use crate::steps::Kinds;
use std::collections::BTreeMap;
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

/// The playbooks in force, without the memory of what was loaded before: for commands that only show. Bad files are left
/// out whole and reported.
pub fn load(config: &Config) -> (Catalogue, Vec<Problems>) {
    let (root, reports) = trust_root(config);
    load_trusting(config, &root, reports)
}

/// Where the lowest versions are kept that a signature can still vouch for.
const FLOORS: &str = "playbook-floors";

/// The playbooks in force; a version that is older than one that was loaded here before is not vouched for any more
/// (safety.md, T8). If that memory cannot be read, only the playbooks of the binary are in force.
pub fn load_with_floors(config: &Config, state_dir: &Path) -> (Catalogue, Vec<Problems>) {
    let (mut root, mut reports) = trust_root(config);
    let path = state_dir.join(FLOORS);
    let floors = match std::fs::read_to_string(&path) {
        Ok(text) => parse_floors(&text).map_err(|error| error.to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error.to_string()),
    };
    match floors {
        Ok(floors) => root.floors = floors,
        Err(why) => {
            let mut problems = Problems::of(path.display().to_string());
            problems.add(
                Place::default(),
                format!(
                    "{why}; only the playbooks of the binary are in force until it is moved away"
                ),
            );
            reports.push(problems);
            let shipped_only = Config {
                playbooks_dir: None,
                ..config.clone()
            };
            return load_trusting(&shipped_only, &root, reports);
        }
    }
    let (catalogue, reports) = load_trusting(config, &root, reports);
    let floors = floors_to_text(&catalogue.floors(&root, clock::now().wall));
    let draft = path.with_extension("draft");
    let kept = std::fs::write(&draft, floors).and_then(|()| std::fs::rename(&draft, &path));
    if let Err(error) = kept {
        tracing::warn!(path = %path.display(), %error, "the versions loaded now are not remembered");
    }
    (catalogue, reports)
}

fn load_trusting(
    config: &Config,
    root: &TrustRoot,
    mut reports: Vec<Problems>,
) -> (Catalogue, Vec<Problems>) {
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
    let (catalogue, found) = Catalogue::load(SHIPPED, &overlay, root, &checks);
    reports.extend(found);
    (catalogue, reports)
}
