//! The journal on disk: one append-only file per run, durable record by record.
//!
//! The first write or sync that fails poisons the journal: nothing disruptive may start after it, and nothing is tried
//! again, because after a failed fsync the kernel may have dropped the very pages that it reports as clean the next time
//! (safety.md, section 4).

use super::disk::{Disk, JournalFile};
use super::entry::{BootId, Entry, Opening, Outcome};
use super::record::{self, Damage, GENESIS, Record};
use crate::policy::RunId;
use crate::signal::{Timestamp, Wall};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest journal of one run. A run writes a dozen records; more is damage or a loop.
pub const MAX_JOURNAL_BYTES: u64 = 4 << 20;
/// How many journals of ended runs stay. Attempts are counted over a day, and people look back further.
const MAX_KEPT: usize = 256;

/// What can go wrong with the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Reading or writing failed.
    #[error(
        "{tried} journal {path} failed; nothing disruptive starts until nodemend is started again with a sound disk"
    )]
    Disk {
        /// What was tried, as a verb: `writing`.
        tried: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// An earlier write failed.
    #[error("journal {path} is not written any more since an earlier write failed")]
    Poisoned {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error(
        "journal {path} cannot be trusted, so nothing is done on this node: look at the machine, then move the file away and start again"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where and how.
        #[source]
        source: Damage,
    },
    /// The file is too large to be one of ours.
    #[error(
        "journal {path} has {bytes} bytes, more than {MAX_JOURNAL_BYTES}; move it away and start again"
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// A record has no form that the journal can hold.
    #[error("a record cannot be written to the journal: {why}")]
    Record {
        /// Why not.
        why: String,
    },
}

impl JournalError {
    /// A short stable word: the metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            JournalError::Disk { .. } => "disk",
            JournalError::Poisoned { .. } => "poisoned",
            JournalError::Damaged { .. } => "damaged",
            JournalError::TooLarge { .. } => "too-large",
            JournalError::Record { .. } => "record",
        }
    }
}

/// A run as its journal tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastRun {
    /// The run.
    pub run: RunId,
    /// What it was about.
    pub opening: Opening,
    /// When it began, by the wall clock.
    pub began: Wall,
    /// In which boot.
    pub boot: BootId,
    /// How it ended; `None` while it is open.
    pub outcome: Option<Outcome>,
    /// Its entries, in order.
    pub entries: Vec<Entry>,
}

/// All journals of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shelf {
    /// The highest run number that was ever used here.
    pub highest: u64,
    /// The runs, oldest first.
    pub runs: Vec<PastRun>,
    /// Runs whose journal has no record: the process died before anything of them was written, so none of their steps began.
    pub unopened: Vec<RunId>,
}

impl Shelf {
    /// Reads every journal of `folder`, cuts torn tails (kept beside the file), and removes the oldest of too many.
    ///
    /// # Errors
    /// The first journal that cannot be read or trusted. The node then does nothing until a person looked.
    pub fn open(folder: &Path, disk: &dyn Disk) -> Result<Self, JournalError> {
        let numbers = disk.runs(folder).map_err(failed("listing", folder))?;
        let mut shelf = Shelf {
            highest: numbers.last().copied().unwrap_or(0),
            runs: Vec::new(),
            unopened: Vec::new(),
        };
        for number in numbers {
            let path = path_of(folder, RunId(number));
            let records = read_sound(&path, disk, number)?;
            match past_run(RunId(number), records) {
                Some(past) => shelf.runs.push(past),
                None => shelf.unopened.push(RunId(number)),
            }
        }
        let surplus = shelf.runs.len().saturating_sub(MAX_KEPT);
        for past in shelf.runs.iter().take(surplus) {
            if past.outcome.is_some() {
                let path = path_of(folder, past.run);
                disk.remove(&path).map_err(failed("removing", &path))?;
            }
        }
        Ok(shelf)
    }

    /// The number for the next run. Numbers only grow (I7).
    pub fn next_run(&self) -> RunId {
        RunId(self.highest.saturating_add(1))
    }

    /// Runs that did not end, oldest first.
    pub fn open_runs(&self) -> impl Iterator<Item = &PastRun> {
        self.runs.iter().filter(|run| run.outcome.is_none())
    }
}

fn past_run(run: RunId, records: Vec<Record>) -> Option<PastRun> {
    let first = records.first()?;
    let Entry::Opened { opening, boot } = &first.entry else {
        return None;
    };
    let (opening, boot, began) = (opening.clone(), boot.clone(), Wall(first.wall_us));
    let entries: Vec<Entry> = records.into_iter().map(|record| record.entry).collect();
    let outcome = entries.iter().find_map(|entry| match entry {
        Entry::Closed { result } => Some(result.clone()),
        _ => None,
    });
    Some(PastRun {
        run,
        opening,
        began,
        boot,
        outcome,
        entries,
    })
}

fn path_of(folder: &Path, run: RunId) -> PathBuf {
    folder.join(format!("{run}.journal"))
}

fn failed(tried: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Disk {
        tried,
        path,
        source,
    }
}

/// Reads one journal; a torn tail is copied aside and then cut, in that order.
fn read_sound(path: &Path, disk: &dyn Disk, run: u64) -> Result<Vec<Record>, JournalError> {
    let (parsed, text) = parsed(path, disk)?;
    let damaged = |line, why: &str| JournalError::Damaged {
        path: path.to_owned(),
        source: Damage::Line {
            line,
            why: why.to_owned(),
        },
    };
    if let Some(first) = parsed.records.first() {
        if first.run != run {
            return Err(damaged(
                1,
                "it belongs to another run than its file name says",
            ));
        }
        if !matches!(first.entry, Entry::Opened { .. }) {
            return Err(damaged(1, "it does not begin with the opening of a run"));
        }
    }
    let tail = text.get(parsed.sound_bytes..).unwrap_or_default();
    if !tail.is_empty() {
        let aside = path.with_extension(format!("torn-{}", parsed.records.len()));
        disk.put(&aside, tail).map_err(failed("writing", &aside))?;
        disk.cut(path, parsed.sound_bytes as u64)
            .map_err(failed("cutting", path))?;
    }
    if parsed.lacks_newline {
        let mut file = disk.reopen(path).map_err(failed("opening", path))?;
        file.append(b"\n")
            .and_then(|()| file.sync())
            .map_err(failed("writing", path))?;
    }
    Ok(parsed.records)
}

fn parsed(path: &Path, disk: &dyn Disk) -> Result<(record::Parsed, Vec<u8>), JournalError> {
    let text = disk
        .read(path, MAX_JOURNAL_BYTES + 1)
        .map_err(failed("reading", path))?;
    if text.len() as u64 > MAX_JOURNAL_BYTES {
        return Err(JournalError::TooLarge {
            path: path.to_owned(),
            bytes: text.len() as u64,
        });
    }
    let parsed = record::parse(&text).map_err(|source| JournalError::Damaged {
        path: path.to_owned(),
        source,
    })?;
    Ok((parsed, text))
}

/// The journal of one run, open for appending.
pub struct Journal {
    path: PathBuf,
    run: RunId,
    boot: BootId,
    file: Box<dyn JournalFile>,
    seq: u64,
    prev: String,
    bytes: u64,
    poisoned: bool,
}

impl Journal {
    /// A new journal for `run`. The file must not exist yet: run numbers are used once.
    ///
    /// # Errors
    /// The file exists or cannot be made durable.
    pub fn create(
        folder: &Path,
        disk: &Arc<dyn Disk>,
        run: RunId,
        boot: &BootId,
    ) -> Result<Self, JournalError> {
        let path = path_of(folder, run);
        let file = disk.create(&path).map_err(failed("creating", &path))?;
        Ok(Self {
            path,
            run,
            boot: boot.clone(),
            file,
            seq: 0,
            prev: GENESIS.to_owned(),
            bytes: 0,
            poisoned: false,
        })
    }

    /// The journal of a run that [`Shelf::open`] found sound.
    ///
    /// # Errors
    /// It cannot be read or trusted.
    pub fn reopen(
        folder: &Path,
        disk: &Arc<dyn Disk>,
        run: RunId,
        boot: &BootId,
    ) -> Result<Self, JournalError> {
        let path = path_of(folder, run);
        let (parsed, text) = parsed(&path, disk.as_ref())?;
        let file = disk.reopen(&path).map_err(failed("opening", &path))?;
        Ok(Self {
            path,
            run,
            boot: boot.clone(),
            file,
            seq: parsed.records.len() as u64,
            prev: parsed.hash,
            bytes: text.len() as u64,
            poisoned: false,
        })
    }

    /// Whether a write failed. Final.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Appends one entry and returns when it is durable.
    ///
    /// *Cost*: one write and one fsync; milliseconds on a good disk, without bound on a bad one.
    ///
    /// # Errors
    /// It may or may not be durable; the journal is poisoned.
    pub fn append(
        &mut self,
        now: Timestamp,
        slot: &str,
        entry: &Entry,
    ) -> Result<(), JournalError> {
        if self.poisoned {
            return Err(JournalError::Poisoned {
                path: self.path.clone(),
            });
        }
        // Whatever goes wrong from here on, nothing may be appended behind it.
        self.poisoned = true;
        let record = Record {
            seq: self.seq,
            wall_us: now.wall.0,
            uptime_us: u64::try_from(now.uptime.since_boot().as_micros()).unwrap_or(u64::MAX),
            boot_id: self.boot.as_str().to_owned(),
            run: self.run.0,
            slot: slot.to_owned(),
            entry: entry.clone(),
        };
        let (line, hash) =
            record::line_of(&record, &self.prev).map_err(|why| JournalError::Record { why })?;
        let bytes = self.bytes.saturating_add(line.len() as u64);
        if bytes > MAX_JOURNAL_BYTES {
            return Err(JournalError::TooLarge {
                path: self.path.clone(),
                bytes,
            });
        }
        self.file
            .append(&line)
            .map_err(failed("writing", &self.path))?;
        self.file.sync().map_err(failed("syncing", &self.path))?;
        self.seq += 1;
        self.prev = hash;
        self.bytes = bytes;
        self.poisoned = false;
        Ok(())
    }
}
