//! The arguments of a step: scalars and lists of text, read by the step's kind.

use crate::document::{Node, Place, Problems, Tree, closest, parse_span};
use serde::{Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// The placeholder that stands for the subject of a run. Only a whole argument that its kind reads with
/// [`ArgReader::subject_text`] may be this; anywhere else `{{` is refused, so that a subject never becomes part of anything.
pub const SUBJECT: &str = "{{subject}}";

/// The signal that an argument's value is to come from, if the whole text is `{{ signal("KEY") }}`. Only an argument that its
/// kind reads with [`ArgReader::scalar`] may be this: the plan puts the signal's value for the run's subject in its place.
pub fn signal_of(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("{{")?.strip_suffix("}}")?.trim();
    let key = inner.strip_prefix("signal(\"")?.strip_suffix("\")")?;
    let is_key = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'_';
    (!key.is_empty() && key.bytes().all(is_key)).then_some(key)
}

/// The longest text of an argument. The longest unit name is 255 bytes; a condition may be somewhat longer.
const MAX_TEXT_BYTES: usize = 2048;
/// The longest list in an argument. The longest real one is a list of packages.
const MAX_LIST: usize = 64;

/// The value of an argument.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ArgValue {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Number(f64),
    /// Text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
}

/// One argument: its name, its value and where it stands in the document.
#[derive(Debug, Clone, PartialEq)]
pub struct Arg {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: ArgValue,
    /// Where the value stands.
    pub place: Place,
}

/// The arguments of one step, without `if` and `timeout`, in the order of the text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Args {
    list: Vec<Arg>,
}

impl Args {
    /// These arguments, with no place: for code and tests. A name said twice counts once, the first time.
    pub fn of(list: impl IntoIterator<Item = (impl Into<String>, ArgValue)>) -> Self {
        let mut args = Args::default();
        for (name, value) in list {
            let name = name.into();
            if args.get(&name).is_none() {
                args.list.push(Arg {
                    name,
                    value,
                    place: Place::default(),
                });
            }
        }
        args
    }

    /// The argument called `name`.
    pub fn get(&self, name: &str) -> Option<&Arg> {
        self.list.iter().find(|arg| arg.name == name)
    }

    /// All arguments in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = &Arg> {
        self.list.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Reads one argument of a document; a form that arguments cannot have is a problem.
    pub(super) fn push(&mut self, name: &str, node: &Node, problems: &mut Problems) {
        let value = match &node.tree {
            Tree::Bool(value) => ArgValue::Bool(*value),
            Tree::Integer(value) => ArgValue::Integer(*value),
            Tree::Number(value) if value.is_finite() => ArgValue::Number(*value),
            Tree::Text(text) => ArgValue::Text(short(text, node.place, problems)),
            Tree::List(items) => ArgValue::Texts(texts(name, items, node.place, problems)),
            other => {
                problems.add(
                    node.place,
                    format!("argument `{name}` cannot be {}; give text, a number, true or false, or a list of text", other.form()),
                );
                return;
            }
        };
        self.list.push(Arg {
            name: name.to_owned(),
            value,
            place: node.place,
        });
    }

    /// The same arguments with the subject in place of every `{{subject}}`, and `value_of` asked for every signal.
    ///
    /// # Errors
    /// The signal that has no value.
    pub(super) fn filled<'a>(
        &'a self,
        subject: &str,
        mut value_of: impl FnMut(&'a str) -> Option<String>,
    ) -> Result<Args, &'a str> {
        let mut list = Vec::with_capacity(self.list.len());
        for arg in &self.list {
            let mut arg_now = arg.clone();
            if let ArgValue::Text(text) = &arg.value {
                if text == SUBJECT {
                    arg_now.value = ArgValue::Text(subject.to_owned());
                } else if let Some(key) = signal_of(text) {
                    arg_now.value = ArgValue::Text(value_of(key).ok_or(key)?);
                }
            }
            list.push(arg_now);
        }
        Ok(Args { list })
    }
}

impl Serialize for Args {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.list.iter().map(|arg| (&arg.name, &arg.value)))
    }
}

fn short(text: &str, place: Place, problems: &mut Problems) -> String {
    if text.len() > MAX_TEXT_BYTES {
        problems.add(
            place,
            format!(
                "{} bytes are more than the {MAX_TEXT_BYTES} that an argument may have; shorten it",
                text.len()
            ),
        );
    }
    text.to_owned()
}

fn texts(name: &str, items: &[Node], place: Place, problems: &mut Problems) -> Vec<String> {
    if items.len() > MAX_LIST {
        problems.add(
            place,
            format!(
                "argument `{name}` has {} items; {MAX_LIST} are the most",
                items.len()
            ),
        );
        return Vec::new();
    }
    let mut list = Vec::with_capacity(items.len());
    for item in items {
        match &item.tree {
            Tree::Text(text) => list.push(short(text, item.place, problems)),
            other => problems.add(
                item.place,
                format!(
                    "argument `{name}` is a list of text, and this is {}; put it in quotes",
                    other.form()
                ),
            ),
        }
    }
    list
}

/// One thing wrong with the arguments of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgProblem {
    /// The argument, or `None` for the step as a whole.
    pub arg: Option<String>,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Everything that is wrong with the arguments of a step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ArgError {
    /// The problems; never empty.
    pub problems: Vec<ArgProblem>,
}

impl ArgError {
    /// One problem with the step as a whole, such as a kind that is not known.
    pub fn whole(message: impl Into<String>) -> Self {
        Self {
            problems: vec![ArgProblem {
                arg: None,
                message: message.into(),
            }],
        }
    }
}

impl fmt::Display for ArgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index > 0 { "; " } else { "" };
            write!(f, "{separator}{}", problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for ArgError {}

/// Reads the arguments of one step and collects every problem, as `document::Fields` does for documents.
pub struct ArgReader<'a> {
    kind: &'static str,
    args: &'a Args,
    known: Vec<&'static str>,
    problems: Vec<ArgProblem>,
}

impl<'a> ArgReader<'a> {
    /// The arguments of a step of this kind.
    pub fn of(kind: &'static str, args: &'a Args) -> Self {
        Self {
            kind,
            args,
            known: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Notes that the argument `name` is wrong.
    pub fn refuse(&mut self, name: &'static str, message: impl Into<String>) {
        self.problems.push(ArgProblem {
            arg: Some(name.to_owned()),
            message: message.into(),
        });
    }

    fn take(&mut self, name: &'static str) -> Option<&'a ArgValue> {
        self.known.push(name);
        self.args.get(name).map(|arg| &arg.value)
    }

    fn missing(&mut self, name: &'static str) {
        let message = format!("{} needs `{name}`", self.kind);
        self.problems.push(ArgProblem { arg: None, message });
    }

    fn plain(&mut self, name: &'static str, value: &'a ArgValue) -> Option<&'a str> {
        match value {
            ArgValue::Text(text) if text.contains("{{") => {
                self.refuse(
                    name,
                    format!(
                        "`{name}` of {} takes no `{SUBJECT}`; write the value itself",
                        self.kind
                    ),
                );
                None
            }
            ArgValue::Text(text) => Some(text),
            _ => {
                self.refuse(
                    name,
                    format!("`{name}` of {} must be text; put it in quotes", self.kind),
                );
                None
            }
        }
    }

    /// Text that must be there and takes no subject.
    pub fn text(&mut self, name: &'static str) -> Option<&'a str> {
        match self.take(name) {
            Some(value) => self.plain(name, value),
            None => {
                self.missing(name);
                None
            }
        }
    }

    /// Text that may be there and takes no subject.
    pub fn optional_text(&mut self, name: &'static str) -> Option<&'a str> {
        self.take(name).and_then(|value| self.plain(name, value))
    }

    /// Text that must be there and may be `{{subject}}` as a whole. While it still is, `check` is not asked: the plan asks
    /// again with the real subject.
    pub fn subject_text(
        &mut self,
        name: &'static str,
        check: impl FnOnce(&str) -> Result<(), String>,
    ) -> Option<&'a str> {
        let value = match self.take(name) {
            Some(ArgValue::Text(text)) if text == SUBJECT => return Some(text),
            Some(value) => self.plain(name, value)?,
            None => {
                self.missing(name);
                return None;
            }
        };
        match check(value) {
            Ok(()) => Some(value),
            Err(message) => {
                self.refuse(name, message);
                None
            }
        }
    }

    /// A value that a file takes as text: text, or a number as it is written. It may be `{{ signal("KEY") }}` as a whole; the
    /// plan asks again with the signal's value.
    pub fn scalar(&mut self, name: &'static str) -> Option<String> {
        match self.take(name) {
            Some(ArgValue::Integer(value)) => Some(value.to_string()),
            Some(ArgValue::Number(value)) => Some(value.to_string()),
            Some(ArgValue::Text(text)) if signal_of(text).is_some() => Some(text.clone()),
            Some(value) => self.plain(name, value).map(str::to_owned),
            None => {
                self.missing(name);
                None
            }
        }
    }

    /// A list of texts that must be there and not be empty. A single text counts as a list of one.
    pub fn texts(&mut self, name: &'static str) -> Option<Vec<String>> {
        let list = match self.take(name) {
            Some(ArgValue::Texts(list)) => list.clone(),
            Some(value) => vec![self.plain(name, value)?.to_owned()],
            None => {
                self.missing(name);
                return None;
            }
        };
        if list.is_empty() {
            self.refuse(
                name,
                format!(
                    "`{name}` of {} is an empty list; name at least one",
                    self.kind
                ),
            );
            return None;
        }
        if list.iter().any(|text| text.contains("{{")) {
            self.refuse(
                name,
                format!(
                    "`{name}` of {} takes no `{SUBJECT}`; write the values themselves",
                    self.kind
                ),
            );
            return None;
        }
        Some(list)
    }

    /// A span of time that must be there.
    pub fn span(&mut self, name: &'static str) -> Option<Duration> {
        match self.args.get(name) {
            Some(_) => self.optional_span(name),
            None => {
                self.known.push(name);
                self.missing(name);
                None
            }
        }
    }

    /// A span of time that may be there.
    pub fn optional_span(&mut self, name: &'static str) -> Option<Duration> {
        let text = match self.take(name)? {
            ArgValue::Text(text) => text,
            _ => {
                self.refuse(
                    name,
                    format!(
                        "`{name}` of {} must be a span of time like 30s or 5m",
                        self.kind
                    ),
                );
                return None;
            }
        };
        match parse_span(text) {
            Ok(span) if !span.is_zero() => Some(span),
            Ok(_) => {
                self.refuse(
                    name,
                    format!("`{name}` of {} must be longer than nothing", self.kind),
                );
                None
            }
            Err(message) => {
                self.refuse(name, message);
                None
            }
        }
    }

    /// True or false; a missing one is `default`.
    pub fn flag(&mut self, name: &'static str, default: bool) -> bool {
        match self.take(name) {
            Some(ArgValue::Bool(value)) => *value,
            Some(_) => {
                self.refuse(
                    name,
                    format!("`{name}` of {} must be true or false", self.kind),
                );
                default
            }
            None => default,
        }
    }

    /// One of a few words; a missing one is the first of them.
    pub fn word(&mut self, name: &'static str, words: &[&'static str]) -> Option<&'static str> {
        let Some(value) = self.take(name) else {
            return words.first().copied();
        };
        let text = self.plain(name, value)?;
        let found = words.iter().find(|word| **word == text).copied();
        if found.is_none() {
            self.refuse(
                name,
                format!(
                    "`{name}` of {} must be one of {}",
                    self.kind,
                    words.join(", ")
                ),
            );
        }
        found
    }

    /// `value` if nothing was wrong; arguments that nobody read are wrong too.
    ///
    /// # Errors
    /// Every problem.
    pub fn finish<T>(mut self, value: Option<T>) -> Result<T, ArgError> {
        for arg in self.args.iter() {
            if self.known.contains(&arg.name.as_str()) {
                continue;
            }
            let hint = match closest(&arg.name, self.known.iter().copied()) {
                Some(near) => format!("; did you mean `{near}`?"),
                None => format!("; it takes: {}, if, timeout", self.known.join(", ")),
            };
            let message = format!("{} has no argument `{}`{hint}", self.kind, arg.name);
            self.problems.push(ArgProblem {
                arg: Some(arg.name.clone()),
                message,
            });
        }
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ if self.problems.is_empty() => Err(ArgError::whole(format!(
                "the arguments of {} cannot be read",
                self.kind
            ))),
            _ => Err(ArgError {
                problems: self.problems,
            }),
        }
    }
}
