//! The one list of what is fuzzed: every parser of text or bytes that somebody else writes, reached
//! through the public function that the program uses.
//!
//! Two users share it: the targets of cargo-fuzz (`fuzz/targets`, nightly toolchain, no end) and the
//! bounded run of `tests/it/fuzz.rs` (stable toolchain, a few seconds, the same inputs each time).
//! An entry panics when the parser does, and when what comes out is out of proportion.

mod collectors;
mod documents;
mod machine;
mod records;
pub mod web;

use std::path::PathBuf;

/// One thing to fuzz.
pub struct Entry {
    /// The name of its target.
    pub name: &'static str,
    /// How many inputs the bounded run gives it; fewer where one input costs more.
    #[allow(dead_code, reason = "used by the bounded run only")]
    pub rounds: usize,
    /// Good inputs to begin from.
    #[allow(dead_code, reason = "used by the bounded run only")]
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Takes one input; panics where something is wrong with the parser.
    pub run: fn(&[u8]),
}

/// All of them.
pub static ENTRIES: &[Entry] = &[
    collectors::FILES,
    collectors::TEXTFILE,
    collectors::PAGE,
    web::CONFIG,
    web::REQUEST,
    web::SELECTION,
    web::HEADERS,
    machine::KERNEL_LOG,
    machine::JOURNAL,
    machine::MOUNTS,
    machine::TEXTS,
    machine::PACKAGES,
    machine::CERTIFICATES,
    documents::YAML,
    documents::PLAYBOOK,
    documents::SIGNATURE,
    documents::CONFIG,
    documents::VERSIONS,
    records::ANNOTATIONS,
    records::LIMITS,
    records::AUDIT,
];

/// Gives `bytes` to the entry of this name.
#[allow(dead_code, reason = "used by the targets of cargo-fuzz only")]
pub fn run(name: &str, bytes: &[u8]) {
    let entry = ENTRIES.iter().find(|entry| entry.name == name);
    (entry.expect("a target has the name of an entry").run)(bytes);
}

/// Where the repository lies, from either of the two crates that include this file.
fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    match manifest.parent() {
        Some(parent) if manifest.ends_with("fuzz") => parent.to_path_buf(),
        _ => manifest,
    }
}

/// The contents of the files below a folder whose names end so.
fn files_below(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    let mut open = vec![root().join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        let entries = std::fs::read_dir(&folder).expect("a folder of the repository");
        let mut paths: Vec<PathBuf> = entries
            .map(|entry| entry.expect("an entry").path())
            .collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(std::fs::read(&path).expect("a file of the repository"));
            }
        }
    }
    assert!(
        !found.is_empty(),
        "no seeds below {folder} that end in {ending}"
    );
    found
}

/// A file of the repository.
fn file(path: &str) -> Vec<u8> {
    std::fs::read(root().join(path)).expect("a file of the repository")
}
