//! Reading the journal's files from a position on. Blocks: it runs on a thread of its own.

use super::position::{Position, PositionStore};
use super::sender::{Sender, SenderFields, dropped, sender};
use crate::host::Host;
use crate::probes::error::ProbeError;
use crate::probes::text_file::{read_error, read_text};
use crate::signal::{LogRecord, LogSource, MAX_LOG_TEXT_BYTES, Timestamp, Uptime, Wall};
use sdjournal::{Cursor, EntryRef, Journal, JournalConfig, SdJournalError};
use std::collections::BTreeSet;
use std::fs::read_dir;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How many entries one run takes in. At one run in 2 s that is 1,000 a second; journald's own rate limit lets a service
/// write 333 a second. What is over waits in the files for the next run.
const MAX_ENTRIES_PER_RUN: usize = 2_000;

/// How many entries a run skips that it has read already, after the clock was set back.
const MAX_SKIPPED_PER_RUN: usize = 50_000;

/// How far back the first start of all looks, for the newest entries of one run: enough for a report.
const FIRST_LOOK: Duration = Duration::from_secs(3_600);

/// How many different errors are told apart; more are not counted.
const MAX_NOTED_ERRORS: usize = 64;

/// A file that changed less than this ago may change again without a new time stamp.
const SETTLE: Duration = Duration::from_secs(2);

/// The position is written at most this often: each writing is a few kilobytes to the disk.
const SAVE_EVERY: Duration = Duration::from_secs(10);

/// By how much the wall clock may differ from the monotonic one before it counts as set back.
const CLOCK_SLACK_MICROS: u64 = 100_000;

/// The moment of a run, by all the clocks that journal entries carry.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    /// Now.
    pub now: Timestamp,
    /// Time spent in suspend, which the monotonic clock of the entries leaves out.
    pub asleep: Duration,
}

/// What was read and not yet handed on.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    /// Lines of the machine itself.
    pub records: Vec<LogRecord>,
    /// Lines known to be lost.
    pub gaps: u64,
    /// Lines of senders that are not believed.
    pub untrusted: u64,
    /// Whether the end of the journal was reached.
    pub heard: bool,
    /// Why the position could not be saved, the first time.
    pub save_error: Option<String>,
}

/// A journal file as it looked: name, inode, length, time of change.
type Stamp = (PathBuf, u64, u64, i64, i64);

/// Reads on from where it stopped.
pub(super) struct Reader {
    store: Box<dyn PositionStore>,
    position: Option<Position>,
    /// When the agent looked first, and whether it never had before.
    started: Option<(Timestamp, bool)>,
    stamps: Vec<Stamp>,
    /// Whether all that the files held when they looked like `stamps` is read.
    is_done: bool,
    saved_at: Uptime,
    is_saved: bool,
    can_save: bool,
    /// Errors of single entries or files that were counted.
    noted: BTreeSet<String>,
    /// Whether the kernel's lines are taken from here, because its ring cannot be read.
    takes_kernel: bool,
    /// What the next hand-over takes.
    pub(super) fresh: Fresh,
}

impl Reader {
    pub(super) fn new(store: Box<dyn PositionStore>, takes_kernel: bool) -> Self {
        Self {
            store,
            position: None,
            started: None,
            stamps: Vec::new(),
            is_done: false,
            saved_at: Uptime::default(),
            is_saved: true,
            can_save: true,
            noted: BTreeSet::new(),
            takes_kernel,
            fresh: Fresh::default(),
        }
    }

    /// Takes in what is new, up to a bound.
    pub(super) fn run(&mut self, host: &Host, moment: &Moment) -> Result<(), ProbeError> {
        self.fresh.heard = false;
        let directories = directories(host)?;
        let stamps = stamps(&directories)?;
        let is_settled = stamps
            .iter()
            .all(|stamp| is_settled(stamp, moment.now.wall));
        if self.is_done && is_settled && stamps == self.stamps {
            self.fresh.heard = true;
            self.save(moment.now.uptime);
            return Ok(());
        }
        let boot_id = read_text(&host.path("/proc/sys/kernel/random/boot_id"))?;
        let boot_id: String = boot_id.trim().chars().filter(|c| *c != '-').collect();
        let journal = open(&directories)?;
        if self.started.is_none() {
            self.begin(&journal, moment)?;
        }
        let is_end = self.read_on(&journal, moment, &boot_id)?;
        self.stamps = stamps;
        self.is_done = is_end;
        self.fresh.heard = is_end;
        self.save(moment.now.uptime);
        Ok(())
    }

    /// The first look: where to go on, and whether what was read last is still there.
    fn begin(&mut self, journal: &Journal, moment: &Moment) -> Result<(), ProbeError> {
        let saved = self.store.load().map_err(|source| ProbeError::Read {
            what: "the saved position in the journal".to_owned(),
            source: Box::new(source),
        })?;
        self.position = saved.as_deref().and_then(Position::parse);
        self.started = Some((moment.now, self.position.is_none()));
        let Some(position) = &self.position else {
            // There was something that cannot be understood: nobody knows how much was missed.
            self.fresh.gaps += u64::from(saved.is_some());
            return Ok(());
        };
        let mut same_time = journal.query();
        same_time
            .since_realtime(position.realtime_micros)
            .until_realtime(position.realtime_micros)
            .limit(64);
        let is_there = same_time
            .iter()
            .map_err(probe_error)?
            .flatten()
            .any(|entry| is_at(&entry, position));
        if !is_there {
            let mut after = journal.query();
            after.since_realtime(position.realtime_micros).limit(1);
            let next = after.iter().map_err(probe_error)?.flatten().next();
            self.fresh.gaps += match next {
                Some(entry) if entry.seqnum() > position.sequence => {
                    entry.seqnum() - position.sequence - 1
                }
                _ => 1,
            };
        }
        Ok(())
    }

    /// Reads entries after the position. Tells whether it reached the end.
    fn read_on(
        &mut self,
        journal: &Journal,
        moment: &Moment,
        boot_id: &str,
    ) -> Result<bool, ProbeError> {
        let Some(start) = self.position.clone() else {
            return self.look_back(journal, moment, boot_id).map(|()| true);
        };
        let mut query = journal.query();
        let floor = set_back(&start, moment, boot_id);
        match floor {
            // The reader orders entries by their wall clock, so those after a step back come before the cursor.
            Some(floor) => query.since_realtime(floor),
            None => query.after_cursor(Cursor::parse(&start.cursor).map_err(probe_error)?),
        };
        let mut taken = 0;
        let mut skipped = 0;
        for entry in query.iter().map_err(probe_error)? {
            if taken >= MAX_ENTRIES_PER_RUN || skipped >= MAX_SKIPPED_PER_RUN {
                return Ok(false);
            }
            match entry {
                Err(error) => {
                    skipped += 1;
                    self.note(&error);
                }
                Ok(entry) if floor.is_some() && !is_after(&entry, &start, boot_id) => skipped += 1,
                Ok(entry) => {
                    taken += 1;
                    self.take(&entry, moment, boot_id)?;
                }
            }
        }
        Ok(true)
    }

    /// Where nothing was read before: the newest entries of the last hour.
    fn look_back(
        &mut self,
        journal: &Journal,
        moment: &Moment,
        boot_id: &str,
    ) -> Result<(), ProbeError> {
        let from = u64::try_from(moment.now.wall.0).unwrap_or(0);
        let mut query = journal.query();
        query
            .since_realtime(from.saturating_sub(micros(FIRST_LOOK)))
            .reverse(true)
            .limit(MAX_ENTRIES_PER_RUN);
        let mut newest_first = Vec::new();
        for entry in query.iter().map_err(probe_error)? {
            match entry {
                Ok(entry) => newest_first.push(entry),
                Err(error) => self.note(&error),
            }
        }
        for entry in newest_first.iter().rev() {
            self.take(entry, moment, boot_id)?;
        }
        Ok(())
    }

    /// Counts what cannot be read, once: a damaged file says the same at every look.
    fn note(&mut self, error: &SdJournalError) {
        if self.noted.len() < MAX_NOTED_ERRORS && self.noted.insert(error.to_string()) {
            self.fresh.gaps += 1;
        }
    }

    fn take(&mut self, entry: &EntryRef, moment: &Moment, boot_id: &str) -> Result<(), ProbeError> {
        let position = position_of(entry)?;
        let text = |field: &str| {
            std::str::from_utf8(entry.get(field).unwrap_or_default()).unwrap_or_default()
        };
        let fields = SenderFields {
            transport: text("_TRANSPORT"),
            pid: text("_PID"),
            uid: text("_UID"),
            comm: text("_COMM"),
            cgroup: text("_SYSTEMD_CGROUP"),
            unit: text("_SYSTEMD_UNIT"),
            about_unit: text("UNIT"),
            identifier: text("SYSLOG_IDENTIFIER"),
            facility: text("SYSLOG_FACILITY"),
        };
        let message = plain_text(entry.get("MESSAGE").unwrap_or_default());
        self.fresh.gaps += dropped(fields.transport, text("N_DROPPED"), &message);
        let origin = match sender(&fields) {
            Sender::Kernel if self.takes_kernel => Some((LogSource::Kernel, "", "")),
            Sender::Kernel => None,
            Sender::Untrusted => {
                self.fresh.untrusted += 1;
                None
            }
            Sender::Machine { identifier, unit } => Some((LogSource::Journal, identifier, unit)),
        };
        if let Some((source, identifier, unit)) = origin {
            let at = written_at(&position, moment, boot_id);
            let is_before =
                |(started, is_first): (Timestamp, bool)| is_first && at.uptime <= started.uptime;
            self.fresh.records.push(LogRecord {
                source,
                at,
                written: Some(Wall(
                    i64::try_from(position.realtime_micros).unwrap_or(i64::MAX),
                )),
                identifier: Arc::from(identifier),
                unit: Arc::from(unit),
                text: Arc::from(message),
                history: position.boot_id != boot_id || self.started.is_some_and(is_before),
            });
        }
        self.position = Some(position);
        self.is_saved = false;
        Ok(())
    }

    fn save(&mut self, now: Uptime) {
        let is_due = self.saved_at == Uptime::default() || now.since(self.saved_at) >= SAVE_EVERY;
        let Some(position) = self.position.as_ref().filter(|_| is_due && !self.is_saved) else {
            return;
        };
        self.saved_at = now;
        match self.store.save(&position.to_string()) {
            Ok(()) => (self.is_saved, self.can_save) = (true, true),
            Err(error) => {
                if self.can_save {
                    self.fresh.save_error = Some(error.to_string());
                }
                self.can_save = false;
            }
        }
    }
}

/// What a unit's processes wrote to their standard output since `from`, oldest first, at most 1,000 lines. May block: call it
/// off the async threads.
///
/// # Errors
/// No journal, no rights, or it cannot be read.
pub fn lines_of_unit(host: &Host, unit: &str, from: Wall) -> Result<Vec<String>, ProbeError> {
    let journal = open(&directories(host)?)?;
    let mut query = journal.query();
    // journald writes both fields itself, so nobody else's words are among these.
    query
        .match_exact("_SYSTEMD_UNIT", unit.as_bytes())
        .match_exact("_TRANSPORT", b"stdout")
        .since_realtime(u64::try_from(from.0).unwrap_or(0))
        .limit(1_000);
    let mut lines = Vec::new();
    for entry in query.iter().map_err(probe_error)? {
        let entry = entry.map_err(probe_error)?;
        lines.push(plain_text(entry.get("MESSAGE").unwrap_or_default()));
    }
    Ok(lines)
}

fn open(directories: &[PathBuf]) -> Result<Journal, ProbeError> {
    let config = JournalConfig {
        max_journal_files: 4_096,
        max_decompressed_bytes: MAX_LOG_TEXT_BYTES * 4,
        ..JournalConfig::default()
    };
    Journal::open_dirs_with_config(directories, config).map_err(probe_error)
}

/// The journal directories of this machine's own id. A container's journal that is linked beside it has another id, and
/// anything could stand in it.
fn directories(host: &Host) -> Result<Vec<PathBuf>, ProbeError> {
    let id = read_text(&host.path("/etc/machine-id"))?;
    let id = id.trim();
    if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let what = "a journal (the machine has no id in /etc/machine-id)".to_owned();
        return Err(ProbeError::Unsupported { what });
    }
    let found: Vec<PathBuf> = ["/run/log/journal", "/var/log/journal"]
        .iter()
        .map(|parent| host.path(Path::new(parent).join(id)))
        .filter(|path| path.is_dir())
        .collect();
    if found.is_empty() {
        let what = "a journal in /run/log/journal or /var/log/journal".to_owned();
        return Err(ProbeError::Unsupported { what });
    }
    Ok(found)
}

fn stamps(directories: &[PathBuf]) -> Result<Vec<Stamp>, ProbeError> {
    let mut stamps = Vec::new();
    for directory in directories {
        let entries = read_dir(directory).map_err(|error| read_error(directory, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| read_error(directory, error))?;
            let path = entry.path();
            if path.extension().is_none_or(|ending| ending != "journal") {
                continue;
            }
            match entry.metadata() {
                Ok(found) => {
                    let time = (found.mtime(), found.mtime_nsec());
                    stamps.push((path, found.ino(), found.len(), time.0, time.1));
                }
                // Deleted in between: journald keeps its space limit.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(read_error(&path, error)),
            }
        }
    }
    stamps.sort();
    Ok(stamps)
}

fn is_settled(stamp: &Stamp, now: Wall) -> bool {
    let changed = stamp
        .3
        .saturating_mul(1_000_000)
        .saturating_add(stamp.4 / 1_000);
    // A time in the future is of no use: the clock was set back.
    (micros(SETTLE) as i64..i64::MAX).contains(&now.0.saturating_sub(changed))
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// From which wall clock on to look, if the clock was set back after the position; `None` if it was not.
fn set_back(position: &Position, moment: &Moment, boot_id: &str) -> Option<u64> {
    let awake = micros(moment.now.uptime.since_boot().saturating_sub(moment.asleep));
    // What came after the position is at most this old. After a reboot that is all of this boot.
    let elapsed = if position.boot_id == boot_id {
        awake.saturating_sub(position.monotonic_micros)
    } else {
        awake
    };
    // Suspend is left out of `elapsed`, but not out of the wall clock, so it is taken off too.
    let age = elapsed.saturating_add(micros(moment.asleep));
    let now = u64::try_from(moment.now.wall.0).unwrap_or(0);
    let floor = now.saturating_sub(age).saturating_sub(CLOCK_SLACK_MICROS);
    let is_back = now
        .saturating_sub(elapsed)
        .saturating_add(CLOCK_SLACK_MICROS)
        < position.realtime_micros;
    is_back.then_some(floor)
}

fn is_at(entry: &EntryRef, position: &Position) -> bool {
    entry.monotonic_usec() == position.monotonic_micros && hex(&entry.boot_id()) == position.boot_id
}

/// Whether an entry was written after the position, judged without the wall clock where that is possible.
fn is_after(entry: &EntryRef, position: &Position, boot_id: &str) -> bool {
    let boot = hex(&entry.boot_id());
    if boot == position.boot_id {
        let of_entry = (entry.monotonic_usec(), entry.seqnum());
        return of_entry > (position.monotonic_micros, position.sequence);
    }
    position.boot_id != boot_id
        && (boot == boot_id || entry.realtime_usec() > position.realtime_micros)
}

fn position_of(entry: &EntryRef) -> Result<Position, ProbeError> {
    Ok(Position {
        cursor: entry.cursor().map_err(probe_error)?.to_string(),
        sequence: entry.seqnum(),
        realtime_micros: entry.realtime_usec(),
        boot_id: hex(&entry.boot_id()),
        monotonic_micros: entry.monotonic_usec(),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// When an entry was written: by the monotonic clock if it is of this boot, else by its own wall clock and before the boot.
fn written_at(position: &Position, moment: &Moment, boot_id: &str) -> Timestamp {
    let now = moment.now;
    if position.boot_id != boot_id {
        let wall = Wall(i64::try_from(position.realtime_micros).unwrap_or(i64::MAX));
        let uptime = Uptime::default();
        return Timestamp { uptime, wall };
    }
    let since_boot = Duration::from_micros(position.monotonic_micros).saturating_add(moment.asleep);
    let uptime = Uptime::new(since_boot).min(now.uptime);
    let age = i64::try_from(micros(now.uptime.since(uptime))).unwrap_or(i64::MAX);
    let wall = Wall(now.wall.0.saturating_sub(age));
    Timestamp { uptime, wall }
}

/// A message as text: cut at the bound, and without control characters, which would reach terminals.
fn plain_text(bytes: &[u8]) -> String {
    let bytes = bytes.get(..MAX_LOG_TEXT_BYTES).unwrap_or(bytes);
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn probe_error(error: SdJournalError) -> ProbeError {
    let what = || "the journal".to_owned();
    match error {
        SdJournalError::PermissionDenied { path } => ProbeError::NoRights {
            what: path.display().to_string(),
            source: io::Error::from(io::ErrorKind::PermissionDenied),
        },
        SdJournalError::Io { path, source, .. } => read_error(
            &path.unwrap_or_else(|| PathBuf::from("the journal")),
            source,
        ),
        SdJournalError::NotFound => ProbeError::Unsupported { what: what() },
        other => ProbeError::Read {
            what: what(),
            source: Box::new(other),
        },
    }
}

#[cfg(test)]
mod tests;
