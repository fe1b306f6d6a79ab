//! The file tree of a node: a Debian root made once, cached, shared read-only by every node as the
//! lower side of its overlay.
//!
//! The cache is `$XDG_CACHE_HOME/nodemend/lab` (else `~/.cache/nodemend/lab`); a tree's name is the hash
//! of everything that it is made from, so a fresh clone finds it again and an edited recipe makes a new one.
//! A tree appears by one rename after it is complete: a build that was killed leaves no half tree behind.

mod apt;
mod sources_list;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

const PACKAGES: &str = include_str!("packages.txt");
const CUSTOMIZE: &str = include_str!("customize.sh");
const OUTDATED: &str = include_str!("outdated.sh");

/// The Debian release of the nodes. One release: its systemd (252) is what the flagship was tried on.
const SUITE: &str = "bookworm";

/// What a node's overlay stands on.
#[derive(Clone, Debug)]
pub struct Root {
    /// Overlay lower directories, topmost first.
    layers: Vec<PathBuf>,
}

impl Root {
    /// The `lowerdir=` value for an overlay mount.
    pub fn lowerdir(&self) -> String {
        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|layer| layer.display().to_string())
            .collect();
        layers.join(":")
    }
}

/// A root whose systemd is older than the one its apt source offers.
#[derive(Clone, Debug)]
pub struct Outdated {
    pub root: Root,
    /// The installed version of every package built from the systemd source.
    pub installed: String,
    /// The version in the node's local apt repository.
    pub candidate: String,
}

/// The ordinary node's root: the newest packages of the archive.
///
/// Cost: about 65 s and 200 MB the first time on a machine, then a stat.
pub fn plain() -> Result<Root> {
    let cache = Cache::open()?;
    let base = cache.tree("base", &[PACKAGES, CUSTOMIZE], build_base)?;
    Ok(Root { layers: vec![base] })
}

/// The root of a node with an outdated systemd (one more overlay layer over [`plain`]).
pub fn outdated() -> Result<Outdated> {
    let plain = plain()?;
    let cache = Cache::open()?;
    let base = plain.lowerdir();
    let made = cache.tree("outdated", &[PACKAGES, CUSTOMIZE, OUTDATED], |tree| {
        build_outdated(Path::new(&base), tree)
    })?;
    let versions = fs::read_to_string(made.join("versions"))?;
    let mut lines = versions.lines();
    let (Some(installed), Some(candidate)) = (lines.next(), lines.next()) else {
        bail!(
            "{}/versions does not hold two lines: delete that tree and run again",
            made.display()
        );
    };
    let mut layers = vec![made.join("upper")];
    layers.extend(plain.layers);
    Ok(Outdated {
        root: Root { layers },
        installed: installed.to_owned(),
        candidate: candidate.to_owned(),
    })
}

struct Cache {
    folder: PathBuf,
}

impl Cache {
    fn open() -> Result<Self> {
        let user = match std::env::var_os("XDG_CACHE_HOME") {
            Some(folder) if !folder.is_empty() => PathBuf::from(folder),
            _ => PathBuf::from(
                std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?,
            )
            .join(".cache"),
        };
        let folder = user.join("nodemend/lab");
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(Self { folder })
    }

    /// The tree called `name` made from `inputs`, built by `build` if it is not there yet.
    fn tree(
        &self,
        name: &str,
        inputs: &[&str],
        build: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let mut hash = Sha256::new();
        for input in [SUITE, std::env::consts::ARCH].iter().chain(inputs) {
            hash.update(u64::try_from(input.len())?.to_le_bytes());
            hash.update(input);
        }
        let digest: String = hash
            .finalize()
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let tree = self.folder.join(format!("{name}-{digest}"));
        // Between processes and between the threads of this one: each open file is a lock of its own.
        let lock = File::create(self.folder.join(format!("{name}.lock")))?;
        let _held = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
        if tree.is_dir() {
            return Ok(tree);
        }
        eprintln!("lab: making {} (once per machine)", tree.display());
        let unfinished = self.folder.join(format!("{name}-{digest}.unfinished"));
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        fs::create_dir(&unfinished)?;
        build(&unfinished).with_context(|| format!("make the lab's root {name}"))?;
        fs::rename(&unfinished, &tree)?;
        Ok(tree)
    }
}

fn build_base(tree: &Path) -> Result<()> {
    let archive = apt::Archive::of_this_machine()?;
    run(&mut archive.debootstrap(SUITE, PACKAGES, tree))?;
    run(Command::new("sh")
        .args(["-c", CUSTOMIZE, "customize.sh"])
        .arg(tree))
}

fn build_outdated(base: &Path, tree: &Path) -> Result<()> {
    let archive = apt::Archive::of_this_machine()?;
    let sources = tree.join("sources.list");
    fs::write(&sources, sources_list::sources_list(&archive, SUITE)?)?;
    let settings = tree.join("apt.conf");
    fs::write(&settings, &archive.settings)?;
    let mut script = apt::contained(&["sh", "-c", OUTDATED, "outdated.sh"]);
    run(script.arg(base).arg(tree).arg(&sources).arg(&settings))?;
    fs::remove_dir_all(tree.join("work"))?;
    Ok(fs::remove_dir(tree.join("root"))?)
}

/// Runs a command to its end; its whole output is the error's text.
fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("start {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!(
            "{:?} ended with {}:\n{}\n{}",
            command.get_program(),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
