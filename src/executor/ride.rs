//! One run under way: everything between two questions to the run machine.

use super::course::{Course, Leg};
use super::entry::{Entry, Fault, MAX_RECEIPT_BYTES, Next, Outcome, Receipt, StepIx};
use super::journal::Journal;
use super::machine::Run;
use super::runner::{Halt, Rein, RunEnd, Runner};
use super::soak::{Soak, SoakState};
use super::witness::RunEvent;
use crate::document::format_span;
use crate::lease::{Grounds, Permit, RENEW_EVERY};
use crate::playbook::Guard;
use crate::policy::RunId;
use crate::signal::Uptime;
use crate::steps::{StepError, Ticket, Tri, Verified};
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How long a step waits for a condition that nobody can judge, or for a slot that cannot be proved. Right after a mend the
/// probes are blind for a period or two.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it asks meanwhile.
const PAUSE: Duration = Duration::from_secs(1);
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

/// What a guard says after patience.
enum Leave {
    Go,
    Skip(String),
    End(String),
    Fail(Fault),
    Interrupted,
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

    fn now(&self) -> Uptime {
        self.runner.site.clock.now().uptime
    }

    fn ticket(&self, step: StepIx) -> Ticket {
        Ticket { run: self.id, step }
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
        // Off the async thread: a dying disk holds a sync for minutes.
        let append = tokio::task::spawn_blocking(move || {
            let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
            journal.append(at, uid.as_deref().unwrap_or(""), &entry)
        });
        match tokio::time::timeout(WRITE_LIMIT, append).await {
            Ok(Ok(written)) => written?,
            Ok(Err(_)) | Err(_) => return Err(Halt::Hangs),
        }
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
            opening: self.course.opening.clone(),
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
        let entry = Entry::Began {
            step,
            receipt: receipt.clone(),
        };
        self.write(entry, None).await?;
        match self.prove(Some(step)).await {
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

    /// The renewing write, the permit's own clock, and the condition once more: right before something is done.
    async fn prove(&self, step: Option<StepIx>) -> Result<(), String> {
        let Some(permit) = &self.permit else {
            return Err("there is no permit".into());
        };
        let renewed = self.runner.lease.renew(permit).await;
        renewed.map_err(|error| error.to_string())?;
        permit
            .ensure_live(self.now())
            .map_err(|expired| expired.to_string())?;
        let guard = step
            .and_then(|step| self.course.leg(step))
            .map(|leg| &leg.guard);
        match guard {
            Some(Guard::Requires(condition) | Guard::If(condition)) => {
                match self.runner.site.oracle.condition(condition) {
                    Tri::Yes => Ok(()),
                    Tri::No => Err(format!("`{condition}` does not hold any more")),
                    Tri::Unknown(why) => Err(format!("nobody can tell `{condition}`: {why}")),
                }
            }
            Some(Guard::None) | None => Ok(()),
        }
    }

    /// Asks a step's guard until it is clear or patience ends.
    async fn ask_guard(&mut self, step: StepIx) -> Leave {
        let Some(leg) = self.course.leg(step) else {
            return Leave::Fail(Fault::new(
                "no-step",
                format!("there is no {step} in the plan"),
            ));
        };
        let (condition, is_own) = match &leg.guard {
            Guard::None => return Leave::Go,
            Guard::Requires(condition) => (Arc::clone(condition), false),
            Guard::If(condition) => (Arc::clone(condition), true),
        };
        let began = self.now();
        loop {
            let why = match self.runner.site.oracle.condition(&condition) {
                Tri::Yes => return Leave::Go,
                Tri::No if is_own => return Leave::Skip(format!("`{condition}` does not hold")),
                // What was to be mended is gone already: after some steps that is success, and the soak decides.
                Tri::No if self.run.is_touched() => {
                    return Leave::Skip(format!("`{condition}` does not hold any more"));
                }
                Tri::No => return Leave::End(format!("`{condition}` does not hold any more")),
                Tri::Unknown(why) => why,
            };
            if *self.reins.borrow() != Rein::Go {
                return Leave::Interrupted;
            }
            if self.now().since(began) >= PATIENCE {
                let why = format!("nobody can tell `{condition}`: {why}");
                return if is_own {
                    Leave::Skip(why)
                } else if self.run.is_touched() {
                    Leave::Fail(Fault::new("unknown", why))
                } else {
                    Leave::End(why)
                };
            }
            self.runner.site.clock.sleep(PAUSE).await;
        }
    }

    async fn capture(&self, step: StepIx) -> Result<Receipt, Fault> {
        let leg = self
            .course
            .leg(step)
            .ok_or_else(|| Fault::new("no-step", ""))?;
        let (site, ticket) = (&self.runner.site, self.ticket(step));
        let receipt = self.bounded(leg, leg.step.capture(site, ticket)).await?;
        let bytes = receipt.0.to_string().len();
        if bytes > MAX_RECEIPT_BYTES {
            let why = format!("the prior state has {bytes} bytes, too many to be kept");
            return Err(Fault::new("receipt", why));
        }
        Ok(receipt)
    }

    /// Waits for a part of a step, at most its time, and keeps the slot fresh meanwhile.
    async fn bounded<T>(
        &self,
        leg: &Leg,
        work: impl Future<Output = Result<T, StepError>>,
    ) -> Result<T, Fault> {
        let timed = tokio::time::timeout(leg.timeout, work);
        let done = tokio::select! {
            biased;
            done = timed => done,
            never = self.keep_fresh() => match never {},
        };
        match done {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Fault::new(error.kind(), error.in_full())),
            Err(_) => Err(Fault::new(
                "timeout",
                format!(
                    "{} did not end within {}",
                    leg.kind,
                    format_span(leg.timeout)
                ),
            )),
        }
    }

    /// Renews the slot as long as it is polled. A failure is no reason to break off what is under way: it is asked again
    /// before the next step.
    async fn keep_fresh(&self) -> Infallible {
        loop {
            self.runner.site.clock.sleep(RENEW_EVERY).await;
            if let Some(permit) = &self.permit
                && let Err(error) = self.runner.lease.renew(permit).await
            {
                tracing::warn!(run = %self.id, kind = error.kind(), error = %error, "slot not renewed");
            }
        }
    }

    async fn apply(&mut self, step: StepIx, receipt: &Receipt) -> Result<(), Halt> {
        let began = self.now();
        let done = match (self.course.leg(step), &self.permit) {
            (Some(leg), Some(permit)) => {
                let (site, ticket) = (&self.runner.site, self.ticket(step));
                self.bounded(leg, leg.step.apply(site, ticket, permit, receipt))
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

    /// Looks for a step's effect until it is there or the step's time is up.
    async fn look(&mut self, step: StepIx, applied: bool) -> Result<(), Halt> {
        let began = self.now();
        let receipt = self.run.receipt(step).cloned();
        let seen = loop {
            let looked = match (self.course.leg(step), &receipt) {
                (Some(leg), Some(receipt)) => {
                    let (site, ticket) = (&self.runner.site, self.ticket(step));
                    let left = leg.timeout.saturating_sub(self.now().since(began));
                    let looked = self
                        .bounded(leg, leg.step.verify(site, ticket, receipt))
                        .await;
                    (looked, left)
                }
                _ => (
                    Err(Fault::new("no-step", "nothing is known of this step")),
                    Duration::ZERO,
                ),
            };
            match looked {
                (Ok(Verified::Yes(_)), _) => break Ok(()),
                (Ok(Verified::NotYet(why)), left) if left.is_zero() => break Err(why),
                (Err(fault), left) if left.is_zero() => break Err(fault.message),
                _ => self.runner.site.clock.sleep(PAUSE).await,
            }
        };
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
                let seen = self.runner.site.oracle.condition(&condition);
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
        let entry = tokio::select! {
            biased;
            entry = watched => entry,
            never = self.keep_fresh() => match never {},
        };
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
                let (site, ticket) = (&self.runner.site, self.ticket(step));
                self.bounded(leg, leg.step.undo(site, ticket, permit, &receipt))
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
            (None, _) => {
                tracing::info!(run = %self.id, "slot kept: the node counts as disturbed until it is mended");
                Ok(())
            }
        };
        if let Err(error) = freed {
            // Safe: it is found as our own at the next acquire; until then it only costs a slot.
            tracing::warn!(run = %self.id, kind = error.kind(), error = %error, "slot not freed");
        }
        Ok(RunEnd::Closed(outcome))
    }
}
