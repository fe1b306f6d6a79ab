//! The few file operations that the journal needs, so that tests can fail each of them.

use super::journal::JournalError;
use crate::host::BoxFuture;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

/// A journal file, open for appending.
pub trait JournalFile: Send {
    /// Writes all of `bytes` at the end.
    ///
    /// # Errors
    /// Some or none of them may have been written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything that was written durable.
    ///
    /// # Errors
    /// Nothing is known about what is durable. Never to be tried again.
    fn sync(&mut self) -> io::Result<()>;
}

/// Where journals are kept.
pub trait Disk: Send + Sync {
    /// The numbers of the runs that have a journal in `folder`, ascending. Creates the folder if it is not there.
    ///
    /// # Errors
    /// As for any directory.
    fn runs(&self, folder: &Path) -> io::Result<Vec<u64>>;

    /// The first `limit` bytes of a file.
    ///
    /// # Errors
    /// As for any file.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>>;

    /// A new file, durable also in its folder.
    ///
    /// # Errors
    /// Also if it exists.
    fn create(&self, path: &Path) -> io::Result<Box<dyn JournalFile>>;

    /// An existing file, for appending.
    ///
    /// # Errors
    /// As for any file.
    fn reopen(&self, path: &Path) -> io::Result<Box<dyn JournalFile>>;

    /// Replaces or makes a small file, durably.
    ///
    /// # Errors
    /// As for any file.
    fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Cuts a file to its first `bytes`, durably.
    ///
    /// # Errors
    /// As for any file.
    fn cut(&self, path: &Path, bytes: u64) -> io::Result<()>;

    /// Removes a file, durably.
    ///
    /// # Errors
    /// As for any file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Does work on this disk off the async thread, because a dying disk holds a sync for minutes. `None`: it has not ended
    /// within `limit`, and may yet.
    fn work(&self, work: Work, limit: Duration) -> BoxFuture<'_, Option<Result<(), JournalError>>> {
        let work = tokio::task::spawn_blocking(work);
        Box::pin(async move { tokio::time::timeout(limit, work).await.ok()?.ok() })
    }
}

/// Work that ends when it is durable.
pub type Work = Box<dyn FnOnce() -> Result<(), JournalError> + Send>;

/// The machine's own disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostDisk;

impl JournalFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

impl Disk for HostDisk {
    fn runs(&self, folder: &Path) -> io::Result<Vec<u64>> {
        std::fs::create_dir_all(folder)?;
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let name = entry?.file_name();
            let number: Option<u64> = name
                .to_str()
                .and_then(|name| name.strip_prefix("run-"))
                .and_then(|name| name.strip_suffix(".journal"))
                // One spelling only: `run-007` is nobody's journal.
                .filter(|digits| {
                    digits.bytes().all(|c| c.is_ascii_digit()) && !digits.starts_with('0')
                })
                .and_then(|digits| digits.parse().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn JournalFile>> {
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)?;
        sync_folder_of(path)?;
        Ok(Box::new(file))
    }

    fn reopen(&self, path: &Path) -> io::Result<Box<dyn JournalFile>> {
        Ok(Box::new(OpenOptions::new().append(true).open(path)?))
    }

    fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        sync_folder_of(path)
    }

    fn cut(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(bytes)?;
        file.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)?;
        sync_folder_of(path)
    }
}
