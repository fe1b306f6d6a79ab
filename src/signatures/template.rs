//! Evidence sentences with values in them: `answered in {{ signal("systemd.private.latency") }}`.

use super::expression::{Answers, Expression};
use super::question::Question;
use crate::document::format_span;
use crate::signal::{Catalogue, Unit, Value};
use std::fmt::Write;
use std::time::Duration;

/// A sentence with expressions in it.
#[derive(Debug, Clone)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Value(Expression),
}

impl Template {
    /// Reads `text {{ expression }} text`.
    ///
    /// # Errors
    /// One sentence per mistake.
    pub fn compile(text: &str) -> Result<Self, Vec<String>> {
        let mut parts = Vec::new();
        let mut mistakes = Vec::new();
        let mut rest = text;
        while let Some((before, tail)) = rest.split_once("{{") {
            parts.push(Part::Text(before.to_owned()));
            let Some((inside, after)) = tail.split_once("}}") else {
                mistakes.push("`{{` has no `}}`".to_owned());
                rest = "";
                break;
            };
            match Expression::compile(inside.trim()) {
                Ok(expression) => parts.push(Part::Value(expression)),
                Err(found) => mistakes.extend(found),
            }
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        if mistakes.is_empty() {
            Ok(Self { parts })
        } else {
            Err(mistakes)
        }
    }

    /// All questions in it.
    pub fn questions(&self) -> impl Iterator<Item = &Question> {
        self.parts.iter().flat_map(|part| match part {
            Part::Text(_) => &[],
            Part::Value(expression) => expression.questions(),
        })
    }

    /// The sentence with its values; one that cannot be told stands as `?`.
    pub fn render(&self, answers: &dyn Answers, catalogue: &Catalogue) -> String {
        let mut sentence = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => sentence.push_str(text),
                Part::Value(expression) => match expression.value(answers) {
                    Ok(value) => write_value(&mut sentence, &value, unit_of(expression, catalogue)),
                    Err(_) => sentence.push('?'),
                },
            }
        }
        sentence
    }
}

fn unit_of(expression: &Expression, catalogue: &Catalogue) -> Unit {
    match expression.as_question() {
        Some(Question::Signal(topic) | Question::Max(topic, _) | Question::Min(topic, _)) => {
            catalogue
                .get(&topic.key)
                .map_or(Unit::None, |entry| entry.spec.unit)
        }
        _ => Unit::None,
    }
}

fn write_value(sentence: &mut String, value: &Value, unit: Unit) {
    let written = match (value.as_number(), unit) {
        (Some(seconds), Unit::Seconds) if seconds >= 0.0 => {
            // Anything beyond what a Duration holds is a broken reading; the plain number says so.
            match Duration::try_from_secs_f64(seconds) {
                Ok(span) => write!(sentence, "{}", format_span(span)),
                Err(_) => write!(sentence, "{seconds} s"),
            }
        }
        (Some(ratio), Unit::Ratio) => write!(sentence, "{:.0} %", ratio * 100.0),
        (Some(rate), Unit::PerSecond) => write!(sentence, "{rate:.1}/s"),
        _ => write!(sentence, "{value}"),
    };
    debug_assert!(written.is_ok(), "writing to a String cannot fail");
}
