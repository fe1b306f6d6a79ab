//! A directory's names, looked at again once an epoch.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;

use crate::collectors::error::ReadError;
use crate::collectors::source::roots::Root;

/// The most names that are taken from one directory; a machine has fewer devices of one kind,
/// and a hostile tree must not cost unbounded memory.
pub const MAX_NAMES: usize = 65_536;

/// The sorted names of a directory.
///
/// *Errors*: the kernel's reason.
pub fn names(path: &Path) -> Result<Vec<Vec<u8>>, ReadError> {
    let fail = |error: std::io::Error| ReadError::Read {
        path: Arc::from(path),
        source: error.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(fail)?.take(MAX_NAMES) {
        names.push(entry.map_err(fail)?.file_name().as_bytes().to_vec());
    }
    names.sort_unstable();
    Ok(names)
}

/// A path with one more part that may be any bytes.
pub fn child(path: &Path, name: &[u8]) -> PathBuf {
    path.join(OsStr::from_bytes(name))
}

/// Something that is rebuilt from a directory when the epoch changes, and on every page where the
/// tree is made of ordinary files.
#[derive(Debug)]
pub struct Watched<T> {
    path: PathBuf,
    keep: bool,
    epoch: u64,
    found: Result<T, ReadError>,
}

impl<T: Default> Watched<T> {
    /// Watches `below` under `root`; nothing is read yet.
    pub fn new(root: &Root, below: impl AsRef<Path>) -> Watched<T> {
        let found = Ok(T::default());
        Watched {
            path: root.join(below),
            keep: root.is_kernel(),
            epoch: 0,
            found,
        }
    }

    /// Whether the kernel makes the directory, so that files below it can be kept open.
    pub fn is_kept(&self) -> bool {
        self.keep
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was built from the directory, built anew by `build` (from its path and sorted names)
    /// if the epoch changed since.
    ///
    /// *Errors*: the directory could not be listed; asked again in the next epoch.
    pub fn get(
        &mut self,
        epoch: u64,
        build: impl FnOnce(&Path, Vec<Vec<u8>>) -> T,
    ) -> Result<&mut T, ReadError> {
        if self.epoch != epoch || !self.keep {
            self.epoch = epoch;
            self.found = names(&self.path).map(|names| build(&self.path, names));
        }
        self.found.as_mut().map_err(|error| error.clone())
    }
}
