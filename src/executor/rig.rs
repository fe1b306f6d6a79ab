//! What the executor's tests share: a small world that steps change, and ports that fail on request.

use super::course::{Course, Leg};
use super::disk::{Disk, HostDisk, JournalFile};
use super::entry::{BootId, Opening, Receipt};
use super::outline::{Outline, StepShape, UndoWay};
use super::rig_lease::{Breakers, Guarded};
use super::runner::{Rein, RunEnd, Runner};
use super::witness::{RunEvent, Witness, WitnessError};
use crate::host::clock::Clock;
use crate::host::fake::HandClock;
use crate::host::{BoxFuture, Host};
use crate::lease::{Keeper, LocalSlots, Permit, fixture};
use crate::playbook::Guard;
use crate::policy::RunId;
use crate::steps::fake::{FakeCommands, FakeServices};
use crate::steps::{Oracle, Site, Step, StepError, Ticket, Tri, Verified};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// What a step of the world is made to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Fate {
    #[default]
    Works,
    /// `capture` refuses.
    Refuses,
    /// `apply` says that it failed, without effect.
    Fails,
    /// `apply` says that it worked, without effect.
    HasNoEffect,
    /// `undo` says that it failed.
    UndoFails,
    /// The process dies in `apply`, before the effect.
    DiesBefore,
    /// The process dies in `apply`, after the effect.
    DiesAfter,
}

/// What the steps did, over all processes of one machine.
#[derive(Debug, Default)]
pub(super) struct World {
    /// How often each step's effect came about.
    pub effects: Vec<u32>,
    /// Which effects stand.
    pub stands: Vec<bool>,
    /// Steps that were undone, in order.
    pub undone: Vec<u16>,
    /// What each step is made to do.
    pub fates: Vec<Fate>,
    /// Whether the disk is gone: the process died, and whatever it does has no trace.
    pub is_dead: bool,
}

pub(super) type Shared = Arc<Mutex<World>>;

pub(super) struct WorldStep {
    pub world: Shared,
    pub shape: StepShape,
}

impl WorldStep {
    fn fate(&self, ticket: &Ticket) -> Fate {
        self.world.lock().expect("world").fates[ticket.step.index()]
    }
}

impl Step for WorldStep {
    fn shape(&self) -> StepShape {
        self.shape
    }

    fn capture<'a>(
        &'a self,
        _site: &'a Site,
        ticket: &'a Ticket,
    ) -> BoxFuture<'a, Result<Receipt, StepError>> {
        Box::pin(async move {
            if self.fate(ticket) == Fate::Refuses {
                return Err(StepError::Refused { why: "no".into() });
            }
            Ok(Receipt(serde_json::json!({ "before": ticket.step.0 })))
        })
    }

    fn apply<'a>(
        &'a self,
        site: &'a Site,
        ticket: &'a Ticket,
        permit: &'a Permit,
        _prior: &'a Receipt,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async move {
            let fate = self.fate(ticket);
            permit
                .ensure_live(site.clock.now().uptime)
                .expect("I5: no step without a slot write less than the hold ago");
            let failed = || {
                Err(StepError::Refused {
                    why: "it broke".into(),
                })
            };
            match fate {
                Fate::Fails => return failed(),
                Fate::HasNoEffect => return Ok(()),
                Fate::DiesBefore => {
                    self.world.lock().expect("world").is_dead = true;
                    return failed();
                }
                _ => {}
            }
            let mut world = self.world.lock().expect("world");
            assert!(!world.is_dead, "a dead process acts");
            world.effects[ticket.step.index()] += 1;
            world.stands[ticket.step.index()] = true;
            if fate == Fate::DiesAfter {
                world.is_dead = true;
                return failed();
            }
            Ok(())
        })
    }

    fn verify<'a>(
        &'a self,
        _site: &'a Site,
        ticket: &'a Ticket,
        prior: &'a Receipt,
    ) -> BoxFuture<'a, Result<Verified, StepError>> {
        assert_eq!(prior.0["before"], ticket.step.0, "another step's receipt");
        let stands = self.world.lock().expect("world").stands[ticket.step.index()];
        Box::pin(async move {
            Ok(if stands {
                Verified::Yes("it stands".into())
            } else {
                Verified::NotYet("it does not stand".into())
            })
        })
    }

    fn undo<'a>(
        &'a self,
        _site: &'a Site,
        ticket: &'a Ticket,
        _permit: &'a Permit,
        prior: &'a Receipt,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        assert_eq!(prior.0["before"], ticket.step.0, "another step's receipt");
        let failed = self.fate(ticket) == Fate::UndoFails;
        let mut world = self.world.lock().expect("world");
        assert!(!world.is_dead, "a dead process acts");
        world.undone.push(ticket.step.0);
        world.stands[ticket.step.index()] &= failed;
        Box::pin(async move {
            if failed {
                return Err(StepError::Refused {
                    why: "no way back".into(),
                });
            }
            Ok(())
        })
    }
}

/// Answers to conditions, by text; `*` is the answer to all others. Every entry is used up one by one, the last one stays.
#[derive(Default)]
pub(super) struct Answers(pub Mutex<Vec<(String, Vec<Tri>)>>);

impl Answers {
    pub(super) fn say(&self, condition: &str, answers: Vec<Tri>) {
        self.0
            .lock()
            .expect("answers")
            .insert(0, (condition.into(), answers));
    }
}

impl Oracle for Answers {
    fn condition(&self, condition: &str, _opening: &Opening) -> Tri {
        let mut all = self.0.lock().expect("answers");
        match all.iter_mut().find(|(text, _)| text == condition) {
            Some((_, answers)) if answers.len() > 1 => answers.remove(0),
            Some((_, answers)) => answers[0].clone(),
            None => Tri::Yes,
        }
    }
}

/// Remembers what it was told, and fails from the `limit`-th event on.
pub(super) struct Memory {
    pub events: Mutex<Vec<RunEvent>>,
    pub limit: usize,
}

impl Witness for Memory {
    fn note<'a>(&'a self, event: &'a RunEvent) -> BoxFuture<'a, Result<(), WitnessError>> {
        let mut events = self.events.lock().expect("events");
        let result = if events.len() >= self.limit {
            Err(WitnessError {
                why: "disk full".into(),
            })
        } else {
            events.push(event.clone());
            Ok(())
        };
        Box::pin(async move { result })
    }
}

/// The machine's own disk, until the process dies or the disk is full.
#[derive(Clone)]
pub(super) struct FrailDisk {
    /// How many bytes still fit. A write beyond writes what fits.
    pub room: Arc<AtomicU64>,
    /// How many syncs still succeed.
    pub syncs: Arc<AtomicU64>,
    pub world: Shared,
}

struct FrailFile {
    inner: Box<dyn JournalFile>,
    disk: FrailDisk,
}

fn take(counter: &AtomicU64, wanted: u64) -> u64 {
    let had = counter.load(Ordering::SeqCst);
    counter.store(had.saturating_sub(wanted), Ordering::SeqCst);
    had.min(wanted)
}

impl JournalFile for FrailFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.disk.world.lock().expect("world").is_dead {
            return Err(io::Error::other("the process died"));
        }
        let fits = take(&self.disk.room, bytes.len() as u64) as usize;
        self.inner.append(&bytes[..fits])?;
        if fits < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if take(&self.disk.syncs, 1) == 0 {
            self.disk.world.lock().expect("world").is_dead = true;
            return Err(io::Error::other("killed right before the sync"));
        }
        self.inner.sync()
    }
}

impl Disk for FrailDisk {
    fn runs(&self, folder: &Path) -> io::Result<Vec<u64>> {
        HostDisk.runs(folder)
    }
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        HostDisk.read(path, limit)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn JournalFile>> {
        let (inner, disk) = (HostDisk.create(path)?, self.clone());
        Ok(Box::new(FrailFile { inner, disk }))
    }
    fn reopen(&self, path: &Path) -> io::Result<Box<dyn JournalFile>> {
        let (inner, disk) = (HostDisk.reopen(path)?, self.clone());
        Ok(Box::new(FrailFile { inner, disk }))
    }
    fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        HostDisk.put(path, bytes)
    }
    fn cut(&self, path: &Path, bytes: u64) -> io::Result<()> {
        HostDisk.cut(path, bytes)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        HostDisk.remove(path)
    }
}

pub(super) const BACK: StepShape = StepShape {
    repeatable: true,
    reboots: false,
    undo: UndoWay::Receipt,
};
pub(super) const ONCE: StepShape = StepShape {
    repeatable: false,
    reboots: false,
    undo: UndoWay::Receipt,
};
pub(super) const KEPT: StepShape = StepShape {
    repeatable: true,
    reboots: false,
    undo: UndoWay::NothingToUndo,
};
pub(super) const FINAL: StepShape = StepShape {
    repeatable: false,
    reboots: false,
    undo: UndoWay::Impossible,
};

/// One machine with its disk; processes come and go on it.
pub(super) struct Rig {
    pub folder: tempfile::TempDir,
    pub world: Shared,
    pub shapes: Vec<StepShape>,
    pub guards: Vec<Guard>,
    pub clock: Arc<HandClock>,
    pub answers: Arc<Answers>,
    pub memory: Arc<Memory>,
    pub disk: FrailDisk,
    pub reins: watch::Sender<Rein>,
    pub breakers: Breakers,
    pub stuck: Arc<Mutex<usize>>,
}

impl Rig {
    pub(super) fn of(shapes: &[StepShape]) -> Self {
        let world: Shared = Arc::new(Mutex::new(World {
            effects: vec![0; shapes.len()],
            stands: vec![false; shapes.len()],
            fates: vec![Fate::Works; shapes.len()],
            ..World::default()
        }));
        Self {
            folder: tempfile::tempdir_in("/dev/shm").expect("a folder"),
            disk: FrailDisk {
                room: Arc::new(AtomicU64::new(u64::MAX)),
                syncs: Arc::new(AtomicU64::new(u64::MAX)),
                world: Arc::clone(&world),
            },
            world,
            shapes: shapes.to_vec(),
            guards: vec![Guard::Requires(Arc::from("sick")); shapes.len()],
            clock: Arc::new(HandClock::at(1000)),
            answers: Arc::default(),
            memory: Arc::new(Memory {
                events: Mutex::default(),
                limit: usize::MAX,
            }),
            reins: watch::Sender::new(Rein::Go),
            breakers: Breakers::default(),
            stuck: Arc::default(),
        }
    }

    pub(super) fn fate(self, step: usize, fate: Fate) -> Self {
        self.world.lock().expect("world").fates[step] = fate;
        self
    }

    pub(super) fn course(&self) -> Course {
        let legs = self
            .shapes
            .iter()
            .zip(&self.guards)
            .map(|(shape, guard)| Leg {
                kind: Arc::from("world"),
                guard: guard.clone(),
                timeout: Duration::from_secs(5),
                step: Box::new(WorldStep {
                    world: Arc::clone(&self.world),
                    shape: *shape,
                }),
            });
        Course {
            opening: Arc::new(Opening {
                case: 41,
                signature: "test-signature".into(),
                subject: String::new(),
                playbook: "test-playbook".into(),
                version: "1.0.0".into(),
                digest: "d1".into(),
                plan: "p1".into(),
                values: Default::default(),
            }),
            outline: Outline {
                plan: "p1".into(),
                steps: self.shapes.clone(),
                needs_human_on_failure: false,
            },
            legs: legs.collect(),
            condition: Arc::from("well"),
            soak: Duration::from_secs(120),
        }
    }

    /// A process on this machine. Only one may live at a time: the lock says so.
    pub(super) fn process(&self, boot: &str) -> Runner {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let folder = self.folder.path().join("slot");
        // A renewal that the process before dropped may still be under way in its thread; a real process takes it along.
        let slots = (0..1_000_000)
            .find_map(|_| {
                std::thread::yield_now();
                LocalSlots::open(&folder, boot, Arc::clone(&clock)).ok()
            })
            .expect("no other process holds the lock");
        Runner {
            site: Site {
                host: Host::at(self.folder.path()),
                services: Arc::new(FakeServices::default()),
                commands: Arc::new(FakeCommands::default()),
                oracle: self.answers.clone(),
                clock: Arc::clone(&clock),
            },
            lease: Arc::new(Guarded {
                inner: Keeper::new(slots, clock),
                breakers: Arc::clone(&self.breakers),
                stuck: Arc::clone(&self.stuck),
            }),
            witness: self.memory.clone(),
            disk: Arc::new(self.disk.clone()),
            folder: self.folder.path().join("journal"),
            boot: BootId::new(boot),
        }
    }

    /// A new run in a new process.
    pub(super) async fn treat(&self) -> RunEnd {
        let process = self.process("boot-a");
        let run = process.shelf().expect("a sound shelf").next_run();
        process
            .treat(
                fixture::cleared(),
                run,
                self.course(),
                self.reins.subscribe(),
            )
            .await
    }

    /// A new process on a sound disk goes on with whatever is open, as the agent does at its start.
    pub(super) async fn restart(&self, boot: &str, with_permit: bool) -> Option<RunEnd> {
        self.world.lock().expect("world").is_dead = false;
        self.disk.room.store(u64::MAX, Ordering::SeqCst);
        self.disk.syncs.store(u64::MAX, Ordering::SeqCst);
        let process = self.process(boot);
        let shelf = process.shelf().expect("a sound shelf");
        let past = shelf.open_runs().next()?.clone();
        let permit = if with_permit {
            let permit = process.lease.recover(fixture::cleared(), past.run).await;
            Some(permit.expect("the slot is ours"))
        } else {
            None
        };
        let reins = self.reins.subscribe();
        Some(process.resume(&past, self.course(), permit, reins).await)
    }

    pub(super) fn kinds(&self) -> Vec<&'static str> {
        let events = self.memory.events.lock().expect("events");
        events.iter().map(|event| event.entry.kind()).collect()
    }

    /// Whether the slot file is there.
    pub(super) fn holds_slot(&self) -> bool {
        self.folder.path().join("slot/slot.local.0").exists()
    }

    pub(super) fn run_one(&self) -> std::path::PathBuf {
        self.folder
            .path()
            .join(format!("journal/{}.journal", RunId(1)))
    }
}
