//! The report of `nodemend check`.

use super::paint::Paint;
use serde::Serialize;
use std::collections::BTreeMap;

/// One judgement of the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckRow {
    /// The signature.
    pub signature: String,
    /// How bad it is when present.
    pub severity: String,
    /// The part of the node.
    pub subsystem: String,
    /// What is the matter when it is present.
    pub title: String,
    /// What it is about; empty for the node.
    pub subject: String,
    /// `present`, `absent` or `unknown`.
    pub verdict: String,
    /// What was seen, or why it cannot be told.
    pub evidence: Vec<String>,
    /// A short word for why it cannot be told.
    pub unknown_kind: Option<String>,
    /// What a person can do.
    pub suggest: String,
    /// What would be run, and why it is not.
    pub would: Option<String>,
    /// How long the agent would wait before it opens a case.
    pub hold: String,
}

/// The report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckReport {
    /// Node name.
    pub node: String,
    /// Operating system, kernel, systemd, uptime: whatever could be read.
    pub facts: Vec<String>,
    /// How many signatures were judged.
    pub judged: usize,
    /// In how many milliseconds.
    pub elapsed_ms: u64,
    /// All judgements.
    pub results: Vec<CheckRow>,
}

/// The report for a terminal.
pub fn render_check(report: &CheckReport, paint: Paint) -> String {
    let mut out = String::new();
    let header = std::iter::once(report.node.as_str())
        .chain(report.facts.iter().map(String::as_str))
        .collect::<Vec<_>>()
        .join(" · ");
    out.push_str(&format!(
        "{}    {}\n",
        paint.bold(&header),
        paint.dim(&format!(
            "{} signatures judged in {} ms",
            report.judged, report.elapsed_ms
        ))
    ));
    let mut groups: BTreeMap<&str, Vec<&CheckRow>> = BTreeMap::new();
    for row in report.results.iter().filter(|row| row.verdict == "present") {
        groups.entry(&row.subsystem).or_default().push(row);
    }
    for (subsystem, rows) in groups {
        out.push_str(&format!("\n  {}\n", paint.bold(&subsystem.to_uppercase())));
        for row in rows {
            render_present(&mut out, row, paint);
        }
    }
    let unknown: Vec<&CheckRow> = report
        .results
        .iter()
        .filter(|row| row.verdict == "unknown")
        .collect();
    if !unknown.is_empty() {
        out.push_str(&format!("\n  {}\n", paint.bold("CANNOT TELL")));
        for row in &unknown {
            let why = row.evidence.join(" · ");
            out.push_str(&format!("  ? {:<36} {}\n", row.signature, paint.dim(&why)));
        }
    }
    out.push_str(&render_summary(report, paint));
    out
}

fn render_present(out: &mut String, row: &CheckRow, paint: Paint) {
    let mark = if matches!(row.severity.as_str(), "critical" | "high") {
        "✗"
    } else {
        "!"
    };
    let subject = if row.subject.is_empty() {
        String::new()
    } else {
        format!(" [{}]", row.subject)
    };
    out.push_str(&format!(
        "  {} {:<36} {}{subject}\n",
        paint.severity(&row.severity, &format!("{mark} {:<8}", row.severity)),
        row.signature,
        row.title,
    ));
    if !row.evidence.is_empty() {
        out.push_str(&format!("             {}\n", row.evidence.join(" · ")));
    }
    for (index, line) in row.suggest.trim().lines().enumerate() {
        let arrow = if index == 0 { "→" } else { " " };
        out.push_str(&format!("             {arrow} {line}\n"));
    }
    if let Some(would) = &row.would {
        out.push_str(&format!("             {}\n", paint.dim(would)));
    }
}

fn render_summary(report: &CheckReport, paint: Paint) -> String {
    let count = |wanted: &str| {
        report
            .results
            .iter()
            .filter(|row| row.verdict == wanted)
            .count()
    };
    let mut parts: Vec<String> = Vec::new();
    for severity in ["critical", "high", "medium", "low"] {
        let number = report
            .results
            .iter()
            .filter(|row| row.verdict == "present" && row.severity == severity)
            .count();
        if number > 0 {
            parts.push(paint.severity(severity, &format!("{number} {severity}")));
        }
    }
    if count("unknown") > 0 {
        parts.push(format!("{} cannot tell", count("unknown")));
    }
    parts.push(paint.good(&format!("{} fine", count("absent"))));
    let hint = match report.results.iter().find(|row| row.verdict == "present") {
        Some(row) => format!(
            "nodemend check --output json · nodemend signature show {}",
            row.signature
        ),
        None => "nodemend check --output json · nodemend signature list".to_owned(),
    };
    format!("\n  {}          {}\n", parts.join(" · "), paint.dim(&hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(signature: &str, verdict: &str, severity: &str) -> CheckRow {
        CheckRow {
            signature: signature.to_owned(),
            severity: severity.to_owned(),
            subsystem: "systemd".to_owned(),
            title: "Something is wrong".to_owned(),
            subject: String::new(),
            verdict: verdict.to_owned(),
            evidence: vec!["seen".to_owned()],
            unknown_kind: None,
            suggest: "Do this.\nThen that.".to_owned(),
            would: None,
            hold: "3 checks".to_owned(),
        }
    }

    #[test]
    fn the_summary_counts_every_row_once() {
        let report = CheckReport {
            node: "node-7".to_owned(),
            facts: vec!["Debian 12".to_owned()],
            judged: 3,
            elapsed_ms: 12,
            results: vec![
                row("a", "present", "high"),
                row("b", "unknown", "low"),
                row("c", "absent", "low"),
            ],
        };
        let text = render_check(&report, Paint(false));
        assert!(text.contains("1 high · 1 cannot tell · 1 fine"), "{text}");
        assert!(
            text.contains("✗ high") && text.contains("CANNOT TELL") && text.contains("→ Do this."),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'));
    }
}
