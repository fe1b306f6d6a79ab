//! Playbooks on disk: the overlay directory, signature files, key files.

use crate::document::MAX_DOCUMENT_BYTES;
use crate::playbook::{MAX_SIGNATURE_BYTES, Source};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The most playbook files of a directory. A fleet has tens; more is the wrong directory.
const MAX_FILES: usize = 1000;

/// A playbook's texts, read from a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaybookFile {
    /// Its path.
    pub name: String,
    /// The document.
    pub text: String,
    /// The signature beside it, if there is one.
    pub signature: Option<String>,
}

impl PlaybookFile {
    /// What the catalogue takes.
    pub fn source(&self) -> Source<'_> {
        Source {
            name: &self.name,
            text: &self.text,
            signature: self.signature.as_deref(),
        }
    }
}

/// A file of the directory that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot be read; it is left out", path.display())]
pub struct UnreadableFile {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Reads `DIR/*.yaml` and `DIR/*/*.yaml` with the `.sig` beside each, in the order of their names. A file that cannot be read
/// is left out and returned as such; the others stand.
///
/// # Errors
/// The directory itself cannot be read, or holds more than a thousand files.
pub fn read_dir(dir: &Path) -> io::Result<(Vec<PlaybookFile>, Vec<UnreadableFile>)> {
    let (mut files, mut bad) = (Vec::new(), Vec::new());
    for path in yaml_files(dir)? {
        let name = path.display().to_string();
        let text = match read_limited(&path, MAX_DOCUMENT_BYTES) {
            Ok(text) => text,
            Err(source) => {
                bad.push(UnreadableFile { path, source });
                continue;
            }
        };
        let signature = match read_limited(&signature_path(&path), MAX_SIGNATURE_BYTES) {
            Ok(signature) => Some(signature),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => {
                bad.push(UnreadableFile {
                    path: signature_path(&path),
                    source,
                });
                None
            }
        };
        files.push(PlaybookFile {
            name,
            text,
            signature,
        });
    }
    Ok((files, bad))
}

fn yaml_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut add = |path: PathBuf| {
        if path
            .extension()
            .is_some_and(|ending| ending == "yaml" || ending == "yml")
        {
            files.push(path);
        }
        match files.len() > MAX_FILES {
            true => Err(io::Error::other(format!(
                "more than {MAX_FILES} playbooks; is this the right directory?"
            ))),
            false => Ok(()),
        }
    };
    for item in fs::read_dir(dir)? {
        let path = item?.path();
        if path.is_dir() {
            for inner in fs::read_dir(&path)? {
                add(inner?.path())?;
            }
        } else {
            add(path)?;
        }
    }
    files.sort();
    Ok(files)
}

/// The signature file of a playbook file: `1.0.0.yaml.sig`.
pub fn signature_path(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

/// The text of a regular file of at most `most` bytes.
///
/// # Errors
/// What the system says; no regular file; too large; not UTF-8.
pub fn read_limited(path: &Path, most: usize) -> io::Result<String> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let limit = u64::try_from(most).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(io::Error::other(format!("more than {most} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Writes a new file with these permissions (0o600 for a secret); an existing one is an error.
///
/// # Errors
/// What the system says.
pub fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
