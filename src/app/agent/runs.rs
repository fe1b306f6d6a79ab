//! Starting runs, and going on with those that a restart interrupted.

use super::core::{Core, Message};
use super::oracle::failed_units;
use super::queue::{Left, Turn};
use super::sight::chain;
use crate::engine::{Ending, Input, RunNews};
use crate::executor::{Course, Entry, Outcome, PastRun, RunEnd, RunEvent, Runner, Shelf};
use crate::host::retry::{Rests, share};
use crate::lease::{LeaseError, LocalSlots};
use crate::playbook::Catalogue;
use crate::policy::{CaseId, Cleared, PlaybookRef, RunId};
use crate::report::audit::{AuditError, Reader, RecordKind};
use crate::signal::{Reading, Subject};
use crate::steps::Kinds;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// Carries out runs.
pub struct Runs {
    /// The executor.
    pub runner: Arc<Runner>,
    /// The playbooks in force.
    pub catalogue: Mutex<Arc<Catalogue>>,
    /// Held for as long as the agent lives, where the slots themselves are elsewhere.
    pub _lock: Option<LocalSlots>,
}

impl Runs {
    /// The playbooks in force.
    pub fn playbooks(&self) -> Arc<Catalogue> {
        Arc::clone(
            &self
                .catalogue
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Carries out a new run in a task of its own.
    pub fn start(
        &self,
        core: &Arc<Core>,
        cleared: Cleared,
        run: RunId,
        news: mpsc::Sender<Message>,
    ) {
        let case = cleared.proposal().case;
        if core.cluster.is_some() {
            start_in_turn(core, &cleared, run, news);
            return;
        }
        let course = self.course(core, &cleared);
        let runner = Arc::clone(&self.runner);
        let reins = core.reins.subscribe();
        tokio::spawn(async move {
            let end = match course {
                Ok(course) => runner.treat(cleared, run, course, reins).await,
                Err(why) => RunEnd::Closed(Outcome::Untouched { why }),
            };
            report(case, run, end, &news).await;
        });
    }

    /// The plan of a run, made from what is seen now.
    ///
    /// # Errors
    /// A sentence: the playbook is gone, or its plan cannot be made.
    pub fn course(&self, core: &Arc<Core>, cleared: &Cleared) -> Result<Course, String> {
        let proposal = cleared.proposal();
        let engine = core.engine();
        let timeline = engine.judge().timeline();
        let value_of = |key: &str| match timeline.latest(key, &proposal.subject) {
            Reading::Fresh { value, .. } => Some(value.to_string()),
            _ => None,
        };
        let playbooks = self.playbooks();
        let listed = find(&playbooks, &proposal.playbook).ok_or_else(|| {
            format!(
                "the playbook {} is not there any more",
                proposal.playbook.id
            )
        })?;
        let plan = listed
            .plan(&proposal.subject, &Kinds, &value_of)
            .map_err(|error| format!("the plan cannot be made: {error}"))?;
        Course::of(&plan, proposal, failed_units(timeline)).map_err(|error| chain(&error))
    }

    /// Tells the engine of what a restart interrupted. It must know before it may start anything: a node whose run is open
    /// in its journal would else begin a second one beside it (I7; `nodemend simulate` found that).
    pub async fn recall(core: &Arc<Core>, shelf: &Shelf, news: &mpsc::Sender<Message>) {
        let Some(runs) = &core.runs else { return };
        runs.tell_untold_ending(core, shelf, news).await;
        for past in shelf.open_runs() {
            let (case, run) = (past.opening.case(), past.run);
            core.turn(Input::Run(RunNews::Resumed { case, run }), news)
                .await;
        }
    }

    /// The runs of processes before this one that took a number and never began: none of them has a journal, or is in the
    /// audit log. To be asked before a new run can begin. Empty where nobody can tell.
    pub async fn unbegun(core: &Arc<Core>, shelf: &Shelf) -> RangeInclusive<u64> {
        let next = core.engine().ledger().map_or(0, |ledger| ledger.next_run);
        let (first, last) = (shelf.highest.saturating_add(1), next.saturating_sub(1));
        if first > last {
            return first..=last;
        }
        let folder = core.audit_dir.clone();
        let opened = tokio::task::spawn_blocking(move || highest_opened(&folder)).await;
        match opened {
            Ok(Ok(opened)) => first.max(opened.saturating_add(1))..=last,
            _ => first..=0,
        }
    }

    /// Goes on with the runs that a restart interrupted, one after the other, after [`Runs::recall`], and frees what others
    /// left behind. `unbegun`: see [`Runs::unbegun`].
    pub async fn resume(
        core: Arc<Core>,
        shelf: Shelf,
        unbegun: RangeInclusive<u64>,
        news: mpsc::Sender<Message>,
    ) {
        let Some(runs) = &core.runs else { return };
        let mut tidied = runs.tidy_up(&shelf, &unbegun).await;
        for past in shelf.open_runs() {
            let case = past.opening.case();
            let end = runs.resume_one(&core, past, &news).await;
            report(case, past.run, end, &news).await;
        }
        // An agent starts before it has read its Node, and perhaps while the API server is away.
        let mut rests = Rests::default();
        while let Err(error) = tidied {
            tracing::warn!(
                error = chain(&error),
                "a slot of an ended run is not freed; trying again"
            );
            if matches!(error, LeaseError::OtherInstance { .. }) {
                // Only a person can tell whose it is.
                return;
            }
            tokio::time::sleep(rests.next(None, share(&core.node))).await;
            tidied = runs.tidy_up(&shelf, &unbegun).await;
        }
    }

    async fn tidy_up(
        &self,
        shelf: &Shelf,
        unbegun: &RangeInclusive<u64>,
    ) -> Result<(), LeaseError> {
        self.runner.tidy_up(shelf).await?;
        self.runner.tidy_unbegun(unbegun.clone()).await
    }

    /// The last run may have ended in its journal but not in the audit log, because the process died between the two
    /// writes. Then its end is told now, or the case would be said to have gone away by itself.
    async fn tell_untold_ending(
        &self,
        core: &Arc<Core>,
        shelf: &Shelf,
        news: &mpsc::Sender<Message>,
    ) {
        let Some((past, outcome)) = shelf
            .runs
            .last()
            .and_then(|past| Some((past, past.outcome.clone()?)))
        else {
            return;
        };
        let (folder, run) = (core.audit_dir.clone(), past.run);
        let told = tokio::task::spawn_blocking(move || is_ending_told(&folder, run)).await;
        if !matches!(told, Ok(Ok(false))) {
            return;
        }
        let event = RunEvent {
            at: crate::host::clock::now(),
            run,
            opening: Arc::new(past.opening.clone()),
            entry: Entry::Closed {
                result: outcome.clone(),
            },
            step_kind: None,
            slot: String::new(),
            opt_in: Arc::from(""),
            took: None,
        };
        if let Err(error) = self.runner.witness.note(&event).await {
            tracing::error!(%run, error = chain(&error), "the end of a run is not in the audit log");
            return;
        }
        let case = past.opening.case();
        core.turn(Input::Run(RunNews::Resumed { case, run }), news)
            .await;
        report(case, run, RunEnd::Closed(outcome), news).await;
    }

    async fn resume_one(
        &self,
        core: &Arc<Core>,
        past: &PastRun,
        news: &mpsc::Sender<Message>,
    ) -> RunEnd {
        let reference = past.opening.reference();
        let course = self.course_again(past);
        let course = match course {
            Ok(course) => course,
            Err(why) => {
                return match self.runner.give_up(past, &why) {
                    Ok(outcome) => RunEnd::Closed(outcome),
                    Err(error) => RunEnd::Halted(error.into()),
                };
            }
        };
        // After a restart, too, nothing disruptive without the opt-in as it is now (safety.md, I12).
        if let Some(side) = &core.cluster
            && let Err(why) = super::cluster::refresh(core, side, news).await
        {
            tracing::warn!(why, run = %past.run, "the own Node cannot be read, so the run goes on without a slot");
            let rein = core.reins.subscribe();
            return self.runner.resume(past, course, None, rein).await;
        }
        let clearance =
            core.engine()
                .clear_again(past.opening.case(), &reference, crate::host::clock::now());
        let permit = match clearance {
            Some(cleared) => self.runner.lease.recover(cleared, past.run).await.ok(),
            None => None,
        };
        tracing::info!(run = %past.run, case = %past.opening.case(), has_slot = permit.is_some(), "going on with a run");
        self.runner
            .resume(past, course, permit, core.reins.subscribe())
            .await
    }

    fn course_again(&self, past: &PastRun) -> Result<Course, String> {
        let playbooks = self.playbooks();
        let listed = find(&playbooks, &past.opening.reference())
            .ok_or_else(|| "its playbook is not there any more".to_owned())?;
        let values: &BTreeMap<String, String> = &past.opening.values;
        let plan = listed
            .plan(&Subject::named(&past.opening.subject), &Kinds, &|key| {
                values.get(key).cloned()
            })
            .map_err(|error| format!("its plan cannot be made again: {error}"))?;
        Course::again(&plan, past.opening.clone()).map_err(|error| chain(&error))
    }
}

/// In a cluster: waits for its turn in a task of its own.
fn start_in_turn(core: &Arc<Core>, cleared: &Cleared, run: RunId, news: mpsc::Sender<Message>) {
    let (core, reins) = (Arc::clone(core), core.reins.subscribe());
    let (case, playbook) = (cleared.proposal().case, cleared.proposal().playbook.clone());
    tokio::spawn(async move {
        let (Some(side), Some(runs)) = (&core.cluster, &core.runs) else {
            return;
        };
        let turn = Turn {
            core: Arc::clone(&core),
            side: Arc::clone(side),
            case,
            playbook,
            run,
            news: news.clone(),
        };
        match turn.take(runs, reins).await {
            Left::Ridden(end) => report(case, run, end, &news).await,
            Left::NeverBegan(why) => {
                tracing::info!(%case, %run, why, "the run never began");
                let message = Message::RunEnded {
                    case,
                    run,
                    ending: Ending::NeverBegan,
                    halt: None,
                };
                // The process ends: the next one decides anew.
                news.send(message).await.ok();
            }
        }
    });
}

/// Whether the audit log in `folder` has the end of this run. *Cost*: reads the whole log, once at start.
fn is_ending_told(folder: &Path, run: RunId) -> Result<bool, AuditError> {
    let name = run.to_string();
    let told = Reader::open(folder)?
        .filter_map(|line| line.record.ok())
        .any(|record| record.kind == RecordKind::RunClosed && record.run.as_deref() == Some(&name));
    Ok(told)
}

/// The highest run that the audit log in `folder` saw begin. *Cost*: as for [`is_ending_told`].
fn highest_opened(folder: &Path) -> Result<u64, AuditError> {
    let opened = Reader::open(folder)?
        .filter_map(|line| line.record.ok())
        .filter(|record| record.kind == RecordKind::RunOpened)
        .filter_map(|record| record.run?.parse().ok())
        .map(|run: RunId| run.0);
    Ok(opened.max().unwrap_or(0))
}

fn find<'a>(
    catalogue: &'a Catalogue,
    wanted: &PlaybookRef,
) -> Option<&'a crate::playbook::Playbook> {
    catalogue
        .iter()
        .map(|listed| &listed.playbook)
        .find(|playbook| playbook.digest == wanted.digest)
}

async fn report(case: CaseId, run: RunId, end: RunEnd, news: &mpsc::Sender<Message>) {
    let (ending, halt) = match end {
        RunEnd::Closed(outcome) => {
            tracing::info!(%case, %run, outcome = crate::report::audit::outcome_text(&outcome), "run ended");
            let ending = match outcome {
                Outcome::Mended => Ending::Mended,
                Outcome::NeedsHuman { .. } => Ending::NeedsHuman,
                Outcome::Untouched { .. } | Outcome::Failed { .. } | Outcome::Stopped { .. } => {
                    Ending::Undone
                }
            };
            (ending, None)
        }
        // The process ends; the next one goes on.
        RunEnd::Left => return,
        RunEnd::NoSlot(error) => {
            tracing::warn!(%case, %run, error = chain(&error), "no slot");
            (Ending::Undone, None)
        }
        RunEnd::Halted(halt) => {
            let why = format!(
                "{run} halted: {}; look at nodemend audit list and the journal, then restart the agent",
                chain(&halt)
            );
            (Ending::NeedsHuman, Some(why))
        }
    };
    if news
        .send(Message::RunEnded {
            case,
            run,
            ending,
            halt,
        })
        .await
        .is_err()
    {
        tracing::warn!(%case, %run, "the agent ended before it heard of the run's end; the journal has it");
    }
}
