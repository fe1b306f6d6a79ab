//! Reads that may hang in the kernel run on a thread of their own.

use super::error::ProbeError;
use super::{Probe, ProbeSpec};
use crate::host::{BoxFuture, Host};
use crate::signal::Batch;
use tokio::task::{JoinHandle, spawn_blocking};

/// One place off the async threads for one probe: a read that hangs there holds at most this one thread.
#[derive(Debug)]
pub(super) struct OffThread<T> {
    running: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> OffThread<T> {
    /// Nothing runs yet.
    pub(super) fn new() -> Self {
        Self { running: None }
    }

    /// Runs `read` there and waits for it. `what` names it in the error.
    ///
    /// *Cancel safety*: a read that was abandoned is waited for before the next one begins, and its answer is thrown
    /// away: it is old.
    pub(super) async fn run(
        &mut self,
        what: &str,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ProbeError> {
        if let Some(abandoned) = self.running.as_mut() {
            abandoned.await.ok();
            self.running = None;
        }
        let answer = self.running.insert(spawn_blocking(read)).await;
        self.running = None;
        answer.map_err(|source| ProbeError::Read {
            what: what.to_owned(),
            source: Box::new(source),
        })
    }
}

/// A probe that is one read of the machine and keeps nothing from one to the next.
#[derive(Debug)]
pub struct OneRead {
    spec: &'static ProbeSpec,
    read: fn(&Host) -> Result<Batch, ProbeError>,
    off_thread: OffThread<Result<Batch, ProbeError>>,
}

impl OneRead {
    /// A probe that has read nothing yet.
    pub(super) fn new(
        spec: &'static ProbeSpec,
        read: fn(&Host) -> Result<Batch, ProbeError>,
    ) -> Self {
        Self {
            spec,
            read,
            off_thread: OffThread::new(),
        }
    }
}

impl Probe for OneRead {
    fn spec(&self) -> &'static ProbeSpec {
        self.spec
    }

    fn collect<'a>(&'a mut self, host: &'a Host) -> BoxFuture<'a, Result<Batch, ProbeError>> {
        let (host, read) = (host.clone(), self.read);
        let title = self.spec.title;
        Box::pin(async move { self.off_thread.run(title, move || read(&host)).await? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn an_abandoned_read_blocks_the_next_one_and_its_answer_is_thrown_away() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut place = OffThread::new();
            let (release, gate) = mpsc::channel::<()>();
            let hangs = place.run("a file", move || {
                gate.recv().ok();
                "old"
            });
            let late = tokio::time::timeout(std::time::Duration::from_millis(5), hangs).await;
            assert!(late.is_err());
            release.send(()).expect("the read waits");
            assert_eq!(
                place.run("a file", || "new").await.expect("an answer"),
                "new"
            );
        });
    }
}
