//! The writer: opens the log where it ended, and appends one synced record at a time.

use super::chain::{Chain, Link};
use super::error::AuditError;
use super::files::{self, HEAD, Head, LOCK, LogFile, TORN};
use super::record::{Entry, RecordKind};
use super::tail::Tail;
use crate::signal::Timestamp;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// When a new file begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes after which a file is full. A new day begins a new file too.
    pub max_file_bytes: u64,
}

impl Default for Limits {
    /// 4 MiB: about 7,000 records, all read back when the log is opened (an unoptimised build took 0.1 ms a record).
    fn default() -> Self {
        Self {
            max_file_bytes: 4 << 20,
        }
    }
}

/// What was found when the log was opened, for one line at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The newest record that was there.
    pub head: Head,
    /// The file that keeps the bytes of a line that a crash cut short, if there was one.
    pub torn: Option<PathBuf>,
}

/// The audit log, open for writing. One writer at a time; dropping it gives the lock back.
///
/// *Cost* of a record: one write and one sync of some hundred bytes, and the head file replaced.
#[derive(Debug)]
pub struct AuditLog {
    dir: PathBuf,
    limits: Limits,
    current: Option<Current>,
    chain: Chain,
    records: u64,
    failures: u64,
    first_failure: Option<String>,
    /// Held for the lock on it.
    _lock: File,
}

#[derive(Debug)]
struct Current {
    name: LogFile,
    file: File,
    bytes: u64,
}

impl AuditLog {
    /// Opens the log in `dir`, which is made if it is not there, and continues its chain. Only the newest file is read.
    ///
    /// A line that a crash cut short was never acknowledged: its bytes are moved into a file of their own, and a record says
    /// so. Anything else that is wrong with the end of the log is an error: a chain is never continued over damage.
    ///
    /// # Errors
    /// A directory that cannot be used, a second writer, a damaged end.
    pub fn open(
        dir: &Path,
        node: &str,
        boot_id: &str,
        limits: Limits,
        now: Timestamp,
    ) -> Result<(AuditLog, Opening), AuditError> {
        make_dir(dir)?;
        let lock = lock(dir)?;
        let tail = Tail::find(dir)?;
        let mut log = AuditLog {
            dir: dir.to_owned(),
            limits,
            current: None,
            chain: Chain::after(Some(tail.head.clone()), node, boot_id),
            records: 0,
            failures: 0,
            first_failure: None,
            _lock: lock,
        };
        let mut opening = Opening {
            head: tail.head,
            torn: None,
        };
        if let Some(file) = tail.file {
            if !tail.torn.is_empty() {
                opening.torn = Some(set_aside(&file, tail.bytes, &tail.torn)?);
                sync_dir(dir)?;
            }
            log.current = Some(open_current(file, tail.bytes)?);
        }
        if let Some(torn) = &opening.torn {
            let mut entry = Entry::of(RecordKind::LogContinued);
            entry.reasons.push(format!(
                "a line of {} bytes was cut short before it was acknowledged; its bytes are in {}",
                tail.torn.len(),
                files::name_of(torn)
            ));
            log.append(now, &entry)?;
        }
        Ok((log, opening))
    }

    /// Writes one record and syncs it. Only when this returned `Ok` may that be done which the record announces.
    ///
    /// # Errors
    /// The record is not on the disk. From the first failed write on every call fails: see [`AuditLog::failure`].
    pub fn append(&mut self, now: Timestamp, entry: &Entry) -> Result<Head, AuditError> {
        if let Some(first) = &self.first_failure {
            self.failures = self.failures.saturating_add(1);
            return Err(AuditError::Stopped {
                first: first.clone(),
            });
        }
        let written = self.write(now, entry);
        match &written {
            Ok(head) => {
                self.chain.keep(head.clone());
                self.records = self.records.saturating_add(1);
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                let source = std::error::Error::source(error).map(|source| format!(": {source}"));
                self.first_failure = Some(format!("{error}{}", source.unwrap_or_default()));
            }
        }
        written
    }

    fn write(&mut self, now: Timestamp, entry: &Entry) -> Result<Head, AuditError> {
        let Link { record, line, head } = self.chain.next(now, entry)?;
        let seq = head.seq;
        let current = self.file_for(seq, day_of(&record.time))?;
        let wrong = |source| AuditError::Write {
            path: current.name.path.clone(),
            seq,
            source,
        };
        // The line goes out in one write, so that a reader sees all of it or, after a crash, a line without end.
        current.file.write_all(line.as_bytes()).map_err(wrong)?;
        current.file.sync_data().map_err(wrong)?;
        current.bytes = current
            .bytes
            .saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX));
        write_head(&self.dir, &head).map_err(|source| AuditError::Write {
            path: self.dir.join(HEAD),
            seq,
            source,
        })?;
        Ok(head)
    }

    /// The file that takes record `seq`; a new one where the present one is full or of an earlier day. A clock that went
    /// back begins no new file, so that one which jumps to and fro does not make thousands of them.
    fn file_for(&mut self, seq: u64, day: &str) -> Result<&mut Current, AuditError> {
        let full = self.current.as_ref().is_none_or(|current| {
            current.bytes >= self.limits.max_file_bytes
                || current.bytes > 0 && day > current.name.day.as_str()
        });
        if full {
            let name = LogFile::new(&self.dir, seq, day);
            let file = OpenOptions::new()
                .append(true)
                .create_new(true)
                .mode(0o600)
                .open(&name.path)
                .map_err(|source| AuditError::File {
                    path: name.path.clone(),
                    action: "made",
                    source,
                })?;
            sync_dir(&self.dir)?;
            self.current = Some(Current {
                name,
                file,
                bytes: 0,
            });
        }
        self.current.as_mut().ok_or_else(|| AuditError::Form {
            seq,
            what: "no file".into(),
        })
    }

    /// The newest record: what is anchored in the slot.
    pub fn head(&self) -> &Head {
        self.chain.head()
    }

    /// Records written since the log was opened: `nodemend_audit_records_total`.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Records that could not be written: `nodemend_audit_write_failures_total`.
    pub fn write_failures(&self) -> u64 {
        self.failures
    }

    /// The first failure, with its cause. While there is one, nothing disruptive may start.
    pub fn failure(&self) -> Option<&str> {
        self.first_failure.as_deref()
    }
}

/// The day in a record's time. A clock out of range has none.
fn day_of(time: &str) -> &str {
    let day = time.get(..10).unwrap_or_default();
    let well_formed = day.bytes().enumerate().all(|(index, byte)| match index {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    if well_formed && !day.is_empty() {
        day
    } else {
        "0000-00-00"
    }
}

fn make_dir(dir: &Path) -> Result<(), AuditError> {
    let wrong = |source| AuditError::Directory {
        path: dir.to_owned(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(wrong)?;
    fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(wrong)
}

fn lock(dir: &Path) -> Result<File, AuditError> {
    let wrong = |source| AuditError::Directory {
        path: dir.to_owned(),
        source,
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(dir.join(LOCK))
        .map_err(wrong)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AuditError::Busy {
            path: dir.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(wrong(source)),
    }
}

fn sync_dir(dir: &Path) -> Result<(), AuditError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| AuditError::Directory {
            path: dir.to_owned(),
            source,
        })
}

/// Replaces the head file. Not synced: the log is, and a head that is behind it is no lie.
fn write_head(dir: &Path, head: &Head) -> io::Result<()> {
    let new = dir.join(format!("{HEAD}.new"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(&serde_json::to_vec(head)?)?;
    fs::rename(&new, dir.join(HEAD))
}

/// Moves the torn bytes at the end of a file into a file of their own, then cuts them off.
fn set_aside(file: &LogFile, good_bytes: u64, torn: &[u8]) -> Result<PathBuf, AuditError> {
    let path = file.path.with_extension(format!("{good_bytes}.{TORN}"));
    let wrong = |action, path: &Path, source| AuditError::File {
        path: path.to_owned(),
        action,
        source,
    };
    let keep = || -> io::Result<()> {
        let mut aside = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        aside.write_all(torn)?;
        aside.sync_all()
    };
    keep().map_err(|source| wrong("made", &path, source))?;
    let cut = || -> io::Result<()> {
        let log = OpenOptions::new().write(true).open(&file.path)?;
        log.set_len(good_bytes)?;
        log.sync_all()
    };
    cut().map_err(|source| wrong("cut", &file.path, source))?;
    Ok(path)
}

fn open_current(name: LogFile, bytes: u64) -> Result<Current, AuditError> {
    match OpenOptions::new().append(true).open(&name.path) {
        Ok(file) => Ok(Current { name, file, bytes }),
        Err(source) => Err(AuditError::File {
            path: name.path,
            action: "opened for writing",
            source,
        }),
    }
}
