//! All cases of this node.

use super::case::Case;
use super::state::{CaseEvent, CaseState, ClosingReason, IllegalEdge};
use crate::policy::{Approved, CaseId, RunId};
use crate::signal::{Subject, Timestamp};
use crate::signatures::{Hold, Judgement, Rulebook, Severity, Signature, Streak, Verdict};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How many cases may be open or suspected at once. A node with more is beyond mending; new ones are refused and counted.
pub const MAX_OPEN_CASES: usize = 500;

/// How many closed cases are remembered for `cases` and `explain`.
const MAX_CLOSED_CASES: usize = 100;

/// What the book needs to know of a signature.
#[derive(Debug, Clone)]
pub struct SignatureTerms {
    /// How long present before a case opens.
    pub hold: Hold,
    /// How long absent before it closes.
    pub clear: Hold,
    /// How bad.
    pub severity: Severity,
    /// Signatures of which this one is the cause.
    pub hides: Vec<String>,
}

impl SignatureTerms {
    /// The terms of every signature in force.
    pub fn of_all(rulebook: &Rulebook) -> BTreeMap<Arc<str>, SignatureTerms> {
        rulebook
            .iter()
            .map(|rule| {
                (
                    rule.signature.id.clone(),
                    SignatureTerms::from(&rule.signature),
                )
            })
            .collect()
    }
}

impl From<&Signature> for SignatureTerms {
    fn from(signature: &Signature) -> Self {
        Self {
            hold: signature.hold,
            clear: signature.clear,
            severity: signature.severity,
            hides: signature.hides.clone(),
        }
    }
}

/// A case carried over a restart of the agent.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownCase {
    /// Its number.
    pub id: CaseId,
    /// Its signature.
    pub signature: Arc<str>,
    /// What it is about.
    pub subject: Subject,
    /// When it was confirmed.
    pub opened: Timestamp,
    /// Whether it needs a human.
    pub needs_human: bool,
    /// Runs for it.
    pub runs: Vec<RunId>,
}

/// What became of a case in one turn.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseChange {
    /// The case after the change.
    pub case: Case,
    /// What happened.
    pub kind: ChangeKind,
}

/// The kinds of change that people hear about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was confirmed.
    Opened,
    /// It moved from one open state to another.
    Moved(CaseState),
    /// It is over.
    Closed(ClosingReason),
}

type Place = (Arc<str>, Subject);

/// All cases of this node.
#[derive(Debug, Clone)]
pub struct CaseBook {
    terms: BTreeMap<Arc<str>, SignatureTerms>,
    cases: BTreeMap<Place, Case>,
    closed: Vec<Case>,
    next_id: u64,
    refused: u64,
}

impl CaseBook {
    /// An empty book for these signatures; numbers go on from `next_id`.
    pub fn new(terms: BTreeMap<Arc<str>, SignatureTerms>, next_id: u64) -> Self {
        Self {
            terms,
            cases: BTreeMap::new(),
            closed: Vec::new(),
            next_id: next_id.max(1),
            refused: 0,
        }
    }

    /// Takes over the cases of before a restart. They stay open until they are seen to be gone, but nothing acts on them
    /// before they are seen again.
    pub fn restore(&mut self, known: impl IntoIterator<Item = KnownCase>, now: Timestamp) {
        for known in known {
            self.next_id = self.next_id.max(known.id.0 + 1);
            let state = if known.needs_human {
                CaseState::NeedsHuman
            } else {
                CaseState::Confirmed
            };
            // The wall clock may have been set back since: what an earlier process saw is older than this one all the same.
            let before = now.uptime.minus(Duration::from_micros(1));
            let last_seen = Timestamp {
                uptime: known.opened.uptime.min(before),
                wall: known.opened.wall,
            };
            let case = Case {
                id: Some(known.id),
                signature: known.signature.clone(),
                subject: known.subject.clone(),
                state,
                first_seen: known.opened,
                opened: Some(known.opened),
                last_seen,
                evidence: Vec::new(),
                unknown: Some("not seen since the agent restarted".to_owned()),
                streak: Streak::begin(now.uptime, false),
                restored: true,
                runs: known.runs,
                is_seen_gone: false,
                mended: false,
            };
            self.cases.insert((known.signature, known.subject), case);
        }
    }

    /// Replaces the signatures' terms after a reload. Cases of signatures that are no longer in force are closed.
    pub fn reload(&mut self, terms: BTreeMap<Arc<str>, SignatureTerms>) -> Vec<CaseChange> {
        self.terms = terms;
        self.close_retired()
    }

    /// Closes cases of signatures that are no longer in force, unless a run for them is under way.
    pub fn close_retired(&mut self) -> Vec<CaseChange> {
        let retired: Vec<Place> = self
            .cases
            .iter()
            .filter(|((signature, _), case)| {
                !self.terms.contains_key(signature) && case.state != CaseState::Treating
            })
            .map(|(place, _)| place.clone())
            .collect();
        retired
            .into_iter()
            .filter_map(|place| self.step(&place, CaseEvent::Retired))
            .collect()
    }

    /// The number that the next case will get.
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    /// How many suspicions were refused because [`MAX_OPEN_CASES`] was reached.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Cases that are suspected or open.
    pub fn current(&self) -> impl Iterator<Item = &Case> {
        self.cases.values()
    }

    /// Cases that are open, worst first, oldest first.
    pub fn open(&self) -> Vec<&Case> {
        let mut open: Vec<&Case> = self
            .cases
            .values()
            .filter(|case| case.state.is_open())
            .collect();
        open.sort_by_key(|case| {
            (
                self.terms.get(&case.signature).map(|terms| terms.severity),
                case.id,
            )
        });
        open
    }

    /// Cases that are over, newest last.
    pub fn closed(&self) -> &[Case] {
        &self.closed
    }

    /// The case with this number, open or over.
    pub fn find(&self, id: CaseId) -> Option<&Case> {
        self.cases
            .values()
            .chain(&self.closed)
            .find(|case| case.id == Some(id))
    }

    /// What is known of a case that a person approved.
    pub fn known_as(&self, id: CaseId) -> Approved {
        match self.find(id) {
            Some(case) if case.state.is_open() && case.runs.is_empty() => Approved::Fresh,
            Some(case) if case.state.is_open() => Approved::HadRuns,
            _ => Approved::NotOpen,
        }
    }

    /// The case that is the cause of this one, if there is one. A cause that is only suspected counts too: its hold may be
    /// longer than the symptom's, and a symptom is never treated before it is clear what it comes from.
    pub fn cause_of(&self, case: &Case) -> Option<&Case> {
        self.cases.values().find(|other| {
            (other.state.is_open() || other.state == CaseState::Suspected)
                && other.signature != case.signature
                && self
                    .terms
                    .get(&other.signature)
                    .is_some_and(|terms| terms.hides.iter().any(|id| **id == *case.signature))
                // Of two that hide each other neither does: that is a mistake in the rules, not a diagnosis.
                && !self.terms.get(&case.signature).is_some_and(|terms| {
                    terms.hides.iter().any(|id| **id == *other.signature)
                })
        })
    }

    /// Takes in verdicts.
    pub fn advance(&mut self, now: Timestamp, judgements: &[Judgement]) -> Vec<CaseChange> {
        let mut changes = Vec::new();
        for judgement in judgements {
            let place = (judgement.signature.clone(), judgement.subject.clone());
            let change = match &judgement.verdict {
                Verdict::Present(evidence) => self.seen(now, &place, evidence, judgement.is_check),
                Verdict::Absent => self.gone(now, &place, judgement.is_check),
                Verdict::Unknown(reason) => {
                    // Neither opens nor closes, and does not count towards a hold; the streak stands still.
                    if let Some(case) = self.cases.get_mut(&place) {
                        case.unknown = Some(reason.to_string());
                        case.streak.stand_still(now.uptime);
                    }
                    None
                }
            };
            changes.extend(change);
        }
        changes
    }

    /// Closes cases whose subject is no longer listed, where the list itself was read.
    pub fn drop_gone_subjects(&mut self, signature: &str, present: &[Subject]) -> Vec<CaseChange> {
        let gone: Vec<Place> = self
            .cases
            .iter()
            .filter(|((id, subject), case)| {
                **id == *signature
                    && !present.contains(subject)
                    && case.state != CaseState::Treating
            })
            .map(|(place, _)| place.clone())
            .collect();
        gone.into_iter()
            .filter_map(|place| self.step(&place, CaseEvent::SubjectGone))
            .collect()
    }

    fn seen(
        &mut self,
        now: Timestamp,
        place: &Place,
        evidence: &[String],
        is_check: bool,
    ) -> Option<CaseChange> {
        let hold = self.terms.get(&place.0)?.hold;
        if !self.cases.contains_key(place) {
            if self.cases.len() >= MAX_OPEN_CASES {
                self.refused = self.refused.saturating_add(1);
                return None;
            }
            self.cases.insert(place.clone(), suspicion(place, now));
        }
        let case = self.cases.get_mut(place)?;
        let was_away = matches!(case.state, CaseState::Clearing) || case.restored;
        if was_away || case.last_seen == case.first_seen && case.streak.checks == 0 {
            case.streak = Streak::begin(now.uptime, is_check);
        } else {
            case.streak.go_on(now.uptime, is_check);
        }
        case.last_seen = now;
        case.restored = false;
        case.is_seen_gone = false;
        case.unknown = None;
        evidence.clone_into(&mut case.evidence);
        let held = case.streak.meets(hold, now.uptime);
        let event = match case.state {
            CaseState::Suspected if held => CaseEvent::HoldMet,
            _ => CaseEvent::Seen,
        };
        if event == CaseEvent::HoldMet {
            case.id = Some(CaseId(self.next_id));
            case.opened = Some(now);
            self.next_id += 1;
        }
        self.step(place, event)
    }

    fn gone(&mut self, now: Timestamp, place: &Place, is_check: bool) -> Option<CaseChange> {
        let clear = self.terms.get(&place.0)?.clear;
        let case = self.cases.get_mut(place)?;
        case.unknown = None;
        if matches!(case.state, CaseState::Clearing) && !case.restored {
            case.streak.go_on(now.uptime, is_check);
        } else if !matches!(case.state, CaseState::Treating) {
            case.streak = Streak::begin(now.uptime, is_check);
        }
        case.restored = false;
        case.is_seen_gone = true;
        let cleared = matches!(case.state, CaseState::Clearing | CaseState::Confirmed)
            && case.streak.meets(clear, now.uptime);
        let after_run = case.mended;
        let event = if cleared {
            CaseEvent::ClearMet { after_run }
        } else {
            CaseEvent::Gone
        };
        self.step(place, event)
    }

    /// A run for the case began, or ended.
    ///
    /// # Errors
    /// [`IllegalEdge`] if the case's state does not allow it; a case that is over is one.
    pub fn note_run(
        &mut self,
        id: CaseId,
        run: RunId,
        event: CaseEvent,
        now: Timestamp,
    ) -> Result<Option<CaseChange>, IllegalEdge> {
        let Some(place) = self.place_of(id) else {
            return Err(IllegalEdge {
                state: CaseState::Closed(ClosingReason::Cleared),
                event,
            });
        };
        let Some(case) = self.cases.get_mut(&place) else {
            return Ok(None);
        };
        case.state.next(event)?;
        // A run that goes on after a restart stands there already.
        if event == CaseEvent::RunBegan && !case.runs.contains(&run) {
            case.runs.push(run);
        }
        if event == CaseEvent::RunMended {
            case.mended = true;
            case.streak = Streak::begin(now.uptime, false);
        }
        Ok(self.step(&place, event))
    }

    /// A person says that a case that needs a human may be tried again.
    ///
    /// # Errors
    /// [`IllegalEdge`] if it does not need one.
    pub fn retry(&mut self, id: CaseId) -> Result<Option<CaseChange>, IllegalEdge> {
        let event = CaseEvent::HumanRetries;
        let Some(place) = self.place_of(id) else {
            return Err(IllegalEdge {
                state: CaseState::Closed(ClosingReason::Cleared),
                event,
            });
        };
        if let Some(case) = self.cases.get(&place) {
            case.state.next(event)?;
        }
        Ok(self.step(&place, event))
    }

    fn place_of(&self, id: CaseId) -> Option<Place> {
        self.cases
            .iter()
            .find(|(_, case)| case.id == Some(id))
            .map(|(place, _)| place.clone())
    }

    /// Moves a case along the table. An edge that is not in it changes nothing.
    fn step(&mut self, place: &Place, event: CaseEvent) -> Option<CaseChange> {
        let case = self.cases.get_mut(place)?;
        let before = case.state;
        let Ok(after) = before.next(event) else {
            return None;
        };
        case.state = after;
        if let CaseState::Closed(reason) = after {
            let case = self.cases.remove(place)?;
            // A suspicion that went away has no number, and nobody hears of it.
            case.id?;
            if self.closed.len() == MAX_CLOSED_CASES {
                self.closed.remove(0);
            }
            self.closed.push(case.clone());
            return Some(CaseChange {
                case,
                kind: ChangeKind::Closed(reason),
            });
        }
        if before == after {
            return None;
        }
        let kind = if before == CaseState::Suspected {
            ChangeKind::Opened
        } else {
            ChangeKind::Moved(before)
        };
        Some(CaseChange {
            case: case.clone(),
            kind,
        })
    }
}

fn suspicion(place: &Place, now: Timestamp) -> Case {
    Case {
        id: None,
        signature: place.0.clone(),
        subject: place.1.clone(),
        state: CaseState::Suspected,
        first_seen: now,
        opened: None,
        last_seen: now,
        evidence: Vec::new(),
        unknown: None,
        streak: Streak::begin(now.uptime, false),
        restored: false,
        runs: Vec::new(),
        is_seen_gone: false,
        mended: false,
    }
}
