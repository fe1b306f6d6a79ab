//! What one run of one probe yields.

use super::key::{Key, KeySpec, Subject, Value, ValueType};
use super::log::{LogRecord, LogSource};
use super::reading::MissingReason;
use super::time::Timestamp;

/// One reading, or the reason why there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The signal's name.
    pub key: &'static str,
    /// What it is about.
    pub subject: Subject,
    /// What was read.
    pub value: Result<Value, MissingReason>,
}

/// Everything that one run of a probe saw. `at` is the end of that run.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The probe's name.
    pub probe: &'static str,
    /// When the run ended.
    pub at: Timestamp,
    /// The readings.
    pub samples: Vec<Sample>,
    /// New log lines, oldest first.
    pub records: Vec<LogRecord>,
    /// Lines that are known to be lost, by source.
    pub gaps: Vec<(LogSource, u64)>,
    /// Log sources that were read to their end in this run: silence in them is then an observation.
    pub heard: Vec<LogSource>,
    /// Keys whose subjects were listed completely: subjects that are not in this batch are gone.
    pub complete: Vec<&'static str>,
}

impl Batch {
    /// An empty batch of `probe`; the supervisor sets `at` when the run ends.
    pub fn of(probe: &'static str) -> Self {
        Self {
            probe,
            ..Self::default()
        }
    }

    /// Notes a reading of the node.
    pub fn set<V: ValueType>(&mut self, key: &Key<V>, value: V) {
        self.set_for(key, Subject::NODE, value);
    }

    /// Notes a reading of one subject.
    pub fn set_for<V: ValueType>(&mut self, key: &Key<V>, subject: Subject, value: V) {
        self.samples.push(Sample {
            key: key.spec.name,
            subject,
            value: Ok(value.into_value()),
        });
    }

    /// Notes that a signal of the node could not be read.
    pub fn missing(&mut self, key: &KeySpec, reason: MissingReason) {
        self.samples.push(Sample {
            key: key.name,
            subject: Subject::NODE,
            value: Err(reason),
        });
    }

    /// Notes that a signal of one subject could not be read.
    pub fn missing_for(&mut self, key: &KeySpec, subject: Subject, reason: MissingReason) {
        self.samples.push(Sample {
            key: key.name,
            subject,
            value: Err(reason),
        });
    }

    /// Says that this batch lists every subject of `key`, so that others are gone and not merely unread.
    pub fn lists_all<V>(&mut self, key: &Key<V>) {
        self.complete.push(key.spec.name);
    }
}
