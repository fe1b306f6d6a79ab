//! A signature as people write it.

use super::expression::Expression;
use super::hold::Hold;
use super::question::Question;
use super::read::read_signature;
use super::template::Template;
use crate::document::{Place, Problems, parse};
use crate::signal::{LogRecord, LogSource, Value};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How bad it is, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The node is lost or about to be.
    Critical,
    /// The node harms its work.
    High,
    /// The node will harm its work.
    Medium,
    /// Worth knowing.
    Low,
}

impl Severity {
    /// All severities with their words, worst first.
    pub const WORDS: [(&'static str, Severity); 4] = [
        ("critical", Severity::Critical),
        ("high", Severity::High),
        ("medium", Severity::Medium),
        ("low", Severity::Low),
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, known)| *known == self)
            .map_or("unknown", |(word, _)| word)
    }
}

/// A log pattern of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRule {
    /// The signature's id.
    pub owner: Arc<str>,
    /// Its name within the signature.
    pub name: String,
    /// Which log.
    pub source: LogSource,
    /// Who must have written the line, if that matters (`systemd`, `kubelet`).
    pub identifier: Option<String>,
    /// The regular expression, already known to compile.
    pub pattern: String,
}

impl LogRule {
    /// Whether the line comes from where the rule looks.
    pub fn accepts(&self, record: &LogRecord) -> bool {
        record.source == self.source
            && self
                .identifier
                .as_deref()
                .is_none_or(|wanted| wanted == &*record.identifier)
    }
}

/// The Node condition a signature sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// Condition type, PascalCase.
    #[serde(rename = "type")]
    pub kind: String,
    /// Reason, PascalCase.
    pub reason: String,
}

/// The readings of a test case for one signal: one item a check.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// The signal.
    pub key: String,
    /// What it is about; empty for the node.
    pub subject: String,
    /// `None` is a missing reading.
    pub values: Vec<Option<Value>>,
}

/// A test case of a signature.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// What it claims.
    pub name: String,
    /// The readings.
    pub given: Vec<Given>,
    /// Log lines: by pattern name, one item a check, empty for none.
    pub lines: BTreeMap<String, Vec<String>>,
    /// What other signatures say.
    pub verdicts: BTreeMap<String, bool>,
    /// Time between checks.
    pub every: Duration,
    /// The subject that `expect` is about; empty for the node or any.
    pub subject: String,
    /// `present`, `absent` or `unknown`.
    pub expect: String,
}

/// A known failure: how to recognise, explain and mend it.
#[derive(Debug, Clone)]
pub struct Signature {
    /// Its id, kebab-case.
    pub id: Arc<str>,
    /// What is the matter, in a few words.
    pub title: String,
    /// How bad it is.
    pub severity: Severity,
    /// The part of the node: a group in reports.
    pub subsystem: String,
    /// What it is and why it matters.
    pub explain: String,
    /// When it is present.
    pub when: Expression,
    /// What it is evaluated for: a signal whose subjects it goes through, or `log.capture`.
    pub each: Option<String>,
    /// Its log patterns.
    pub logs: Vec<LogRule>,
    /// How long it must be present before a case opens.
    pub hold: Hold,
    /// How long it must be absent before the case closes.
    pub clear: Hold,
    /// What to show.
    pub evidence: Vec<Template>,
    /// Signatures of which this one is the cause.
    pub hides: Vec<String>,
    /// The Node condition it sets.
    pub condition: Option<Condition>,
    /// What a person can do.
    pub suggest: String,
    /// The playbook that mends it; `None`: report only.
    pub mend: Option<String>,
    /// A real line or picture of it.
    pub example: String,
    /// What looks like it and is not.
    pub false_positives: Vec<String>,
    /// Where to read more.
    pub references: Vec<String>,
    /// Its test cases.
    pub cases: Vec<Example>,
    /// Where the parts stand that only the whole rule book can check.
    pub places: Places,
}

/// Where parts of a signature stand in its document.
#[derive(Debug, Clone, Copy, Default)]
pub struct Places {
    /// `when` or `count`.
    pub when: Place,
    /// `each`.
    pub each: Place,
    /// `evidence`.
    pub evidence: Place,
    /// `cases`.
    pub cases: Place,
    /// `mend`.
    pub mend: Place,
    /// `hides`.
    pub hides: Place,
}

impl Signature {
    /// Reads a document.
    ///
    /// # Errors
    /// Everything that is wrong with its form, with places. Whether its signals exist is the rule book's question.
    pub fn parse(origin: &str, text: &str) -> Result<Self, Problems> {
        let node = parse(origin, text)?;
        let mut problems = Problems::of(origin);
        let signature = read_signature(&node, &mut problems);
        problems.into_result(signature)
    }

    /// All questions of its expression and evidence.
    pub fn questions(&self) -> impl Iterator<Item = &Question> {
        self.when
            .questions()
            .iter()
            .chain(self.evidence.iter().flat_map(Template::questions))
    }

    /// If `each` goes through a capture: the log pattern and the capture.
    pub fn each_capture(&self) -> Option<(&str, &str)> {
        let (log, capture) = self.each.as_deref()?.split_once('.')?;
        self.logs
            .iter()
            .any(|rule| rule.name == log)
            .then_some((log, capture))
    }
}
