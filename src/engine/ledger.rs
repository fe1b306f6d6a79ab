//! What must outlive the process: numbers, attempts, open cases.

use crate::diagnosis::{CaseBook, CaseState, KnownCase};
use crate::policy::{Attempt, CaseId, RunId};
use crate::signal::{Subject, Timestamp, Uptime, Wall};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The form of the file. A file of a newer form is refused, not guessed.
const FORMAT: u32 = 1;

/// How many attempts a signature keeps: gates count at most a few in a day.
const MAX_ATTEMPTS_KEPT: usize = 50;

/// The ledger as it stands in its file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// The form of the file.
    pub format: u32,
    /// The boot in which it was written.
    pub boot_id: String,
    /// The number of the next case.
    pub next_case: u64,
    /// The number of the next run.
    pub next_run: u64,
    /// Attempts by signature, oldest first.
    pub attempts: BTreeMap<String, Vec<KnownAttempt>>,
    /// Cases that are open.
    pub open_cases: Vec<LedgerCase>,
    /// The reason of a pause that a person set here.
    pub pause: Option<String>,
}

/// An attempt as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownAttempt {
    /// The boot in which it began.
    pub boot_id: String,
    /// Microseconds since that boot.
    pub uptime_us: u64,
    /// Microseconds since 1970 by the clock of then.
    pub wall_us: i64,
    /// Its run. 0 where an older version wrote it.
    #[serde(default)]
    pub run: u64,
}

/// An open case as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerCase {
    /// Its number.
    pub id: u64,
    /// Its signature.
    pub signature: String,
    /// What it is about; empty for the node.
    pub subject: String,
    /// When it was confirmed, in microseconds since 1970.
    pub opened_us: i64,
    /// Whether it needs a human.
    pub needs_human: bool,
    /// Runs for it.
    pub runs: Vec<u64>,
}

/// Why a ledger cannot be used. The agent then only observes, because it cannot count attempts.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// It is not what a ledger looks like.
    #[error(
        "the ledger is not readable; move it away after looking at `nodemend audit list`, then restart the agent"
    )]
    Unreadable(#[source] serde_json::Error),
    /// It is of a newer version of nodemend.
    #[error(
        "the ledger has form {found}, this version knows {FORMAT}; run the newer version, or move the file away"
    )]
    Newer {
        /// The form found.
        found: u32,
    },
}

impl Ledger {
    /// The ledger of a machine on which nothing ever happened.
    pub fn empty(boot_id: &str) -> Self {
        Self {
            format: FORMAT,
            boot_id: boot_id.to_owned(),
            next_case: 1,
            next_run: 1,
            attempts: BTreeMap::new(),
            open_cases: Vec::new(),
            pause: None,
        }
    }

    /// Reads the text of a ledger file.
    ///
    /// # Errors
    /// Anything that is not exactly a ledger of this form.
    pub fn parse(text: &str) -> Result<Self, LedgerError> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(LedgerError::Unreadable)?;
        if let Some(found) = value.get("format").and_then(serde_json::Value::as_u64)
            && found > u64::from(FORMAT)
        {
            return Err(LedgerError::Newer {
                found: u32::try_from(found).unwrap_or(u32::MAX),
            });
        }
        serde_json::from_value(value).map_err(LedgerError::Unreadable)
    }

    /// The attempts, as the gates count them in this boot.
    pub fn attempts(&self, boot_id: &str) -> BTreeMap<Arc<str>, Vec<Attempt>> {
        self.attempts
            .iter()
            .map(|(signature, list)| {
                let attempts = list
                    .iter()
                    .map(|known| Attempt {
                        began: Timestamp {
                            uptime: Uptime::new(Duration::from_micros(known.uptime_us)),
                            wall: Wall(known.wall_us),
                        },
                        this_boot: known.boot_id == boot_id,
                    })
                    .collect();
                (Arc::from(signature.as_str()), attempts)
            })
            .collect()
    }

    /// Notes an attempt.
    pub fn add_attempt(&mut self, signature: &str, boot_id: &str, began: Timestamp, run: RunId) {
        let list = self.attempts.entry(signature.to_owned()).or_default();
        list.push(KnownAttempt {
            boot_id: boot_id.to_owned(),
            uptime_us: u64::try_from(began.uptime.since_boot().as_micros()).unwrap_or(u64::MAX),
            wall_us: began.wall.0,
            run: run.0,
        });
        if list.len() > MAX_ATTEMPTS_KEPT {
            list.remove(0);
        }
    }

    /// Forgets the attempts of runs that never opened a journal: the process ended while they waited for a slot, and a run
    /// begins no step before its journal is on disk. `highest` is the highest run that ever had one.
    pub fn forget_unbegun(&mut self, highest: u64) {
        for list in self.attempts.values_mut() {
            list.retain(|attempt| attempt.run <= highest);
        }
    }

    /// Writes down the open cases and the next number of a book.
    pub fn note_cases(&mut self, book: &CaseBook) {
        self.next_case = book.next_id();
        self.open_cases = book
            .open()
            .into_iter()
            .filter_map(|case| {
                Some(LedgerCase {
                    id: case.id?.0,
                    signature: case.signature.to_string(),
                    subject: case.subject.as_str().to_owned(),
                    opened_us: case.opened?.wall.0,
                    needs_human: case.state == CaseState::NeedsHuman,
                    runs: case.runs.iter().map(|run| run.0).collect(),
                })
            })
            .collect();
    }

    /// The open cases, for the book of a new process. Their age is by the wall clock, whatever it was worth.
    pub fn known_cases(&self, now: Timestamp) -> Vec<KnownCase> {
        self.open_cases
            .iter()
            .map(|case| {
                let age = u64::try_from(now.wall.0.saturating_sub(case.opened_us)).unwrap_or(0);
                KnownCase {
                    id: CaseId(case.id),
                    signature: Arc::from(case.signature.as_str()),
                    subject: Subject::named(&case.subject),
                    opened: Timestamp {
                        uptime: now.uptime.minus(Duration::from_micros(age)),
                        wall: Wall(case.opened_us),
                    },
                    needs_human: case.needs_human,
                    runs: case.runs.iter().map(|run| RunId(*run)).collect(),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut ledger = Ledger::empty("boot-a");
        ledger.add_attempt(
            "s",
            "boot-a",
            Timestamp::default().plus(Duration::from_secs(5)),
            RunId(4),
        );
        let text = serde_json::to_string(&ledger).expect("json");
        let read = Ledger::parse(&text).expect("reads");
        assert_eq!(read, ledger);
        assert!(read.attempts("boot-a")["s"][0].this_boot);
        assert!(!read.attempts("boot-b")["s"][0].this_boot);
    }

    #[test]
    fn a_run_that_never_opened_a_journal_was_no_attempt() {
        let began = Timestamp::default();
        for (highest, left) in [(0, vec![]), (4, vec![4]), (5, vec![4, 5]), (9, vec![4, 5])] {
            let mut ledger = Ledger::empty("b");
            ledger.add_attempt("s", "b", began, RunId(4));
            ledger.add_attempt("s", "b", began, RunId(5));
            ledger.forget_unbegun(highest);
            let runs: Vec<u64> = ledger.attempts["s"].iter().map(|known| known.run).collect();
            assert_eq!(runs, left, "highest {highest}");
        }
        // One that an older version wrote counts for ever.
        let text = r#"{"format":1,"boot_id":"b","next_case":1,"next_run":9,"attempts":{"s":[{"boot_id":"b","uptime_us":1,"wall_us":1}]},"open_cases":[],"pause":null}"#;
        let mut old = Ledger::parse(text).expect("reads");
        old.forget_unbegun(0);
        assert_eq!(old.attempts["s"].len(), 1);
    }

    #[test]
    fn broken_ledgers_are_refused() {
        let good = serde_json::to_string(&Ledger::empty("b")).expect("json");
        for end in 0..good.len() {
            assert!(Ledger::parse(&good[..end]).is_err(), "cut at {end}");
        }
        for text in [
            "",
            "null",
            "[]",
            "{}",
            "1",
            "\"x\"",
            "{\"format\":1}",
            "{\"format\":2}",
            "{\"format\":\"1\"}",
            &good.replace("\"next_case\":1", "\"next_case\":-1"),
            &good.replace("\"next_case\":1", "\"next_case\":1.5"),
            &good.replace("\"next_case\":1", "\"next_case\":\"1\""),
            &good.replace("\"next_case\":1", "\"next_case\":99999999999999999999999"),
            &good.replace("\"next_case\":1,", ""),
            &good.replace("\"attempts\":{}", "\"attempts\":[]"),
            &good.replace("\"attempts\":{}", "\"attempts\":{\"a\":[{}]}"),
            &good.replace("\"attempts\":{}", "\"attempts\":{\"a\":[1]}"),
            &good.replace("\"open_cases\":[]", "\"open_cases\":{}"),
            &good.replace("\"open_cases\":[]", "\"open_cases\":[{\"id\":1}]"),
            &good.replace("\"pause\":null", "\"pause\":null,\"more\":1"),
            &good.replace('}', "} trailing"),
        ] {
            assert!(Ledger::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_newer_form_says_what_to_do() {
        let error = Ledger::parse("{\"format\":7,\"what\":\"ever\"}").expect_err("refused");
        assert!(error.to_string().contains("form 7"), "{error}");
    }
}
