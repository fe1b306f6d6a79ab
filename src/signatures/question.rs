//! The questions a rule may ask: `signal("k")`, `count("k", false)`, `increase("k", "15m")`, `lines("l", "10m")`, ...

use crate::document::parse_span;
use crate::signal::Value;
use cel::IdedExpr;
use cel::common::ast::{Expr, LiteralValue};
use std::time::Duration;

/// One question with its arguments, which are literals so that a rule's inputs are known when it is loaded.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// The fresh value.
    Signal(String),
    /// Whether there is a fresh value.
    Known(String),
    /// How many checks in a row gave the value.
    Count(String, Value),
    /// The largest number in the span.
    Max(String, Duration),
    /// The smallest number in the span.
    Min(String, Duration),
    /// How much a counter rose in the span.
    Increase(String, Duration),
    /// How often the value changed in the span.
    Changes(String, Duration),
    /// How many lines of the rule's own log pattern came in the span.
    Lines(String, Duration),
    /// What another signature says: `present`, `absent` or unknown.
    Verdict(String),
    /// Whether the installed version is in the ranges of an advisory: `affected` or `fixed`, else unknown.
    Advisory(String),
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
        "advisory",
        "\"id\"",
        "\"affected\" or \"fixed\" by the version table of that id; else unknown",
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
    pub fn key(&self) -> Option<&str> {
        match self {
            Question::Signal(key)
            | Question::Known(key)
            | Question::Count(key, _)
            | Question::Max(key, _)
            | Question::Min(key, _)
            | Question::Increase(key, _)
            | Question::Changes(key, _) => Some(key),
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
            ("signal", [Text(key)]) => Question::Signal(key.to_string()),
            ("known", [Text(key)]) => Question::Known(key.to_string()),
            ("count", [Text(key), value]) => Question::Count(key.to_string(), value.clone()),
            ("max", [Text(key), Text(text)]) => Question::Max(key.to_string(), span(text)?),
            ("min", [Text(key), Text(text)]) => Question::Min(key.to_string(), span(text)?),
            ("increase", [Text(key), Text(text)]) => {
                Question::Increase(key.to_string(), span(text)?)
            }
            ("changes", [Text(key), Text(text)]) => Question::Changes(key.to_string(), span(text)?),
            ("lines", [Text(log), Text(text)]) => Question::Lines(log.to_string(), span(text)?),
            ("verdict", [Text(id)]) => Question::Verdict(id.to_string()),
            ("advisory", [Text(id)]) => Question::Advisory(id.to_string()),
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
