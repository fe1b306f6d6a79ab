//! The loop that obeys the run machine.

use super::course::Course;
use super::disk::Disk;
use super::entry::{BootId, Entry, Opening, Outcome};
use super::journal::{Journal, JournalError, PastRun, Shelf};
use super::machine::{IllegalEntry, Run};
use super::ride::{PAUSE, Ride};
use super::witness::{Witness, WitnessError};
use crate::document::in_full as chain;
use crate::lease::{Grounds, Lease, LeaseError, Permit};
use crate::policy::{Cleared, RunId};
use crate::steps::Site;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// After how many of the last runs is tidied up. A slot carries the run that wrote it last, and each costs a question to the
/// store; what an older one left serves the next run, or a person frees it.
const TIDIED: usize = 4;
/// For how long it is tried to free a slot, and how long it rests in between at most.
const FREE_PATIENCE: Duration = Duration::from_secs(86_400);
const MAX_FREE_REST: Duration = Duration::from_secs(30);

/// What the run is told from outside. It listens between steps, while it waits for a condition, and while it soaks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Rein {
    /// Nothing in the way.
    #[default]
    Go,
    /// A pause, a stop cord, a lost opt-in: finish the current step, then end the run.
    Stop(String),
    /// The process ends: finish the current step, then leave the run open for the next process.
    Leave(String),
}

/// How a run left the runner.
#[derive(Debug)]
pub enum RunEnd {
    /// It ended.
    Closed(Outcome),
    /// It stays open: the next process goes on.
    Left,
    /// There was no slot; nothing began.
    NoSlot(LeaseError),
    /// It cannot go on here, and no other run may start until a person looked (the slot is kept).
    Halted(Halt),
}

/// Why nothing goes on.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    /// The journal.
    #[error("the run's journal failed")]
    Journal(#[from] JournalError),
    /// The audit log.
    #[error("the run's audit record failed")]
    Witness(#[from] WitnessError),
    /// A defect: the runner wanted to write what must not come now, or the journal says so.
    #[error("the run's record makes no sense; nothing is done until a person looked at it")]
    Illegal(#[from] IllegalEntry),
    /// A write hangs in the kernel.
    #[error("a write to the journal did not end; the disk under the state directory hangs")]
    Hangs,
}

impl Halt {
    /// A short stable word: the metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            Halt::Journal(error) => error.kind(),
            Halt::Witness(_) => "audit",
            Halt::Illegal(_) => "illegal",
            Halt::Hangs => "hangs",
        }
    }
}

/// Carries out runs, one at a time.
pub struct Runner {
    /// Where steps work.
    pub site: Site,
    /// The slots.
    pub lease: Arc<dyn Lease>,
    /// The audit log and whoever else is told.
    pub witness: Arc<dyn Witness>,
    /// The journal's disk.
    pub disk: Arc<dyn Disk>,
    /// The journal's folder: `STATE/journal`.
    pub folder: PathBuf,
    /// This boot.
    pub boot: BootId,
}

impl Runner {
    /// What the journals say: open runs, numbers, past attempts. To be asked once, before anything else.
    ///
    /// # Errors
    /// A journal that cannot be read or trusted: nothing may be done on this node until a person looked.
    pub fn shelf(&self) -> Result<Shelf, JournalError> {
        Shelf::open(&self.folder, self.disk.as_ref())
    }

    /// Gets a slot and carries out a new run.
    ///
    /// *Cancel safety*: dropping it is like a crash: the next process finds the run open and goes on from its journal.
    pub async fn treat(
        &self,
        cleared: Cleared,
        run: RunId,
        course: Course,
        reins: watch::Receiver<Rein>,
    ) -> RunEnd {
        let permit = match self.lease.acquire(cleared, run).await {
            Ok(permit) => permit,
            Err(error) => return RunEnd::NoSlot(error),
        };
        let journal = match Journal::create(&self.folder, &self.disk, run, &self.boot) {
            Ok(journal) => journal,
            Err(error) => return RunEnd::Halted(error.into()),
        };
        let first = Entry::Opened {
            opening: Opening::clone(&course.opening),
            boot: self.boot.clone(),
        };
        let fresh = Run::of(course.outline.clone());
        self.ride(run, course, fresh, journal, Some(permit), reins, first)
            .await
    }

    /// Goes on with a run that a restart interrupted. Looking needs no permit; without one the run ends before its next
    /// step, and what would have to be undone is left to a person.
    ///
    /// *Cancel safety*: as [`Runner::treat`].
    pub async fn resume(
        &self,
        past: &PastRun,
        course: Course,
        permit: Option<Permit>,
        reins: watch::Receiver<Rein>,
    ) -> RunEnd {
        let replayed = Run::replay(course.outline.clone(), &past.entries);
        let journal = Journal::reopen(&self.folder, &self.disk, past.run, &self.boot);
        let (run, journal) = match (replayed, journal) {
            (Ok(run), Ok(journal)) => (run, journal),
            (Err(error), _) => return RunEnd::Halted(error.into()),
            (_, Err(error)) => return RunEnd::Halted(error.into()),
        };
        let first = Entry::Resumed {
            boot: self.boot.clone(),
        };
        self.ride(past.run, course, run, journal, permit, reins, first)
            .await
    }

    /// Frees slots that runs left behind because the process died between a run's end and the release, or between the creation
    /// of the slot and the run's first record.
    ///
    /// # Errors
    /// The slots could not be asked or freed; they serve the next run all the same.
    pub async fn tidy_up(&self, shelf: &Shelf) -> Result<(), LeaseError> {
        for past in shelf.runs.iter().rev().take(TIDIED) {
            let grounds = match &past.outcome {
                Some(Outcome::Mended) => Grounds::Soaked,
                Some(Outcome::Untouched { .. }) => Grounds::Untouched,
                _ => continue,
            };
            self.lease.tidy_up(past.run, grounds).await?;
        }
        for run in shelf.unopened.iter().rev().take(TIDIED) {
            self.lease.tidy_up(*run, Grounds::Untouched).await?;
        }
        Ok(())
    }

    /// Frees slots of runs that took a number, and perhaps a slot, and never began: they have no journal.
    ///
    /// # Errors
    /// As for [`Runner::tidy_up`].
    pub async fn tidy_unbegun(&self, runs: RangeInclusive<u64>) -> Result<(), LeaseError> {
        self.lease.tidy_unbegun(runs).await
    }

    /// Frees what a run holds that does not begin any more: the answer to a creation may have been lost, or what was created
    /// could not be freed again. Ends when that is done, or as [`Runner::free_at_last`].
    pub async fn give_back(&self, run: RunId, reins: watch::Receiver<Rein>) {
        let grounds = Grounds::Untouched;
        if let Err(error) = self.lease.tidy_up(run, grounds).await {
            self.free_at_last(run, grounds, error, reins).await;
        }
    }

    /// Frees a slot that could not be freed, because the API server was away or its answer was lost. This node may never need
    /// one again, and until it does everybody else has one less. The next process does it where this one ends first.
    pub(super) async fn free_at_last(
        &self,
        run: RunId,
        grounds: Grounds,
        mut error: LeaseError,
        mut reins: watch::Receiver<Rein>,
    ) {
        let clock = &self.site.clock;
        let (began, mut rest) = (clock.now().uptime, PAUSE);
        while clock.now().uptime.since(began) < FREE_PATIENCE {
            tracing::warn!(%run, kind = error.kind(), error = %error, "slot not freed; trying again");
            if matches!(error, LeaseError::OtherInstance { .. }) {
                // Only a person can tell whose it is.
                return;
            }
            let leave = reins.wait_for(|rein| matches!(rein, Rein::Leave(_)));
            tokio::select! {
                _ = leave => return,
                () = clock.sleep(rest) => {}
            }
            rest = (rest * 2).min(MAX_FREE_REST);
            let freed = match self.lease.tidy_up(run, grounds).await {
                Ok(()) => self.lease.unclaim().await,
                Err(error) => Err(error),
            };
            match freed {
                Ok(()) => return,
                Err(again) => error = again,
            }
        }
    }

    /// Ends a run whose plan is not there any more: its playbook was removed or changed since.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn give_up(&self, past: &PastRun, why: &str) -> Result<Outcome, JournalError> {
        let outcome = Outcome::NeedsHuman {
            fault: super::entry::Fault::new("plan-gone", why),
        };
        let mut journal = Journal::reopen(&self.folder, &self.disk, past.run, &self.boot)?;
        let entry = Entry::Closed {
            result: outcome.clone(),
        };
        journal.append(self.site.clock.now(), "", &entry)?;
        Ok(outcome)
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "the parts of a ride come from two places and belong together only here"
    )]
    async fn ride(
        &self,
        id: RunId,
        course: Course,
        run: Run,
        journal: Journal,
        permit: Option<Permit>,
        reins: watch::Receiver<Rein>,
        first: Entry,
    ) -> RunEnd {
        let ride = Ride {
            runner: self,
            id,
            course,
            run,
            journal: Arc::new(Mutex::new(journal)),
            permit,
            reins,
            withheld: None,
        };
        match ride.go(first).await {
            Ok(end) => end,
            Err(halt) => {
                tracing::error!(run = %id, kind = halt.kind(), error = %chain(&halt), "run halted");
                RunEnd::Halted(halt)
            }
        }
    }
}
