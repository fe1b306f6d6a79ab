//! The slot of a machine without a cluster: a lock that one process holds, and a slot file per run.
//!
//! `STATE/slot/lock` is locked for as long as the agent lives (one executor per machine, I7). `STATE/slot/slot.local.0`
//! says which run disturbs the machine; it outlives a crash, exactly as a Lease object would. Files are replaced by rename
//! and created by link, both of which either happened or did not, and are made durable before the answer is given.

use super::error::LeaseError;
use super::exchange::{Answer, Found, Request, Want};
use super::keeper::{SlotStore, Tag};
use super::name::SlotName;
use crate::document::sha256_hex;
use crate::host::BoxFuture;
use crate::host::clock::Clock;
use crate::policy::Cleared;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The only domain of a machine without a cluster. One machine, one slot.
pub const LOCAL_DOMAIN: &str = "local";
/// What this build writes and understands.
const FORMAT: u32 = 1;
/// A slot file has a few hundred bytes; more is not ours.
const MAX_SLOT_BYTES: u64 = 16 * 1024;

/// What a slot file says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotNote {
    /// The version of this form.
    pub format: u32,
    /// The slot.
    pub name: String,
    /// Its uid, new with every creation: the fencing token.
    pub uid: String,
    /// Counts the writes.
    pub version: u64,
    /// The run that holds it.
    pub run: u64,
    /// The digest of its playbook.
    pub digest: String,
    /// Whether a run before it kept the slot after a failure.
    pub inherited: bool,
    /// The boot in which it was last written.
    pub boot_id: String,
    /// When it was last written, in seconds since that boot.
    pub renewed_uptime_seconds: f64,
    /// The same by the wall clock, for people.
    pub renewed: String,
}

/// Slots as files below the state directory.
pub struct LocalSlots {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    boot_id: String,
    clock: Arc<dyn Clock>,
    // A write that nobody waits for any more may still be under way when the next one comes.
    one_at_a_time: Mutex<()>,
    // Held, never read: closing it would let a second agent in.
    _lock: Flock<File>,
}

impl LocalSlots {
    /// Opens `folder` (usually `STATE/slot`), creating it, and locks it for this process.
    ///
    /// # Errors
    /// [`LeaseError::OtherAgent`] if another process holds the lock, [`LeaseError::Store`] if the folder is not writable.
    pub fn open(folder: &Path, boot_id: &str, clock: Arc<dyn Clock>) -> Result<Self, LeaseError> {
        let failed = |tried, path: &Path| {
            let path = path.to_owned();
            move |source| LeaseError::Store {
                tried,
                path,
                source,
            }
        };
        std::fs::create_dir_all(folder).map_err(failed("creating", folder))?;
        let path = folder.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed("opening", &path))?;
        let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                return Err(LeaseError::OtherAgent { path });
            }
            Err((_, errno)) => return Err(failed("locking", &path)(errno.into())),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                folder: folder.to_owned(),
                boot_id: boot_id.to_owned(),
                clock,
                one_at_a_time: Mutex::new(()),
                _lock: lock,
            }),
        })
    }

    /// What the slot file says, if there is one.
    ///
    /// # Errors
    /// It cannot be read or understood.
    pub fn note(&self) -> Result<Option<SlotNote>, LeaseError> {
        self.inner.read(&local_slot())
    }
}

fn local_slot() -> SlotName {
    SlotName::of(&Arc::from(LOCAL_DOMAIN), 0)
}

impl SlotStore for LocalSlots {
    fn wants<'a>(&'a self, _cleared: &'a Cleared) -> BoxFuture<'a, Result<Vec<Want>, LeaseError>> {
        let want = Want {
            domain: Arc::from(LOCAL_DOMAIN),
            cap: 1,
            first: 0,
        };
        Box::pin(async move { Ok(vec![want]) })
    }

    fn own(
        &self,
        runs: Option<RangeInclusive<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Found>, LeaseError>> {
        Box::pin(async move {
            let note = self.note()?;
            let wanted = |note: &SlotNote| runs.is_none_or(|runs| runs.contains(&note.run));
            Ok(note
                .filter(wanted)
                .map(|note| note.found())
                .into_iter()
                .collect())
        })
    }

    fn is_inherited(&self, runs: RangeInclusive<u64>) -> BoxFuture<'_, Result<bool, LeaseError>> {
        Box::pin(async move {
            let note = self.note()?;
            Ok(note.is_some_and(|note| note.inherited || !runs.contains(&note.run)))
        })
    }

    fn claims(&self) -> bool {
        false
    }

    fn breakers<'a>(&'a self, _tag: &'a Tag) -> BoxFuture<'a, Result<Option<String>, LeaseError>> {
        // One machine has no fleet to protect; its stop cord is `nodemend pause`, which the run hears of by its rein.
        Box::pin(async { Ok(None) })
    }

    fn send<'a>(&'a self, request: Request, tag: &'a Tag) -> BoxFuture<'a, Answer> {
        let inner = Arc::clone(&self.inner);
        let tag = tag.clone();
        Box::pin(async move {
            // A full or dying disk can hold a write for minutes: it waits off the async thread, and the keeper stops
            // waiting after its limit.
            match tokio::task::spawn_blocking(move || inner.obey(request, &tag)).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => Answer::Silent(chain(&error)),
                Err(_) => Answer::Silent("the write was abandoned".into()),
            }
        })
    }
}

fn chain(error: &LeaseError) -> String {
    match error {
        LeaseError::Store { source, .. } => format!("{error}: {source}"),
        other => other.to_string(),
    }
}

impl Inner {
    fn obey(&self, request: Request, tag: &Tag) -> Result<Answer, LeaseError> {
        let _turn = self
            .one_at_a_time
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match request {
            Request::CreateSlot(name) => self.create(&name, tag),
            Request::ReadSlot(name) => Ok(match self.read(&name)? {
                // As with Lease objects: what a newer run took over is not ours to free.
                Some(note) if note.run > tag.run.0 => Answer::Gone,
                Some(note) => Answer::Ours(note.found()),
                None => Answer::Gone,
            }),
            Request::RenewSlot(held) => self.renew(&held, tag),
            Request::DeleteSlot(held) => self.delete(&held),
            Request::CreateClaim | Request::AskTurn | Request::DeleteClaim => {
                Ok(Answer::Denied("one machine has no queue".into()))
            }
        }
    }

    fn path(&self, name: &SlotName) -> PathBuf {
        self.folder.join(name.to_string())
    }

    fn read(&self, name: &SlotName) -> Result<Option<SlotNote>, LeaseError> {
        use std::io::Read as _;
        let path = self.path(name);
        let unreadable = |why: String| LeaseError::Unreadable {
            path: path.clone(),
            why,
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.failed("reading", &path, source)),
        };
        let mut text = Vec::new();
        file.take(MAX_SLOT_BYTES + 1)
            .read_to_end(&mut text)
            .map_err(|source| self.failed("reading", &path, source))?;
        if text.len() as u64 > MAX_SLOT_BYTES {
            return Err(unreadable(format!("more than {MAX_SLOT_BYTES} bytes")));
        }
        // The version first: a newer form may have fields that this build does not know.
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let version: Version =
            serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
        if version.format != FORMAT {
            return Err(unreadable(format!(
                "its format is {}, this build knows {FORMAT}",
                version.format
            )));
        }
        let note: SlotNote =
            serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
        if note.name != name.to_string() || note.uid.is_empty() {
            return Err(unreadable("it does not say its own name and uid".into()));
        }
        Ok(Some(note))
    }

    fn failed(&self, tried: &'static str, path: &Path, source: std::io::Error) -> LeaseError {
        LeaseError::Store {
            tried,
            path: path.to_owned(),
            source,
        }
    }

    fn create(&self, name: &SlotName, tag: &Tag) -> Result<Answer, LeaseError> {
        let path = self.path(name);
        let now = self.clock.now();
        let seed = format!(
            "{} {} {:?} {}",
            self.boot_id, tag.run, now.uptime, now.wall.0
        );
        let uid: String = sha256_hex(seed.as_bytes()).chars().take(32).collect();
        let note = self.note_of(name, &uid, 1, tag, false);
        let draft = self.draft(name, &note)?;
        // A link fails where the name exists; a rename would take it over.
        let linked = std::fs::hard_link(&draft, &path);
        std::fs::remove_file(&draft).map_err(|source| self.failed("removing", &draft, source))?;
        match linked {
            Ok(()) => {
                self.sync_folder()?;
                Ok(note.written())
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Answer::Taken),
            Err(source) => Err(self.failed("creating", &path, source)),
        }
    }

    fn renew(&self, held: &Found, tag: &Tag) -> Result<Answer, LeaseError> {
        let Some(present) = self.read(&held.name)? else {
            return Ok(Answer::Gone);
        };
        if present.uid != *held.uid {
            return Ok(Answer::Gone);
        }
        if present.version.to_string() != *held.version {
            return Ok(Answer::Changed);
        }
        let version = present.version.saturating_add(1);
        let inherited = present.inherited || present.run != tag.run.0;
        let note = self.note_of(&held.name, &held.uid, version, tag, inherited);
        let draft = self.draft(&held.name, &note)?;
        let path = self.path(&held.name);
        std::fs::rename(&draft, &path).map_err(|source| self.failed("writing", &path, source))?;
        self.sync_folder()?;
        Ok(note.written())
    }

    fn delete(&self, held: &Found) -> Result<Answer, LeaseError> {
        match self.read(&held.name)? {
            None => Ok(Answer::Gone),
            Some(present) if present.uid != *held.uid => Ok(Answer::Gone),
            Some(present) if present.version.to_string() != *held.version => Ok(Answer::Changed),
            Some(_) => {
                let path = self.path(&held.name);
                std::fs::remove_file(&path)
                    .map_err(|source| self.failed("removing", &path, source))?;
                self.sync_folder()?;
                Ok(Answer::Deleted)
            }
        }
    }

    fn note_of(
        &self,
        name: &SlotName,
        uid: &str,
        version: u64,
        tag: &Tag,
        inherited: bool,
    ) -> SlotNote {
        let now = self.clock.now();
        SlotNote {
            format: FORMAT,
            name: name.to_string(),
            uid: uid.to_owned(),
            version,
            run: tag.run.0,
            digest: tag.digest.to_string(),
            inherited,
            boot_id: self.boot_id.clone(),
            renewed_uptime_seconds: now.uptime.since_boot().as_secs_f64(),
            renewed: now.wall.to_rfc3339(),
        }
    }

    /// Writes `note` to a file beside its place and makes it durable. A draft of a crash is overwritten: nobody reads it.
    fn draft(&self, name: &SlotName, note: &SlotNote) -> Result<PathBuf, LeaseError> {
        let path = self.folder.join(format!("{name}.draft"));
        let failed = |source| self.failed("writing", &path, source);
        let text = serde_json::to_vec(note).map_err(|error| failed(error.into()))?;
        let mut file = File::create(&path).map_err(failed)?;
        file.write_all(&text).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        Ok(path)
    }

    fn sync_folder(&self) -> Result<(), LeaseError> {
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| self.failed("syncing", &self.folder, source))
    }
}

impl SlotNote {
    fn found(&self) -> Found {
        Found {
            name: local_slot(),
            uid: Arc::from(self.uid.as_str()),
            version: Arc::from(self.version.to_string()),
        }
    }

    fn written(&self) -> Answer {
        Answer::Written {
            uid: Arc::from(self.uid.as_str()),
            version: Arc::from(self.version.to_string()),
        }
    }
}
