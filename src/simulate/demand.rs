//! What must hold after every turn, kept apart from the engine so that both would have to be wrong alike.

use super::machine::{Fault, Machine};
use crate::diagnosis::{CaseChange, CaseState, ChangeKind, ClosingReason};
use crate::engine::{Command, Engine, Limits, Remedies};
use crate::policy::{CaseId, Cleared, Disruption, Mode, OptIn, RunId};
use crate::signal::{Subject, Timestamp};
use crate::signatures::Verdict;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// safety.md, I10.
const MOST_ATTEMPTS: usize = 3;
const DAY: Duration = Duration::from_secs(86_400);

/// The moment by all clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// True time since the simulation began: no clock of the machine shows it.
    pub at: Duration,
    /// What the machine's clocks show.
    pub now: Timestamp,
    /// The boot's number.
    pub boot: u64,
    /// How far the wall clock is ahead of the true time, in microseconds.
    pub ahead: i64,
}

#[derive(Debug, Clone, Copy)]
struct Attempt {
    at: Duration,
    boot: u64,
    ahead: i64,
}

/// What is demanded, and what must be remembered to demand it.
#[derive(Debug, Default)]
pub(super) struct Demands {
    /// The settings in force.
    pub opt_in: OptIn,
    /// Why nothing may start.
    pub cord: Option<Arc<str>>,
    /// The limits in force.
    pub limits: Limits,
    /// The playbooks in force.
    pub remedies: Remedies,
    /// Cases that a person approved and that no run used up.
    pub approved: BTreeSet<CaseId>,
    /// When the process began, in true time.
    pub started: Duration,
    attempts: BTreeMap<Arc<str>, Vec<Attempt>>,
    present: BTreeMap<Arc<str>, Duration>,
    needs_human: BTreeSet<CaseId>,
    last_case: u64,
    last_run: u64,
}

impl Demands {
    /// Looks at what the engine decided in one turn. `run`: the run that is under way.
    pub(super) fn after_turn(
        &mut self,
        moment: Moment,
        engine: &Engine,
        commands: &[Command],
        run: Option<(CaseId, RunId)>,
    ) -> Result<(), String> {
        for (signature, verdict) in engine.judge().verdicts() {
            if *verdict == Ok(true) {
                // A key is made once per signature and process, not once a turn.
                if let Some(seen) = self.present.get_mut(signature) {
                    *seen = moment.at;
                } else {
                    self.present.insert(signature.clone(), moment.at);
                }
            }
        }
        let mut is_kept = false;
        let mut is_treated = false;
        for command in commands {
            match command {
                Command::Persist => is_kept = true,
                Command::Changed(change) => {
                    demand(is_kept, "a case changed before the ledger was to be kept")?;
                    self.changed(engine, change)?;
                }
                Command::Treat { cleared, run: new } => {
                    demand(
                        is_kept,
                        "a run was to start before the ledger was to be kept",
                    )?;
                    demand(!is_treated && run.is_none(), "two runs at once")?;
                    is_treated = true;
                    self.treat(moment, engine, cleared, *new)?;
                }
                Command::Decided(blocked) => demand(
                    blocked.refusals().next().is_some(),
                    "a case is blocked by nobody",
                )?,
            }
        }
        let open = engine.book().open();
        demand(
            open.iter().all(|case| case.id.is_some()),
            "an open case has no number",
        )
    }

    /// Unknown neither opens nor closes, and what opens or closes was seen in this very turn.
    fn changed(&mut self, engine: &Engine, change: &CaseChange) -> Result<(), String> {
        let case = &change.case;
        let rules = engine.judge().rulebook();
        let verdicts = rules
            .find(&case.signature)
            .map(|signature| engine.judge().judge_one(signature, false));
        let verdict = verdicts
            .iter()
            .flatten()
            .find(|judgement| judgement.subject == case.subject)
            .map(|judgement| &judgement.verdict);
        let told = || format!("{} {} by verdict {verdict:?}", case.signature, case.subject);
        match change.kind {
            ChangeKind::Opened => demand(
                matches!(verdict, Some(Verdict::Present(_))),
                &format!("opened: {}", told()),
            ),
            ChangeKind::Moved(from) => match (from, case.state) {
                (CaseState::Clearing, CaseState::Confirmed) => demand(
                    matches!(verdict, Some(Verdict::Present(_))),
                    &format!("opened again: {}", told()),
                ),
                (CaseState::Confirmed, CaseState::Clearing) => demand(
                    matches!(verdict, Some(Verdict::Absent)),
                    &format!("called clearing: {}", told()),
                ),
                (CaseState::NeedsHuman, _) => demand(
                    case.id.is_some_and(|id| self.approved.contains(&id)),
                    "a case left the human's hands without a human",
                ),
                _ => Ok(()),
            },
            ChangeKind::Closed(ClosingReason::Cleared | ClosingReason::Mended) => demand(
                matches!(verdict, Some(Verdict::Absent)) || verdict.is_none() && verdicts.is_some(),
                &format!("closed: {}", told()),
            ),
            ChangeKind::Closed(ClosingReason::SubjectGone) => demand(
                verdict.is_none() && verdicts.is_some(),
                &format!("closed as gone: {}", told()),
            ),
            ChangeKind::Closed(ClosingReason::SignatureRetired) => demand(
                verdicts.is_none(),
                &format!("closed as retired: {}", told()),
            ),
            ChangeKind::Closed(ClosingReason::NotConfirmed) => {
                Err(format!("a suspicion was told of: {}", told()))
            }
        }
    }

    fn treat(
        &self,
        moment: Moment,
        engine: &Engine,
        cleared: &Cleared,
        run: RunId,
    ) -> Result<(), String> {
        let proposal = cleared.proposal();
        let told = format!("{run} for {} ({})", proposal.case, proposal.signature);
        let demand = |holds: bool, what: &str| demand(holds, &format!("{told}: {what}"));
        let opt_in = &self.opt_in;
        demand(opt_in.trouble.is_empty(), "the settings are not understood")?;
        demand(
            opt_in.mode == Mode::Auto
                || opt_in.mode == Mode::Approve && self.approved.contains(&proposal.case),
            "nobody allowed it",
        )?;
        demand(opt_in.pause.is_none(), "the node is paused")?;
        demand(self.cord.is_none(), "the stop cord is pulled")?;
        demand(
            proposal.disruption <= opt_in.allow,
            "its class is not allowed",
        )?;
        demand(
            proposal.disruption <= Disruption::Restart,
            "its class cannot be carried out",
        )?;
        let remedy = self.remedies.get(&proposal.playbook.id);
        demand(
            remedy.is_some_and(|r| r.voucher.is_some()),
            "nobody vouches for its playbook",
        )?;
        demand(
            !self.needs_human.contains(&proposal.case) || self.approved.contains(&proposal.case),
            "it needs a human",
        )?;
        let seen = self.present.get(&proposal.signature).copied();
        demand(
            seen.is_some_and(|seen| seen >= self.started),
            "not seen since the process began",
        )?;
        demand(
            seen.is_some_and(|seen| moment.at.saturating_sub(seen) <= Duration::from_secs(90)),
            "not seen lately",
        )?;
        self.still_there(engine, &proposal.signature, &proposal.subject)
            .and_then(|()| self.attempts_left(moment, &proposal.signature))
            .and_then(|()| no_cause_is_open(engine, &proposal.signature))
            .map_err(|what| format!("{told}: {what}"))?;
        let ledger = engine.ledger().ok_or("a run without a ledger")?;
        demand(ledger.next_run > run.0, "its number could be given again")?;
        demand(
            engine.run() == Some((proposal.case, run)),
            "the engine forgot it",
        )?;
        demand(
            engine
                .book()
                .find(proposal.case)
                .is_some_and(|c| c.state == CaseState::Treating),
            "its case is not being treated",
        )
    }

    fn still_there(
        &self,
        engine: &Engine,
        signature: &str,
        subject: &Subject,
    ) -> Result<(), String> {
        let rule = engine.judge().rulebook().find(signature);
        let rule = rule.ok_or("its signature is not in force")?;
        let judged = engine.judge().judge_one(rule, false);
        let verdict = judged
            .iter()
            .find(|judgement| judgement.subject == *subject);
        demand(
            verdict.is_some_and(|judgement| judgement.verdict != Verdict::Absent),
            "the fault is seen to be gone",
        )
    }

    /// At most three in 24 h of true time within one boot, whatever the clocks do; over boots as long as the wall clock has
    /// not gained time since the attempt. A clock that was set ahead across a reboot makes earlier attempts look old: then
    /// the bound is three for each boot, because nothing on the machine knows better.
    fn attempts_left(&self, moment: Moment, signature: &Arc<str>) -> Result<(), String> {
        let counted = self
            .attempts
            .get(signature)
            .into_iter()
            .flatten()
            .filter(|attempt| {
                let is_recent = moment.at.saturating_sub(attempt.at) < DAY;
                is_recent && (attempt.boot == moment.boot || attempt.ahead >= moment.ahead)
            });
        let counted = counted.count();
        demand(
            counted < MOST_ATTEMPTS,
            &format!("{counted} attempts in 24 h of true time came before"),
        )
    }

    /// A run really starts.
    pub(super) fn run_begins(
        &mut self,
        moment: Moment,
        cleared: &Cleared,
        run: RunId,
    ) -> Result<(), String> {
        let proposal = cleared.proposal();
        let attempt = Attempt {
            at: moment.at,
            boot: moment.boot,
            ahead: moment.ahead,
        };
        let list = self.attempts.entry(proposal.signature.clone()).or_default();
        list.retain(|old| moment.at.saturating_sub(old.at) < DAY);
        list.push(attempt);
        // An approval is for one run.
        self.approved.remove(&proposal.case);
        demand(
            run.0 > self.last_run,
            &format!("{run} came after run-{}", self.last_run),
        )?;
        self.last_run = run.0;
        Ok(())
    }

    /// People hear of a change.
    pub(super) fn told(&mut self, change: &CaseChange) -> Result<(), String> {
        let Some(id) = change.case.id else {
            return Err("a case without a number was told of".to_owned());
        };
        if change.case.state == CaseState::NeedsHuman {
            self.needs_human.insert(id);
        } else {
            self.needs_human.remove(&id);
        }
        if matches!(change.case.state, CaseState::Closed(_)) {
            self.approved.remove(&id);
        }
        if change.kind == ChangeKind::Opened {
            demand(
                id.0 > self.last_case,
                &format!("{id} came after case-{}", self.last_case),
            )?;
            self.last_case = id.0;
        }
        Ok(())
    }

    /// A new process knows nothing of what the old one saw and was told.
    pub(super) fn restarted(&mut self, moment: Moment) {
        self.started = moment.at;
        self.present.clear();
        self.approved.clear();
    }
}

/// The cause first: no open case hides this signature, unless each hides the other.
fn no_cause_is_open(engine: &Engine, signature: &str) -> Result<(), String> {
    let rules = engine.judge().rulebook();
    let hides = |one: &str, other: &str| {
        rules
            .find(one)
            .is_some_and(|rule| rule.hides.iter().any(|id| id == other))
    };
    for case in engine.book().open() {
        let is_cause = hides(&case.signature, signature) && !hides(signature, &case.signature);
        demand(!is_cause, &format!("its cause {} is open", case.signature))?;
    }
    Ok(())
}

/// Whether a case that opened is about a fault that stood, at least until a moment ago.
pub(super) fn is_real(
    machine: &Machine,
    healed: &BTreeMap<Fault, Duration>,
    at: Duration,
    signature: &str,
    subject: &Subject,
) -> bool {
    let stood = |fault: Fault, within: u64| {
        machine.has(fault)
            || healed
                .get(&fault)
                .is_some_and(|end| at.saturating_sub(*end) <= Duration::from_secs(within))
    };
    let any = |faults: &[Fault], within: u64| faults.iter().any(|fault| stood(*fault, within));
    match signature {
        "systemd-bus-unresponsive" => stood(Fault::BusMute, 60),
        "dbus-daemon-dead" => stood(Fault::DaemonDead, 60),
        "systemd-pid1-frozen" => stood(Fault::Frozen, 60),
        "systemd-unit-crashloop" => any(&[Fault::CrashLoop(0), Fault::CrashLoop(1)], 1_200),
        "kernel-sysctl-drift" => {
            Machine::setting(subject.as_str()).is_some_and(|at| stood(Fault::Drift(at), 240))
        }
        "fs-readonly" => any(&[Fault::ReadOnly(0), Fault::ReadOnly(1)], 120),
        "kernel-task-hung" => stood(Fault::TaskHung, 1_900),
        // What rests on the package's version may be as old as its longest reading.
        _ => stood(Fault::Outdated, 360),
    }
}

/// `Err(what)` unless it holds.
pub(super) fn demand(holds: bool, what: &str) -> Result<(), String> {
    match holds {
        true => Ok(()),
        false => Err(what.to_owned()),
    }
}
