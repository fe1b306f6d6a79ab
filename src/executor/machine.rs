//! A run as a pure machine. One transition table, used live and for replay; every edge that is not in it is an error.
//!
//! ```text
//! at(i) --began--> begun(i) --applied--> applied(i) --verified--> at(i+1) ... at(n) --soaked--> mended
//!   | skipped: at(i+1)  | not-applied: at(i), repeatable steps only, once          | soak-failed
//!   | paused: at(i)     | verified: at(i+1)      | failed                          v
//!   v                   v failed                 v                          unwinding(n, fault)
//! closed              unwinding(i, fault): undo in reverse from the receipts, then closed
//! ```
//! `begun` is the state in which a process may die: what happened is then unknown (safety.md, section 4), so its next move
//! is to look, never to apply.

use super::entry::{BootId, Entry, Fault, Next, Outcome, Receipt, StepIx};
use super::outline::{Outline, UndoWay};

/// How often a repeatable step may begin in one run: once, and once more after a crash that left no trace of it.
const MAX_BEGINNINGS: u8 = 2;

/// An entry that may not follow what came before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{entry}` may not come {after}")]
pub struct IllegalEntry {
    /// The entry's kind.
    pub entry: &'static str,
    /// After what.
    pub after: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Nothing was written yet.
    New,
    /// At the boundary before this step; one past the last step is the soak.
    At(u16),
    /// The intent is written; the effect is unknown.
    Begun(u16),
    /// The same after a restart: nobody is left who knows what happened.
    Unknown(u16),
    /// A reboot step whose machine went down: another boot was seen.
    Rebooted(u16),
    /// Applied, not yet verified.
    Applied(u16),
    /// The verification held.
    Soaked,
    /// Failed; the steps below this number are still to be undone.
    Unwinding(u16, Fault),
    /// The undo's intent is written; its effect is unknown.
    Undoing(u16, Fault),
    /// Nothing goes on by itself.
    Stuck(Fault),
    /// Ended.
    Closed,
}

/// One run of a plan.
#[derive(Debug, Clone)]
pub struct Run {
    outline: Outline,
    state: State,
    boot: Option<BootId>,
    steps: Vec<Track>,
}

/// What is known of one step.
#[derive(Debug, Clone, Default)]
struct Track {
    receipt: Option<Receipt>,
    beginnings: u8,
}

impl Run {
    /// A run of this plan to which nothing has happened.
    pub fn of(outline: Outline) -> Self {
        let steps = vec![Track::default(); outline.steps.len()];
        Self {
            outline,
            state: State::New,
            boot: None,
            steps,
        }
    }

    /// The run after these entries.
    ///
    /// # Errors
    /// The first entry that may not follow.
    pub fn replay<'a>(
        outline: Outline,
        entries: impl IntoIterator<Item = &'a Entry>,
    ) -> Result<Self, IllegalEntry> {
        let mut run = Self::of(outline);
        for entry in entries {
            run.record(entry)?;
        }
        Ok(run)
    }

    /// Whether any step began: from then on the slot is freed only after the soak (I11).
    pub fn is_touched(&self) -> bool {
        self.steps.iter().any(|track| track.beginnings > 0)
    }

    /// Whether the run stands between two steps, where it may be stopped.
    pub fn is_at_boundary(&self) -> bool {
        matches!(self.state, State::At(_))
    }

    /// Whether it ended.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// How often this step began.
    pub fn beginnings(&self, step: StepIx) -> u8 {
        self.steps
            .get(step.index())
            .map_or(0, |track| track.beginnings)
    }

    /// What was written down before this step began.
    pub fn receipt(&self, step: StepIx) -> Option<&Receipt> {
        self.steps.get(step.index())?.receipt.as_ref()
    }

    /// What to do next.
    pub fn next(&self) -> Next {
        match &self.state {
            State::New => Next::Close(Outcome::Untouched {
                why: "the run was never opened".into(),
            }),
            State::At(step) if self.is_end(*step) => Next::Soak,
            State::At(step) => Next::Apply(StepIx(*step)),
            State::Begun(step) if self.reboots(*step) => Next::AwaitBoot(StepIx(*step)),
            State::Begun(step) | State::Unknown(step) => Next::Verify {
                step: StepIx(*step),
                applied: false,
            },
            State::Applied(step) | State::Rebooted(step) => Next::Verify {
                step: StepIx(*step),
                applied: true,
            },
            State::Soaked => Next::Close(Outcome::Mended),
            State::Unwinding(below, fault) => self.unwind(*below, fault),
            State::Undoing(_, fault) => Next::Close(Outcome::NeedsHuman {
                fault: Fault::new(
                    "undo-interrupted",
                    format!("the process died while a step was being undone, after: {fault}"),
                ),
            }),
            State::Stuck(fault) => Next::Close(Outcome::NeedsHuman {
                fault: fault.clone(),
            }),
            State::Closed => Next::Ended,
        }
    }

    fn is_end(&self, step: u16) -> bool {
        usize::from(step) >= self.steps.len()
    }

    fn reboots(&self, step: u16) -> bool {
        self.shape(step).is_some_and(|shape| shape.reboots)
    }

    fn shape(&self, step: u16) -> Option<&super::outline::StepShape> {
        self.outline.steps.get(usize::from(step))
    }

    /// The highest step below `below` that began.
    fn last_touched(&self, below: u16) -> Option<(u16, &Receipt)> {
        (0..below).rev().find_map(|step| {
            let track = self.steps.get(usize::from(step))?;
            track.receipt.as_ref().map(|receipt| (step, receipt))
        })
    }

    fn unwind(&self, below: u16, fault: &Fault) -> Next {
        let mut below = below;
        while let Some((step, receipt)) = self.last_touched(below) {
            match self.shape(step).map(|shape| shape.undo) {
                Some(UndoWay::Receipt) => return Next::Undo(StepIx(step), receipt.clone()),
                Some(UndoWay::NothingToUndo) => below = step,
                Some(UndoWay::Impossible) | None => {
                    return Next::Close(Outcome::NeedsHuman {
                        fault: fault.clone(),
                    });
                }
            }
        }
        Next::Close(if self.outline.needs_human_on_failure {
            Outcome::NeedsHuman {
                fault: fault.clone(),
            }
        } else {
            Outcome::Failed {
                fault: fault.clone(),
            }
        })
    }

    /// Takes one entry, live or in replay.
    ///
    /// # Errors
    /// An edge that is not in the table; the run is then as it was before.
    pub fn record(&mut self, entry: &Entry) -> Result<(), IllegalEntry> {
        let state = self.edge(entry).ok_or_else(|| IllegalEntry {
            entry: entry.kind(),
            after: self.state.words(),
        })?;
        match entry {
            Entry::Opened { boot, .. } | Entry::Resumed { boot } => self.boot = Some(boot.clone()),
            Entry::Began { step, receipt } => {
                if let Some(track) = self.steps.get_mut(step.index()) {
                    track.receipt = Some(receipt.clone());
                    track.beginnings = track.beginnings.saturating_add(1);
                }
            }
            // What is known not to have run leaves no trace, not even in the count (I9 counts runs, not intents).
            Entry::Withheld { step, .. } => {
                if let Some(track) = self.steps.get_mut(step.index()) {
                    track.receipt = None;
                    track.beginnings = track.beginnings.saturating_sub(1);
                }
            }
            Entry::NotApplied { step } => {
                if let Some(track) = self.steps.get_mut(step.index()) {
                    track.receipt = None;
                }
            }
            _ => {}
        }
        self.state = state;
        Ok(())
    }

    /// The transition table.
    fn edge(&self, entry: &Entry) -> Option<State> {
        let state = match (&self.state, entry) {
            (State::New, Entry::Opened { opening, .. }) if opening.plan == self.outline.plan => {
                State::At(0)
            }
            (State::New | State::Closed, _) | (_, Entry::Opened { .. }) => return None,
            (_, Entry::Closed { result }) => return self.closing(result),
            (state, Entry::Resumed { boot }) => self.resumed(state, boot),
            (State::At(step), Entry::Paused { .. }) => State::At(*step),
            (State::At(at), Entry::Skipped { step, .. }) if self.is_step(*at, *step) => {
                State::At(at + 1)
            }
            (State::At(at), Entry::Began { step, .. })
                if self.is_step(*at, *step) && self.may_begin(*at) =>
            {
                State::Begun(*at)
            }
            (State::At(at), Entry::Soaked) if self.is_end(*at) => State::Soaked,
            (State::At(at), Entry::SoakFailed { fault }) if self.is_end(*at) => {
                State::Unwinding(*at, fault.clone())
            }
            (State::At(at), Entry::Failed { step, fault }) if self.is_step(*at, *step) => {
                State::Unwinding(*at, fault.clone())
            }
            (State::Begun(at), Entry::Applied { step }) if step.0 == *at && !self.reboots(*at) => {
                State::Applied(*at)
            }
            (State::Begun(at), Entry::Withheld { step, .. }) if step.0 == *at => State::At(*at),
            (State::Begun(at) | State::Unknown(at), Entry::NotApplied { step })
                if step.0 == *at && self.may_begin(*at) && !self.reboots(*at) =>
            {
                State::At(*at)
            }
            (State::Begun(at) | State::Unknown(at), Entry::Verified { step })
                if step.0 == *at && !self.reboots(*at) =>
            {
                State::At(at + 1)
            }
            (State::Applied(at) | State::Rebooted(at), Entry::Verified { step })
                if step.0 == *at =>
            {
                State::At(at + 1)
            }
            (
                State::Begun(at) | State::Unknown(at) | State::Applied(at) | State::Rebooted(at),
                Entry::Failed { step, fault },
            ) if step.0 == *at => State::Unwinding(at + 1, fault.clone()),
            (State::Unwinding(below, fault), Entry::UndoBegan { step }) => {
                match self.unwind(*below, fault) {
                    Next::Undo(due, _) if due == *step => State::Undoing(step.0, fault.clone()),
                    _ => return None,
                }
            }
            (State::Undoing(at, fault), Entry::Undone { step }) if step.0 == *at => {
                State::Unwinding(*at, fault.clone())
            }
            (State::Undoing(at, _), Entry::UndoFailed { step, fault }) if step.0 == *at => {
                State::Stuck(fault.clone())
            }
            _ => return None,
        };
        Some(state)
    }

    /// The step that the state stands before is this one.
    fn is_step(&self, at: u16, step: StepIx) -> bool {
        step.0 == at && !self.is_end(at)
    }

    /// I9: a step that is not repeatable begins once; a repeatable one at most twice.
    fn may_begin(&self, step: u16) -> bool {
        let most = match self.shape(step) {
            Some(shape) if shape.repeatable => MAX_BEGINNINGS,
            Some(_) => 1,
            None => 0,
        };
        self.beginnings(StepIx(step)) < most
    }

    fn resumed(&self, state: &State, boot: &BootId) -> State {
        match state {
            // Only a new boot id proves a reboot, and it proves it for a step that asked for one (safety.md, section 1).
            State::Begun(step) if self.reboots(*step) => {
                if self.boot.as_ref() == Some(boot) {
                    State::Begun(*step)
                } else {
                    State::Rebooted(*step)
                }
            }
            State::Begun(step) => State::Unknown(*step),
            // A soak does not outlive the process: it begins anew, which `At` already says.
            other => other.clone(),
        }
    }

    fn closing(&self, result: &Outcome) -> Option<State> {
        let legal = match (result, &self.state) {
            (Outcome::Untouched { .. }, State::At(_)) => !self.is_touched(),
            (Outcome::Stopped { .. }, State::At(_)) => self.is_touched(),
            (Outcome::Mended, State::Soaked) => true,
            // Giving up is always allowed: it is what a person or a lost plan needs.
            (Outcome::NeedsHuman { .. }, _) => true,
            (result, State::Unwinding(below, fault)) => {
                matches!(self.unwind(*below, fault), Next::Close(due) if due == *result)
            }
            _ => false,
        };
        legal.then_some(State::Closed)
    }
}

impl State {
    fn words(&self) -> String {
        match self {
            State::New => "first".into(),
            State::At(step) => format!("at the boundary before step {step}"),
            State::Begun(step) => format!("after step {step} began"),
            State::Unknown(step) => format!("after a restart in the middle of step {step}"),
            State::Rebooted(step) => format!("after the reboot of step {step}"),
            State::Applied(step) => format!("after step {step} was applied"),
            State::Soaked => "after the soak".into(),
            State::Unwinding(below, _) => format!("while the steps below {below} are undone"),
            State::Undoing(step, _) => format!("after the undo of step {step} began"),
            State::Stuck(_) => "after an undo failed".into(),
            State::Closed => "after the run ended".into(),
        }
    }
}
