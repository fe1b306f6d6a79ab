//! The words of the contract: modes, disruption classes, and who a proposal is about.

use crate::signal::Subject;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// How far the agent may go. Anything missing or not understood means [`Mode::Observe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Detects and says what it would do.
    #[default]
    Observe,
    /// Acts on a case that a person approved.
    Approve,
    /// Acts.
    Auto,
}

/// What a playbook does to the node's work, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Disruption {
    /// Nothing that a workload could notice.
    #[default]
    None,
    /// A daemon restarts; workloads go on.
    Restart,
    /// Workloads are moved away.
    Drain,
    /// The machine restarts.
    Reboot,
}

impl Mode {
    /// All modes with their words, weakest first.
    pub const WORDS: [(&'static str, Mode); 3] = [
        ("observe", Mode::Observe),
        ("approve", Mode::Approve),
        ("auto", Mode::Auto),
    ];
}

impl Disruption {
    /// All classes with their words, weakest first.
    pub const WORDS: [(&'static str, Disruption); 4] = [
        ("none", Disruption::None),
        ("restart", Disruption::Restart),
        ("drain", Disruption::Drain),
        ("reboot", Disruption::Reboot),
    ];
}

/// A word that is not one of the known ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not one of {known}")]
pub struct UnknownWord {
    /// What was written.
    pub word: String,
    /// What would be right.
    pub known: String,
}

fn from_word<T: Copy>(words: &[(&'static str, T)], text: &str) -> Result<T, UnknownWord> {
    words
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, value)| *value)
        .ok_or_else(|| UnknownWord {
            // A hostile annotation must not flood a message.
            word: text.chars().take(40).collect(),
            known: words
                .iter()
                .map(|(word, _)| *word)
                .collect::<Vec<_>>()
                .join(", "),
        })
}

fn to_word<T: Copy + PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    words
        .iter()
        .find(|(_, known)| *known == value)
        .map_or("unknown", |(word, _)| word)
}

impl FromStr for Mode {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        from_word(&Mode::WORDS, text)
    }
}

impl FromStr for Disruption {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        from_word(&Disruption::WORDS, text)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(to_word(&Mode::WORDS, *self))
    }
}

impl fmt::Display for Disruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(to_word(&Disruption::WORDS, *self))
    }
}

/// A case's number on this node; written `case-41`. Numbers only grow, also over restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CaseId(pub u64);

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "case-{}", self.0)
    }
}

impl FromStr for CaseId {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        numbered(text, "case-").map(CaseId)
    }
}

/// The number behind `prefix`, in digits only.
fn numbered(text: &str, prefix: &str) -> Result<u64, UnknownWord> {
    text.strip_prefix(prefix)
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| UnknownWord {
            word: text.chars().take(40).collect(),
            known: format!("{prefix}NUMBER"),
        })
}

/// A run's number on this node; written `run-17`. Numbers only grow, also over restarts (safety.md, I7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run-{}", self.0)
    }
}

impl FromStr for RunId {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        numbered(text, "run-").map(RunId)
    }
}

/// Which playbook, exactly.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct PlaybookRef {
    /// Its id.
    pub id: Arc<str>,
    /// Its version, SemVer.
    pub version: Arc<str>,
    /// SHA-256 of the canonical document, lower-case hexadecimal.
    pub digest: Arc<str>,
}

/// What the diagnosis would like to have done about a case.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// The case.
    pub case: CaseId,
    /// The signature that opened it.
    pub signature: Arc<str>,
    /// What it is about.
    pub subject: Subject,
    /// What would be run.
    pub playbook: PlaybookRef,
    /// What that does to the node's work.
    pub disruption: Disruption,
    /// What was seen, for people.
    pub evidence: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_written_alike() {
        for (word, mode) in Mode::WORDS {
            assert_eq!(word.parse(), Ok(mode));
            assert_eq!(mode.to_string(), word);
        }
        for (word, class) in Disruption::WORDS {
            assert_eq!(word.parse(), Ok(class));
            assert_eq!(class.to_string(), word);
        }
        assert!(Mode::Observe < Mode::Auto && Disruption::None < Disruption::Reboot);
    }

    #[test]
    fn what_is_not_a_word_is_refused() {
        for text in [
            "",
            "Auto",
            "auto ",
            "AUTO",
            "yes",
            "true",
            "autö",
            "observe,auto",
            "2",
        ] {
            assert!(text.parse::<Mode>().is_err(), "{text}");
        }
        for text in [
            "",
            "case-",
            "case--1",
            "41",
            "case-4x",
            "case-99999999999999999999999",
            "Case-1",
            "case-+1",
        ] {
            assert!(text.parse::<CaseId>().is_err(), "{text}");
        }
        let long = "x"
            .repeat(10_000)
            .parse::<Mode>()
            .expect_err("refused")
            .to_string();
        assert!(long.len() < 200);
    }
}
