//! Running the test cases that stand in signatures.

use super::document::{Example, Signature};
use super::hold::Streak;
use super::judge::{Judge, Verdict};
use super::rulebook::{Rule, Rulebook};
use crate::signal::{
    Batch, Catalogue, LogRecord, LogSource, MissingReason, Sample, Subject, Timeline, Timestamp,
    Value,
};
use std::sync::Arc;

/// What a test case gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseResult {
    /// The case.
    pub name: String,
    /// What it expects.
    pub expected: String,
    /// What came out.
    pub got: String,
    /// Why, where the result is unknown, or what was seen.
    pub why: String,
}

impl CaseResult {
    /// Whether it came out as expected.
    pub fn passed(&self) -> bool {
        self.expected == self.got
    }
}

/// Runs every test case of a signature against the signals of `catalogue`.
pub fn run_cases(rule: &Rule, catalogue: &Catalogue) -> Vec<CaseResult> {
    rule.signature
        .cases
        .iter()
        .map(|example| run_case(rule, example, catalogue))
        .collect()
}

/// How far before the first check the test's boot lies, so that every window is inside it.
const START_SECONDS: u64 = 1_000_000;

fn run_case(rule: &Rule, example: &Example, catalogue: &Catalogue) -> CaseResult {
    let signature = &rule.signature;
    let result = |got: &str, why: String| CaseResult {
        name: example.name.clone(),
        expected: example.expect.clone(),
        got: got.to_owned(),
        why,
    };
    let timeline = Timeline::new(catalogue.clone());
    let mut judge = match Judge::new(Rulebook::of(rule.clone()), timeline, true) {
        Ok(judge) => judge,
        Err(error) => return result("broken", error.to_string()),
    };
    judge.assume(
        example
            .verdicts
            .iter()
            .map(|(id, present)| (Arc::from(id.as_str()), Ok(*present))),
    );
    let mut streak: Option<Streak> = None;
    let mut outcome = result("unknown", MissingReason::NotYet.to_string());
    for check in 0..check_count(example) {
        let at = Timestamp::default()
            .plus(std::time::Duration::from_secs(START_SECONDS))
            .plus(
                example
                    .every
                    .saturating_mul(u32::try_from(check).unwrap_or(u32::MAX)),
            );
        feed(&mut judge, rule, example, check, at, catalogue);
        match pick(&judge, signature, example) {
            Verdict::Present(evidence) => {
                match &mut streak {
                    Some(streak) => streak.go_on(at.uptime, true),
                    None => streak = Some(Streak::begin(at.uptime, true)),
                }
                let held = streak.is_some_and(|streak| streak.meets(signature.hold, at.uptime));
                outcome = if held {
                    result("present", evidence.join(" · "))
                } else {
                    result(
                        "absent",
                        format!("present, but not yet for {}", signature.hold),
                    )
                };
            }
            Verdict::Absent => {
                streak = None;
                outcome = result("absent", String::new());
            }
            Verdict::Unknown(reason) => outcome = result("unknown", reason.to_string()),
        }
    }
    outcome
}

fn check_count(example: &Example) -> usize {
    let readings = example.given.iter().map(|given| given.values.len());
    let lines = example.lines.values().map(Vec::len);
    readings.chain(lines).max().unwrap_or(1)
}

/// The verdict that the case is about: its subject's, or the worst of all.
fn pick(judge: &Judge, signature: &Signature, example: &Example) -> Verdict {
    let wanted = Subject::named(&example.subject);
    let found = judge.judge_one(signature, true);
    let mut verdicts = found
        .into_iter()
        .filter(|judgement| example.subject.is_empty() || judgement.subject == wanted)
        .map(|judgement| judgement.verdict);
    let first = verdicts.next().unwrap_or(Verdict::Absent);
    verdicts.fold(first, |worst, next| match (&worst, &next) {
        (Verdict::Present(_), _) => worst,
        (_, Verdict::Present(_)) => next,
        (Verdict::Unknown(_), _) => worst,
        _ => next,
    })
}

fn feed(
    judge: &mut Judge,
    rule: &Rule,
    example: &Example,
    check: usize,
    at: Timestamp,
    catalogue: &Catalogue,
) {
    for probe in &rule.inputs {
        let mut batch = Batch::of(probe);
        batch.at = at;
        batch.heard = LogSource::ALL.to_vec();
        for given in &example.given {
            let Some(entry) = catalogue
                .get(&given.key)
                .filter(|entry| entry.probe == *probe)
            else {
                continue;
            };
            // A shorter list repeats its last reading.
            let Some(value) = given.values.get(check).or(given.values.last()) else {
                continue;
            };
            let value = match (value, entry.spec.form) {
                (Some(Value::Integer(whole)), crate::signal::Form::Number) => {
                    Ok(Value::Number(*whole as f64))
                }
                (Some(value), _) => Ok(value.clone()),
                (None, _) => Err(MissingReason::ProbeFailed(
                    "missing in the test case".into(),
                )),
            };
            batch.samples.push(Sample {
                key: entry.spec.name,
                subject: Subject::named(&given.subject),
                value,
            });
        }
        let is_log_probe = !catalogue
            .iter()
            .any(|entry| entry.probe == *probe && entry.spec.per.is_none())
            || rule.inputs.first() == Some(probe);
        if is_log_probe {
            batch.records = records(rule, example, check, at);
        }
        judge.ingest(&batch);
    }
}

fn records(rule: &Rule, example: &Example, check: usize, at: Timestamp) -> Vec<LogRecord> {
    let line_of = |name: &str| {
        example
            .lines
            .get(name)
            .and_then(|lines| lines.get(check))
            .filter(|line| !line.is_empty())
    };
    rule.signature
        .logs
        .iter()
        .filter_map(|log| {
            let text = line_of(&log.name)?;
            Some(LogRecord {
                source: log.source,
                at,
                written: None,
                identifier: Arc::from(log.identifier.as_deref().unwrap_or("")),
                unit: Arc::from(""),
                text: Arc::from(text.as_str()),
                history: false,
            })
        })
        .collect()
}
