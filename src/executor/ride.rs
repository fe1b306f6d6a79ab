//! One run under way: everything between two questions to the run machine.

use super::course::Course;
use super::entry::{Entry, Fault, Next, Outcome, Receipt, StepIx};
use super::journal::Journal;
use super::machine::Run;
use super::questions::Leave;
use super::runner::{Halt, Rein, RunEnd, Runner};
use super::soak::{Soak, SoakState};
use super::witness::RunEvent;
use crate::document::format_span;
use crate::lease::{Grounds, LeaseError, Permit, Phase, RENEW_EVERY};
use crate::policy::RunId;
use crate::signal::Uptime;
use crate::steps::{Ticket, Verified};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How long a step waits for a condition that nobody can judge, or for a slot that cannot be proved. Right after a mend the
/// probes are blind for a period or two.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// How often it asks meanwhile.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// For how long it is tried to write a run's end into the slot that it keeps: for others it is under way until then, and neither
/// a casualty nor a failure of its version. Most outages of an API server are shorter.
const KEEP_PATIENCE: Duration = Duration::from_secs(900);
/// How long a durable write may take before the disk counts as hanging. A loaded spinning disk needs seconds.
const WRITE_LIMIT: Duration = Duration::from_secs(60);

/// One run under way.
pub(super) struct Ride<'a> {
    pub(super) runner: &'a Runner,
    pub(super) id: RunId,
    pub(super) course: Course,
    pub(super) run: Run,
    pub(super) journal: Arc<Mutex<Journal>>,
    pub(super) permit: Option<Permit>,
    pub(super) reins: watch::Receiver<Rein>,
    /// The step that was withheld last, and since when.
    pub(super) withheld: Option<(StepIx, Uptime)>,
}

impl Ride<'_> {
    /// Goes until the run ends, is left, or cannot go on.
    pub(super) async fn go(mut self, first: Entry) -> Result<RunEnd, Halt> {
        self.write(first, None).await?;
        loop {
            if self.run.is_at_boundary()
                && let Some(end) = self.rein().await?
            {
                return Ok(end);
            }
            match self.run.next() {
                Next::Apply(step) => {
                    if let Some(end) = self.step(step).await? {
                        return Ok(end);
                    }
                }
                Next::Verify { step, applied } => self.look(step, applied).await?,
                Next::AwaitBoot(step) => self.await_boot(step).await?,
                Next::Soak => self.soak().await?,
                Next::Undo(step, receipt) => {
                    if let Some(end) = self.undo(step, receipt).await? {
                        return Ok(end);
                    }
                }
                Next::Close(outcome) => return self.close(outcome).await,
                Next::Ended => return self.settle(None).await,
            }
        }
    }

    pub(super) fn now(&self) -> Uptime {
        self.runner.site.clock.now().uptime
    }

    pub(super) fn ticket(&self, step: StepIx) -> Ticket {
        Ticket {
            run: self.id,
            step,
            opening: Arc::clone(&self.course.opening),
        }
    }

    /// Writes one entry: the machine must allow it, an intent is in the audit log first, then the journal has it durably.
    async fn write(&mut self, entry: Entry, took: Option<Duration>) -> Result<(), Halt> {
        let mut after = self.run.clone();
        after.record(&entry)?;
        let event = self.event(entry, took);
        let is_intent = matches!(
            event.entry,
            Entry::Opened { .. } | Entry::Began { .. } | Entry::UndoBegan { .. }
        );
        if is_intent {
            self.runner.witness.note(&event).await?;
        }
        let journal = Arc::clone(&self.journal);
        let (at, entry) = (event.at, event.entry.clone());
        let uid = self.permit.as_ref().map(Permit::uid);
        let append = Box::new(move || {
            let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
            journal.append(at, uid.as_deref().unwrap_or(""), &entry)
        });
        let written = self.runner.disk.work(append, WRITE_LIMIT).await;
        written.ok_or(Halt::Hangs)??;
        self.run = after;
        if !is_intent {
            self.runner.witness.note(&event).await?;
        }
        tracing::info!(run = %self.id, kind = event.entry.kind(), step = ?event.entry.step(), "run");
        Ok(())
    }

    fn event(&self, entry: Entry, took: Option<Duration>) -> RunEvent {
        let leg = entry.step().and_then(|step| self.course.leg(step));
        RunEvent {
            at: self.runner.site.clock.now(),
            run: self.id,
            opening: Arc::clone(&self.course.opening),
            step_kind: leg.map(|leg| Arc::clone(&leg.kind)),
            entry,
            slot: self.permit.as_ref().map(Permit::slot).unwrap_or_default(),
            opt_in: self.permit.as_ref().map_or_else(
                || Arc::from(""),
                |p| Arc::clone(&p.cleared().opt_in().version),
            ),
            took,
        }
    }

    async fn fail(&mut self, step: StepIx, fault: Fault) -> Result<(), Halt> {
        self.write(Entry::Failed { step, fault }, None).await
    }

    /// Stops or leaves at a boundary if somebody says so.
    async fn rein(&mut self) -> Result<Option<RunEnd>, Halt> {
        let rein = self.reins.borrow().clone();
        match rein {
            Rein::Go => Ok(None),
            Rein::Stop(why) => self.close(self.cut_short(why)).await.map(Some),
            Rein::Leave(why) => {
                self.write(Entry::Paused { why }, None).await?;
                Ok(Some(RunEnd::Left))
            }
        }
    }

    fn cut_short(&self, why: String) -> Outcome {
        if self.run.is_touched() {
            Outcome::Stopped { why }
        } else {
            Outcome::Untouched { why }
        }
    }

    /// Everything that is asked before a step, and the step.
    async fn step(&mut self, step: StepIx) -> Result<Option<RunEnd>, Halt> {
        if self.permit.is_none() {
            let why = "the process was restarted before this step; a new run decides anew".into();
            return self.close(self.cut_short(why)).await.map(Some);
        }
        match self.ask_guard(step).await {
            Leave::Go => {}
            Leave::Interrupted => return Ok(None),
            Leave::Skip(why) => {
                self.write(Entry::Skipped { step, why }, None).await?;
                return Ok(None);
            }
            Leave::End(why) => return self.close(self.cut_short(why)).await.map(Some),
            Leave::Fail(fault) => {
                self.fail(step, fault).await?;
                return Ok(None);
            }
        }
        let receipt = match self.capture(step).await {
            Ok(receipt) => receipt,
            Err(fault) => {
                self.fail(step, fault).await?;
                return Ok(None);
            }
        };
        // Still a boundary: nothing of this step was done or promised.
        if let Some(why) = self.ask_breakers().await {
            // A rein that was pulled meanwhile says better why, and may only mean to leave.
            let is_reined = *self.reins.borrow() != Rein::Go;
            return if is_reined {
                Ok(None)
            } else {
                self.close(self.cut_short(why)).await.map(Some)
            };
        }
        let entry = Entry::Began {
            step,
            receipt: receipt.clone(),
        };
        self.write(entry, None).await?;
        // The record may have come to the disk late, and somebody may have said stop meanwhile.
        let is_reined = *self.reins.borrow() != Rein::Go;
        let proved = match is_reined {
            true => Err("told to stop while the intent was written".to_owned()),
            false => self.prove(Some(step)).await,
        };
        match proved {
            Ok(()) => self.apply(step, &receipt).await?,
            Err(why) => self.withhold(step, why).await?,
        }
        Ok(None)
    }

    /// Takes an intent back. A store that was silent may answer again and a condition may be seen again, so the step is
    /// asked for anew until patience ends; each try is written down, so not too often.
    async fn withhold(&mut self, step: StepIx, why: String) -> Result<(), Halt> {
        let entry = Entry::Withheld {
            step,
            why: why.clone(),
        };
        self.write(entry, None).await?;
        let now = self.now();
        let since = match self.withheld {
            Some((known, since)) if known == step => since,
            _ => now,
        };
        self.withheld = Some((step, since));
        if now.since(since) >= PATIENCE {
            return self.fail(step, Fault::new("withheld", why)).await;
        }
        self.runner.site.clock.sleep(PATIENCE / 6).await;
        Ok(())
    }

    async fn apply(&mut self, step: StepIx, receipt: &Receipt) -> Result<(), Halt> {
        let began = self.now();
        let done = match (self.course.leg(step), &self.permit) {
            (Some(leg), Some(permit)) => {
                let (site, ticket) = (&self.runner.site, &self.ticket(step));
                self.with_slot(self.bounded(leg, leg.step.apply(site, ticket, permit, receipt)))
                    .await
            }
            _ => Err(Fault::new("no-permit", "there is no permit for this step")),
        };
        let took = Some(self.now().since(began));
        match done {
            Ok(()) if self.reboots(step) => Ok(()),
            Ok(()) => self.write(Entry::Applied { step }, took).await,
            Err(fault) => self.write(Entry::Failed { step, fault }, took).await,
        }
    }

    fn reboots(&self, step: StepIx) -> bool {
        let shape = self.course.outline.steps.get(step.index());
        shape.is_some_and(|shape| shape.reboots)
    }

    /// Waits for the machine to go down. Whoever comes back here after the step's time is still in the same boot.
    async fn await_boot(&mut self, step: StepIx) -> Result<(), Halt> {
        let timeout = self.course.leg(step).map_or(PATIENCE, |leg| leg.timeout);
        let began = self.now();
        while self.now().since(began) < timeout {
            self.runner.site.clock.sleep(PAUSE).await;
        }
        let why = format!(
            "the machine did not go down within {}",
            format_span(timeout)
        );
        self.fail(step, Fault::new("no-reboot", why)).await
    }

    /// Whether a step's effect comes to be seen within the step's time; if not, what was seen last.
    async fn watch_for(&self, step: StepIx) -> Result<(), String> {
        let (Some(leg), Some(receipt)) = (self.course.leg(step), self.run.receipt(step)) else {
            return Err("nothing is known of this step".into());
        };
        let began = self.now();
        let ticket = self.ticket(step);
        loop {
            // Read before the look: a look that began in time counts, however long it took.
            let is_over = self.now().since(began) >= leg.timeout;
            let look = leg.step.verify(&self.runner.site, &ticket, receipt);
            let why = match self.bounded(leg, look).await {
                Ok(Verified::Yes(_)) => return Ok(()),
                Ok(Verified::NotYet(why)) => why,
                Err(fault) => fault.message,
            };
            if is_over {
                return Err(why);
            }
            self.runner.site.clock.sleep(PAUSE).await;
        }
    }

    /// Looks for a step's effect until it is there or the step's time is up.
    async fn look(&mut self, step: StepIx, applied: bool) -> Result<(), Halt> {
        let began = self.now();
        let seen = self.with_slot(self.watch_for(step)).await;
        let took = Some(self.now().since(began));
        let again = Entry::NotApplied { step };
        match seen {
            Ok(()) => self.write(Entry::Verified { step }, took).await,
            Err(_) if !applied && self.run.clone().record(&again).is_ok() => {
                self.write(again, took).await
            }
            Err(why) => {
                let fault = Fault::new("not-verified", why);
                self.write(Entry::Failed { step, fault }, took).await
            }
        }
    }

    /// Watches the playbook's condition. Interrupted, it says nothing: the boundary decides, and the watch begins anew.
    async fn soak(&mut self) -> Result<(), Halt> {
        let mut watch = Soak::new(self.course.soak, self.now());
        let condition = Arc::clone(&self.course.condition);
        let watched = async {
            loop {
                if *self.reins.borrow() != Rein::Go {
                    return None;
                }
                let seen = self
                    .runner
                    .site
                    .oracle
                    .condition(&condition, &self.course.opening);
                match watch.observe(self.now(), &seen) {
                    SoakState::Going => self.runner.site.clock.sleep(PAUSE).await,
                    SoakState::Held => return Some(Entry::Soaked),
                    SoakState::Broken(why) => {
                        let fault = Fault::new("not-mended", format!("`{condition}`: {why}"));
                        return Some(Entry::SoakFailed { fault });
                    }
                }
            }
        };
        let entry = self.with_slot(watched).await;
        match entry {
            Some(entry) => self.write(entry, None).await,
            None => Ok(()),
        }
    }

    async fn undo(&mut self, step: StepIx, receipt: Receipt) -> Result<Option<RunEnd>, Halt> {
        let began = self.now();
        while let Err(why) = self.prove(None).await {
            if self.permit.is_none() || self.now().since(began) >= PATIENCE {
                let why = format!("{step} is not undone: {why}");
                let fault = Fault::new("undo-without-slot", why);
                return self.close(Outcome::NeedsHuman { fault }).await.map(Some);
            }
            self.runner.site.clock.sleep(PAUSE).await;
        }
        self.write(Entry::UndoBegan { step }, None).await?;
        let began = self.now();
        let undone = match (self.course.leg(step), &self.permit) {
            (Some(leg), Some(permit)) => {
                let (site, ticket) = (&self.runner.site, &self.ticket(step));
                self.with_slot(self.bounded(leg, leg.step.undo(site, ticket, permit, &receipt)))
                    .await
            }
            _ => Err(Fault::new("no-permit", "there is no permit for this undo")),
        };
        let took = Some(self.now().since(began));
        match undone {
            Ok(()) => self.write(Entry::Undone { step }, took).await?,
            Err(fault) => self.write(Entry::UndoFailed { step, fault }, took).await?,
        }
        Ok(None)
    }

    async fn close(&mut self, outcome: Outcome) -> Result<RunEnd, Halt> {
        let result = outcome.clone();
        self.write(Entry::Closed { result }, None).await?;
        self.settle(Some(outcome)).await
    }

    /// Frees the slot where the rules allow it (I11), and says how the run ended.
    async fn settle(&mut self, outcome: Option<Outcome>) -> Result<RunEnd, Halt> {
        let outcome = outcome.unwrap_or(Outcome::Untouched {
            why: "the run had ended before".into(),
        });
        let grounds = if outcome == Outcome::Mended {
            Some(Grounds::Soaked)
        } else if self.run.is_touched() {
            None
        } else {
            Some(Grounds::Untouched)
        };
        let freed = match (grounds, self.permit.take()) {
            (Some(grounds), Some(permit)) => self.runner.lease.release(permit, grounds).await,
            (Some(grounds), None) => self.runner.lease.tidy_up(self.id, grounds).await,
            (None, permit) => {
                tracing::info!(run = %self.id, "slot kept: the node counts as disturbed until it is mended");
                self.keep(permit, &outcome).await;
                Ok(())
            }
        };
        if let (Err(error), Some(grounds)) = (freed, grounds) {
            let reins = self.reins.clone();
            self.runner
                .free_at_last(self.id, grounds, error, reins)
                .await;
        }
        Ok(RunEnd::Closed(outcome))
    }

    /// Says in the slot how the run ended, so that others count it. The slot is kept whether or not that can be written.
    async fn keep(&self, permit: Option<Permit>, outcome: &Outcome) {
        let phase = match outcome {
            Outcome::Failed { .. } | Outcome::NeedsHuman { .. } => Phase::Failed,
            Outcome::Mended | Outcome::Untouched { .. } | Outcome::Stopped { .. } => Phase::Stopped,
        };
        let Some(permit) = permit else { return };
        let (began, mut reins) = (self.now(), self.reins.clone());
        loop {
            let Err(error) = self.runner.lease.keep(&permit, phase).await else {
                return;
            };
            tracing::warn!(run = %self.id, kind = error.kind(), error = %error, "the kept slot does not say how the run ended");
            let is_final = matches!(error, LeaseError::Lost { .. });
            if is_final || self.now().since(began) >= KEEP_PATIENCE {
                return;
            }
            let leave = reins.wait_for(|rein| matches!(rein, Rein::Leave(_)));
            tokio::select! {
                _ = leave => return,
                () = self.runner.site.clock.sleep(RENEW_EVERY) => {}
            }
        }
    }
}
