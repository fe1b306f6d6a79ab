//! What must hold of every node's audit log (I17, and the end of every intent in I8), read from its lines alone.

use super::jury::Jury;
use super::server::Server;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;

/// What stands in `prev` of the first record.
const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The log of one node as its lines showed it.
#[derive(Debug, Default)]
pub(super) struct Chronicle {
    /// The hash of each record, from number 1.
    hashes: Vec<String>,
    /// The number of the newest record that announces each step.
    pub(super) announced: BTreeMap<(u64, u64), u64>,
    /// The intent whose outcome is not written yet.
    open: Option<(u64, u64)>,
    /// The number in the head that the node's slots carry.
    pub(super) anchored: u64,
    /// Somebody hostile writes in this node's name, and anchors nothing.
    pub(super) is_hostile: bool,
}

/// What a record announces, for the judges of consent.
pub(super) struct Announcement {
    pub(super) run: u64,
    pub(super) step: u64,
    pub(super) case: u64,
    pub(super) opt_in: String,
}

impl Chronicle {
    fn newest(&self) -> u64 {
        u64::try_from(self.hashes.len()).unwrap_or(u64::MAX)
    }

    fn hash_of(&self, seq: u64) -> Option<&str> {
        let place = usize::try_from(seq.checked_sub(1)?).ok()?;
        self.hashes.get(place).map(String::as_str)
    }

    /// Reads the next line; what is wrong with it, by invariant.
    fn read(
        &mut self,
        node: &str,
        line: &str,
    ) -> (Vec<(&'static str, String)>, Option<Announcement>) {
        let Ok(mut record) = serde_json::from_str::<Value>(line) else {
            return (vec![("I17", "a line is no record".to_owned())], None);
        };
        let mut faults = Vec::new();
        let text = |record: &Value, key: &str| {
            let found = record.get(key).and_then(Value::as_str);
            found.unwrap_or("").to_owned()
        };
        let hash = text(&record, "hash");
        let seq = record.get("seq").and_then(Value::as_u64).unwrap_or(0);
        let last = self.newest();
        if seq != last.saturating_add(1) {
            faults.push(("I17", format!("record {seq} follows record {last}")));
        }
        let before = self.hash_of(last).unwrap_or(BEGINNING);
        if text(&record, "prev") != before {
            faults.push((
                "I17",
                format!("record {seq} does not name the hash of the one before it"),
            ));
        }
        if text(&record, "node") != node {
            faults.push(("I17", format!("record {seq} is not of this node")));
        }
        if let Some(fields) = record.as_object_mut() {
            fields.remove("hash");
        }
        if hash_of(&record) != hash {
            faults.push((
                "I17",
                format!("record {seq} does not have the hash of its content"),
            ));
        }
        let announcement = self.follow(&record, &mut faults);
        self.hashes.push(hash);
        (faults, announcement)
    }

    /// Every intent ends in one outcome before the next begins, or its run ends.
    fn follow(
        &mut self,
        record: &Value,
        faults: &mut Vec<(&'static str, String)>,
    ) -> Option<Announcement> {
        let kind = record.get("kind").and_then(Value::as_str)?;
        let number_in = |key: &str| {
            let text = record.get(key).and_then(Value::as_str)?;
            text.rsplit_once('-')?.1.parse::<u64>().ok()
        };
        let run = number_in("run")?;
        let step = record.get("step").and_then(Value::as_u64);
        match (kind, step) {
            ("step-began", Some(step)) => {
                if let Some((other, open)) = self.open.replace((run, step)) {
                    faults.push(("I8", format!("run-{run} step {step} was announced while step {open} of run-{other} has no outcome")));
                }
                let seq = self.newest().saturating_add(1);
                self.announced.insert((run, step), seq);
                return Some(Announcement {
                    run,
                    step,
                    case: number_in("case").unwrap_or(0),
                    opt_in: record
                        .get("opt_in")
                        .and_then(Value::as_str)
                        .unwrap_or("")
                        .to_owned(),
                });
            }
            (_, Some(step)) if kind.starts_with("step-") && self.open == Some((run, step)) => {
                self.open = None;
            }
            ("run-closed", _) => {
                if let Some((other, open)) = self.open.take_if(|(of, _)| *of == run) {
                    faults.push((
                        "I8",
                        format!("run-{other} ended and its step {open} has no outcome"),
                    ));
                }
            }
            _ => {}
        }
        None
    }
}

/// SHA-256 over canonical JSON (RFC 8785), as far as records need it.
fn hash_of(record: &Value) -> String {
    let mut text = String::new();
    canonical(record, &mut text);
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                out.push(if index == 0 { '[' } else { ',' });
                canonical(item, out);
            }
            out.push_str(if items.is_empty() { "[]" } else { "]" });
        }
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort();
            for (index, key) in keys.into_iter().enumerate() {
                out.push(if index == 0 { '{' } else { ',' });
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                canonical(fields.get(key).unwrap_or(&Value::Null), out);
            }
            out.push_str(if fields.is_empty() { "{}" } else { "}" });
        }
        // Rust writes a fraction without exponent, and a whole number without fraction: so does JavaScript within the range
        // of an uptime.
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(fraction) => out.push_str(&format!("{fraction}")),
            None => out.push_str(&number.to_string()),
        },
        other => out.push_str(&other.to_string()),
    }
}

impl Jury {
    /// A line came to a node's audit log.
    pub(super) fn recorded(&mut self, now: Duration, node: usize, line: &str) {
        let name = self.names.get(node).cloned().unwrap_or_default();
        let Some(record) = self.records.get_mut(node) else {
            return;
        };
        let (faults, announcement) = record.chronicle.read(&name, line);
        for (invariant, what) in faults {
            self.blame(now, node, invariant, what);
        }
        if let Some(announcement) = announcement {
            self.announced(now, node, &announcement);
        }
    }

    /// An agent wrote one of its slots: the head that it carries must be in the log, and never an older one.
    pub(super) fn anchored(&mut self, now: Duration, node: usize, slot: &str, server: &Server) {
        let Some(record) = self.records.get_mut(node) else {
            return;
        };
        let head = server
            .leases
            .get(slot)
            .and_then(|lease| lease.pointer("/metadata/annotations/nodemend.io~1audit-head"));
        let Some(head) = head.and_then(Value::as_str) else {
            if !record.chronicle.is_hostile {
                self.blame(now, node, "I17", format!("{slot} carries no head"));
            }
            return;
        };
        let chronicle = &mut record.chronicle;
        let parts = head.split_once(':');
        let number = parts.and_then(|(seq, _)| seq.parse::<u64>().ok());
        let known = number.and_then(|seq| chronicle.hash_of(seq));
        let is_there = known.is_some() && known == parts.map(|(_, hash)| hash);
        let number = number.unwrap_or(0);
        chronicle.anchored = chronicle.anchored.max(number);
        // A late create may overtake nothing, and be overtaken: only the writes of one slot have an order.
        let held = self.slots.get_mut(slot);
        let before = held.map_or(0, |held| std::mem::replace(&mut held.anchored, number));
        let is_older = number < before;
        if !is_there {
            let what = format!("{slot} carries the head `{head}`, which is not in the audit log");
            self.blame(now, node, "I17", what);
        } else if is_older {
            let what = format!("{slot} carries an older head than before, `{head}`");
            self.blame(now, node, "I17", what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{CaseId, RunId};
    use crate::report::audit::{Chain, Entry, RecordKind};
    use crate::signal::Timestamp;

    fn lines() -> Vec<String> {
        let mut chain = Chain::after(None, "node-1", "boot-0");
        let entry = |kind, step| {
            let mut entry = Entry::of(kind);
            entry.case = Some(CaseId(4));
            entry.run = Some(RunId(2));
            entry.step = step;
            entry.evidence = vec!["a \"quoted\" word, a tab\t and ü".to_owned()];
            entry
        };
        let entries = [
            entry(RecordKind::RunOpened, None),
            entry(RecordKind::StepBegan, Some(0)),
            entry(RecordKind::StepApplied, Some(0)),
            entry(RecordKind::RunClosed, None),
        ];
        let kept = entries.iter().map(|entry| {
            let link = chain.next(Timestamp::default(), entry).expect("a record");
            chain.keep(link.head);
            link.line
        });
        kept.collect()
    }

    fn read(lines: &[String]) -> Vec<&'static str> {
        let mut chronicle = Chronicle::default();
        let faults = lines
            .iter()
            .flat_map(|line| chronicle.read("node-1", line).0);
        faults.map(|(invariant, _)| invariant).collect()
    }

    #[test]
    fn the_product_s_own_log_is_read_without_its_code() {
        assert_eq!(read(&lines()), Vec::<&str>::new());
    }

    #[test]
    fn a_line_that_is_gone_edited_or_twice_is_found() {
        let whole = lines();
        let mut cut = whole.clone();
        cut.remove(1);
        let mut edited = whole.clone();
        if let Some(line) = edited.get_mut(2) {
            *line = line.replace("quoted", "Quoted");
        }
        let mut twice = whole.clone();
        twice.insert(2, whole[1].clone());
        for broken in [cut, edited, twice] {
            assert!(read(&broken).contains(&"I17"), "{broken:?}");
        }
    }

    #[test]
    fn an_intent_without_outcome_is_found() {
        let mut chain = Chain::after(None, "node-1", "boot-0");
        let mut lines = Vec::new();
        for kind in [RecordKind::StepBegan, RecordKind::RunClosed] {
            let mut entry = Entry::of(kind);
            entry.run = Some(RunId(2));
            entry.step = (kind == RecordKind::StepBegan).then_some(0);
            let link = chain.next(Timestamp::default(), &entry).expect("a record");
            chain.keep(link.head);
            lines.push(link.line);
        }
        assert_eq!(read(&lines), ["I8"]);
    }
}
