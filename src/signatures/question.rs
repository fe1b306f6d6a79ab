//! The questions a rule may ask: `signal("k")`, `count("k", false)`, `increase("k", "15m")`, `lines("l", "10m")`, ...

use crate::document::parse_span;
use crate::signal::Value;
use cel::IdedExpr;
use cel::common::ast::{Expr, LiteralValue};
use std::time::Duration;

/// A signal that a question is about: `key`, or `key[subject]` for one of its subjects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// The signal's name.
    pub key: String,
    /// The subject named in brackets, if one is; else the signature's own subject counts.
    pub subject: Option<String>,
}

impl Topic {
    fn of(text: &str) -> Self {
        match text.strip_suffix(']').and_then(|text| text.split_once('[')) {
            Some((key, subject)) => Self {
                key: key.to_owned(),
                subject: Some(subject.to_owned()),
            },
            None => Self {
                key: text.to_owned(),
                subject: None,
            },
        }
    }
}

/// One question with its arguments, which are literals so that a rule's inputs are known when it is loaded.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// The fresh value.
    Signal(Topic),
    /// Whether there is a fresh value.
    Known(Topic),
    /// How many checks in a row gave the value.
    Count(Topic, Value),
    /// The largest number in the span.
    Max(Topic, Duration),
    /// The smallest number in the span.
    Min(Topic, Duration),
    /// How much a counter rose in the span.
    Increase(Topic, Duration),
    /// How often the value changed in the span.
    Changes(Topic, Duration),
    /// How many lines of the rule's own log pattern came in the span.
    Lines(String, Duration),
    /// What another signature says: `present`, `absent` or unknown.
    Verdict(String),
    /// Units that failed since the run began (only in playbooks).
    NewFailedUnits,
}

/// Name, arguments, and what it answers, for the language's help page and for error messages.
pub const QUESTIONS: &[(&str, &str, &str)] = &[
    (
        "signal",
        "\"key\"",
        "the value, if it is fresh; else the rule answers unknown",
    ),
    ("known", "\"key\"", "whether there is a fresh value"),
    (
        "count",
        "\"key\", value",
        "how many checks in a row, up to now, gave this value",
    ),
    ("max", "\"key\", \"10m\"", "the largest number in the span"),
    ("min", "\"key\", \"10m\"", "the smallest number in the span"),
    (
        "increase",
        "\"key\", \"10m\"",
        "how much a counter rose in the span; a reset counts from zero",
    ),
    (
        "changes",
        "\"key\", \"10m\"",
        "how often the value changed in the span",
    ),
    (
        "lines",
        "\"log\", \"10m\"",
        "how many lines of the rule's log pattern came in the span",
    ),
    (
        "verdict",
        "\"signature\"",
        "\"present\" or \"absent\" of another signature; else unknown",
    ),
    (
        "new_failed_units",
        "",
        "how many units failed since the run began (playbooks only)",
    ),
    ("seconds", "\"5m\"", "a span as a number of seconds"),
];

impl Question {
    /// The signal it asks about, if it asks about one.
    pub fn topic(&self) -> Option<&Topic> {
        match self {
            Question::Signal(topic)
            | Question::Known(topic)
            | Question::Count(topic, _)
            | Question::Max(topic, _)
            | Question::Min(topic, _)
            | Question::Increase(topic, _)
            | Question::Changes(topic, _) => Some(topic),
            _ => None,
        }
    }

    /// Reads a call. `Ok(None)`: not one of the questions, thus CEL's own.
    ///
    /// # Errors
    /// A sentence that says how the question is asked.
    pub fn of_call(name: &str, args: &[IdedExpr]) -> Result<Option<Question>, String> {
        let Some((_, usage, _)) = QUESTIONS.iter().find(|(known, _, _)| *known == name) else {
            return Ok(None);
        };
        let wrong = || format!("`{name}` is asked as {name}({usage}), with literal arguments");
        let literals: Vec<Value> = args
            .iter()
            .map(literal)
            .collect::<Option<_>>()
            .ok_or_else(wrong)?;
        let span = |text: &str| parse_span(text);
        use Value::Text;
        let question = match (name, literals.as_slice()) {
            ("signal", [Text(key)]) => Question::Signal(Topic::of(key)),
            ("known", [Text(key)]) => Question::Known(Topic::of(key)),
            ("count", [Text(key), value]) => Question::Count(Topic::of(key), value.clone()),
            ("max", [Text(key), Text(text)]) => Question::Max(Topic::of(key), span(text)?),
            ("min", [Text(key), Text(text)]) => Question::Min(Topic::of(key), span(text)?),
            ("increase", [Text(key), Text(text)]) => {
                Question::Increase(Topic::of(key), span(text)?)
            }
            ("changes", [Text(key), Text(text)]) => Question::Changes(Topic::of(key), span(text)?),
            ("lines", [Text(log), Text(text)]) => Question::Lines(log.to_string(), span(text)?),
            ("verdict", [Text(id)]) => Question::Verdict(id.to_string()),
            ("new_failed_units", []) => Question::NewFailedUnits,
            _ => return Err(wrong()),
        };
        Ok(Some(question))
    }
}

/// The number of seconds in a call of `seconds("5m")`, if it is one.
///
/// # Errors
/// A sentence that says how a span is written.
pub fn seconds_of_call(name: &str, args: &[IdedExpr]) -> Result<Option<f64>, String> {
    match (name, args) {
        ("seconds", [argument]) => match literal(argument) {
            Some(Value::Text(text)) => parse_span(&text).map(|span| Some(span.as_secs_f64())),
            _ => Err("`seconds` is asked as seconds(\"5m\")".to_owned()),
        },
        ("seconds", _) => Err("`seconds` is asked as seconds(\"5m\")".to_owned()),
        _ => Ok(None),
    }
}

fn literal(expression: &IdedExpr) -> Option<Value> {
    match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(Value::Text(text.inner().into())),
        Expr::Literal(LiteralValue::Boolean(value)) => Some(Value::Bool(*value.inner())),
        Expr::Literal(LiteralValue::Int(value)) => Some(Value::Integer(*value.inner())),
        Expr::Literal(LiteralValue::Double(value)) => Some(Value::Number(*value.inner())),
        _ => None,
    }
}
