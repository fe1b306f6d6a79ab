//! Small files of the state directory, the ledger above all: replaced whole, synced, or not touched.

use crate::engine::{Ledger, LedgerError};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The largest ledger that is read: some hundred cases and attempts take less than 100 KiB.
const MAX_LEDGER_BYTES: u64 = 4 << 20;

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be read or written.
    #[error("{tried} {path} failed; check the state directory")]
    File {
        /// What was tried.
        tried: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is not a ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// It cannot be written as JSON.
    #[error("the ledger has no JSON form")]
    Form(#[source] serde_json::Error),
}

/// Makes the state directory, readable by its owner only.
///
/// # Errors
/// It cannot be made.
pub fn make_dir(path: &Path) -> Result<(), StoreError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| StoreError::File {
            tried: "making",
            path: path.to_owned(),
            source,
        })
}

/// Reads the ledger; a file that is not there is an empty ledger.
///
/// # Errors
/// A file that cannot be read, is too large, or is not a ledger of this form.
pub fn read(path: &Path, boot_id: &str) -> Result<Ledger, StoreError> {
    let failed = |source| StoreError::File {
        tried: "reading",
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ledger::empty(boot_id)),
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    file.take(MAX_LEDGER_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > MAX_LEDGER_BYTES {
        return Err(failed(io::Error::other(format!(
            "larger than {MAX_LEDGER_BYTES} bytes"
        ))));
    }
    Ok(Ledger::parse(&text)?)
}

/// Writes the ledger beside its file, syncs it, and puts it in place.
///
/// # Errors
/// Any write or sync that fails; the file of before is then still whole.
///
/// *Cost*: two syncs; blocks, so it runs off the async threads.
pub fn write(path: &Path, ledger: &Ledger) -> Result<(), StoreError> {
    replace(
        path,
        &serde_json::to_string(ledger).map_err(StoreError::Form)?,
    )
}

/// Replaces a small file whole, synced, or not at all.
///
/// # Errors
/// Any write or sync that fails; the file of before is then still whole.
///
/// *Cost*: two syncs.
pub fn replace(path: &Path, text: &str) -> Result<(), StoreError> {
    let draft = path.with_extension("draft");
    let put = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&draft, path)?;
        match path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    put().map_err(|source| StoreError::File {
        tried: "writing",
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_comes_back_and_a_missing_one_is_empty() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("ledger.json");
        assert_eq!(read(&path, "b").expect("reads"), Ledger::empty("b"));
        let mut ledger = Ledger::empty("b");
        ledger.next_case = 42;
        write(&path, &ledger).expect("writes");
        assert_eq!(read(&path, "b").expect("reads").next_case, 42);
    }

    #[test]
    fn a_damaged_ledger_is_refused_and_stays_as_it_is() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("ledger.json");
        std::fs::write(&path, "{\"format\":1").expect("writes");
        assert!(matches!(read(&path, "b"), Err(StoreError::Ledger(_))));
        assert_eq!(
            std::fs::read_to_string(&path).expect("reads"),
            "{\"format\":1"
        );
    }
}
