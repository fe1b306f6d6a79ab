//! A node's audit log: the product's own chain, on a disk that is not there. Every line is shown to the jury.

use super::flaw::Flaw;
use super::world::{World, lock};
use crate::report::audit::{Chain, Entry, Head, Record, RecordKind};
use crate::signal::Timestamp;
use std::sync::{Arc, Mutex};

/// The log of one process, which goes on where the one before it ended.
pub(super) struct Trail {
    world: Arc<World>,
    node: usize,
    chain: Mutex<Chain>,
    /// For a flaw: the head that it began with.
    first: Head,
}

impl Trail {
    /// The log on this node's disk, opened by a process that begins in this boot.
    pub(super) fn of(world: &Arc<World>, node: usize, boot: &str) -> Self {
        let last = world.body(node, |body| body.audit.clone());
        let last: Option<Record> = last.and_then(|line| serde_json::from_str(&line).ok());
        let head = last.map(|record| Head {
            seq: record.seq,
            hash: record.hash,
        });
        let chain = Chain::after(head, world.name(node), boot);
        Self {
            world: Arc::clone(world),
            node,
            first: chain.head().clone(),
            chain: Mutex::new(chain),
        }
    }

    /// Writes a record; it is durable at once.
    pub(super) fn write(&self, now: Timestamp, entry: &Entry) {
        let flaw = self.world.flaw;
        if flaw == Some(Flaw::ActsUnrecorded) && entry.kind == RecordKind::StepBegan {
            return;
        }
        let is_outcome = matches!(
            entry.kind,
            RecordKind::StepApplied | RecordKind::StepVerified | RecordKind::StepFailed
        );
        if flaw == Some(Flaw::TellsNoOutcome) && is_outcome {
            return;
        }
        let mut chain = lock(&self.chain);
        let at = self.world.hall.now();
        let link = match chain.next(now, entry) {
            Ok(link) => link,
            Err(error) => {
                let why = format!("a record cannot be written: {error}");
                self.world
                    .with(|state| state.jury.blame(at, self.node, "I17", why));
                return;
            }
        };
        let is_lost = flaw == Some(Flaw::AuditSkips) && link.head.seq % 7 == 0;
        chain.keep(link.head);
        if is_lost {
            return;
        }
        self.world.with(|state| {
            if let Some(body) = state.bodies.get_mut(self.node) {
                body.audit.clone_from(&link.line);
            }
            state.jury.recorded(at, self.node, &link.line);
        });
    }

    /// What is anchored in the slot.
    pub(super) fn head(&self) -> String {
        if self.world.flaw == Some(Flaw::AnchorsThePast) {
            return self.first.to_string();
        }
        lock(&self.chain).head().to_string()
    }
}
