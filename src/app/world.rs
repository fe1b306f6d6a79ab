//! What every command that looks at this machine needs: settings, rules, places.

use super::cli::{Color, Common};
use super::config::Config;
use crate::document::{Place, Problems, in_full};
use crate::host::Host;
use crate::probes;
use crate::report::render::Paint;
use crate::signal::Catalogue;
use crate::signatures::{Rulebook, Source, shipped};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// Where the configuration is if nothing is said.
const DEFAULT_CONFIG: &str = "/etc/nodemend/config.yaml";

/// Reads the configuration: the file that is named, the default one where it exists, else the defaults.
///
/// # Errors
/// A named file that is not there, and everything that is wrong with a file.
pub fn load_config(common: &Common) -> Result<Config, Problems> {
    let (path, is_named) = match &common.config {
        Some(path) => (path.clone(), true),
        None => (PathBuf::from(DEFAULT_CONFIG), false),
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Config::parse(&path.display().to_string(), &text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_named => {
            Ok(Config::default())
        }
        Err(error) => Err(unreadable(&path, &error)),
    }
}

/// A problem that says that a path cannot be read.
pub fn unreadable(path: &Path, error: &std::io::Error) -> Problems {
    let mut problems = Problems::of(path.display().to_string());
    problems.add(
        Place::default(),
        format!("cannot be read: {error}; check the path and its rights"),
    );
    problems
}

/// A refusal of what was given by a flag or a file.
pub fn refused(origin: &str, error: &dyn std::error::Error) -> Vec<Problems> {
    let mut problems = Problems::of(origin);
    problems.add(Place::default(), in_full(error));
    vec![problems]
}

/// The YAML files of a folder (or the one file), in the order of their names.
///
/// # Errors
/// A path that cannot be read.
pub fn yaml_sources(path: &Path) -> Result<Vec<Source>, Problems> {
    let mut files = Vec::new();
    collect_yaml(path, &mut files, 0)?;
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let text = std::fs::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
            Ok(Source {
                origin: file.display().to_string(),
                text,
            })
        })
        .collect()
}

/// Rules are at most this deep below their folder: folder, subsystem, file.
const MAX_DEPTH: u32 = 4;

fn collect_yaml(path: &Path, files: &mut Vec<PathBuf>, depth: u32) -> Result<(), Problems> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    if depth > MAX_DEPTH {
        return Ok(());
    }
    let entries = std::fs::read_dir(path).map_err(|error| unreadable(path, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(path, &error))?.path();
        let is_yaml = entry
            .extension()
            .is_some_and(|ext| ext == "yaml" || ext == "yml");
        if entry.is_dir() || is_yaml {
            collect_yaml(&entry, files, depth + 1)?;
        }
    }
    Ok(())
}

/// The rules in force: shipped ones, overlaid by the configured folder. Bad files are left out and reported.
pub fn load_rules(config: &Config, catalogue: &Catalogue) -> (Rulebook, Vec<Problems>) {
    let mut sources = shipped::sources();
    let mut reports = Vec::new();
    if let Some(dir) = &config.signatures_dir {
        match yaml_sources(dir) {
            Ok(more) => sources.extend(more),
            Err(problems) => reports.push(problems),
        }
    }
    let (rulebook, found) = Rulebook::load(&sources, catalogue);
    reports.extend(found);
    (rulebook, reports)
}

/// The machine, as the flags say.
pub fn host(common: &Common) -> Host {
    Host::at(&common.root)
}

/// All signals of this build.
pub fn catalogue() -> Catalogue {
    probes::catalogue()
}

/// The node's name: as told, as configured, or the host's.
pub fn node_name(told: Option<&str>, config: &Config) -> String {
    told.map(str::to_owned)
        .or_else(|| config.node.name.clone())
        .or_else(|| {
            nix::unistd::gethostname()
                .ok()
                .and_then(|name| name.into_string().ok())
        })
        .unwrap_or_else(|| "localhost".to_owned())
}

/// Whether to colour what goes to stdout.
pub fn paint(common: &Common) -> Paint {
    Paint(match common.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => environment("NO_COLOR").is_none() && std::io::stdout().is_terminal(),
    })
}

/// Where journal, ledger and audit log are kept.
pub fn state_dir(common: &Common) -> PathBuf {
    common.state_dir.clone().unwrap_or_else(|| {
        if nix::unistd::geteuid().is_root() {
            PathBuf::from("/var/lib/nodemend")
        } else {
            user_dir("XDG_STATE_HOME", ".local/state")
        }
    })
}

/// Where the agent's socket is.
pub fn run_dir(common: &Common) -> PathBuf {
    common.run_dir.clone().unwrap_or_else(|| {
        if nix::unistd::geteuid().is_root() {
            PathBuf::from("/run/nodemend")
        } else {
            user_dir("XDG_RUNTIME_DIR", ".local/state")
        }
    })
}

/// The file by which kubectl reaches a cluster, for commands that people run; `None` in a pod and where there is none.
pub fn kubectls_config() -> Option<PathBuf> {
    if environment("KUBERNETES_SERVICE_HOST").is_some() {
        return None;
    }
    let file = PathBuf::from(environment("HOME")?).join(".kube/config");
    file.is_file().then_some(file)
}

fn user_dir(variable: &str, below_home: &str) -> PathBuf {
    let base = environment(variable).map_or_else(
        || PathBuf::from(environment("HOME").unwrap_or_else(|| "/tmp".to_owned())).join(below_home),
        PathBuf::from,
    );
    base.join("nodemend")
}

/// The one reader of the environment, besides the command line itself.
#[allow(
    clippy::disallowed_methods,
    reason = "app is where settings come from the environment"
)]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
