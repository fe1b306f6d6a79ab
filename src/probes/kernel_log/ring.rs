//! The device itself, behind a port that tests can stand in for.

use super::parse::{KmsgRecord, parse_record};
use crate::host::{BoxFuture, Host};
use crate::probes::error::ProbeError;
use crate::probes::text_file::read_error;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A record and its keys take at most 8 KiB (the kernel's CONSOLE_EXT_LOG_MAX and PRINTKRB_RECORD_MAX).
const BUFFER_BYTES: usize = 16 * 1024;

/// What one read of the ring gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The next record.
    Record(KmsgRecord),
    /// There is none at present.
    Nothing,
    /// Records were overwritten before they were read; the next read goes on with the oldest one that is left.
    Overrun,
    /// Something that is no record, or one that does not fit in the buffer.
    Garbled,
}

/// A ring of kernel records.
pub trait Ring: Send {
    /// The next record. Never waits.
    ///
    /// # Errors
    /// The ring must be opened again.
    fn next_record(&mut self) -> io::Result<Seen>;

    /// Ends when the kernel wrote something since the last look, perhaps a little too often. Never, where it does not say.
    fn written(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// `/dev/kmsg`.
#[derive(Debug)]
pub struct KmsgFile {
    file: File,
    /// Tells when there is something to read; `None` outside of a runtime, and then only the period does.
    bell: Option<AsyncFd<File>>,
    buffer: Vec<u8>,
}

impl KmsgFile {
    /// Opens the machine's ring at its oldest record.
    ///
    /// # Errors
    /// No such device (also where a container has a pipe or a file in its place), or no rights.
    pub fn open(host: &Host) -> Result<Self, ProbeError> {
        let path = host.path("/dev/kmsg");
        let file = OpenOptions::new()
            .read(true)
            .custom_flags((OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY).bits())
            .open(&path)
            .map_err(|source| read_error(&path, source))?;
        let kind = file
            .metadata()
            .map_err(|source| read_error(&path, source))?;
        if !kind.file_type().is_char_device() {
            let what = format!("{} as a device of the kernel", path.display());
            return Err(ProbeError::Unsupported { what });
        }
        let bell = bell(&file);
        Ok(Self {
            file,
            bell,
            buffer: vec![0; BUFFER_BYTES],
        })
    }
}

#[allow(
    deprecated,
    reason = "its successor is unsafe, for types whose descriptor may change; that of a File never does (tokio #8587)"
)]
fn bell(file: &File) -> Option<AsyncFd<File>> {
    tokio::runtime::Handle::try_current().ok()?;
    let made = file
        .try_clone()
        .and_then(|file| AsyncFd::with_interest(file, Interest::READABLE));
    made.inspect_err(|error| tracing::debug!(%error, "kernel lines are seen once a second only"))
        .ok()
}

impl Ring for KmsgFile {
    fn next_record(&mut self) -> io::Result<Seen> {
        let read = self.file.read(&mut self.buffer);
        let errno = read.as_ref().err().and_then(io::Error::raw_os_error);
        match (read, errno.map(Errno::from_raw)) {
            (Ok(0), _) | (_, Some(Errno::EAGAIN)) => Ok(Seen::Nothing),
            (Ok(length), _) => {
                let bytes = self.buffer.get(..length).unwrap_or_default();
                Ok(parse_record(bytes).map_or(Seen::Garbled, Seen::Record))
            }
            (_, Some(Errno::EPIPE)) => Ok(Seen::Overrun),
            (_, Some(Errno::EINTR)) => Ok(Seen::Garbled),
            (Err(error), _) => Err(error),
        }
    }

    fn written(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let Some(bell) = &self.bell else {
                return std::future::pending().await;
            };
            match bell.readable().await {
                // Cleared before the reading, so that a line that comes during it rings again.
                Ok(mut ringing) => ringing.clear_ready(),
                Err(_) => std::future::pending().await,
            }
        })
    }
}
