//! All signatures in force: shipped ones, overlaid by the operator's.

use super::document::{Example, LogRule, Signature};
use super::question::Question;
use super::template::Template;
use crate::document::{Place, Problems, closest};
use crate::signal::{Catalogue, Form, LogSource, Value};
use regex::Regex;
use std::collections::BTreeMap;

/// A signature's text and the name people know it by.
#[derive(Debug, Clone)]
pub struct Source {
    /// File name.
    pub origin: String,
    /// YAML text.
    pub text: String,
}

/// A signature, ready to be judged.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The signature.
    pub signature: Signature,
    /// The probes whose batches make it worth evaluating.
    pub inputs: Vec<&'static str>,
    /// The probe whose batches count as its checks: the fastest of its inputs.
    pub pace: Option<&'static str>,
    /// Where it was read.
    pub origin: String,
}

/// All signatures in force, in the order of their ids. Those that ask for other verdicts come last.
#[derive(Debug, Clone, Default)]
pub struct Rulebook {
    rules: Vec<Rule>,
}

impl Rulebook {
    /// Loads documents; a later one replaces an earlier one of the same id. A bad document is left out whole and
    /// reported; the good ones are in force.
    pub fn load(sources: &[Source], catalogue: &Catalogue) -> (Self, Vec<Problems>) {
        let mut found: BTreeMap<String, Rule> = BTreeMap::new();
        let mut reports = Vec::new();
        for source in sources {
            match Signature::parse(&source.origin, &source.text) {
                Ok(signature) => {
                    let rule = Rule {
                        inputs: inputs_of(&signature, catalogue),
                        pace: pace_of(&signature, catalogue),
                        origin: source.origin.clone(),
                        signature,
                    };
                    found.insert(rule.signature.id.to_string(), rule);
                }
                Err(problems) => reports.push(problems),
            }
        }
        let ids: Vec<String> = found.keys().cloned().collect();
        let mut rules: Vec<Rule> = Vec::new();
        for rule in found.into_values() {
            let problems = lint(&rule, &ids, catalogue);
            if problems.is_empty() {
                rules.push(rule);
            } else {
                reports.push(problems);
            }
        }
        rules.sort_by_key(|rule| asks_verdicts(&rule.signature));
        (Self { rules }, reports)
    }

    /// A book of one rule, for its test cases.
    pub fn of(rule: Rule) -> Self {
        Self { rules: vec![rule] }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// The one at `index`.
    pub fn get(&self, index: usize) -> Option<&Rule> {
        self.rules.get(index)
    }

    /// The one with this id.
    pub fn find(&self, id: &str) -> Option<&Signature> {
        self.rules
            .iter()
            .map(|rule| &rule.signature)
            .find(|signature| &*signature.id == id)
    }

    /// All log patterns.
    pub fn log_rules(&self) -> Vec<LogRule> {
        self.rules
            .iter()
            .flat_map(|rule| rule.signature.logs.iter().cloned())
            .collect()
    }
}

fn asks_verdicts(signature: &Signature) -> bool {
    signature
        .questions()
        .any(|question| matches!(question, Question::Verdict(_)))
}

/// The probes that read the logs, by source.
fn log_probe(source: LogSource) -> &'static str {
    match source {
        LogSource::Kernel => "kernel-log",
        LogSource::Journal => "journal",
    }
}

fn inputs_of(signature: &Signature, catalogue: &Catalogue) -> Vec<&'static str> {
    let keys = signature
        .when
        .questions()
        .iter()
        .filter_map(Question::topic);
    let mut inputs: Vec<&'static str> = keys
        .filter_map(|topic| catalogue.get(&topic.key))
        .map(|entry| entry.probe)
        .collect();
    inputs.extend(signature.logs.iter().map(|rule| log_probe(rule.source)));
    inputs.sort_unstable();
    inputs.dedup();
    inputs
}

/// Log probes pace a signature only if nothing else does: they run every second and would make every hold short.
fn pace_of(signature: &Signature, catalogue: &Catalogue) -> Option<&'static str> {
    let keys = signature
        .when
        .questions()
        .iter()
        .filter_map(Question::topic);
    let fastest = keys
        .filter_map(|topic| catalogue.get(&topic.key))
        .min_by_key(|entry| entry.period);
    fastest
        .map(|entry| entry.probe)
        .or_else(|| signature.logs.first().map(|rule| log_probe(rule.source)))
}

/// What only the whole rule book can tell: whether signals, logs, tables and other signatures exist.
fn lint(rule: &Rule, ids: &[String], catalogue: &Catalogue) -> Problems {
    let signature = &rule.signature;
    let mut problems = Problems::of(&rule.origin);
    for question in signature.when.questions() {
        lint_question(
            question,
            signature,
            signature.places.when,
            &mut problems,
            ids,
            catalogue,
        );
    }
    for question in signature.evidence.iter().flat_map(Template::questions) {
        lint_question(
            question,
            signature,
            signature.places.evidence,
            &mut problems,
            ids,
            catalogue,
        );
    }
    for hidden in signature.hides.iter().filter(|id| ***id == *signature.id) {
        problems.add(
            signature.places.hides,
            format!("`{hidden}` cannot hide itself"),
        );
    }
    lint_each(signature, catalogue, &mut problems);
    for example in &signature.cases {
        lint_example(example, signature, catalogue, &mut problems);
    }
    problems
}

fn lint_question(
    question: &Question,
    signature: &Signature,
    place: Place,
    problems: &mut Problems,
    ids: &[String],
    catalogue: &Catalogue,
) {
    if let Some(topic) = question.topic() {
        match catalogue.get(&topic.key) {
            None => problems.add(place, no_signal(&topic.key, catalogue)),
            Some(entry) if entry.spec.per.is_none() && topic.subject.is_some() => {
                problems.add(
                    place,
                    format!("`{}` has no subjects; leave out the brackets", topic.key),
                );
            }
            Some(entry)
                if entry.spec.per.is_some()
                    && topic.subject.is_none()
                    && signature.each.is_none() =>
            {
                let what = entry.spec.per.unwrap_or("subject");
                problems.add(
                    place,
                    format!(
                        "`{0}` has one value per {what}; write `{0}[NAME]`, or `each: {0}`",
                        topic.key
                    ),
                );
            }
            Some(_) => {}
        }
    }
    match question {
        Question::Lines(log, _) if !signature.logs.iter().any(|rule| rule.name == *log) => {
            problems.add(
                place,
                format!("there is no log pattern `{log}`; add it under `logs:`"),
            );
        }
        Question::Verdict(id) if !ids.contains(id) => {
            problems.add(place, format!("there is no signature `{id}`"));
        }
        Question::Verdict(id) if **id == *signature.id => {
            problems.add(place, "a signature cannot ask for its own verdict");
        }
        Question::NewFailedUnits => {
            problems.add(place, "new_failed_units() is for playbooks only");
        }
        _ => {}
    }
}

fn no_signal(key: &str, catalogue: &Catalogue) -> String {
    match closest(key, catalogue.iter().map(|entry| entry.spec.name)) {
        Some(near) => format!("there is no signal `{key}`; did you mean `{near}`?"),
        None => format!("there is no signal `{key}`; `nodemend signature signals` lists them"),
    }
}

fn lint_each(signature: &Signature, catalogue: &Catalogue, problems: &mut Problems) {
    let Some(each) = &signature.each else { return };
    let Some((log, capture)) = signature.each_capture() else {
        if catalogue
            .get(each)
            .is_none_or(|entry| entry.spec.per.is_none())
        {
            let message = format!("`{each}` is neither a signal with subjects nor `log.capture`");
            problems.add(signature.places.each, message);
        }
        return;
    };
    let captures = |rule: &LogRule| {
        Regex::new(&rule.pattern).is_ok_and(|pattern| {
            pattern
                .capture_names()
                .flatten()
                .any(|name| name == capture)
        })
    };
    if !signature
        .logs
        .iter()
        .any(|rule| rule.name == log && captures(rule))
    {
        problems.add(
            signature.places.each,
            format!("the pattern `{log}` captures no `{capture}`; write (?<{capture}>...)"),
        );
    }
}

fn lint_example(
    example: &Example,
    signature: &Signature,
    catalogue: &Catalogue,
    problems: &mut Problems,
) {
    let place = signature.places.cases;
    for given in &example.given {
        let Some(entry) = catalogue.get(&given.key) else {
            problems.add(
                place,
                format!(
                    "case `{}`: {}",
                    example.name,
                    no_signal(&given.key, catalogue)
                ),
            );
            continue;
        };
        let fits = |value: &Value| {
            value.form() == entry.spec.form
                || matches!((value, entry.spec.form), (Value::Integer(_), Form::Number))
        };
        if !given.values.iter().flatten().all(fits) {
            problems.add(
                place,
                format!(
                    "case `{}`: a reading of `{}` has the wrong form",
                    example.name, given.key
                ),
            );
        }
    }
    for log in example
        .lines
        .keys()
        .filter(|log| !signature.logs.iter().any(|rule| rule.name == **log))
    {
        problems.add(
            place,
            format!("case `{}`: there is no log pattern `{log}`", example.name),
        );
    }
}
