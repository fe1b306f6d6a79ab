//! `statfs` of many mounts, with a deadline for each.
//!
//! Mounts that the kernel answers from its own memory share one thread and are asked one after
//! the other; every other mount is a list of its own. Where a shared list hangs, the mount that
//! hangs keeps the thread it has, and the others go on in a new list within the same turn. When
//! the thread returns, its mount joins the others again.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::statfs::statfs;
use tokio::sync::Notify;

use crate::collectors::source::apart::{Apart, DEADLINE, Work};
use crate::collectors::source::shared::lock;

/// Size, free and available bytes, all and free file nodes.
pub type Numbers = [f64; 5];

/// What a list's progress says when nobody is in it.
const ENDED: usize = usize::MAX;

/// Why there are no numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The kernel refused.
    Failed(Errno),
    /// No answer before the deadline.
    Stuck,
}

/// One mount and its last answer.
#[derive(Debug)]
pub struct Seat {
    path: PathBuf,
    is_local: bool,
    /// Forgotten while a thread may still be in it.
    is_gone: AtomicBool,
    answer: Mutex<Option<(u64, Result<Numbers, Errno>)>>,
}

impl Seat {
    /// The answer given in this turn.
    ///
    /// *Errors*: there is none, or it is an error.
    pub fn answer(&self, turn: u64) -> Result<Numbers, Why> {
        match *lock(&self.answer) {
            Some((when, answer)) if when == turn => answer.map_err(Why::Failed),
            _ => Err(Why::Stuck),
        }
    }
}

/// Mounts that one thread asks one after the other.
struct List {
    seats: Vec<Arc<Seat>>,
    progress: Arc<Progress>,
}

/// How far a list is, for whoever waits for it.
struct Progress {
    at: AtomicUsize,
    abandoned: AtomicBool,
}

impl Work for List {
    type Order = u64;

    fn run(&mut self, turn: u64, _: &mut Vec<u8>) {
        for (place, seat) in self.seats.iter().enumerate() {
            if self.progress.abandoned.load(Ordering::Acquire) {
                break;
            }
            self.progress.at.store(place, Ordering::Release);
            let numbers = numbers(&seat.path);
            *lock(&seat.answer) = Some((turn, numbers));
        }
        self.progress.at.store(ENDED, Ordering::Release);
    }
}

/// A list as the asker sees it.
struct Asked {
    id: u64,
    seats: Vec<Arc<Seat>>,
    progress: Arc<Progress>,
}

impl Asked {
    fn begin(lane: &Apart<List>, seats: Vec<Arc<Seat>>) -> Asked {
        let progress = Arc::new(Progress {
            at: AtomicUsize::new(ENDED),
            abandoned: AtomicBool::new(false),
        });
        let list = List {
            seats: seats.clone(),
            progress: Arc::clone(&progress),
        };
        Asked {
            id: lane.add(list),
            seats,
            progress,
        }
    }

    /// The mount that a thread is in now.
    fn present(&self) -> Option<&Arc<Seat>> {
        self.seats.get(self.progress.at.load(Ordering::Acquire))
    }

    fn is_of(&self, seat: &Arc<Seat>) -> bool {
        self.seats.iter().any(|one| Arc::ptr_eq(one, seat))
    }
}

/// Asks mounts for their numbers.
pub struct Asker {
    local: Apart<List>,
    remote: Apart<List>,
    /// The local mounts that answer.
    group: Asked,
    /// Local mounts that hang, each with the thread that is in it.
    hung: Vec<Asked>,
    remotes: Vec<Asked>,
    /// Mounts that came or went since the group's list was made.
    next_group: Option<Vec<Arc<Seat>>>,
}

impl Asker {
    /// An asker without mounts; a turn waits no longer than `limit` for one mount that was never
    /// late, and twice that for all, which leaves the collector within its own deadline.
    pub fn new(limit: Duration) -> Asker {
        let limit = limit.min(DEADLINE * 2 / 5);
        let lane = || Apart::new("scrape-statfs", Arc::new(Notify::new())).within(limit);
        let local = lane();
        Asker {
            group: Asked::begin(&local, Vec::new()),
            local,
            remote: lane(),
            hung: Vec::new(),
            remotes: Vec::new(),
            next_group: None,
        }
    }

    /// Adds a mount at `path`; `is_local` says that the kernel answers for it from its memory.
    pub fn add(&mut self, path: PathBuf, is_local: bool) -> Arc<Seat> {
        let seat = Arc::new(Seat {
            path,
            is_local,
            is_gone: AtomicBool::new(false),
            answer: Mutex::new(None),
        });
        if is_local {
            self.changing().push(Arc::clone(&seat));
        } else {
            let list = Asked::begin(&self.remote, vec![Arc::clone(&seat)]);
            self.remotes.push(list);
        }
        seat
    }

    /// Forgets a mount; a thread that hangs in it ends when it returns.
    pub fn remove(&mut self, seat: &Arc<Seat>) {
        seat.is_gone.store(true, Ordering::Release);
        let (lane, lists) = if seat.is_local {
            (&self.local, &mut self.hung)
        } else {
            (&self.remote, &mut self.remotes)
        };
        if let Some(place) = lists.iter().position(|list| list.is_of(seat)) {
            lane.remove(lists.swap_remove(place).id);
        } else {
            self.changing().retain(|one| !Arc::ptr_eq(one, seat));
        }
    }

    /// Asks every mount that nobody hangs in; waits until all answered or are given up.
    pub fn ask(&mut self, turn: u64) {
        self.take_back();
        self.regroup();
        self.local.begin(turn, turn, |_| true);
        self.remote.begin(turn, turn, |_| true);
        self.local.settle();
        if let Some(hung) = self.group.present().map(Arc::clone) {
            self.split(&hung);
            let id = self.group.id;
            self.local.begin(turn, turn, |one| one == id);
            self.local.settle();
        }
        self.remote.settle();
    }

    /// Threads that hang in a mount.
    pub fn stuck(&self) -> usize {
        self.local.stuck() + self.remote.stuck()
    }

    fn changing(&mut self) -> &mut Vec<Arc<Seat>> {
        let seats = &self.group.seats;
        self.next_group.get_or_insert_with(|| seats.clone())
    }

    /// Mounts whose thread returned join the others again.
    fn take_back(&mut self) {
        let (hung, back): (Vec<_>, Vec<_>) = std::mem::take(&mut self.hung)
            .into_iter()
            .partition(|list| list.progress.at.load(Ordering::Acquire) != ENDED);
        self.hung = hung;
        for list in back {
            self.local.remove(list.id);
            self.changing().extend(list.seats);
        }
    }

    fn regroup(&mut self) {
        let Some(mut seats) = self.next_group.take() else {
            return;
        };
        if let Some(hung) = self.group.present().map(Arc::clone) {
            self.split(&hung);
        }
        let hung = &self.hung;
        seats.retain(|seat| {
            let is_gone = seat.is_gone.load(Ordering::Acquire);
            !is_gone && !hung.iter().any(|list| list.is_of(seat))
        });
        self.local.remove(self.group.id);
        self.group = Asked::begin(&self.local, seats);
    }

    /// Leaves the group's list to the mount that hangs and gives the others a new one.
    fn split(&mut self, hung: &Arc<Seat>) {
        self.group.progress.abandoned.store(true, Ordering::Release);
        let others = self.group.seats.iter();
        let others = others.filter(|seat| !Arc::ptr_eq(seat, hung)).cloned();
        let fresh = Asked::begin(&self.local, others.collect());
        let mut list = std::mem::replace(&mut self.group, fresh);
        list.seats = vec![Arc::clone(hung)];
        self.hung.push(list);
    }
}

fn numbers(path: &Path) -> Result<Numbers, Errno> {
    let stat = statfs(path)?;
    let block = stat.block_size() as f64;
    Ok([
        stat.blocks() as f64 * block,
        stat.blocks_free() as f64 * block,
        stat.blocks_available() as f64 * block,
        stat.files() as f64,
        stat.files_free() as f64,
    ])
}

#[cfg(test)]
mod tests {
    use super::{Asker, Why};
    use nix::errno::Errno;
    use std::path::PathBuf;
    use std::time::Duration;

    #[test]
    fn mounts_come_and_go_and_each_has_its_own_answer() {
        let mut asker = Asker::new(Duration::from_secs(5));
        let dir = tempfile::tempdir().unwrap();
        let well = asker.add(dir.path().to_path_buf(), true);
        let gone = asker.add(PathBuf::from("/no/such/place"), true);
        let remote = asker.add(dir.path().to_path_buf(), false);
        assert_eq!(well.answer(1), Err(Why::Stuck));
        asker.ask(1);
        assert!(well.answer(1).is_ok_and(|numbers| numbers[0] > 0.0));
        assert_eq!(gone.answer(1), Err(Why::Failed(Errno::ENOENT)));
        assert!(remote.answer(1).is_ok());
        assert_eq!(well.answer(2), Err(Why::Stuck));
        asker.remove(&gone);
        asker.remove(&remote);
        asker.ask(2);
        assert!(well.answer(2).is_ok());
        assert_eq!(gone.answer(2), Err(Why::Stuck));
        assert_eq!(remote.answer(2), Err(Why::Stuck));
        assert_eq!(asker.stuck(), 0);
    }
}
