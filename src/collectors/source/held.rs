//! A file that is kept open and read with `pread` to its end.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::collectors::error::ReadError;
use crate::collectors::source::roots::Root;

/// The most that is read of one file. The largest real one known is `/proc/stat` of a machine
/// with 8,192 processors and 100,000 interrupts, about 2 MiB.
pub const MAX_FILE_BYTES: usize = 16 * 1024 * 1024;
/// What a scratch buffer starts with: most files fit, so it rarely grows.
pub const FIRST_BYTES: usize = 64 * 1024;
/// What is offered to the kernel for a file that was small the last time.
const SMALL_BYTES: usize = 512;
/// The smallest page. `seq_file` hands out whole records up to a page at a time.
const PAGE_BYTES: usize = 4096;

/// How the kernel hands out the file, which tells when a read has met the end without another
/// read that returns nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// In one piece (`single_open`, sysctl, sysfs attribute): a read that leaves room is the whole.
    Whole,
    /// In records of at most this many bytes (`seq_file`): a read that leaves room for another
    /// record in the smallest page is the last.
    Records(usize),
    /// Unknown: read until nothing comes.
    Stream,
}

/// A file that stays open between scrapes.
///
/// Below procfs and sysfs one descriptor is kept; a file that is missing there is looked for
/// again once an epoch. In a tree of ordinary files (fixtures, a copied `/proc`) nothing is kept.
#[derive(Debug)]
pub struct HeldFile {
    path: Arc<Path>,
    shape: Shape,
    keep: bool,
    file: Option<File>,
    failed: Option<(u64, Errno)>,
    /// How long the file was the last time.
    last: usize,
}

impl HeldFile {
    /// The file at `below` under `root`; nothing is opened yet.
    pub fn new(root: &Root, below: impl AsRef<Path>, shape: Shape) -> HeldFile {
        HeldFile::at(root.join(below), root.is_kernel(), shape)
    }

    /// The file at an absolute path; `keep` says whether the kernel makes it.
    pub fn at(path: PathBuf, keep: bool, shape: Shape) -> HeldFile {
        let shape = if keep { shape } else { Shape::Stream };
        HeldFile {
            path: Arc::from(path),
            shape,
            keep,
            file: None,
            failed: None,
            last: usize::MAX,
        }
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the whole file into `scratch` and lends it.
    ///
    /// *Errors*: the kernel's reason. One that lasts (the file is missing, or not for this user)
    /// is repeated until the next epoch; any other is tried again on the next call.
    /// *Cost*: one `pread` for most files, no open in the steady state.
    pub fn read<'b>(
        &mut self,
        epoch: u64,
        scratch: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], ReadError> {
        match self.try_read(epoch, scratch) {
            Ok(len) => Ok(scratch.get(..len).unwrap_or_default()),
            Err(error) => {
                let errno = error.errno();
                // What is only busy is read through the same descriptor next time.
                if !matches!(errno, Some(Errno::EAGAIN | Errno::EBUSY)) {
                    self.file = None;
                }
                if self.keep
                    && let Some(errno) = errno.filter(|errno| lasts(*errno))
                {
                    self.failed = Some((epoch, errno));
                }
                Err(error)
            }
        }
    }

    /// Reads a file that holds one number or word; blanks at its ends are cut.
    ///
    /// *Errors*: as `read`.
    pub fn read_trimmed<'b>(
        &mut self,
        epoch: u64,
        scratch: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], ReadError> {
        self.read(epoch, scratch).map(<[u8]>::trim_ascii)
    }

    fn try_read(&mut self, epoch: u64, scratch: &mut Vec<u8>) -> Result<usize, ReadError> {
        if let Some((when, source)) = self.failed {
            if when == epoch {
                return Err(ReadError::Read {
                    path: Arc::clone(&self.path),
                    source,
                });
            }
            self.failed = None;
        }
        let mut fresh = if self.file.is_none() {
            Some(self.open()?)
        } else {
            None
        };
        if self.keep && fresh.is_some() {
            self.file = fresh.take();
        }
        let file = match (&self.file, &fresh) {
            (Some(file), _) | (None, Some(file)) => file,
            (None, None) => return Err(self.error(Errno::EBADF)),
        };
        if scratch.is_empty() {
            scratch.resize(FIRST_BYTES, 0);
        }
        let len = self.read_from(file, scratch)?;
        self.last = len;
        Ok(len)
    }

    fn open(&self) -> Result<File, ReadError> {
        // Not blocking, so that a pipe in the place of a file cannot hang the scrape.
        OpenOptions::new()
            .read(true)
            .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
            .open(&self.path)
            .map_err(|error| self.io_error(&error))
    }

    fn read_from(&self, file: &File, scratch: &mut Vec<u8>) -> Result<usize, ReadError> {
        let mut len = 0;
        // The kernel takes and clears as much memory as a sysctl's reader offers.
        let mut offer = if self.last < SMALL_BYTES / 2 {
            SMALL_BYTES
        } else {
            usize::MAX
        };
        loop {
            let room = (scratch.len() - len).min(offer);
            let free = scratch.get_mut(len..len + room).unwrap_or_default();
            offer = usize::MAX;
            let got = match file.read_at(free, len as u64) {
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.io_error(&error)),
            };
            len += got;
            let ended = match self.shape {
                Shape::Whole => got < room,
                Shape::Records(longest) => got < room.min(PAGE_BYTES.saturating_sub(longest)),
                Shape::Stream => false,
            };
            if got == 0 || ended {
                return Ok(len);
            }
            if scratch.len() - len < PAGE_BYTES {
                if scratch.len() >= MAX_FILE_BYTES {
                    let path = Arc::clone(&self.path);
                    return Err(ReadError::TooLarge {
                        path,
                        limit: MAX_FILE_BYTES,
                    });
                }
                scratch.resize(scratch.len() * 2, 0);
            }
        }
    }

    fn io_error(&self, error: &io::Error) -> ReadError {
        self.error(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    }

    fn error(&self, source: Errno) -> ReadError {
        ReadError::Read {
            path: Arc::clone(&self.path),
            source,
        }
    }
}

/// Whether the kernel will say the same until a device, a module or a right changes: the file is
/// not there, not for this user, or its driver does not fill it. Everything else (EIO, ENOMEM, no
/// descriptor left, ...) may be gone a moment later.
fn lasts(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ENOENT
            | Errno::ENOTDIR
            | Errno::EISDIR
            | Errno::ELOOP
            | Errno::ENODEV
            | Errno::ENXIO
            | Errno::EACCES
            | Errno::EPERM
            | Errno::EINVAL
            | Errno::ENODATA
            | Errno::EOPNOTSUPP
    )
}

/// Reads a file once, for what is looked at when a device appears and not on every page.
///
/// *Errors*: the kernel's reason.
pub fn read_once(path: PathBuf) -> Result<Vec<u8>, ReadError> {
    // Room for the page that a sysfs file can fill and for the read that finds its end. A thousand
    // links have 24,000 such files, so this stays small.
    let mut scratch = vec![0; 2 * PAGE_BYTES];
    let len = HeldFile::at(path, false, Shape::Stream)
        .read(0, &mut scratch)?
        .len();
    scratch.truncate(len);
    Ok(scratch)
}

/// The trimmed text of a small file, `None` if it cannot be read.
pub fn word(path: PathBuf) -> Option<Vec<u8>> {
    read_once(path).ok().map(|text| text.trim_ascii().to_vec())
}

#[cfg(test)]
mod tests {
    use super::{HeldFile, Shape};
    use crate::collectors::source::roots::Root;
    use nix::errno::Errno;
    use nix::sys::stat::Mode;
    use std::path::Path;

    #[test]
    fn ordinary_files_are_read_afresh_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        let mut file = HeldFile::new(&root, "a", Shape::Whole);
        let mut scratch = Vec::new();
        assert_eq!(
            file.read(1, &mut scratch).unwrap_err().errno(),
            Some(Errno::ENOENT)
        );
        for text in ["one", "", &"x".repeat(200_000)] {
            std::fs::write(dir.path().join("a"), text).unwrap();
            assert_eq!(file.read(1, &mut scratch).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn pipe_directory_and_huge_file_are_errors_and_do_not_hang() {
        let dir = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&dir.path().join("pipe"), Mode::S_IRWXU).unwrap();
        std::fs::create_dir(dir.path().join("dir")).unwrap();
        let huge = std::fs::File::create(dir.path().join("huge")).unwrap();
        huge.set_len(1 << 40).unwrap();
        for name in ["pipe", "dir", "huge"] {
            let mut file = HeldFile::new(&Root::at(dir.path()), name, Shape::Whole);
            assert!(file.read(1, &mut Vec::new()).is_err(), "{name}");
        }
    }

    /// `/proc/self/mem` at offset 0 is a real EIO: nothing is mapped there.
    #[test]
    fn lasting_errors_wait_for_the_next_epoch_and_passing_ones_only_for_the_next_page() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut scratch = Vec::new();
        for (target, errno, is_remembered) in [
            ("/proc/self/mem", Errno::EIO, false),
            ("/no/such/file", Errno::ENOENT, true),
            ("/etc/passwd/x", Errno::ENOTDIR, true),
        ] {
            let mut file = HeldFile::at(path.clone(), true, Shape::Whole);
            std::os::unix::fs::symlink(target, &path).unwrap();
            let error = file.read(1, &mut scratch).unwrap_err();
            assert_eq!(error.errno(), Some(errno), "{target}");
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, "well").unwrap();
            let again = file.read(1, &mut scratch).map(<[u8]>::to_vec);
            assert_eq!(again.is_err(), is_remembered, "{target}");
            assert_eq!(file.read(2, &mut scratch).unwrap(), b"well", "{target}");
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn files_of_the_kernel_are_whole_and_missing_ones_wait_for_the_next_epoch() {
        let root = Root::at(Path::new("/proc"));
        assert!(root.is_kernel());
        let mut scratch = Vec::new();
        for (name, shape) in [
            ("kallsyms", Shape::Records(600)),
            ("stat", Shape::Whole),
            ("meminfo", Shape::Whole),
            ("net/dev", Shape::Records(512)),
        ] {
            let lines = std::fs::read_to_string(root.join(name))
                .unwrap()
                .lines()
                .count();
            let mut file = HeldFile::new(&root, name, shape);
            for _ in 0..2 {
                let text = file.read(1, &mut scratch).unwrap();
                assert_eq!(
                    String::from_utf8_lossy(text).lines().count(),
                    lines,
                    "{name}"
                );
            }
        }
        let mut gone = HeldFile::new(&root, "no-such-file", Shape::Whole);
        for epoch in [1, 1, 2] {
            assert!(gone.read(epoch, &mut scratch).unwrap_err().is_absent());
        }
    }
}
