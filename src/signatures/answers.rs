//! Answering a rule's questions from the timeline, the log book, the version tables and the other verdicts.

use super::expression::Answers;
use super::log_book::LogBook;
use super::question::{Question, Topic};
use crate::signal::{MissingReason, Reading, Series, Subject, Timeline, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What the signatures said last, node-wide: `Ok(true)` present anywhere, `Ok(false)` absent everywhere.
pub type Verdicts = BTreeMap<Arc<str>, Result<bool, MissingReason>>;

/// Everything that one evaluation may look at.
pub struct Scene<'a> {
    /// The signals.
    pub timeline: &'a Timeline,
    /// The log lines.
    pub log: &'a LogBook,
    /// What the other signatures say.
    pub verdicts: &'a Verdicts,
    /// The signature that asks; empty for a playbook.
    pub owner: &'a str,
    /// What it asks about.
    pub subject: &'a Subject,
    /// If the subject is a capture of a log pattern: the capture's name.
    pub capture: Option<&'a str>,
    /// How many units had failed when the run began; `None` outside a run.
    pub failed_units_before: Option<i64>,
}

/// The signal that counts failed units.
const FAILED_UNITS: &str = "systemd.failed_units";

impl Scene<'_> {
    /// The subject that is meant: the one in brackets, else the present one if the signal has subjects, else the node.
    fn subject_of(&self, topic: &Topic) -> Subject {
        if let Some(name) = &topic.subject {
            return Subject::named(name);
        }
        let entry = self.timeline.catalogue().get(&topic.key);
        let has_subjects = entry.is_some_and(|entry| entry.spec.per.is_some());
        if has_subjects {
            self.subject.clone()
        } else {
            Subject::NODE
        }
    }

    fn fresh(&self, topic: &Topic) -> Result<&Value, MissingReason> {
        match self.timeline.latest(&topic.key, &self.subject_of(topic)) {
            Reading::Fresh { value, .. } => Ok(value),
            Reading::Stale { .. } => Err(MissingReason::Stale),
            Reading::Missing(reason) => Err(reason),
        }
    }

    /// The history of a signal whose latest reading is fresh: a window that ends in darkness says nothing.
    fn history(&self, topic: &Topic) -> Result<&Series, MissingReason> {
        self.fresh(topic)?;
        self.timeline
            .series(&topic.key, &self.subject_of(topic))
            .ok_or(MissingReason::NotYet)
    }

    fn number(
        &self,
        topic: &Topic,
        read: impl FnOnce(&Series, crate::signal::Uptime) -> Option<f64>,
    ) -> Result<Value, MissingReason> {
        let series = self.history(topic)?;
        read(series, self.timeline.now().uptime)
            .map(Value::Number)
            .ok_or_else(|| {
                MissingReason::Rule(format!("`{}` has no numbers in the span", topic.key).into())
            })
    }

    fn lines(&self, log: &str, span: Duration) -> Result<Value, MissingReason> {
        let now = self.timeline.now();
        let capture = self.capture.map(|name| (name, self.subject.as_str()));
        let count = self
            .log
            .matches(self.owner, log, now, span, capture)
            .count();
        if count == 0 {
            self.log.hears(self.owner, log, now)?;
        }
        Ok(Value::Integer(i64::try_from(count).unwrap_or(i64::MAX)))
    }

    fn new_failed_units(&self) -> Result<Value, MissingReason> {
        let before = self.failed_units_before.ok_or_else(|| {
            MissingReason::Rule("new_failed_units() is for playbooks only".into())
        })?;
        let topic = Topic {
            key: FAILED_UNITS.to_owned(),
            subject: None,
        };
        match self.fresh(&topic)? {
            Value::Integer(now) => Ok(Value::Integer((now - before).max(0))),
            _ => Err(MissingReason::Unreadable(FAILED_UNITS.into())),
        }
    }
}

impl Answers for Scene<'_> {
    fn answer(&self, question: &Question) -> Result<Value, MissingReason> {
        match question {
            Question::Signal(key) => self.fresh(key).cloned(),
            Question::Known(key) => Ok(Value::Bool(self.fresh(key).is_ok())),
            Question::Count(key, value) => {
                Ok(Value::Integer(i64::from(self.history(key)?.count(value))))
            }
            Question::Max(key, span) => {
                self.number(key, |s, now| s.extremes(now, *span).map(|e| e.1))
            }
            Question::Min(key, span) => {
                self.number(key, |s, now| s.extremes(now, *span).map(|e| e.0))
            }
            Question::Increase(key, span) => self.number(key, |s, now| s.increase(now, *span)),
            Question::Changes(key, span) => Ok(Value::Integer(i64::from(
                self.history(key)?
                    .changes(self.timeline.now().uptime, *span),
            ))),
            Question::Lines(log, span) => self.lines(log, *span),
            Question::Verdict(id) => match self.verdicts.get(id.as_str()) {
                Some(Ok(true)) => Ok(Value::Text("present".into())),
                Some(Ok(false)) => Ok(Value::Text("absent".into())),
                Some(Err(reason)) => Err(reason.clone()),
                None => Err(MissingReason::NotHere(
                    format!("no signature `{id}`").into(),
                )),
            },
            Question::NewFailedUnits => self.new_failed_units(),
        }
    }
}
