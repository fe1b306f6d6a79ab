//! The file tree of a node that runs pods: made once (75 s, 270 MB), kept in the user's cache under
//! the hash of its recipe, shared read-only by all nodes as the lower side of their overlays.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::binaries::cache;

// The lab of single nodes has the same question: where does this machine get its packages from?
#[path = "../../lab/root/apt.rs"]
mod apt;

const PACKAGES: &str = include_str!("packages.txt");
const CUSTOMIZE: &str = include_str!("customize.sh");
const SUITE: &str = "bookworm";

/// The tree, built if this machine's user never built it from this recipe.
pub fn tree() -> Result<PathBuf> {
    let mut hash = Sha256::new();
    for input in [SUITE, std::env::consts::ARCH, PACKAGES, CUSTOMIZE] {
        hash.update(u64::try_from(input.len())?.to_le_bytes());
        hash.update(input);
    }
    let digest: String = hash
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let folder = cache();
    fs::create_dir_all(&folder)?;
    let lock = File::create(folder.join("kubelet-node.lock"))?;
    lock.lock()?;
    let tree = folder.join(format!("kubelet-node-{digest}"));
    if tree.is_dir() {
        return Ok(tree);
    }
    eprintln!("making {} (once per machine, about 75 s)", tree.display());
    let unfinished = folder.join(format!("kubelet-node-{digest}.unfinished"));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    build(&unfinished)?;
    // A build cut off half way must never be found by the next run.
    fs::rename(&unfinished, &tree)?;
    Ok(tree)
}

fn build(tree: &Path) -> Result<()> {
    let archive = apt::Archive::of_this_machine()?;
    run(&mut archive.debootstrap(SUITE, PACKAGES, tree))?;
    run(Command::new("sh")
        .args(["-c", CUSTOMIZE, "customize.sh"])
        .arg(tree))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("start {:?}", command.get_program()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(
        output.status.success(),
        "{:?} ended with {}:\n{}\n{}",
        command.get_program(),
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    Ok(())
}
