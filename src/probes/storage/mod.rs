//! File systems: which are read-only though they should not be, and what ext4 found wrong with itself.

mod expect;
mod parse;
mod signals;

pub use parse::{Mount, read_fstab, read_mount, read_mountinfo};
pub use signals::{EMERGENCY_RO, EXT4_ERRORS, READONLY, TYPE};

use super::error::ProbeError;
use super::off_thread::OffThread;
use super::text_file::{read_error, read_text};
use super::{Probe, ProbeSpec};
use crate::host::{BoxFuture, Host};
use crate::signal::{Batch, MissingReason, Subject};
use expect::Expectations;
use std::collections::BTreeMap;
use std::fs::read_dir;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How many devices are looked at.
const MAX_DEVICES: usize = 256;

/// The probe's description.
pub static SPEC: ProbeSpec = ProbeSpec {
    name: "storage",
    title: "file systems",
    period: Duration::from_secs(30),
    timeout: Duration::from_secs(10),
    keys: &[
        &READONLY.spec,
        &EMERGENCY_RO.spec,
        &TYPE.spec,
        &EXT4_ERRORS.spec,
    ],
    cost: "0.7 ms wall, 0.4 ms CPU with 40 mounts (2 cores of a VM, unoptimised build)",
};

/// A device and how many errors ext4 found on it.
type ErrorCount = (String, Result<i64, MissingReason>);

/// The files of one run. File systems themselves are never touched: a sick one would hang whoever asks it.
struct Texts {
    mounts: Vec<Mount>,
    fstab: BTreeMap<String, bool>,
    errors: Vec<ErrorCount>,
}

/// Reads the mount table and ext4's error counters.
pub struct Storage {
    off_thread: OffThread<Result<Texts, ProbeError>>,
    expectations: Expectations,
}

impl Storage {
    /// A probe that has seen nothing yet.
    pub fn new() -> Self {
        Self {
            off_thread: OffThread::new(),
            expectations: Expectations::default(),
        }
    }

    fn report(&mut self, texts: &Texts) -> Batch {
        let mut batch = Batch::of(SPEC.name);
        for mount in self.expectations.judged(&texts.mounts, &texts.fstab) {
            let subject = Subject::named(&mount.point);
            let refuses = mount.is_super_ro || mount.is_emergency_ro;
            batch.set_for(&READONLY, subject.clone(), refuses);
            batch.set_for(&EMERGENCY_RO, subject.clone(), mount.is_emergency_ro);
            batch.set_for(&TYPE, subject, Arc::from(mount.kind.as_str()));
        }
        for (device, count) in &texts.errors {
            let subject = Subject::named(device);
            match count {
                Ok(count) => batch.set_for(&EXT4_ERRORS, subject, *count),
                Err(reason) => batch.missing_for(&EXT4_ERRORS.spec, subject, reason.clone()),
            }
        }
        batch.lists_all(&READONLY);
        batch.lists_all(&EMERGENCY_RO);
        batch.lists_all(&TYPE);
        batch.lists_all(&EXT4_ERRORS);
        batch
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self::new()
    }
}

impl Probe for Storage {
    fn spec(&self) -> &'static ProbeSpec {
        &SPEC
    }

    fn collect<'a>(&'a mut self, host: &'a Host) -> BoxFuture<'a, Result<Batch, ProbeError>> {
        let place = host.clone();
        Box::pin(async move {
            let texts = self
                .off_thread
                .run(SPEC.title, move || read(&place))
                .await??;
            Ok(self.report(&texts))
        })
    }
}

fn read(host: &Host) -> Result<Texts, ProbeError> {
    // In a pod the agent's own mount table is that of the pod.
    let table = if host.root() == Path::new("/") {
        "/proc/self/mountinfo"
    } else {
        "/proc/1/mountinfo"
    };
    let path = host.path(table);
    let mounts = read_mountinfo(&read_text(&path)?);
    if mounts.is_empty() {
        // Every process has a root: an empty table means that it was not understood.
        let source = Box::new(io::Error::from(io::ErrorKind::InvalidData));
        let what = path.display().to_string();
        return Err(ProbeError::Read { what, source });
    }
    let fstab = match read_text(&host.path("/etc/fstab")) {
        Ok(text) => read_fstab(&text),
        Err(ProbeError::Unsupported { .. }) => BTreeMap::new(),
        Err(error) => return Err(error),
    };
    let errors = read_errors(host)?;
    Ok(Texts {
        mounts,
        fstab,
        errors,
    })
}

/// ext4's error counters by device. The counter is in memory: reading it does not touch the disk.
fn read_errors(host: &Host) -> Result<Vec<ErrorCount>, ProbeError> {
    let directory = host.path("/sys/fs/ext4");
    let entries = match read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(read_error(&directory, error)),
    };
    let mut errors = Vec::new();
    for entry in entries.take(MAX_DEVICES) {
        let entry = entry.map_err(|error| read_error(&directory, error))?;
        let count = match read_text(&entry.path().join("errors_count")) {
            Ok(text) => text.trim().parse().map_err(|_| {
                let shown: String = text.trim().chars().take(40).collect();
                MissingReason::Unreadable(format!("`{shown}` is no count of errors").into())
            }),
            // `features` and such are no devices.
            Err(ProbeError::Unsupported { .. }) => continue,
            Err(error) => Err(error.missing_reason()),
        };
        errors.push((entry.file_name().to_string_lossy().into_owned(), count));
    }
    errors.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(errors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::Value;
    use std::fs::{create_dir_all, write};

    fn value(batch: &Batch, key: &str, subject: &str) -> Option<Result<Value, &'static str>> {
        let mut samples = batch.samples.iter();
        let sample = samples.find(|s| s.key == key && s.subject.as_str() == subject)?;
        Some(sample.value.clone().map_err(|reason| reason.kind()))
    }

    #[test]
    fn a_file_system_that_the_kernel_shut_is_found_in_both_forms() {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path();
        for directory in [
            "proc/1",
            "sys/fs/ext4/sda1",
            "sys/fs/ext4/sdb1",
            "sys/fs/ext4/features",
        ] {
            create_dir_all(root.join(directory)).expect("made");
        }
        let table = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:2 / /var rw - ext4 /dev/sdb1 ro\n\
                     3 1 8:3 / /data rw - ext4 /dev/sdc1 rw,emergency_ro\n";
        write(root.join("proc/1/mountinfo"), table).expect("written");
        write(root.join("sys/fs/ext4/sda1/errors_count"), "0\n").expect("written");
        write(root.join("sys/fs/ext4/sdb1/errors_count"), "many\n").expect("written");
        let mut probe = Storage::new();
        let texts = read(&Host::at(root)).expect("read");
        let batch = probe.report(&texts);
        for (key, subject, expected) in [
            ("fs.readonly", "/", false),
            ("fs.readonly", "/var", true),
            ("fs.readonly", "/data", true),
            ("fs.emergency_ro", "/var", false),
            ("fs.emergency_ro", "/data", true),
        ] {
            assert_eq!(
                value(&batch, key, subject),
                Some(Ok(Value::Bool(expected))),
                "{key} {subject}"
            );
        }
        assert_eq!(
            value(&batch, "fs.ext4_errors", "sda1"),
            Some(Ok(Value::Integer(0)))
        );
        assert_eq!(
            value(&batch, "fs.ext4_errors", "sdb1"),
            Some(Err("unreadable"))
        );
        assert_eq!(value(&batch, "fs.ext4_errors", "features"), None);
    }

    #[test]
    fn a_mount_table_without_mounts_is_an_error_and_not_health() {
        let root = tempfile::tempdir().expect("a directory");
        create_dir_all(root.path().join("proc/1")).expect("made");
        let missing = read(&Host::at(root.path())).err().expect("no table");
        assert_eq!(missing.kind(), "unsupported");
        write(root.path().join("proc/1/mountinfo"), "garbage\n").expect("written");
        let empty = read(&Host::at(root.path())).err().expect("an empty table");
        assert_eq!(empty.kind(), "failed");
    }

    #[test]
    fn this_machines_root_is_judged() {
        let texts = read(&Host::at("/")).expect("read");
        let batch = Storage::new().report(&texts);
        assert_eq!(
            value(&batch, "fs.readonly", "/"),
            Some(Ok(Value::Bool(false)))
        );
    }
}
