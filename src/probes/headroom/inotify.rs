//! inotify by user. The kernel counts instances and watches per user and shows neither count, so every open file of every
//! process is looked at; that is why this is a probe of its own with a slow rhythm.

use super::parse::{count_watches, free_share, read_effective_user, read_number};
use super::signals::{INOTIFY_INSTANCES, INOTIFY_WATCHES};
use crate::host::Host;
use crate::probes::ProbeSpec;
use crate::probes::error::ProbeError;
use crate::probes::off_thread::OneRead;
use crate::probes::text_file::{read_error, read_text, read_value};
use crate::signal::{Batch, Subject};
use std::collections::BTreeMap;
use std::fs::{read_dir, read_link};
use std::io;
use std::path::Path;
use std::time::Duration;

/// Most open files that one run looks at, about half a second; past it the counts would be too small, so there are none.
const MAX_FILES: usize = 200_000;
/// Users that are shown: those with the least left.
const MAX_USERS: usize = 32;
/// What a descriptor of an inotify instance is a link to.
const INSTANCE: &str = "anon_inode:inotify";

/// The probe's description.
pub static SPEC: ProbeSpec = ProbeSpec {
    name: "inotify",
    title: "inotify headroom",
    period: Duration::from_secs(120),
    timeout: Duration::from_secs(20),
    keys: &[&INOTIFY_INSTANCES.spec, &INOTIFY_WATCHES.spec],
    cost: "18 ms with 198 processes (least wall time of 12 starts, release build, a busy VM of 2 cores)",
};

/// Counts inotify instances and watches.
pub fn probe() -> OneRead {
    OneRead::new(&SPEC, read)
}

/// What one user has.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    instances: u64,
    watches: u64,
}

pub(super) fn read(host: &Host) -> Result<Batch, ProbeError> {
    let limit = |name: &str| {
        read_value(
            host,
            Path::new("/proc/sys/fs/inotify").join(name),
            read_number,
        )
    };
    let (instances, watches) = (limit("max_user_instances")?, limit("max_user_watches")?);
    let mut users: Vec<_> = count(host)?
        .into_iter()
        .map(|(user, count)| {
            let left = (
                free_share(count.instances, instances),
                free_share(count.watches, watches),
            );
            (user, left)
        })
        .collect();
    users.sort_by(|(_, one), (_, other)| one.0.min(one.1).total_cmp(&other.0.min(other.1)));
    let mut batch = Batch::of(SPEC.name);
    for (user, (instances, watches)) in users.into_iter().take(MAX_USERS) {
        let subject = Subject::named(&user.to_string());
        batch.set_for(&INOTIFY_INSTANCES, subject.clone(), instances);
        batch.set_for(&INOTIFY_WATCHES, subject, watches);
    }
    batch.lists_all(&INOTIFY_INSTANCES);
    batch.lists_all(&INOTIFY_WATCHES);
    Ok(batch)
}

/// Instances and watches by effective user. A process that ends meanwhile is passed over; one that may not be looked at
/// makes the count worthless.
fn count(host: &Host) -> Result<BTreeMap<u32, Count>, ProbeError> {
    let proc = host.path("/proc");
    let mut users: BTreeMap<u32, Count> = BTreeMap::new();
    let mut looked = 0;
    for process in read_dir(&proc).map_err(|error| read_error(&proc, error))? {
        let process = process.map_err(|error| read_error(&proc, error))?;
        let is_process = process
            .file_name()
            .as_encoded_bytes()
            .first()
            .is_some_and(u8::is_ascii_digit);
        if !is_process {
            continue;
        }
        let path = process.path();
        let Some(found) = unless_ended(of_process(&path, &mut looked))? else {
            continue;
        };
        if looked > MAX_FILES {
            let source = io::Error::other("more than 200,000 open files");
            return Err(read_error(&proc, source));
        }
        if found.instances > 0
            && let Some(status) = unless_ended(read_text(&path.join("status")))?
            && let Some(user) = read_effective_user(&status)
        {
            let count = users.entry(user).or_default();
            count.instances += found.instances;
            count.watches += found.watches;
        }
    }
    Ok(users)
}

fn of_process(process: &Path, looked: &mut usize) -> Result<Count, ProbeError> {
    let files = process.join("fd");
    let fail = |error| read_error(&files, error);
    let mut count = Count::default();
    for file in read_dir(&files).map_err(fail)? {
        *looked += 1;
        if *looked > MAX_FILES {
            break;
        }
        let file = file.map_err(fail)?;
        let Ok(target) = read_link(file.path()) else {
            continue;
        };
        if target.as_os_str() == INSTANCE {
            count.instances += 1;
            let details = process.join("fdinfo").join(file.file_name());
            let text = unless_ended(read_text(&details))?;
            count.watches += text.map_or(0, |text| count_watches(&text));
        }
    }
    Ok(count)
}

/// A process that ended says "no such file" or "no such process".
fn unless_ended<T>(outcome: Result<T, ProbeError>) -> Result<Option<T>, ProbeError> {
    let has_ended = |error: &ProbeError| match error {
        ProbeError::Unsupported { .. } => true,
        ProbeError::Read { source, .. } => source
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
            .is_some_and(|errno| errno == nix::errno::Errno::ESRCH as i32),
        _ => false,
    };
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if has_ended(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
