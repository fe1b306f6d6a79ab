//! What the agent must have on its disk before it acts, when the disk is slow: late is refused for now, failed for good.

use super::core::{Core, Message};
use super::scribe::MAX_WRITE;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

/// Why the ledger is not on the disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// A write is under way for longer than [`MAX_WRITE`]. It may end well.
    #[error(
        "the disk under the state directory has not finished a write for 5 s or more; runs start again by themselves when it has. If it does not, look at the disk (dmesg, nodemend check)"
    )]
    Late,
    /// It could not be written.
    #[error("{why}")]
    Failed {
        /// Why not.
        why: String,
    },
}

/// The ledger's file. One write at a time: what an older write leaves there late must not replace what a newer one put.
pub struct LedgerFile {
    path: PathBuf,
    limit: Duration,
    late: Mutex<Option<JoinHandle<Result<(), String>>>>,
}

impl LedgerFile {
    /// The file at `path`.
    pub fn at(path: PathBuf) -> Self {
        Self {
            path,
            limit: MAX_WRITE,
            late: Mutex::new(None),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the ledger, unless an earlier write is late. `write` takes the ledger as it is when its turn has come.
    ///
    /// # Errors
    /// It is not on the disk.
    pub(super) async fn carry_out(
        &self,
        write: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> Result<(), NotKept> {
        let mut late = self.late.lock().await;
        if let Some(earlier) = late.take_if(|earlier| earlier.is_finished()) {
            settled(earlier.await)?;
        }
        if late.is_some() {
            return Err(NotKept::Late);
        }
        let mut task = tokio::task::spawn_blocking(write);
        match tokio::time::timeout(self.limit, &mut task).await {
            Ok(written) => settled(written),
            Err(_) => {
                *late = Some(task);
                Err(NotKept::Late)
            }
        }
    }
}

fn settled(written: Result<Result<(), String>, tokio::task::JoinError>) -> Result<(), NotKept> {
    let written = written.map_err(|error| error.to_string());
    written.flatten().map_err(|why| NotKept::Failed { why })
}

/// The sources of stops that end when the disk has caught up.
const AUDIT_LATE: &str = "audit-late";
const LEDGER_LATE: &str = "ledger-late";

impl Core {
    fn is_stopped(&self, source: &str) -> bool {
        let stops = self.stops.lock().unwrap_or_else(PoisonError::into_inner);
        stops.iter().any(|(known, _)| *known == source)
    }

    /// Whether something that was written failed, so that only a new process may act.
    pub(super) fn has_failed(&self) -> bool {
        self.scribe.failure().is_some() || self.is_stopped("ledger")
    }

    /// The ledger is not on the disk: nothing starts, for now or for good.
    pub(super) async fn miss_ledger(self: &Arc<Self>, why: NotKept, news: &mpsc::Sender<Message>) {
        let source = match why {
            NotKept::Late => LEDGER_LATE,
            NotKept::Failed { .. } => "ledger",
        };
        if !self.is_stopped(source) {
            let why = format!("the ledger cannot be written: {why}");
            Box::pin(self.stop(source, why, news)).await;
        }
    }

    /// Stops everything while a disk is late or once it failed, and lets it go on when what was late is on the disk.
    pub(super) async fn heed_disk(self: &Arc<Self>, news: &mpsc::Sender<Message>) {
        if let Some(why) = self.scribe.failure()
            && !self.is_stopped("audit")
        {
            let why = format!("the audit log cannot be written: {why}");
            Box::pin(self.stop("audit", why, news)).await;
        }
        match (self.scribe.lateness(), self.is_stopped(AUDIT_LATE)) {
            (Some(why), false) => Box::pin(self.stop(AUDIT_LATE, why, news)).await,
            (None, true) => Box::pin(self.go_on(AUDIT_LATE, news)).await,
            _ => {}
        }
        if self.is_stopped(LEDGER_LATE) {
            match self.keep_now().await {
                Ok(()) => {
                    tracing::info!("the ledger is on the disk again; runs may start again");
                    Box::pin(self.go_on(LEDGER_LATE, news)).await;
                }
                Err(NotKept::Late) => {}
                Err(failed) => self.miss_ledger(failed, news).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// A write that ends when the test says how.
    fn slow() -> (
        Sender<Result<(), String>>,
        impl FnOnce() -> Result<(), String> + Send,
    ) {
        let (tell, told): (_, Receiver<Result<(), String>>) = channel();
        (tell, move || told.recv().expect("the test tells"))
    }

    #[tokio::test]
    async fn a_late_ledger_is_written_again_only_after_the_late_write_ended() {
        for (end, expected) in [
            (Ok(()), Ok(())),
            (
                Err("no space".to_owned()),
                Err(NotKept::Failed {
                    why: "no space".to_owned(),
                }),
            ),
        ] {
            let mut file = LedgerFile::at(PathBuf::from("/nowhere"));
            file.limit = Duration::from_millis(1);
            let (tell, write) = slow();
            assert_eq!(file.carry_out(write).await, Err(NotKept::Late));
            let second = file.carry_out(|| panic!("two writes at once")).await;
            assert_eq!(second, Err(NotKept::Late));
            tell.send(end).expect("it waits");
            while !file
                .late
                .lock()
                .await
                .as_ref()
                .is_some_and(JoinHandle::is_finished)
            {
                tokio::task::spawn_blocking(std::thread::yield_now)
                    .await
                    .expect("a thread");
            }
            file.limit = MAX_WRITE;
            assert_eq!(file.carry_out(|| Ok(())).await, expected);
        }
    }
}
