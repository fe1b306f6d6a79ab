//! The audit log read as a story: which records, in which order, about which case.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// One record of the audit log (interface.md, section 3).
#[derive(Clone, Debug)]
pub struct Record {
    pub kind: String,
    pub signature: Option<String>,
    pub case: Option<String>,
    pub playbook: Option<String>,
    pub run: Option<String>,
    pub step: Option<u64>,
    pub uptime_seconds: f64,
    pub outcome: Option<String>,
    /// The record whole.
    pub whole: Value,
}

impl Record {
    fn of(whole: Value) -> Result<Self> {
        let text = |field: &str| whole.get(field).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            kind: text("kind").with_context(|| format!("a record without kind: {whole}"))?,
            signature: text("signature"),
            case: text("case"),
            playbook: text("playbook"),
            run: text("run"),
            step: whole.get("step").and_then(Value::as_u64),
            uptime_seconds: whole
                .get("uptime_seconds")
                .and_then(Value::as_f64)
                .unwrap_or_default(),
            outcome: text("outcome"),
            whole,
        })
    }

    /// Of this kind, about this signature.
    pub fn is(&self, kind: &str, signature: &str) -> bool {
        self.kind == kind && self.signature.as_deref() == Some(signature)
    }

    /// All texts of a list field.
    pub fn texts(&self, field: &str) -> Vec<String> {
        let list = self.whole.get(field).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    }
}

/// All records, in the order written.
#[derive(Clone, Debug)]
pub struct Story {
    pub records: Vec<Record>,
}

impl Story {
    /// From the text of the audit files. A last line that is still being written is left out.
    pub fn parse(text: &str) -> Result<Self> {
        let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
        let mut records = Vec::new();
        for line in complete.lines() {
            let whole =
                serde_json::from_str(line).with_context(|| format!("not a record: {line}"))?;
            records.push(Record::of(whole)?);
        }
        Ok(Self { records })
    }

    /// How many records are of this kind and about this signature.
    pub fn count(&self, kind: &str, signature: &str) -> usize {
        self.records
            .iter()
            .filter(|record| record.is(kind, signature))
            .count()
    }

    /// The runs for this signature, each once, however often it was resumed.
    pub fn runs(&self, signature: &str) -> BTreeSet<&str> {
        let opened = self
            .records
            .iter()
            .filter(|record| record.is("run-opened", signature));
        opened.filter_map(|record| record.run.as_deref()).collect()
    }

    /// The first record of this kind about this signature.
    pub fn first(&self, kind: &str, signature: &str) -> Option<&Record> {
        self.records
            .iter()
            .find(|record| record.is(kind, signature))
    }

    /// The records about a signature are of these kinds in this order; others may stand between them.
    pub fn goes(&self, signature: &str, kinds: &[&str]) -> Result<()> {
        let mut records = self.records.iter();
        for kind in kinds {
            let found = records.any(|record| record.is(kind, signature));
            ensure!(
                found,
                "{signature}: no `{kind}` where expected in {kinds:?}:\n{self}"
            );
        }
        Ok(())
    }

    /// No run was opened for this signature, nor for any other.
    pub fn has_no_run(&self) -> Result<()> {
        let acted = ["run-opened", "step-began", "step-applied"];
        let found = self
            .records
            .iter()
            .find(|record| acted.contains(&record.kind.as_str()));
        ensure!(found.is_none(), "the agent acted: {found:?}\n{self}");
        Ok(())
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for record in &self.records {
            let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            let (signature, run) = (or_dash(&record.signature), or_dash(&record.run));
            let (case, outcome) = (or_dash(&record.case), or_dash(&record.outcome));
            let step = record
                .step
                .map_or_else(|| "-".to_owned(), |step| step.to_string());
            writeln!(
                f,
                "{:10.2} {:16} {case} {signature} {run} step {step} {outcome} {:?}",
                record.uptime_seconds,
                record.kind,
                record.texts("reasons")
            )?;
        }
        Ok(())
    }
}
