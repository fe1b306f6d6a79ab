//! A run in a cluster: the own Node read fresh, the gates asked again, a slot waited for, and only then carried out.

use super::cluster::{ClusterSide, asks_people, refresh};
use super::core::{Core, Message};
use super::runs::Runs;
use super::sight::chain;
use crate::executor::{Outcome, Rein, RunEnd};
use crate::host::{clock, retry};
use crate::lease::LeaseError;
use crate::policy::{CaseId, Cleared, PlaybookRef, RunId};
use crate::report::audit::{Decision, Entry, RecordKind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Before the first try, so that nodes that fall sick together do not all write at once.
const FIRST_REST: Duration = Duration::from_secs(2);
/// Between two tries, doubled each time up to the second. A waiting node gets a free slot within 5 min (I19).
const MIN_REST: Duration = Duration::from_secs(5);
const MAX_REST: Duration = Duration::from_secs(120);
/// How often a run under way looks for a breaker.
const CORD_PERIOD: Duration = Duration::from_secs(15);

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
        let mut rest = FIRST_REST;
        let mut tries: u32 = 0;
        loop {
            if self
                .rests(retry::spread(&self.side.node, rest), &mut reins)
                .await
            {
                return self.leave("told to stop while it waited", tries).await;
            }
            let why = match self.try_once(runs, &reins).await {
                Tried::Left(end) => {
                    self.side.spend_approval(self.case);
                    self.side.set_waiting(None);
                    return Left::Ridden(end);
                }
                Tried::GatesRefuse => {
                    return self
                        .leave("a gate refuses since the own Node was read again", tries)
                        .await;
                }
                Tried::NotNow(why) => why,
            };
            if tries == 0 {
                self.record(&why).await;
            }
            tracing::info!(case = %self.case, run = %self.run, why, "waiting for a slot");
            self.side.set_waiting(Some(why));
            tries += 1;
            rest = (MIN_REST * 2_u32.saturating_pow(tries.min(6))).min(MAX_REST);
            // The spread alone may be nothing.
            if self.rests(rest / 2, &mut reins).await {
                return self.leave("told to stop while it waited", tries).await;
            }
        }
    }

    async fn try_once(&self, runs: &Runs, reins: &watch::Receiver<Rein>) -> Tried {
        let cleared = match self.clear().await {
            Ok(Some(cleared)) => cleared,
            Ok(None) => return Tried::GatesRefuse,
            Err(why) => return Tried::NotNow(why),
        };
        let course = match runs.course(&self.core, &cleared) {
            Ok(course) => course,
            Err(why) => return Tried::Left(RunEnd::Closed(Outcome::Untouched { why })),
        };
        let ride = runs.runner.treat(cleared, self.run, course, reins.clone());
        let end = tokio::select! {
            end = ride => end,
            () = self.look_for_breakers() => RunEnd::Left,
        };
        match end {
            RunEnd::NoSlot(error) => Tried::NotNow(plain(&error)),
            end => Tried::Left(end),
        }
    }

    /// Reads the own Node fresh, and asks every gate with what it says (safety.md, I12). `None`: a gate refuses now.
    async fn clear(&self) -> Result<Option<Cleared>, String> {
        refresh(&self.core, &self.side, &self.news).await?;
        let engine = self.core.engine();
        let cleared = engine.clear_again(self.case, &self.playbook, clock::now());
        if cleared.is_none() && asks_people(engine.opt_in()) {
            tracing::info!(case = %self.case, "the approval does not stand any more");
        }
        Ok(cleared)
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

    /// Rests; whether it was told to stop or to leave meanwhile.
    async fn rests(&self, span: Duration, reins: &mut watch::Receiver<Rein>) -> bool {
        let told = reins.wait_for(|rein| *rein != Rein::Go);
        tokio::time::timeout(span, told).await.is_ok()
    }

    async fn leave(&self, why: &str, tries: u32) -> Left {
        if tries > 0
            && let Err(error) = self.side.slots.withdraw().await
        {
            tracing::warn!(%error, "the claim of this node may still stand");
        }
        self.side.set_waiting(None);
        Left::NeverBegan(why.to_owned())
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

enum Tried {
    Left(RunEnd),
    GatesRefuse,
    NotNow(String),
}

fn plain(error: &LeaseError) -> String {
    match error {
        LeaseError::Refused(why) => why.to_string(),
        other => chain(other),
    }
}
