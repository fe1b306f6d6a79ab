//! One turn of the engine.

use super::ledger::Ledger;
use super::limits::Limits;
use super::news::{Ending, RunNews};
use super::remedy::{Remedies, Remedy};
use super::stance::Stance;
use crate::diagnosis::{Case, CaseBook, CaseChange, CaseEvent, CaseState, SignatureTerms};
use crate::policy::{Blocked, CaseId, Cleared, Facts, Gates, OptIn, PlaybookRef, Proposal, RunId};
use crate::signal::{Batch, MissingReason, Subject, Timestamp, Uptime};
use crate::signatures::{Judge, Judgement, Rulebook};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What happens to the engine.
#[derive(Debug)]
pub enum Input {
    /// A probe saw something.
    Batch(Batch),
    /// A probe failed as a whole.
    ProbeFailed {
        /// The probe.
        probe: &'static str,
        /// Why.
        reason: MissingReason,
    },
    /// The node's own settings were read.
    OptIn(OptIn),
    /// The configuration was read.
    Limits(Limits),
    /// The playbooks were read.
    Remedies(Remedies),
    /// The signatures were read anew.
    Rulebook(Rulebook),
    /// A run began or ended.
    Run(RunNews),
    /// A person approved a case, or gave one back that needed a human.
    Approve(CaseId),
    /// A person gave a case back that needed a human; whether it is approved stands in the settings alone.
    GiveBack(CaseId),
    /// Nothing may start, and why; or `None`: things may start again.
    StopCord(Option<Arc<str>>),
    /// Time passed.
    Tick,
}

/// What the engine wants done.
#[derive(Debug)]
pub enum Command {
    /// Cases changed: for the audit log and everybody who is told.
    Changed(CaseChange),
    /// The gates' answers on a case are not what they were: for the audit log.
    Decided(Box<Blocked>),
    /// Carry this out. The ledger, which already counts the attempt, must be on disk before it begins.
    Treat {
        /// The proof that all gates passed.
        cleared: Cleared,
        /// The run's number.
        run: RunId,
    },
    /// The ledger changed.
    Persist,
}

/// The agent's decisions.
pub struct Engine {
    judge: Judge,
    book: CaseBook,
    gates: Gates,
    ledger: Option<Ledger>,
    boot_id: Arc<str>,
    opt_in: OptIn,
    approved: Vec<CaseId>,
    limits: Limits,
    pub(super) remedies: Remedies,
    stop_cord: Option<Arc<str>>,
    run: Option<(CaseId, RunId)>,
    watching_since: Timestamp,
    decided: BTreeMap<CaseId, Vec<(&'static str, &'static str)>>,
}

impl Engine {
    /// An engine that begins to watch now. Without a ledger (it could not be read) it never acts.
    pub fn new(judge: Judge, ledger: Option<Ledger>, boot_id: &str, now: Timestamp) -> Self {
        let next_case = ledger.as_ref().map_or(1, |ledger| ledger.next_case);
        let mut book = CaseBook::new(SignatureTerms::of_all(judge.rulebook()), next_case);
        if let Some(ledger) = &ledger {
            book.restore(ledger.known_cases(now), now);
        }
        Self {
            judge,
            book,
            gates: Gates::standard(),
            ledger,
            boot_id: Arc::from(boot_id),
            opt_in: OptIn::default(),
            approved: Vec::new(),
            limits: Limits::default(),
            remedies: Remedies::new(),
            stop_cord: None,
            run: None,
            watching_since: now,
            decided: BTreeMap::new(),
        }
    }

    /// The rules and what was seen.
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// The cases.
    pub fn book(&self) -> &CaseBook {
        &self.book
    }

    /// The node's own settings, as last read.
    pub fn opt_in(&self) -> &OptIn {
        &self.opt_in
    }

    /// What must be on disk; `None` if it could not be read at the start.
    pub fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_ref()
    }

    /// The run under way, with its case.
    pub fn run(&self) -> Option<(CaseId, RunId)> {
        self.run
    }

    /// Sets or ends a pause that outlives the process. `false`: there is no ledger to keep it in.
    pub fn set_pause(&mut self, reason: Option<String>) -> bool {
        match &mut self.ledger {
            Some(ledger) => {
                ledger.pause = reason;
                true
            }
            None => false,
        }
    }

    /// Asks all gates again for a run that a restart interrupted: its own attempt does not count against it, and it is not
    /// "another" run. `None`: not every gate passes, or the playbook is another one now.
    pub fn clear_again(
        &self,
        case: CaseId,
        playbook: &PlaybookRef,
        now: Timestamp,
    ) -> Option<Cleared> {
        let mut case = self.book.find(case)?.clone();
        case.state = CaseState::Confirmed;
        let (proposal, mut facts) = self.proposal(&case, now)?;
        if proposal.playbook != *playbook {
            return None;
        }
        facts.run_in_flight = false;
        if let Some(attempts) = &mut facts.attempts
            && let Some(list) = attempts.get_mut(&proposal.signature)
        {
            list.pop();
        }
        self.gates.decide(proposal, &facts).ok()
    }

    /// Asks all gates for a run that a person starts by hand: the person stands for mode, class and evidence; trust, pause,
    /// window, attempts, other runs and the stop cord are asked as ever. Counts as an attempt.
    ///
    /// # Errors
    /// The gates' answers. Without a ledger nothing runs: the gate `attempts` refuses.
    pub fn clear_by_hand(
        &mut self,
        playbook: &str,
        subject: &Subject,
        person: OptIn,
        now: Timestamp,
    ) -> Option<Result<(Cleared, RunId), Box<Blocked>>> {
        let remedy = self.remedies.get(playbook)?.clone();
        let case = CaseId(0);
        let signature: Arc<str> = Arc::from(format!("by-hand-{playbook}"));
        let proposal = Proposal {
            case,
            signature: signature.clone(),
            subject: subject.clone(),
            playbook: remedy.playbook.clone(),
            disruption: remedy.disruption,
            evidence: vec![person.source.to_string()],
        };
        let facts = self.facts(case, &remedy, person, Some(now.uptime), now);
        Some(self.gates.decide(proposal, &facts).and_then(|cleared| {
            let Some(ledger) = &mut self.ledger else {
                return Err(Box::new(Blocked {
                    proposal: cleared.proposal().clone(),
                    answers: cleared.answers().to_vec(),
                }));
            };
            let run = RunId(ledger.next_run);
            ledger.next_run += 1;
            ledger.add_attempt(&signature, &self.boot_id, now, run);
            Ok((cleared, run))
        }))
    }

    /// Takes one input and says what is to be done, in this order.
    pub fn turn(&mut self, now: Timestamp, input: Input) -> Vec<Command> {
        self.judge.tick(now);
        let mut commands = Vec::new();
        let changes = match input {
            Input::Batch(batch) => {
                let judgements = self.judge.ingest(&batch);
                self.advance(now, judgements, batch.probe)
            }
            Input::ProbeFailed { probe, reason } => {
                let judgements = self.judge.fail_probe(probe, now, &reason);
                self.advance(now, judgements, probe)
            }
            Input::Run(news) => self.note_run(news, now),
            Input::Approve(case) => self.approve(case),
            Input::GiveBack(case) => self.book.retry(case).ok().flatten().into_iter().collect(),
            Input::Rulebook(rulebook) => self.replace_rules(rulebook),
            Input::OptIn(opt_in) => {
                self.opt_in = opt_in;
                Vec::new()
            }
            Input::Limits(limits) => {
                self.limits = limits;
                Vec::new()
            }
            Input::Remedies(remedies) => {
                self.remedies = remedies;
                Vec::new()
            }
            Input::StopCord(reason) => {
                self.stop_cord = reason;
                Vec::new()
            }
            Input::Tick => Vec::new(),
        };
        if !changes.is_empty() {
            if let Some(ledger) = &mut self.ledger {
                ledger.note_cases(&self.book);
            }
            commands.push(Command::Persist);
        }
        commands.extend(changes.into_iter().map(Command::Changed));
        self.propose(now, &mut commands);
        commands
    }

    fn advance(
        &mut self,
        now: Timestamp,
        mut judgements: Vec<Judgement>,
        probe: &'static str,
    ) -> Vec<CaseChange> {
        let mut gone = Vec::new();
        for rule in self.judge.rulebook().iter() {
            let signature = &rule.signature;
            if !rule.inputs.contains(&probe) {
                continue;
            }
            let mut cases = self.book.current().filter(|c| c.signature == signature.id);
            let Some(first) = cases.next() else { continue };
            let Some(listed) = self.judge.listed(signature) else {
                continue;
            };
            if signature.each_capture().is_none() {
                gone.push((signature.id.clone(), listed));
                continue;
            }
            // Subjects that a log named do not vanish with the line; their case ends by its clear time.
            for case in std::iter::once(first).chain(cases) {
                if !listed.contains(&case.subject) {
                    judgements.push(Judgement {
                        signature: signature.id.clone(),
                        subject: case.subject.clone(),
                        verdict: self.judge.verdict(signature, &case.subject),
                        is_check: rule.pace == Some(probe),
                    });
                }
            }
        }
        let mut changes = self.book.advance(now, &judgements);
        for (signature, listed) in gone {
            changes.extend(self.book.drop_gone_subjects(&signature, &listed));
        }
        changes
    }

    fn note_run(&mut self, news: RunNews, now: Timestamp) -> Vec<CaseChange> {
        let (case, run, event) = match news {
            RunNews::Resumed { case, run } => {
                self.run = Some((case, run));
                (case, run, CaseEvent::RunBegan)
            }
            RunNews::Ended { case, run, ending } => {
                self.run = None;
                let event = match ending {
                    Ending::Mended => CaseEvent::RunMended,
                    Ending::Undone => CaseEvent::RunUndone,
                    Ending::NeverBegan => {
                        self.forget_attempt(case);
                        CaseEvent::RunUndone
                    }
                    Ending::NeedsHuman => CaseEvent::RunNeedsHuman,
                };
                (case, run, event)
            }
        };
        // A case that closed meanwhile has nothing to note; the run's own record stands in the audit log.
        let change = self.book.note_run(case, run, event, now).ok().flatten();
        let mut changes: Vec<CaseChange> = change.into_iter().collect();
        // Its signature may have been taken out of force while the run was under way: nothing would judge it any more.
        changes.extend(self.book.close_retired());
        changes
    }

    /// A run that only waited for a slot must not use up the attempts of its signature.
    fn forget_attempt(&mut self, case: CaseId) {
        let signature = self.book.find(case).map(|case| case.signature.clone());
        if let (Some(signature), Some(ledger)) = (signature, &mut self.ledger)
            && let Some(list) = ledger.attempts.get_mut(&*signature)
        {
            list.pop();
        }
    }

    fn approve(&mut self, case: CaseId) -> Vec<CaseChange> {
        if !self.approved.contains(&case) && self.book.find(case).is_some_and(|c| c.state.is_open())
        {
            self.approved.push(case);
        }
        self.book.retry(case).ok().flatten().into_iter().collect()
    }

    fn replace_rules(&mut self, rulebook: Rulebook) -> Vec<CaseChange> {
        let terms = SignatureTerms::of_all(&rulebook);
        match self.judge.replace_rules(rulebook) {
            Ok(()) => self.book.reload(terms),
            // The old rules stay in force; the loader has checked every pattern, so this is only the sum of them.
            Err(_) => Vec::new(),
        }
    }

    fn propose(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        let ids: Vec<CaseId> = self.book.open().iter().filter_map(|case| case.id).collect();
        self.decided.retain(|id, _| ids.contains(id));
        self.approved.retain(|id| ids.contains(id));
        for id in ids {
            let Some((proposal, facts)) =
                self.book.find(id).and_then(|case| self.proposal(case, now))
            else {
                continue;
            };
            match self.gates.decide(proposal, &facts) {
                Ok(cleared) => {
                    self.decided.remove(&id);
                    commands.extend(self.start(now, id, cleared));
                }
                Err(blocked) => {
                    let answers: Vec<_> = blocked
                        .answers
                        .iter()
                        .map(|a| (a.gate, a.ruling.word()))
                        .collect();
                    if self.decided.get(&id) != Some(&answers) {
                        self.decided.insert(id, answers);
                        commands.push(Command::Decided(blocked));
                    }
                }
            }
        }
    }

    fn start(&mut self, now: Timestamp, case: CaseId, cleared: Cleared) -> Vec<Command> {
        let Some(ledger) = &mut self.ledger else {
            return Vec::new();
        };
        let run = RunId(ledger.next_run);
        let Ok(change) = self.book.note_run(case, run, CaseEvent::RunBegan, now) else {
            return Vec::new();
        };
        ledger.next_run += 1;
        ledger.add_attempt(&cleared.proposal().signature, &self.boot_id, now, run);
        ledger.note_cases(&self.book);
        self.run = Some((case, run));
        // An approval is for one run: after a failure the person is asked again.
        self.approved.retain(|approved| *approved != case);
        let mut commands = vec![Command::Persist];
        commands.extend(change.map(Command::Changed));
        commands.push(Command::Treat { cleared, run });
        commands
    }

    /// What would be done about a case that is confirmed, with the facts for the gates.
    fn proposal(&self, case: &Case, now: Timestamp) -> Option<(Proposal, Facts)> {
        if !matches!(case.state, CaseState::Confirmed | CaseState::NeedsHuman) {
            return None;
        }
        let remedy = self.remedy_of(case)?;
        let id = case.id?;
        let proposal = Proposal {
            case: id,
            signature: case.signature.clone(),
            subject: case.subject.clone(),
            playbook: remedy.playbook.clone(),
            disruption: remedy.disruption,
            evidence: case.evidence.clone(),
        };
        let mut opt_in = self.opt_in.clone();
        opt_in.approved.extend(&self.approved);
        // What is seen to be gone is no evidence, however lately it was there: a person may approve too late.
        let seen = (!case.is_seen_gone).then_some(case.last_seen.uptime);
        let mut facts = self.facts(id, remedy, opt_in, seen, now);
        facts.hidden = self
            .book
            .cause_of(case)
            .map(|cause| (id, cause.name()))
            .into_iter()
            .collect();
        facts.needs_human = (case.state == CaseState::NeedsHuman)
            .then_some(id)
            .into_iter()
            .collect();
        Some((proposal, facts))
    }

    /// What the gates may know, apart from what hangs on the case itself.
    fn facts(
        &self,
        case: CaseId,
        remedy: &Remedy,
        opt_in: OptIn,
        seen: Option<Uptime>,
        now: Timestamp,
    ) -> Facts {
        Facts {
            now,
            opt_in,
            windows: self.limits.windows.clone(),
            // The stricter of the operator's limits and the playbook's own.
            max_attempts: self.limits.max_attempts.min(remedy.max_attempts),
            attempts_span: self.limits.attempts_span.max(remedy.attempts_span),
            cooldown: self.limits.cooldown.max(remedy.cooldown),
            attempts: self
                .ledger
                .as_ref()
                .map(|ledger| ledger.attempts(&self.boot_id)),
            evidence_at: seen.map(|at| (case, at)).into_iter().collect(),
            watching_since: self.watching_since.uptime,
            run_in_flight: self.run.is_some(),
            stop_cord: self.stop_cord.clone(),
            trusted: remedy
                .voucher
                .iter()
                .filter(|_| remedy.expires.is_none_or(|end| now.wall < end))
                .map(|voucher| (remedy.playbook.digest.clone(), voucher.clone()))
                .collect(),
            capable: self.limits.capable.clone(),
            ..Facts::default()
        }
    }

    /// The gates that hold back or refuse a mend now, once per case that they stand in the way of.
    pub fn blocking(&self) -> Vec<&'static str> {
        self.decided
            .values()
            .flatten()
            .filter(|(_, word)| *word != "pass")
            .map(|(gate, _)| *gate)
            .collect()
    }

    /// What stands between a case and its mend, now. Asks every gate anew.
    pub fn stance(&self, case: &Case, now: Timestamp) -> Stance {
        let mend = self
            .judge
            .rulebook()
            .find(&case.signature)
            .and_then(|s| s.mend.clone());
        match (case.state, mend, self.run) {
            (CaseState::Treating, _, Some((_, run))) => Stance::Treating(run),
            (CaseState::Clearing | CaseState::Closed(_), _, _) => Stance::Clearing,
            (_, None, _) => Stance::ReportOnly,
            (_, Some(id), _) if !self.remedies.contains_key(id.as_str()) => Stance::NoPlaybook(id),
            _ => match self
                .proposal(case, now)
                .map(|(proposal, facts)| self.gates.decide(proposal, &facts))
            {
                Some(Ok(_)) => Stance::Ready,
                Some(Err(blocked)) => Stance::Gated(blocked),
                None => Stance::ReportOnly,
            },
        }
    }
}
