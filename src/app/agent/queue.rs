//! A run in a cluster: the own Node read fresh, the gates asked again, a slot waited for, and only then carried out.

use super::cluster::{ClusterSide, asks_people, refresh};
use super::core::{Core, Message};
use super::runs::Runs;
use crate::executor::{Outcome, Rein, RunEnd};
use crate::host::{clock, retry};
use crate::lease::{CORD_PERIOD, GATES_PERIOD, LeaseError, Standing};
use crate::policy::{CaseId, Cleared, PlaybookRef, RunId};
use crate::report::audit::{Decision, Entry, RecordKind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How a run in a cluster left.
pub enum Left {
    /// The runner had it.
    Ridden(RunEnd),
    /// It never had a slot, and why it does not wait any longer.
    NeverBegan(String),
}

/// One run and what it needs.
pub struct Turn {
    /// The engine and the rest.
    pub core: Arc<Core>,
    /// The cluster.
    pub side: Arc<ClusterSide>,
    /// The case.
    pub case: CaseId,
    /// The playbook that was decided on.
    pub playbook: PlaybookRef,
    /// The run.
    pub run: RunId,
    /// To the engine's loop.
    pub news: mpsc::Sender<Message>,
}

impl Turn {
    /// Waits for a slot for as long as every gate passes, and carries the run out.
    pub async fn take(self, runs: &Runs, mut reins: watch::Receiver<Rein>) -> Left {
        let slots = &self.side.slots;
        self.side.set_waiting(None);
        let draw = || retry::share(&self.side.node);
        let mut rest = slots.begin_wait(draw()).await;
        let (mut is_first, mut has_tried) = (true, false);
        let why = loop {
            if let Some(why) = self.rests(rest, &mut reins).await {
                break why;
            }
            let Some(cleared) = self.clear_now() else {
                break GATE;
            };
            let mut now = slots.look(&cleared, self.run).await;
            if now == Standing::Clear {
                match self.try_once(runs, &reins).await {
                    Tried::Left(end) => {
                        self.side.spend_approval(self.case);
                        // An open run stays this node's; the next process goes on with it.
                        if !matches!(end, RunEnd::Left) {
                            self.withdraw().await;
                        }
                        self.core.metrics.note_waiting(None);
                        return Left::Ridden(end);
                    }
                    Tried::GatesRefuse => break GATE,
                    Tried::NoSlot(error) => {
                        has_tried = true;
                        now = slots.rebuffed(&error);
                    }
                    Tried::NotNow(why) => now = Standing::Unread { why },
                }
            }
            if std::mem::take(&mut is_first) {
                self.record(now.why()).await;
            }
            tracing::info!(case = %self.case, run = %self.run, why = now.why(), "waiting for a slot");
            self.side.set_waiting(Some(now.why().to_owned()));
            self.core.metrics.note_waiting(now.kind());
            rest = slots.rest_in(&now, draw());
        };
        if has_tried {
            runs.runner.give_back(self.run, reins).await;
        }
        self.withdraw().await;
        self.core.metrics.note_waiting(None);
        Left::NeverBegan(why.to_owned())
    }

    async fn try_once(&self, runs: &Runs, reins: &watch::Receiver<Rein>) -> Tried {
        let cleared = match self.clear().await {
            Ok(Some(cleared)) => cleared,
            Ok(None) => return Tried::GatesRefuse,
            Err(why) => return Tried::NotNow(why),
        };
        let course = match runs.course(&self.core, &cleared) {
            Ok(course) => course,
            Err(why) => {
                // What a try before this one may have left.
                runs.runner.give_back(self.run, reins.clone()).await;
                return Tried::Left(RunEnd::Closed(Outcome::Untouched { why }));
            }
        };
        let ride = runs.runner.treat(cleared, self.run, course, reins.clone());
        let end = tokio::select! {
            end = ride => end,
            () = self.look_for_breakers() => RunEnd::Left,
        };
        match end {
            RunEnd::NoSlot(error) => Tried::NoSlot(error),
            end => Tried::Left(end),
        }
    }

    /// Reads the own Node fresh, and asks every gate with what it says (safety.md, I12). `None`: a gate refuses now.
    async fn clear(&self) -> Result<Option<Cleared>, String> {
        refresh(&self.core, &self.side, &self.news).await?;
        let cleared = self.clear_now();
        let engine = self.core.engine();
        if cleared.is_none() && asks_people(engine.opt_in()) {
            tracing::info!(case = %self.case, "the approval does not stand any more");
        }
        Ok(cleared)
    }

    /// Asks every gate with what is known now.
    fn clear_now(&self) -> Option<Cleared> {
        let engine = self.core.engine();
        engine.clear_again(self.case, &self.playbook, clock::now())
    }

    /// Stops the run at its next boundary when somebody pulls the stop cord. Never ends.
    async fn look_for_breakers(&self) {
        loop {
            tokio::time::sleep(CORD_PERIOD).await;
            // A server that does not answer is the lease's business.
            if let Ok(limits) = self.side.slots.limits().await
                && let Some(breaker) = limits.breaker
            {
                self.core.reins.send_replace(Rein::Stop(breaker));
            }
        }
    }

    /// Rests, and asks the gates now and then; why it does not wait any longer.
    async fn rests(
        &self,
        span: Duration,
        reins: &mut watch::Receiver<Rein>,
    ) -> Option<&'static str> {
        let mut left = span;
        while !left.is_zero() {
            let part = left.min(GATES_PERIOD);
            let told = reins.wait_for(|rein| *rein != Rein::Go);
            if tokio::time::timeout(part, told).await.is_ok() {
                return Some("told to stop while it waited");
            }
            if self.clear_now().is_none() {
                return Some(GATE);
            }
            left -= part;
        }
        None
    }

    /// The node waits no longer. A claim that stays is in the way of those that do.
    async fn withdraw(&self) {
        if self.side.slots.is_claimed()
            && let Err(error) = self.side.slots.withdraw().await
        {
            tracing::warn!(%error, "the claim of this node may still stand");
        }
    }

    async fn record(&self, why: &str) {
        let mut entry = Entry::of(RecordKind::Decided);
        entry.case = Some(self.case);
        entry.run = Some(self.run);
        entry.playbook = Some(self.playbook.clone());
        entry.opt_in = Some(self.core.engine().opt_in().version.to_string());
        entry.decision = Some(Decision::Wait);
        entry.reasons.push(format!("slot: {why}"));
        if let Err(why) = self.core.scribe.write(entry).await {
            tracing::error!(why, "audit record not written");
        }
    }
}

const GATE: &str = "a gate refuses by now";

enum Tried {
    Left(RunEnd),
    GatesRefuse,
    NoSlot(LeaseError),
    NotNow(String),
}
