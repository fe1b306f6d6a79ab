//! `statfs` of a mount, which hangs where its server or device hangs.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use nix::errno::Errno;
use nix::sys::statfs::statfs;

use crate::collectors::source::apart::Work;
use crate::collectors::source::shared::lock;

/// Size, free and available bytes, all and free file nodes.
pub type Numbers = [f64; 5];

/// Why there are no numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The kernel refused.
    Failed(Errno),
    /// No answer before the deadline.
    Stuck,
}

/// One mount and its last answer. Never more than one thread hangs in it.
#[derive(Debug)]
pub struct Seat {
    path: PathBuf,
    is_asked: AtomicBool,
    answer: Mutex<Option<(u64, Result<Numbers, Errno>)>>,
}

impl Seat {
    /// The mount at `path`, not yet asked.
    pub fn new(path: PathBuf) -> Arc<Seat> {
        Arc::new(Seat {
            path,
            is_asked: AtomicBool::new(false),
            answer: Mutex::new(None),
        })
    }

    /// Asks, and may hang; returns at once where a thread hangs already.
    pub fn ask(&self, turn: u64) {
        if self.is_asked.swap(true, Ordering::AcqRel) {
            return;
        }
        let numbers = self.numbers();
        let mut answer = lock(&self.answer);
        // A thread that comes back late does not undo a newer answer.
        if answer.is_none_or(|(when, _)| when <= turn) {
            *answer = Some((turn, numbers));
        }
        drop(answer);
        self.is_asked.store(false, Ordering::Release);
    }

    /// The answer given in this turn.
    ///
    /// *Errors*: there is none, or it is an error.
    pub fn answer(&self, turn: u64) -> Result<Numbers, Why> {
        match *lock(&self.answer) {
            Some((when, answer)) if when == turn => answer.map_err(Why::Failed),
            _ => Err(Why::Stuck),
        }
    }

    fn numbers(&self) -> Result<Numbers, Errno> {
        let stat = statfs(&self.path)?;
        let block = stat.block_size() as f64;
        Ok([
            stat.blocks() as f64 * block,
            stat.blocks_free() as f64 * block,
            stat.blocks_available() as f64 * block,
            stat.files() as f64,
            stat.files_free() as f64,
        ])
    }
}

/// A mount that is asked on a thread of its own.
#[derive(Debug)]
pub struct Remote(pub Arc<Seat>);

impl Work for Remote {
    type Order = u64;

    fn run(&mut self, turn: u64, _: &mut Vec<u8>) {
        self.0.ask(turn);
    }
}

#[cfg(test)]
mod tests {
    use super::{Seat, Why};
    use nix::errno::Errno;
    use std::path::PathBuf;
    use std::sync::atomic::Ordering;

    #[test]
    fn an_answer_counts_in_its_own_turn_only() {
        let dir = tempfile::tempdir().unwrap();
        let well = Seat::new(dir.path().to_path_buf());
        assert_eq!(well.answer(1), Err(Why::Stuck));
        well.ask(2);
        assert!(well.answer(2).is_ok_and(|numbers| numbers[0] > 0.0));
        well.ask(1);
        assert!(well.answer(2).is_ok(), "a late thread undid the answer");
        assert_eq!(well.answer(3), Err(Why::Stuck));
        let gone = Seat::new(PathBuf::from("/no/such/place"));
        gone.ask(1);
        assert_eq!(gone.answer(1), Err(Why::Failed(Errno::ENOENT)));
    }

    #[test]
    fn nobody_asks_where_a_thread_hangs() {
        let seat = Seat::new(PathBuf::from("/"));
        seat.is_asked.store(true, Ordering::Release);
        seat.ask(1);
        assert_eq!(seat.answer(1), Err(Why::Stuck));
    }
}
