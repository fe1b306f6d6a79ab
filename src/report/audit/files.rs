//! Names of the files of the log, and its head.

use super::error::AuditError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

/// The file that holds the newest number and hash, beside the log: it shows a log whose end was cut off.
pub(super) const HEAD: &str = "head.json";
/// The file whose lock keeps a second writer out.
pub(super) const LOCK: &str = "lock";
/// The ending of bytes that a crash left of a line.
pub(super) const TORN: &str = "torn";

/// The newest record of a log: its number and its hash. Anchored in the slot at each step (safety.md, T14).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The record's number; 0 before the first.
    pub seq: u64,
    /// The record's hash.
    pub hash: String,
}

impl Head {
    /// Reads a head as [`Head`]'s `Display` writes it: `812:07aa...`.
    pub fn parse(text: &str) -> Option<Head> {
        let (seq, hash) = text.split_once(':')?;
        let is_hash =
            hash.len() == 64 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        is_hash.then_some(Head {
            seq: seq.parse().ok()?,
            hash: hash.to_owned(),
        })
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

/// A file of the log: `000000000812-2026-11-22.jsonl`, named after its first record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogFile {
    /// The number of its first record.
    pub first: u64,
    /// The day in its name.
    pub day: String,
    /// Where it is.
    pub path: PathBuf,
}

impl LogFile {
    pub fn new(dir: &Path, first: u64, day: &str) -> Self {
        let path = dir.join(format!("{first:012}-{day}.jsonl"));
        Self {
            first,
            day: day.to_owned(),
            path,
        }
    }

    fn of(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let (first, day) = name.strip_suffix(".jsonl")?.split_once('-')?;
        if first.len() < 12 || !first.bytes().all(|b| b.is_ascii_digit()) || day.is_empty() {
            return None;
        }
        Some(Self {
            first: first.parse().ok()?,
            day: day.to_owned(),
            path: path.clone(),
        })
    }

    /// Its name, for messages.
    pub fn name(&self) -> String {
        name_of(&self.path)
    }
}

pub(super) fn name_of(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// What lies in the directory of a log.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The files of the log, in the order of their first records.
    pub files: Vec<LogFile>,
    /// Names of files that do not belong there.
    pub foreign: Vec<String>,
    /// Names of bytes kept from torn lines.
    pub torn: Vec<String>,
}

/// Lists the directory `dir`.
///
/// # Errors
/// A directory that cannot be read.
pub(super) fn list(dir: &Path) -> Result<Listing, AuditError> {
    let wrong = |source| AuditError::Directory {
        path: dir.to_owned(),
        source,
    };
    let mut listing = Listing::default();
    for item in fs::read_dir(dir).map_err(wrong)? {
        let path = item.map_err(wrong)?.path();
        let name = name_of(&path);
        if name == HEAD || name == LOCK || name == format!("{HEAD}.new") {
            continue;
        }
        if name.ends_with(&format!(".{TORN}")) {
            listing.torn.push(name);
            continue;
        }
        // A pipe or a device under the name of a file would never end.
        let is_file = fs::symlink_metadata(&path).map_err(wrong)?.is_file();
        match LogFile::of(path) {
            Some(file) if is_file => listing.files.push(file),
            _ => listing.foreign.push(name),
        }
    }
    listing.files.sort();
    listing.foreign.sort();
    listing.torn.sort();
    Ok(listing)
}

/// The head that the last writer left, or `None` if there is none or it cannot be read.
pub(super) fn read_head(dir: &Path) -> Option<Head> {
    // A head has about 90 bytes.
    let mut text = String::new();
    fs::File::open(dir.join(HEAD))
        .ok()?
        .take(1024)
        .read_to_string(&mut text)
        .ok()?;
    serde_json::from_str(&text).ok()
}

/// A line as it lies in a file.
pub(super) enum RawLine {
    /// A whole line, without its newline.
    Whole(Vec<u8>),
    /// Bytes at the end of the file without newline.
    Torn(Vec<u8>),
    /// The beginning of a line longer than any record. Its rest is not read: it may never end.
    TooLong,
}

/// Reads the next line, never more than `most` bytes of it; `None` at the end.
///
/// # Errors
/// What the system says.
pub(super) fn next_line(reader: &mut impl BufRead, most: usize) -> io::Result<Option<RawLine>> {
    let mut line = Vec::new();
    // One more than a line may have, so that a line of exactly that length is told from a longer one.
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let count = reader.by_ref().take(limit).read_until(b'\n', &mut line)?;
    if count == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Some(RawLine::Whole(line)));
    }
    if count <= most {
        return Ok(Some(RawLine::Torn(line)));
    }
    Ok(Some(RawLine::TooLong))
}
