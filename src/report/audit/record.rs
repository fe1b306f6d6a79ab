//! One record, its hash, and the entry that it is made from.

use super::error::AuditError;
use super::redact;
use crate::document::{canonical_json, sha256_hex};
use crate::policy::{CaseId, PlaybookRef, RunId};
use crate::signal::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The longest line of an audit file. With every text at its cap, and each byte of it escaped, a record stays below it.
pub const MAX_LINE_BYTES: usize = 320 * 1024;

/// What stands in `prev` of the first record.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Declares the words of the contract once, for reading and writing.
macro_rules! words {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$inner])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// All of them with their words.
            pub const WORDS: &'static [(&'static str, $name)] = &[$(($word, $name::$variant)),+];

            /// Its word.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }
    };
}

words! {
    /// What a record is about.
    RecordKind {
        /// The agent began to look.
        AgentStarted = "agent-started",
        /// The agent ended on purpose.
        AgentStopped = "agent-stopped",
        /// The log goes on after a line that was cut short by a crash; the bytes are kept beside it.
        LogContinued = "log-continued",
        /// Settings were loaded.
        ConfigLoaded = "config-loaded",
        /// Settings were refused; the old ones stay.
        ConfigRefused = "config-refused",
        /// A person approved, paused or resumed.
        Control = "control",
        /// A case began.
        CaseOpened = "case-opened",
        /// A case changed its state.
        CaseChanged = "case-changed",
        /// A case ended, with its reason.
        CaseClosed = "case-closed",
        /// The gates were asked and their answer changed.
        Decided = "decided",
        /// A slot was taken.
        SlotTaken = "slot-taken",
        /// A slot was given back.
        SlotFreed = "slot-freed",
        /// A run began.
        RunOpened = "run-opened",
        /// A step is about to be applied.
        StepBegan = "step-began",
        /// A step was skipped: its condition did not hold or could not be told.
        StepSkipped = "step-skipped",
        /// A step was applied.
        StepApplied = "step-applied",
        /// A step was verified.
        StepVerified = "step-verified",
        /// After a restart: a step that was about to be applied was not.
        StepNotApplied = "step-not-applied",
        /// A step failed.
        StepFailed = "step-failed",
        /// The playbook's verification held for the whole soak.
        VerificationHeld = "verification-held",
        /// The playbook's verification did not hold.
        VerificationFailed = "verification-failed",
        /// A step is about to be undone.
        UndoBegan = "undo-began",
        /// A step was undone.
        Undone = "undone",
        /// A step could not be undone.
        UndoFailed = "undo-failed",
        /// A run ended, with its outcome.
        RunClosed = "run-closed",
        /// Nothing retries by itself any more.
        NeedsHuman = "needs-human",
    }
}

words! {
    /// What was decided.
    Decision {
        /// It is done.
        Act = "act",
        /// It would be done, but the agent only observes.
        Observe = "observe",
        /// Not now.
        Wait = "wait",
        /// Not at all.
        Refuse = "refuse",
    }
}

/// What is to be recorded. The log adds number, time, boot, node and the chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What the record is about.
    pub kind: RecordKind,
    /// The case.
    pub case: Option<CaseId>,
    /// The signature that opened it.
    pub signature: Option<Arc<str>>,
    /// The playbook, exactly.
    pub playbook: Option<PlaybookRef>,
    /// The run.
    pub run: Option<RunId>,
    /// The step's number, from 0.
    pub step: Option<u32>,
    /// The slot with its uid.
    pub slot: Option<String>,
    /// The version of the settings that allowed it (safety.md, I12).
    pub opt_in: Option<String>,
    /// What was decided.
    pub decision: Option<Decision>,
    /// Why.
    pub reasons: Vec<String>,
    /// What was seen.
    pub evidence: Vec<String>,
    /// What came of it.
    pub outcome: Option<String>,
}

impl Entry {
    /// A record of this kind that says nothing else yet.
    pub fn of(kind: RecordKind) -> Self {
        Self {
            kind,
            case: None,
            signature: None,
            playbook: None,
            run: None,
            step: None,
            slot: None,
            opt_in: None,
            decision: None,
            reasons: Vec::new(),
            evidence: Vec::new(),
            outcome: None,
        }
    }
}

/// One line of the log, with exactly the fields of the contract in its order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its number: 1, 2, 3, without gaps over all files.
    pub seq: u64,
    /// The wall clock as read, RFC 3339 in UTC.
    pub time: String,
    /// The boot it was written in.
    pub boot_id: String,
    /// Seconds since that boot, on CLOCK_BOOTTIME.
    pub uptime_seconds: f64,
    /// The node's name.
    pub node: String,
    /// What it is about.
    pub kind: RecordKind,
    /// The case.
    pub case: Option<String>,
    /// The signature that opened the case.
    pub signature: Option<String>,
    /// The playbook's id.
    pub playbook: Option<String>,
    /// The playbook's version.
    pub version: Option<String>,
    /// The playbook's digest.
    pub digest: Option<String>,
    /// The run.
    pub run: Option<String>,
    /// The step's number, from 0.
    pub step: Option<u32>,
    /// The slot with its uid.
    pub slot: Option<String>,
    /// The version of the settings that allowed it.
    pub opt_in: Option<String>,
    /// What was decided.
    pub decision: Option<Decision>,
    /// Why.
    pub reasons: Vec<String>,
    /// What was seen.
    pub evidence: Vec<String>,
    /// What came of it.
    pub outcome: Option<String>,
    /// The hash of the record before it.
    pub prev: String,
    /// SHA-256 over the record without this field, in canonical JSON.
    pub hash: String,
}

/// Where and by whom a record is written.
pub(super) struct Author<'a> {
    pub node: &'a str,
    pub boot_id: &'a str,
}

impl Record {
    /// The record for `entry`, chained to `prev`.
    ///
    /// # Errors
    /// A record without canonical form or with a line that is too long.
    pub(super) fn chain(
        seq: u64,
        prev: &str,
        now: Timestamp,
        author: &Author<'_>,
        entry: &Entry,
    ) -> Result<Record, AuditError> {
        let name = |text: &str| redact::name(text);
        let mut record = Record {
            seq,
            time: now.wall.to_rfc3339(),
            boot_id: name(author.boot_id),
            // Milliseconds: more digits would only make lines longer.
            uptime_seconds: (now.uptime.since_boot().as_secs_f64() * 1e3).round() / 1e3,
            node: name(author.node),
            kind: entry.kind,
            case: entry.case.map(|case| case.to_string()),
            signature: entry.signature.as_deref().map(name),
            playbook: entry.playbook.as_ref().map(|playbook| name(&playbook.id)),
            version: entry
                .playbook
                .as_ref()
                .map(|playbook| name(&playbook.version)),
            digest: entry
                .playbook
                .as_ref()
                .map(|playbook| name(&playbook.digest)),
            run: entry.run.map(|run| run.to_string()),
            step: entry.step,
            slot: entry.slot.as_deref().map(name),
            opt_in: entry.opt_in.as_deref().map(name),
            decision: entry.decision,
            reasons: redact::free_texts(&entry.reasons),
            evidence: redact::free_texts(&entry.evidence),
            outcome: entry.outcome.as_deref().map(redact::free_text),
            prev: prev.to_owned(),
            hash: String::new(),
        };
        let form = |what: String| AuditError::Form { seq, what };
        record.hash = record
            .compute_hash()
            .map_err(|error| form(error.to_string()))?;
        Ok(record)
    }

    /// SHA-256 over the record without its hash, in canonical JSON.
    ///
    /// # Errors
    /// A number that JSON cannot hold.
    pub fn compute_hash(&self) -> Result<String, serde_json::Error> {
        let mut value = serde_json::to_value(self)?;
        if let Some(object) = value.as_object_mut() {
            object.remove("hash");
        }
        Ok(sha256_hex(canonical_json(&value)?.as_bytes()))
    }

    /// The line of the file, with its newline.
    ///
    /// # Errors
    /// A record that is too long for a line.
    pub(super) fn to_line(&self) -> Result<String, AuditError> {
        let form = |what: String| AuditError::Form {
            seq: self.seq,
            what,
        };
        let mut line = serde_json::to_string(self).map_err(|error| form(error.to_string()))?;
        line.push('\n');
        if line.len() > MAX_LINE_BYTES {
            return Err(form(format!(
                "{} bytes are more than the {MAX_LINE_BYTES} of a line",
                line.len()
            )));
        }
        Ok(line)
    }

    /// Reads a line (without its newline) back, and checks everything that a line can prove by itself: it is exactly what
    /// this program writes, and its hash is that of its content.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(super) fn from_line(line: &[u8]) -> Result<Record, String> {
        let text = std::str::from_utf8(line).map_err(|error| format!("not text: {error}"))?;
        let record: Record = serde_json::from_str(text)
            .map_err(|error| format!("foreign line, not an audit record: {error}"))?;
        let again = serde_json::to_string(&record).map_err(|error| error.to_string())?;
        let hash = record.compute_hash().map_err(|error| error.to_string())?;
        if hash != record.hash {
            return Err(format!(
                "record {} was edited: its content does not have its hash",
                record.seq
            ));
        }
        if again != text {
            return Err(format!(
                "record {} was edited: it is not written the way this program writes",
                record.seq
            ));
        }
        Ok(record)
    }
}
