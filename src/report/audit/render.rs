//! Records for people.

use super::record::{Decision, Record};
use std::fmt::Write as _;

/// One line of `audit list`.
pub fn line(record: &Record) -> String {
    let mut text = format!(
        "{:>6}  {}  {:<14}",
        record.seq,
        record.time,
        record.kind.word()
    );
    let about = [&record.case, &record.run].into_iter().flatten().cloned();
    let step = record.step.map(|step| format!("step {step}"));
    let playbook = match (&record.playbook, &record.version) {
        (Some(id), Some(version)) => Some(format!("{id} {version}")),
        _ => record.signature.clone(),
    };
    let decision = record.decision.map(|decision| decision.word().to_owned());
    let words: Vec<String> = about
        .chain(step)
        .chain(playbook)
        .chain(decision)
        .chain(record.outcome.clone())
        .collect();
    if !words.is_empty() {
        write!(text, "  {}", words.join(" · ")).ok();
    }
    if let Some(reason) = record.reasons.first() {
        write!(text, "  ({reason})").ok();
    }
    text
}

/// The whole record, as `audit show` prints it.
pub fn describe(record: &Record) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            writeln!(text, "{name:<10} {value}").ok();
        }
    };
    field("record", Some(&record.seq.to_string()));
    field("time", Some(&record.time));
    field(
        "uptime",
        Some(&format!(
            "{} s since boot {}",
            record.uptime_seconds, record.boot_id
        )),
    );
    field("node", Some(&record.node));
    field("kind", Some(record.kind.word()));
    field("case", record.case.as_deref());
    field("signature", record.signature.as_deref());
    field("playbook", record.playbook.as_deref());
    field("version", record.version.as_deref());
    field("digest", record.digest.as_deref());
    field("run", record.run.as_deref());
    field("step", record.step.map(|step| step.to_string()).as_deref());
    field("slot", record.slot.as_deref());
    field("opt-in", record.opt_in.as_deref());
    field("decision", record.decision.map(Decision::word));
    for reason in &record.reasons {
        field("reason", Some(reason));
    }
    for evidence in &record.evidence {
        field("evidence", Some(evidence));
    }
    field("outcome", record.outcome.as_deref());
    field("prev", Some(&record.prev));
    field("hash", Some(&record.hash));
    text
}
