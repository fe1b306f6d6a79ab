//! The operator's settings for collectors: node_exporter's flags by their names.

use std::collections::BTreeMap;
use std::time::Duration;

use regex::bytes::Regex;

use crate::collectors::entry::Entry;
use crate::collectors::error::SetupError;
use crate::collectors::source::roots::Roots;

/// The flags that were given, the defaults of those that were not, and the roots.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where procfs, sysfs, the host's root and udev's data lie.
    pub roots: Roots,
    values: BTreeMap<String, String>,
}

impl Settings {
    /// The defaults of every collector in `table`.
    pub fn defaults(roots: Roots, table: &[&Entry]) -> Settings {
        let mut values = BTreeMap::new();
        for entry in table {
            let on = if entry.enabled { "true" } else { "false" };
            values.insert(format!("collector.{}", entry.name), on.to_owned());
            for flag in entry.flags {
                if let Some(default) = flag.default {
                    values.insert(flag.name.to_owned(), default.to_owned());
                }
            }
        }
        Settings { roots, values }
    }

    /// Sets a flag, named without dashes.
    pub fn set(&mut self, flag: &str, value: &str) {
        self.values.insert(flag.to_owned(), value.to_owned());
    }

    /// A flag's value; `None` if it was not given and has no default, or is empty.
    pub fn text(&self, flag: &str) -> Option<&str> {
        self.values
            .get(flag)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Whether a switch is on.
    pub fn is_on(&self, flag: &str) -> bool {
        self.text(flag) == Some("true")
    }

    /// Whether a collector is switched on.
    pub fn is_enabled(&self, entry: &Entry) -> bool {
        self.values
            .get(&format!("collector.{}", entry.name))
            .is_some_and(|value| value == "true")
    }

    /// A flag's value as a pattern; `None` if it is absent or empty.
    ///
    /// *Errors*: it is no regular expression.
    pub fn pattern(&self, flag: &str) -> Result<Option<Regex>, SetupError> {
        let compile = |text| {
            Regex::new(text).map_err(|source| SetupError::Pattern {
                flag: flag.to_owned(),
                source,
            })
        };
        self.text(flag).map(compile).transpose()
    }

    /// The filter made of an include and an exclude flag.
    ///
    /// *Errors*: both were given, or one is no regular expression.
    pub fn filter(
        &self,
        include: &'static str,
        exclude: &'static str,
    ) -> Result<Filter, SetupError> {
        let filter = Filter {
            include: self.pattern(include)?,
            exclude: self.pattern(exclude)?,
        };
        if filter.include.is_some() && filter.exclude.is_some() {
            return Err(SetupError::Both {
                one: include,
                other: exclude,
            });
        }
        Ok(filter)
    }

    /// A flag's value as a duration in Go's form (`5s`, `250ms`, `1m30s`).
    ///
    /// *Errors*: it is no duration.
    pub fn duration(&self, flag: &str) -> Result<Option<Duration>, SetupError> {
        let parse = |text: &str| {
            go_duration(text).ok_or_else(|| SetupError::Value {
                flag: flag.to_owned(),
                value: text.to_owned(),
                expected: "a duration such as 5s or 250ms",
            })
        };
        self.text(flag).map(parse).transpose()
    }
}

/// Which devices are shown.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    include: Option<Regex>,
    exclude: Option<Regex>,
}

impl Filter {
    /// Whether a device of this name is left out.
    pub fn is_ignored(&self, name: &[u8]) -> bool {
        self.exclude
            .as_ref()
            .is_some_and(|pattern| pattern.is_match(name))
            || self
                .include
                .as_ref()
                .is_some_and(|pattern| !pattern.is_match(name))
    }
}

/// A duration as Go's flags and configurations write it (`1m30s`, `250ms`); `None` for what is none.
pub fn go_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 5] = [
        ("ms", 1e-3),
        ("us", 1e-6),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|sign: char| sign.is_ascii_alphabetic())?;
        let (digits, tail) = rest.split_at_checked(end)?;
        let (unit, size) = UNITS.iter().find(|(unit, _)| tail.starts_with(unit))?;
        seconds += digits.parse::<f64>().ok()? * size;
        rest = tail.get(unit.len()..)?;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::go_duration;
    use std::time::Duration;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let cases = [
            ("5s", Some(Duration::from_secs(5))),
            ("250ms", Some(Duration::from_millis(250))),
            ("1m30s", Some(Duration::from_secs(90))),
            ("1.5h", Some(Duration::from_secs(5400))),
            ("5", None),
            ("s", None),
            ("-5s", None),
            ("5 s", None),
        ];
        for (text, want) in cases {
            assert_eq!(go_duration(text), want, "{text}");
        }
    }
}
