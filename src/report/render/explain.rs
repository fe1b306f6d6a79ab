//! `nodemend explain` and `nodemend cases`.

use super::paint::Paint;
use crate::document::format_span;
use crate::report::model::CaseView;
use std::time::Duration;

fn span(seconds: f64) -> String {
    Duration::try_from_secs_f64(seconds).map_or_else(|_| "?".to_owned(), format_span)
}

/// All that is known of a case, gate by gate.
pub fn render_explain(case: &CaseView, paint: Paint) -> String {
    let mut out = String::new();
    let subject = if case.subject.is_empty() {
        String::new()
    } else {
        format!(" [{}]", case.subject)
    };
    let age = match (&case.closed, case.open_seconds) {
        (Some(reason), _) => format!("closed: {reason}"),
        (None, Some(seconds)) => format!("{} for {}", case.state, span(seconds)),
        (None, None) => case.state.clone(),
    };
    out.push_str(&format!(
        "{}  {}{subject}  {age}   confirmed after {}\n",
        paint.bold(&case.id),
        paint.severity(&case.severity, &case.signature),
        case.hold
    ));
    let mut line = |word: &str, text: &str| out.push_str(&format!("{word:<8} {text}\n"));
    line("what", &case.title);
    for (index, evidence) in case.evidence.iter().enumerate() {
        line(if index == 0 { "seen" } else { "" }, evidence);
    }
    line(
        "",
        &format!("last seen {} ago", span(case.last_seen_seconds)),
    );
    if let Some(unknown) = &case.unknown {
        line("unknown", unknown);
    }
    if let Some(cause) = &case.cause {
        line("cause", cause);
    }
    if !case.hides.is_empty() {
        line("hides", &case.hides.join(", "));
    }
    if let Some(would) = &case.would {
        let digest = would.digest.get(..12).unwrap_or(&would.digest);
        line(
            "would",
            &format!(
                "{} {} · sha256 {digest}… · disruption {}",
                would.playbook, would.version, would.disruption
            ),
        );
    }
    for (index, text) in gate_lines(case, paint).iter().enumerate() {
        line(if index == 0 { "gates" } else { "" }, text);
    }
    if !case.runs.is_empty() {
        line("runs", &case.runs.join(", "));
    }
    for (index, suggestion) in case.suggest.lines().enumerate() {
        line(if index == 0 { "suggest" } else { "" }, suggestion);
    }
    line("next", &case.next);
    out
}

/// Every gate with its answer, and the slot that is asked last.
fn gate_lines(case: &CaseView, paint: Paint) -> Vec<String> {
    let mut lines: Vec<String> = case
        .gates
        .iter()
        .map(|gate| {
            let word = format!("{:<7}", gate.answer);
            let answer = match gate.answer.as_str() {
                "pass" => paint.good(&word),
                "wait" => paint.warn(&word),
                _ => paint.bad(&word),
            };
            let until = gate
                .until
                .as_ref()
                .map(|at| format!(" (until {at})"))
                .unwrap_or_default();
            format!("{:<10} {answer} {}{until}", gate.gate, gate.why)
        })
        .collect();
    if !case.gates.is_empty() {
        let passes = case.gates.iter().all(|gate| gate.answer == "pass");
        let slot = if passes {
            "asked when the run starts"
        } else {
            "not asked while a gate does not pass"
        };
        lines.push(format!("{:<10} -       {slot}", "slot"));
    }
    lines
}

/// One line a case.
pub fn render_cases(cases: &[CaseView], paint: Paint) -> String {
    if cases.is_empty() {
        return "no cases. What is judged: nodemend signature list\n".to_owned();
    }
    cases
        .iter()
        .map(|case| {
            let subject = if case.subject.is_empty() {
                String::new()
            } else {
                format!(" [{}]", case.subject)
            };
            let age = case.open_seconds.map(span).unwrap_or_default();
            let end = case.closed.clone().unwrap_or_else(|| case.next.clone());
            format!(
                "{:<9} {} {:<12} {:<14} {}{subject}\n          {}\n",
                case.id,
                paint.severity(&case.severity, &format!("{:<8}", case.severity)),
                case.state,
                age,
                case.signature,
                paint.dim(&end)
            )
        })
        .collect()
}
