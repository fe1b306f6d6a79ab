//! Names of signals, declared once beside the probe that reads them.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// What a number counts, in Prometheus base units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// A plain count or a text or truth value.
    None,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A share from 0 to 1.
    Ratio,
    /// Per second.
    PerSecond,
}

/// Which form the values of a key have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// True or false.
    Bool,
    /// A whole number.
    Integer,
    /// A number with a fraction. Rules see it as CEL `double`.
    Number,
    /// Text.
    Text,
}

/// A value that a probe read.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A finite number with a fraction.
    Number(f64),
    /// Text, at most a few hundred bytes.
    Text(Arc<str>),
}

impl Value {
    /// The form of this value.
    pub fn form(&self) -> Form {
        match self {
            Value::Bool(_) => Form::Bool,
            Value::Integer(_) => Form::Integer,
            Value::Number(_) => Form::Number,
            Value::Text(_) => Form::Text,
        }
    }

    /// The value as a number: truth is 0 or 1, text is none.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Value::Bool(value) => Some(f64::from(u8::from(*value))),
            Value::Integer(value) => Some(*value as f64),
            Value::Number(value) => Some(*value),
            Value::Text(_) => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(true) => f.write_str("yes"),
            Value::Bool(false) => f.write_str("no"),
            Value::Integer(value) => write!(f, "{value}"),
            Value::Number(value) if value.abs() >= 100.0 => write!(f, "{value:.0}"),
            Value::Number(value) => write!(f, "{}", (value * 1000.0).round() / 1000.0),
            Value::Text(value) => f.write_str(value),
        }
    }
}

/// A Rust type that a key can be declared with.
pub trait ValueType {
    /// Its form.
    const FORM: Form;
    /// The value to store.
    fn into_value(self) -> Value;
}

impl ValueType for bool {
    const FORM: Form = Form::Bool;
    fn into_value(self) -> Value {
        Value::Bool(self)
    }
}

impl ValueType for i64 {
    const FORM: Form = Form::Integer;
    fn into_value(self) -> Value {
        Value::Integer(self)
    }
}

impl ValueType for f64 {
    const FORM: Form = Form::Number;
    fn into_value(self) -> Value {
        Value::Number(self)
    }
}

impl ValueType for Duration {
    const FORM: Form = Form::Number;
    fn into_value(self) -> Value {
        Value::Number(self.as_secs_f64())
    }
}

impl ValueType for Arc<str> {
    const FORM: Form = Form::Text;
    fn into_value(self) -> Value {
        Value::Text(self)
    }
}

/// Everything there is to know about a signal.
#[derive(Debug, Clone, Copy)]
pub struct KeySpec {
    /// Dotted name, unique over all probes: `systemd.bus.manager.answers`.
    pub name: &'static str,
    /// The form of its values.
    pub form: Form,
    /// What its numbers count.
    pub unit: Unit,
    /// What it says, in one sentence.
    pub help: &'static str,
    /// Where it is read: a kernel file, a D-Bus property, a command.
    pub source: &'static str,
    /// What a subject of it is (`unit`, `mount point`, `sysctl`), or `None` where the node itself is the subject.
    pub per: Option<&'static str>,
    /// How old a reading may be before it counts as stale, thus unknown. Usually three periods of its probe.
    pub max_age: Duration,
}

/// A signal's name with the Rust type of its values; probes declare these as constants.
pub struct Key<V> {
    /// The description that outlives the type.
    pub spec: KeySpec,
    value: PhantomData<fn() -> V>,
}

impl<V: ValueType> Key<V> {
    /// Declares a signal of the node itself.
    pub const fn new(
        name: &'static str,
        unit: Unit,
        max_age: Duration,
        help: &'static str,
        source: &'static str,
    ) -> Self {
        let spec = KeySpec {
            name,
            form: V::FORM,
            unit,
            help,
            source,
            per: None,
            max_age,
        };
        Self {
            spec,
            value: PhantomData,
        }
    }

    /// Makes it a signal with subjects, each of which is a `what`.
    pub const fn per(mut self, what: &'static str) -> Self {
        self.spec.per = Some(what);
        self
    }
}

/// What a reading is about: the node itself, or one unit, mount point, interface and so on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(Option<Arc<str>>);

impl Subject {
    /// The node itself.
    pub const NODE: Subject = Subject(None);

    /// One named thing on the node. An empty name is the node itself.
    pub fn named(name: &str) -> Self {
        if name.is_empty() {
            Subject::NODE
        } else {
            Subject(Some(Arc::from(name)))
        }
    }

    /// The name, or an empty text for the node itself.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or("")
    }

    /// Whether this is the node itself.
    pub fn is_node(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("node"))
    }
}
