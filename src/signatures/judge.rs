//! Evaluating every signature against what was seen.

use super::answers::{Scene, Verdicts};
use super::document::Signature;
use super::log_book::LogBook;
use super::question::Question;
use super::rulebook::Rulebook;
use crate::signal::{Batch, MissingReason, Subject, Timeline, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Three answers, never two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is there; with what was seen.
    Present(Vec<String>),
    /// It is not there, and that was seen.
    Absent,
    /// It cannot be told. Never opens and never closes a case.
    Unknown(MissingReason),
}

impl Verdict {
    /// The word in reports and JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Verdict::Present(_) => "present",
            Verdict::Absent => "absent",
            Verdict::Unknown(_) => "unknown",
        }
    }
}

/// One signature's verdict on one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The signature.
    pub signature: Arc<str>,
    /// What it is about.
    pub subject: Subject,
    /// What it says.
    pub verdict: Verdict,
    /// Whether this evaluation is a check: new readings of the probe that paces the signature came in.
    pub is_check: bool,
}

/// The rules with everything they look at.
pub struct Judge {
    rulebook: Rulebook,
    timeline: Timeline,
    log: LogBook,
    verdicts: Verdicts,
    /// Probes that ran at least once, with what is wrong with them now.
    probes: BTreeMap<&'static str, Option<MissingReason>>,
}

/// Captures older than this no longer name subjects: the longest window of a shipped rule.
const CAPTURE_SPAN: Duration = Duration::from_secs(86_400);

impl Judge {
    /// A judge by these rules. `counts_history`: log lines from before the start count too (for `check`, `replay`).
    ///
    /// # Errors
    /// The log patterns together are too large.
    pub fn new(
        rulebook: Rulebook,
        timeline: Timeline,
        counts_history: bool,
    ) -> Result<Self, regex::Error> {
        let log = LogBook::new(rulebook.log_rules(), counts_history)?;
        Ok(Self {
            rulebook,
            timeline,
            log,
            verdicts: Verdicts::new(),
            probes: BTreeMap::new(),
        })
    }

    /// The rules.
    pub fn rulebook(&self) -> &Rulebook {
        &self.rulebook
    }

    /// The signals.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// The log lines.
    pub fn log(&self) -> &LogBook {
        &self.log
    }

    /// What every signature said last, node-wide.
    pub fn verdicts(&self) -> &Verdicts {
        &self.verdicts
    }

    /// Puts other rules in force; what was seen stays, what log lines matched is matched anew from now on.
    ///
    /// # Errors
    /// The log patterns together are too large; the old rules stay in force.
    pub fn replace_rules(&mut self, rulebook: Rulebook) -> Result<(), regex::Error> {
        self.log.replace_rules(rulebook.log_rules())?;
        self.verdicts.retain(|id, _| rulebook.find(id).is_some());
        self.rulebook = rulebook;
        Ok(())
    }

    /// Takes these verdicts of other signatures as given: for test cases.
    pub fn assume(
        &mut self,
        verdicts: impl IntoIterator<Item = (Arc<str>, Result<bool, MissingReason>)>,
    ) {
        self.verdicts.extend(verdicts);
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Timestamp) {
        self.timeline.tick(now);
    }

    /// Notes that a probe failed as a whole, and judges what hangs on it.
    pub fn fail_probe(
        &mut self,
        probe: &'static str,
        at: Timestamp,
        reason: &MissingReason,
    ) -> Vec<Judgement> {
        self.timeline.fail_probe(probe, at, reason);
        self.probes.insert(probe, Some(reason.clone()));
        self.judge_paced_by(probe, &[])
    }

    /// Takes in a batch and judges what hangs on it.
    pub fn ingest(&mut self, batch: &Batch) -> Vec<Judgement> {
        self.timeline.ingest(batch);
        self.probes.insert(batch.probe, None);
        let touched = self.log.ingest(batch);
        self.judge_paced_by(batch.probe, &touched)
    }

    fn judge_paced_by(&mut self, probe: &str, touched: &[Arc<str>]) -> Vec<Judgement> {
        let mut judgements = Vec::new();
        let indices: Vec<usize> = (0..self.rulebook.len())
            .filter(|index| {
                self.rulebook.get(*index).is_some_and(|rule| {
                    rule.inputs.contains(&probe) || touched.contains(&rule.signature.id)
                })
            })
            .collect();
        for index in indices {
            let Some(rule) = self.rulebook.get(index) else {
                continue;
            };
            let is_check = rule.pace == Some(probe) || touched.contains(&rule.signature.id);
            let found = self.judge_one(&rule.signature, is_check);
            let word = summary(&found);
            self.verdicts.insert(rule.signature.id.clone(), word);
            judgements.extend(found);
        }
        judgements
    }

    /// Judges one signature now, for all its subjects.
    pub fn judge_one(&self, signature: &Signature, is_check: bool) -> Vec<Judgement> {
        let subjects = match self.subjects_of(signature) {
            Ok(subjects) => subjects,
            Err(reason) => {
                return vec![Judgement {
                    signature: signature.id.clone(),
                    subject: Subject::NODE,
                    verdict: Verdict::Unknown(reason),
                    is_check,
                }];
            }
        };
        subjects
            .into_iter()
            .map(|subject| Judgement {
                signature: signature.id.clone(),
                verdict: self.verdict(signature, &subject),
                subject,
                is_check,
            })
            .collect()
    }

    /// The subjects that a signature with `each:` is judged about, if their list could be read.
    pub fn listed(&self, signature: &Signature) -> Option<Vec<Subject>> {
        signature.each.as_ref()?;
        let subjects = self.subjects_of(signature).ok()?;
        // A reading that was lost as a whole stands for the node: then nothing is listed.
        (!subjects.iter().any(Subject::is_node)).then_some(subjects)
    }

    /// What the signature is to be judged about. An empty list is an observation only if the probe that makes the list
    /// has run.
    fn subjects_of(&self, signature: &Signature) -> Result<Vec<Subject>, MissingReason> {
        let Some(each) = &signature.each else {
            return Ok(vec![Subject::NODE]);
        };
        if let Some((log, capture)) = signature.each_capture() {
            let values = self.log.captured(
                &signature.id,
                log,
                capture,
                self.timeline.now(),
                CAPTURE_SPAN,
            );
            if values.is_empty() {
                self.log.hears(&signature.id, log, self.timeline.now())?;
            }
            return Ok(values.iter().map(|value| Subject::named(value)).collect());
        }
        let subjects: Vec<Subject> = self.timeline.subjects(each).cloned().collect();
        let probe = self
            .timeline
            .catalogue()
            .get(each)
            .map_or("", |entry| entry.probe);
        match self.probes.get(probe) {
            _ if !subjects.is_empty() => Ok(subjects),
            Some(None) => Ok(subjects),
            Some(Some(reason)) => Err(reason.clone()),
            None => Err(MissingReason::NotYet),
        }
    }

    /// What the signature says of one subject now.
    pub fn verdict(&self, signature: &Signature, subject: &Subject) -> Verdict {
        let scene = Scene {
            timeline: &self.timeline,
            log: &self.log,
            verdicts: &self.verdicts,
            owner: &signature.id,
            subject,
            capture: signature.each_capture().map(|(_, capture)| capture),
            failed_units_before: None,
        };
        match signature.when.holds(&scene) {
            Ok(true) => Verdict::Present(
                signature
                    .evidence
                    .iter()
                    .map(|template| template.render(&scene, self.timeline.catalogue()))
                    .chain(self.last_line(signature, &scene))
                    .collect(),
            ),
            Ok(false) => match self.lost_lines(signature) {
                true => Verdict::Unknown(MissingReason::Rule(
                    "log lines were lost in the window".into(),
                )),
                false => Verdict::Absent,
            },
            Err(reason) => Verdict::Unknown(reason),
        }
    }

    /// The newest line that each of its log patterns matched: the best evidence that there is.
    fn last_line(&self, signature: &Signature, scene: &Scene<'_>) -> Vec<String> {
        let capture = scene.capture.map(|name| (name, scene.subject.as_str()));
        let asked = signature
            .when
            .questions()
            .iter()
            .filter_map(|question| match question {
                Question::Lines(log, span) => Some((log, *span)),
                _ => None,
            });
        asked
            .filter_map(|(log, span)| {
                self.log
                    .matches(&signature.id, log, self.timeline.now(), span, capture)
                    .last()
            })
            .map(|found| found.line.to_string())
            .collect()
    }

    /// An Absent that rests on a log with a gap is no observation.
    fn lost_lines(&self, signature: &Signature) -> bool {
        signature
            .when
            .questions()
            .iter()
            .any(|question| match question {
                Question::Lines(log, span) => {
                    self.log
                        .has_gap(&signature.id, log, self.timeline.now(), *span)
                }
                _ => false,
            })
    }
}

/// Node-wide: present if any subject is, absent if all are, else unknown. No subject at all is absent: nothing of that
/// kind exists here, and the list itself was read.
fn summary(found: &[Judgement]) -> Result<bool, MissingReason> {
    if found
        .iter()
        .any(|judgement| matches!(judgement.verdict, Verdict::Present(_)))
    {
        return Ok(true);
    }
    match found.iter().find_map(|judgement| match &judgement.verdict {
        Verdict::Unknown(reason) => Some(reason.clone()),
        _ => None,
    }) {
        Some(reason) => Err(reason),
        None => Ok(false),
    }
}
