//! A run as `app::agent::queue` and `app::agent::runs` lead it: the own Node read fresh, the gates asked again, a slot waited
//! for, and then the product's runner.

use super::flaw::Flaw;
use super::imagined::{course, opening};
use super::mind::Mind;
use super::world::lock;
use crate::engine::{Ending, Input, RunNews};
use crate::executor::{Outcome, PastRun, Rein, RunEnd};
use crate::host::cluster::{ApiError, Call, Cluster, NodeView, Resource, Verb};
use crate::host::retry::{FIRST_WAIT, MAX_TRIES, MAX_WAIT};
use crate::lease::{CORD_PERIOD, GATES_PERIOD, LeaseError, Standing};
use crate::policy::annotations::APPROVE;
use crate::policy::{CaseId, Cleared, PlaybookRef, RunId};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// One run and what it needs.
pub(super) struct Turn {
    pub(super) mind: Arc<Mind>,
    pub(super) case: CaseId,
    pub(super) playbook: PlaybookRef,
    pub(super) run: RunId,
}

enum Tried {
    Left(RunEnd),
    GatesRefuse,
    NoSlot(LeaseError),
    NotNow(String),
}

impl Turn {
    /// Waits for a slot for as long as every gate passes, and carries the run out.
    pub(super) async fn take(self) {
        let mind = Arc::clone(&self.mind);
        let mut reins = mind.reins.subscribe();
        let slots = &mind.slots;
        let draw = || mind.world.draw(mind.node);
        let mut rest = slots.begin_wait(draw()).await;
        let mut has_tried = false;
        loop {
            if mind.world.flaw == Some(Flaw::WaitsTooLong) {
                rest = Duration::from_secs(2_400);
            }
            if self.rests(rest, &mut reins).await {
                break;
            }
            let Some(cleared) = self.clear_now() else {
                break;
            };
            let mut now = slots.look(&cleared, self.run).await;
            if now == Standing::Clear {
                match self.try_once(&reins).await {
                    Tried::Left(end) => {
                        mind.spend_approval(self.case);
                        if !matches!(end, RunEnd::Left) {
                            self.withdraw().await;
                        }
                        mind.set_waiting(None);
                        return report(&mind, self.case, self.run, end);
                    }
                    Tried::GatesRefuse => break,
                    Tried::NoSlot(error) => {
                        has_tried = true;
                        now = slots.rebuffed(&error);
                    }
                    Tried::NotNow(why) => now = Standing::Unread { why },
                }
            }
            let why = now.why().to_owned();
            mind.world
                .tell(mind.node, &format!("{} waits: {why}", self.run));
            mind.world
                .with(|state| state.meter.refused(&format!("slot: {why}")));
            mind.set_waiting(Some(why));
            rest = slots.rest_in(&now, draw());
        }
        if has_tried {
            mind.runner.give_back(self.run, reins).await;
        }
        self.withdraw().await;
        mind.set_waiting(None);
        mind.run_ended(self.case, self.run, Ending::NeverBegan);
    }

    async fn try_once(&self, reins: &watch::Receiver<Rein>) -> Tried {
        let cleared = match self.clear().await {
            Ok(Some(cleared)) => cleared,
            Ok(None) => return Tried::GatesRefuse,
            Err(why) => return Tried::NotNow(why),
        };
        let mind = &self.mind;
        let course = course(&mind.world, mind.node, opening(&cleared));
        let ride = mind.runner.treat(cleared, self.run, course, reins.clone());
        let end = tokio::select! {
            biased;
            end = ride => end,
            () = self.look_for_breakers() => RunEnd::Left,
        };
        match end {
            RunEnd::NoSlot(error) => Tried::NoSlot(error),
            end => Tried::Left(end),
        }
    }

    async fn clear(&self) -> Result<Option<Cleared>, String> {
        refresh(&self.mind).await?;
        Ok(self.clear_now())
    }

    fn clear_now(&self) -> Option<Cleared> {
        let now = self.mind.now();
        let cleared = self
            .mind
            .engine(|engine| engine.clear_again(self.case, &self.playbook, now));
        cleared.flatten()
    }

    async fn look_for_breakers(&self) {
        loop {
            self.mind.sleep(CORD_PERIOD).await;
            if let Ok(limits) = self.mind.slots.limits().await
                && let Some(breaker) = limits.breaker
            {
                self.mind.reins.send_replace(Rein::Stop(breaker));
            }
        }
    }

    /// Rests, and asks the gates now and then; whether it does not wait any longer.
    async fn rests(&self, span: Duration, reins: &mut watch::Receiver<Rein>) -> bool {
        let mut left = span;
        while !left.is_zero() {
            let part = left.min(GATES_PERIOD);
            let is_told = tokio::select! {
                biased;
                _ = reins.wait_for(|rein| *rein != Rein::Go) => true,
                () = self.mind.sleep(part) => false,
            };
            if is_told || self.clear_now().is_none() {
                return true;
            }
            left = left.saturating_sub(part);
        }
        false
    }

    async fn withdraw(&self) {
        if self.mind.slots.is_claimed() {
            self.mind.slots.withdraw().await.ok();
        }
    }
}

/// Sends a call that may be repeated without harm, as `host::retry` does.
pub(super) async fn persist(mind: &Mind, call: Call) -> Result<Value, ApiError> {
    let mut wait = FIRST_WAIT;
    for _ in 0..MAX_TRIES {
        match mind.line.call(call.clone()).await {
            Err(error) if !error.is_final() => {
                let rest = error.retry_after().unwrap_or(wait).min(MAX_WAIT);
                let spread = mind.world.spread(mind.node, rest / 2);
                mind.sleep(rest.saturating_add(spread)).await;
                wait = (wait * 2).min(MAX_WAIT);
            }
            done => return done,
        }
    }
    mind.line.call(call).await
}

/// Reads the own Node, not from a cache, and puts its settings in force.
pub(super) async fn refresh(mind: &Arc<Mind>) -> Result<(), String> {
    let name = mind.world.name(mind.node).to_owned();
    let call = Call::new(Verb::Get, Resource::Nodes, "", &name);
    let object = persist(mind, call)
        .await
        .map_err(|error| error.to_string())?;
    let view = NodeView::read(&object).map_err(|error| error.to_string())?;
    put_in_force(mind, view);
    Ok(())
}

/// Takes the own Node as it was seen.
pub(super) fn put_in_force(mind: &Arc<Mind>, view: NodeView) {
    mind.slots.meet(&view);
    // Whether an approval is an old one is known from the ledger.
    if view.annotations.contains_key(APPROVE) {
        mind.wake();
    }
    *lock(&mind.failure) = None;
    *lock(&mind.view) = Some(view);
    let listed = mind.opt_in().approved;
    let fresh = lock(&mind.approvals).meet(&listed, |case| mind.known_as(case));
    mind.apply_opt_in();
    mind.changed.notify_one();
    for case in fresh {
        mind.turn(Input::GiveBack(case));
    }
}

/// Tells the engine of what a restart interrupted, before it may start anything.
pub(super) fn recall(mind: &Arc<Mind>) {
    let Ok(shelf) = mind.runner.shelf() else {
        return;
    };
    tell_untold_ending(mind, &shelf.runs);
    for past in shelf.open_runs() {
        let (case, run) = (past.opening.case(), past.run);
        let now = mind.world.hall.now();
        mind.world.tell(mind.node, &format!("{run} goes on"));
        mind.world
            .with(|state| state.jury.resumed(now, mind.node, run.0));
        mind.turn(Input::Run(RunNews::Resumed { case, run }));
    }
}

/// Goes on with the runs that a restart interrupted, one after the other.
pub(super) async fn resume(mind: &Arc<Mind>) {
    let Ok(shelf) = mind.runner.shelf() else {
        return;
    };
    mind.runner.tidy_up(&shelf).await.ok();
    for past in shelf.open_runs() {
        let end = resume_one(mind, past).await;
        report(mind, past.opening.case(), past.run, end);
    }
}

/// The last run may have ended in its journal when the process died before the engine heard of it.
fn tell_untold_ending(mind: &Arc<Mind>, runs: &[PastRun]) {
    let Some((past, outcome)) = runs
        .last()
        .and_then(|past| Some((past, past.outcome.clone()?)))
    else {
        return;
    };
    let case = past.opening.case();
    let was_heard = mind
        .world
        .body(mind.node, |body| body.heard_of >= past.run.0)
        .unwrap_or(true);
    if was_heard {
        return;
    }
    mind.turn(Input::Run(RunNews::Resumed {
        case,
        run: past.run,
    }));
    report(mind, case, past.run, RunEnd::Closed(outcome));
}

async fn resume_one(mind: &Arc<Mind>, past: &PastRun) -> RunEnd {
    let course = course(&mind.world, mind.node, past.opening.clone());
    if refresh(mind).await.is_err() {
        let reins = mind.reins.subscribe();
        return mind.runner.resume(past, course, None, reins).await;
    }
    let now = mind.now();
    let reference = past.opening.reference();
    let cleared = mind.engine(|engine| engine.clear_again(past.opening.case(), &reference, now));
    let permit = match cleared.flatten() {
        Some(cleared) => mind.runner.lease.recover(cleared, past.run).await.ok(),
        None => None,
    };
    mind.runner
        .resume(past, course, permit, mind.reins.subscribe())
        .await
}

/// Tells the engine how a run left the runner.
fn report(mind: &Arc<Mind>, case: CaseId, run: RunId, end: RunEnd) {
    let ending = match end {
        RunEnd::Closed(Outcome::Mended) => Ending::Mended,
        RunEnd::Closed(Outcome::NeedsHuman { .. }) => Ending::NeedsHuman,
        RunEnd::Closed(_) | RunEnd::NoSlot(_) => Ending::Undone,
        RunEnd::Left => return,
        RunEnd::Halted(halt) => {
            let now = mind.world.hall.now();
            let what = format!("{run} halted: {halt}");
            mind.world
                .with(|state| state.jury.blame(now, mind.node, "I8", what));
            Ending::NeedsHuman
        }
    };
    let now = mind.world.hall.now();
    mind.world
        .body(mind.node, |body| body.heard_of = body.heard_of.max(run.0));
    mind.world.with(|state| {
        state.meter.last_mended = state.meter.last_mended.max(now);
        state.jury.freed_all(mind.node);
    });
    mind.run_ended(case, run, ending);
}
