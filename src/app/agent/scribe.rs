//! The audit log behind one door: every writer waits for its own record to be on the disk.
//!
//! One thread at a time writes, in the order in which records came, and no async task ever waits for a lock that it holds.
//! A write that takes longer than [`MAX_WRITE`] is *late*: nothing starts while it is, records that come meanwhile queue up,
//! and once all of them are on the disk things may start again. That is safe because the very write that was late has
//! ended well, its fsync included; it is never tried a second time. A write that fails is another matter: the log takes no
//! record any more until a new process has looked at what is there (safety.md, section 4).

use super::sight::{Nudge, chain};
use crate::executor::{Entry as RunEntry, RunEvent, Witness, WitnessError};
use crate::host::{BoxFuture, clock};
use crate::report::audit::{AuditError, AuditLog, Entry, Head, of_run};
use crate::report::events::Happening;
use crate::report::metrics::AgentMetrics;
use crate::signal::Timestamp;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a record may take to reach the disk before the disk counts as hanging, and nothing may start.
pub const MAX_WRITE: Duration = Duration::from_secs(5);
/// How many records wait for a disk that hangs: a quarter of an hour in which a case changes every second.
const MAX_WAITING: usize = 1_000;

/// Where records go.
trait Log: Send {
    /// Returns when the record is durable. After the first failure it takes no record any more.
    fn append(&mut self, now: Timestamp, entry: &Entry) -> Result<Head, AuditError>;
}

impl Log for AuditLog {
    fn append(&mut self, now: Timestamp, entry: &Entry) -> Result<Head, AuditError> {
        AuditLog::append(self, now, entry)
    }
}

struct Job {
    at: Timestamp,
    entry: Entry,
    done: oneshot::Sender<Result<(), String>>,
}

/// What is known without asking the disk. Its lock is never held while something is written.
#[derive(Default)]
struct Status {
    head: String,
    records: u64,
    failures: u64,
    failure: Option<String>,
    is_late: bool,
    is_writing: bool,
    waiting: VecDeque<Job>,
}

struct Desk {
    status: Mutex<Status>,
    log: Mutex<Option<Box<dyn Log>>>,
    /// [`MAX_WRITE`], or less in tests.
    limit: Duration,
}

impl Desk {
    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits, until nothing does. Blocks for as long as the disk does.
    fn write_all(&self) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(job) = self.next() {
            let written = match log.as_mut() {
                Some(log) => log.append(job.at, &job.entry).map_err(|e| chain(&e)),
                None => Err("there is no audit log".to_owned()),
            };
            let answer = self.note(written);
            // Whoever asked may have stopped waiting; the record stands all the same.
            job.done.send(answer).ok();
        }
    }

    fn next(&self) -> Option<Job> {
        let mut status = self.status();
        let job = status.waiting.pop_front();
        if job.is_none() {
            status.is_writing = false;
            if std::mem::take(&mut status.is_late) && status.failure.is_none() {
                tracing::info!("every audit record is on the disk again; runs may start again");
            }
        }
        job
    }

    fn note(&self, written: Result<Head, String>) -> Result<(), String> {
        let mut status = self.status();
        match written {
            Ok(head) => {
                status.head = head.to_string();
                status.records = status.records.saturating_add(1);
                Ok(())
            }
            Err(why) => {
                status.failures = status.failures.saturating_add(1);
                status.failure.get_or_insert_with(|| why.clone());
                Err(why)
            }
        }
    }
}

/// Writes records, one after the other, off the async threads.
#[derive(Clone)]
pub struct Scribe(Arc<Desk>);

impl Scribe {
    /// For this log, or for none and why.
    pub fn new(log: Result<AuditLog, String>) -> Self {
        match log {
            Ok(log) => {
                let head = log.head().to_string();
                Self::over(Some(Box::new(log)), head, None, MAX_WRITE)
            }
            Err(why) => Self::over(None, String::new(), Some(why), MAX_WRITE),
        }
    }

    fn over(
        log: Option<Box<dyn Log>>,
        head: String,
        failure: Option<String>,
        limit: Duration,
    ) -> Self {
        let status = Status {
            head,
            failure,
            ..Status::default()
        };
        Self(Arc::new(Desk {
            status: Mutex::new(status),
            log: Mutex::new(log),
            limit,
        }))
    }

    /// Why nothing may be done until the agent is restarted, if the log cannot be written.
    pub fn failure(&self) -> Option<String> {
        self.0.status().failure.clone()
    }

    /// Why nothing may start for now, if the disk has not taken a record for [`MAX_WRITE`].
    pub fn lateness(&self) -> Option<String> {
        let status = self.0.status();
        (status.is_late && status.failure.is_none()).then(|| {
            let count = status.waiting.len().saturating_add(1);
            format!("the disk under the audit log has not finished a write for {} s or more ({count} records wait); runs start again by themselves when it has. If it does not, look at the disk (dmesg, nodemend check)", MAX_WRITE.as_secs())
        })
    }

    /// The newest record that is on the disk, as `SEQ:HASH`; empty without a log.
    pub fn head(&self) -> String {
        self.0.status().head.clone()
    }

    /// Records written and records that could not be written.
    pub fn counts(&self) -> (u64, u64) {
        let status = self.0.status();
        (status.records, status.failures)
    }

    /// Records that are late.
    pub fn waiting(&self) -> u64 {
        let status = self.0.status();
        let waiting = u64::try_from(status.waiting.len()).unwrap_or(u64::MAX);
        waiting.saturating_add(1) * u64::from(status.is_late)
    }

    /// Hands a record to the writing thread.
    fn hand_over(&self, entry: Entry) -> Result<oneshot::Receiver<Result<(), String>>, String> {
        let (done, written) = oneshot::channel();
        let mut status = self.0.status();
        if status.failure.is_none() && status.waiting.len() >= MAX_WAITING {
            status.failure = Some(format!(
                "more than {MAX_WAITING} records wait for the disk and one is lost; restart the agent when the disk is well"
            ));
        }
        if let Some(why) = status.failure.clone() {
            status.failures = status.failures.saturating_add(1);
            return Err(why);
        }
        let at = clock::now();
        status.waiting.push_back(Job { at, entry, done });
        if !std::mem::replace(&mut status.is_writing, true) {
            let desk = Arc::clone(&self.0);
            tokio::task::spawn_blocking(move || desk.write_all());
        }
        Ok(written)
    }

    /// Waits for a record, at most [`MAX_WRITE`]; `None`: it is late.
    async fn soon(
        &self,
        written: &mut oneshot::Receiver<Result<(), String>>,
    ) -> Option<Result<(), String>> {
        let is_late = self.0.status().is_late;
        let limit = if is_late {
            Duration::ZERO
        } else {
            self.0.limit
        };
        match tokio::time::timeout(limit, &mut *written).await {
            Ok(answer) => Some(answer.unwrap_or_else(|_| Err(GONE.to_owned()))),
            Err(_) => {
                let mut status = self.0.status();
                // It may have come to the disk in this very moment.
                if status.is_writing && !std::mem::replace(&mut status.is_late, true) {
                    tracing::warn!(
                        seconds = MAX_WRITE.as_secs(),
                        "the disk under the audit log does not finish a write; nothing starts until it has"
                    );
                }
                None
            }
        }
    }

    /// Writes a record, and waits for it for at most [`MAX_WRITE`], or not at all while an earlier one is late. What this
    /// returns an error for may still come to the disk, in its turn.
    ///
    /// # Errors
    /// It is not on the disk now, and why.
    pub async fn write(&self, entry: Entry) -> Result<(), String> {
        let mut written = self.hand_over(entry)?;
        match self.soon(&mut written).await {
            Some(answer) => answer,
            None => Err("the disk under the audit log does not answer".to_owned()),
        }
    }

    /// Writes a record and waits until it is on the disk, however late. For whoever does nothing meanwhile, and asks
    /// everything anew afterwards.
    ///
    /// # Errors
    /// It cannot be written, and why.
    pub async fn write_however_late(&self, entry: Entry) -> Result<(), String> {
        let mut written = self.hand_over(entry)?;
        match self.soon(&mut written).await {
            Some(answer) => answer,
            None => written.await.unwrap_or_else(|_| Err(GONE.to_owned())),
        }
    }
}

const GONE: &str = "the thread that writes the audit log is gone; restart the agent";

/// Told by a run: the audit log first, then the counters, then the probes, so that an effect is seen soon.
pub struct RunWitness {
    /// The audit log.
    pub scribe: Scribe,
    /// The counters.
    pub metrics: Arc<AgentMetrics>,
    /// The probes.
    pub nudge: Nudge,
    /// The cluster, where there is one.
    pub cluster: Option<Arc<super::cluster::ClusterSide>>,
}

impl Witness for RunWitness {
    fn note<'a>(&'a self, event: &'a RunEvent) -> BoxFuture<'a, Result<(), WitnessError>> {
        Box::pin(async move {
            // The run stands still meanwhile; before a step it proves its slot and its condition after this.
            let written = self.scribe.write_however_late(of_run(event)).await;
            self.metrics.note_slot(!event.slot.is_empty());
            if let Some(side) = &self.cluster {
                side.rides(event.run);
                if let Some(what) = Happening::of_run(event) {
                    side.happened(what);
                }
            }
            if let (Some(kind), Some(took)) = (&event.step_kind, event.took) {
                self.metrics.note_step(kind, took);
            }
            match &event.entry {
                RunEntry::Applied { .. } | RunEntry::Undone { .. } => self.nudge.now(),
                RunEntry::Closed { result } => {
                    let opening = &event.opening;
                    self.metrics
                        .note_run(&opening.playbook, &opening.version, result.kind());
                    self.metrics.note_slot(false);
                }
                _ => {}
            }
            written.map_err(|why| WitnessError { why })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::audit::{Chain, RecordKind};
    use std::sync::mpsc;

    /// A log whose disk does nothing until it is told how its next write ends.
    struct Slow {
        chain: Chain,
        ends: mpsc::Receiver<bool>,
    }

    impl Log for Slow {
        fn append(&mut self, now: Timestamp, entry: &Entry) -> Result<Head, AuditError> {
            let is_well = self.ends.recv().unwrap_or(false);
            let link = self.chain.next(now, entry)?;
            if !is_well {
                return Err(AuditError::Stopped {
                    first: "no space left on device".to_owned(),
                });
            }
            self.chain.keep(link.head.clone());
            Ok(link.head)
        }
    }

    fn slow() -> (Scribe, mpsc::Sender<bool>) {
        let (tell, ends) = mpsc::channel();
        let chain = Chain::after(None, "node-1", "boot-0");
        let log: Box<dyn Log> = Box::new(Slow { chain, ends });
        let limit = Duration::from_millis(1);
        (Scribe::over(Some(log), String::new(), None, limit), tell)
    }

    fn entry() -> Entry {
        Entry::of(RecordKind::CaseOpened)
    }

    /// Gives the writing thread its turn.
    async fn until(is_so: impl Fn() -> bool) {
        while !is_so() {
            tokio::task::spawn_blocking(std::thread::yield_now)
                .await
                .expect("a thread");
        }
    }

    #[tokio::test]
    async fn a_late_record_stops_everything_until_it_is_on_the_disk() {
        let (scribe, tell) = slow();
        assert_eq!(scribe.lateness(), None);
        let writer = scribe.clone();
        let surely = tokio::spawn(async move { writer.write_however_late(entry()).await });
        // A loaded machine takes longer than the limit to come to it.
        until(|| scribe.0.status().is_writing).await;
        let late = scribe.write(entry()).await.expect_err("not in time");
        assert!(late.contains("does not answer"), "{late}");
        let why = scribe.lateness().expect("late");
        assert!(why.contains("start again by themselves"), "{why}");
        assert_eq!(scribe.failure(), None, "late is not failed");
        assert_eq!((scribe.counts(), scribe.waiting()), ((0, 0), 2));
        // While one is late nobody waits for the next, and none is lost.
        scribe.write(entry()).await.expect_err("late at once");
        for _ in 0..3 {
            tell.send(true).expect("the log waits");
        }
        assert_eq!(surely.await.expect("ends"), Ok(()));
        until(|| scribe.lateness().is_none()).await;
        assert_eq!((scribe.counts(), scribe.waiting()), ((3, 0), 0));
        assert!(scribe.head().starts_with("3:"), "{}", scribe.head());
        tell.send(true).expect("the log waits");
        let next = scribe.write_however_late(entry()).await;
        assert_eq!(next, Ok(()), "it goes on");
    }

    #[tokio::test]
    async fn a_late_record_that_fails_at_last_stops_everything_for_good() {
        let (scribe, tell) = slow();
        scribe.write(entry()).await.expect_err("late");
        assert!(scribe.lateness().is_some());
        tell.send(false).expect("the log waits");
        until(|| scribe.failure().is_some()).await;
        assert_eq!(
            scribe.lateness(),
            None,
            "it is not late any more, it failed"
        );
        tell.send(true).expect("the log is there");
        let why = scribe.write(entry()).await.expect_err("no record any more");
        assert!(why.contains("no space left"), "{why}");
        assert!(scribe.failure().is_some(), "a later success proves nothing");
        assert_eq!(scribe.counts(), (0, 2));
    }

    #[tokio::test]
    async fn nothing_that_asks_how_the_log_is_waits_for_the_disk() {
        let (scribe, tell) = slow();
        scribe.write(entry()).await.expect_err("late");
        // Each of these took the lock under which the disk hung, and the engine with it.
        assert_eq!(scribe.failure(), None);
        assert_eq!(scribe.counts(), (0, 0));
        assert_eq!(scribe.head(), "");
        tell.send(true).expect("the log waits");
        until(|| scribe.counts() == (1, 0)).await;
    }

    #[tokio::test]
    async fn too_many_records_for_a_hanging_disk_are_a_failure() {
        let (scribe, tell) = slow();
        scribe.write(entry()).await.expect_err("late");
        for _ in 0..MAX_WAITING {
            scribe.write(entry()).await.expect_err("late");
        }
        let why = scribe.write(entry()).await.expect_err("one too many");
        assert!(why.contains("one is lost"), "{why}");
        assert!(scribe.failure().is_some());
        tell.send(true).ok();
    }
}
