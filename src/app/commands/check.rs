//! `nodemend check`: every probe once, every signature judged.

use crate::app::cli::{Common, Output};
use crate::app::{Exit, world};
use crate::document::{Problems, closest, format_span};
use crate::host::clock;
use crate::probes::{self, Probe, ProbeError};
use crate::report::render::{CheckReport, CheckRow, render_check};
use crate::signal::{Batch, MissingReason, Reading, Subject, Timeline};
use crate::signatures::{Judge, Judgement, Rulebook, Signature, Verdict};

/// Runs the command.
///
/// # Errors
/// Everything wrong with the configuration or the request; what could be judged is not judged then.
pub async fn run(common: &Common, wanted: &[String]) -> Result<(String, Exit), Vec<Problems>> {
    let began = clock::now();
    let config = world::load_config(common).map_err(|problems| vec![problems])?;
    let catalogue = world::catalogue();
    let (rulebook, reports) = world::load_rules(&config, &catalogue);
    if !reports.is_empty() {
        return Err(reports);
    }
    check_names(wanted, &rulebook)?;
    let mut judge = Judge::new(rulebook, Timeline::new(catalogue), true)
        .map_err(|error| vec![too_large(&error)])?;
    let host = world::host(common);
    let results = futures_in_order(probes::build_for(&host, &config.certificates), &host).await;
    let now = clock::now();
    for (name, result) in results {
        match result {
            Ok(mut batch) => {
                batch.at = now;
                judge.ingest(&batch);
            }
            Err(error) => {
                judge.fail_probe(name, now, &error.missing_reason());
            }
        }
    }
    let report = build_report(&judge, wanted, &world::node_name(None, &config), began);
    let text = match common.output {
        Output::Text => render_check(&report, world::paint(common)),
        Output::Json => serde_json::to_string(&report).unwrap_or_default() + "\n",
    };
    let exit = exit_of(&report, !wanted.is_empty());
    Ok((text, exit))
}

fn check_names(wanted: &[String], rulebook: &Rulebook) -> Result<(), Vec<Problems>> {
    let mut problems = Problems::of("check");
    for id in wanted.iter().filter(|id| rulebook.find(id).is_none()) {
        let known = rulebook.iter().map(|rule| &*rule.signature.id);
        let hint = closest(id, known).map_or_else(
            || "nodemend signature list shows all".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        problems.add(
            crate::document::Place::default(),
            format!("there is no signature `{id}`; {hint}"),
        );
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(vec![problems])
    }
}

fn too_large(error: &regex::Error) -> Problems {
    let mut problems = Problems::of("signatures");
    problems.add(
        crate::document::Place::default(),
        format!("the log patterns together are too large: {error}"),
    );
    problems
}

/// Runs every probe once, side by side, each within its own deadline.
async fn futures_in_order(
    probes: Vec<Box<dyn Probe>>,
    host: &crate::host::Host,
) -> Vec<(&'static str, Result<Batch, ProbeError>)> {
    let mut tasks = Vec::new();
    for mut probe in probes {
        let host = host.clone();
        tasks.push((
            probe.spec(),
            tokio::task::spawn(async move {
                let timeout = probe.spec().timeout;
                match tokio::time::timeout(timeout, probe.collect(&host)).await {
                    Ok(result) => result,
                    Err(_) => Err(ProbeError::Late {
                        what: probe.spec().title.to_owned(),
                    }),
                }
            }),
        ));
    }
    let mut results = Vec::new();
    for (spec, task) in tasks {
        let result = task.await.unwrap_or_else(|error| {
            Err(ProbeError::Read {
                what: spec.title.to_owned(),
                source: Box::new(error),
            })
        });
        results.push((spec.name, result));
    }
    results
}

fn build_report(
    judge: &Judge,
    wanted: &[String],
    node: &str,
    began: crate::signal::Timestamp,
) -> CheckReport {
    let mut results: Vec<CheckRow> = judge
        .rulebook()
        .iter()
        .filter(|rule| wanted.is_empty() || wanted.iter().any(|id| **id == *rule.signature.id))
        .flat_map(|rule| rows_of(&rule.signature, judge.judge_one(&rule.signature, true)))
        .collect();
    results.sort_by(|a, b| (&a.signature, &a.subject).cmp(&(&b.signature, &b.subject)));
    let elapsed = clock::now().uptime.since(began.uptime);
    CheckReport {
        node: node.to_owned(),
        facts: facts_of(judge),
        judged: judge.rulebook().len(),
        elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        results,
    }
}

/// The judgements worth a row: what is present or unknown, or one row that says that all is well.
fn rows_of(signature: &Signature, found: Vec<Judgement>) -> Vec<CheckRow> {
    let mut rows: Vec<CheckRow> = found
        .iter()
        .filter(|judgement| judgement.verdict != Verdict::Absent)
        .map(|judgement| row_of(signature, judgement.subject.as_str(), &judgement.verdict))
        .collect();
    if rows.is_empty() {
        rows.push(row_of(signature, "", &Verdict::Absent));
    }
    rows
}

fn row_of(signature: &Signature, subject: &str, verdict: &Verdict) -> CheckRow {
    let (evidence, unknown_kind) = match verdict {
        Verdict::Present(evidence) => (evidence.clone(), None),
        Verdict::Absent => (Vec::new(), None),
        Verdict::Unknown(reason) => (vec![reason.to_string()], Some(reason.kind().to_owned())),
    };
    let is_present = matches!(verdict, Verdict::Present(_));
    CheckRow {
        signature: signature.id.to_string(),
        severity: signature.severity.as_str().to_owned(),
        subsystem: signature.subsystem.clone(),
        title: signature.title.clone(),
        subject: subject.to_owned(),
        verdict: verdict.word().to_owned(),
        evidence,
        unknown_kind,
        suggest: signature.suggest.clone(),
        would: signature.mend.as_ref().filter(|_| is_present).map(|mend| {
            format!(
                "the agent would run {mend} when this lasts for {} and every gate passes",
                signature.hold
            )
        }),
        hold: signature.hold.to_string(),
    }
}

fn facts_of(judge: &Judge) -> Vec<String> {
    let text = |key: &str, subject: &Subject| match judge.timeline().latest(key, subject) {
        Reading::Fresh { value, .. } => Some(value.to_string()),
        _ => None,
    };
    let mut facts = Vec::new();
    facts.extend(text("os.pretty", &Subject::NODE));
    facts.extend(text("kernel.release", &Subject::NODE).map(|release| format!("kernel {release}")));
    let systemd = text("package.version", &Subject::named("systemd"))
        .or_else(|| text("systemd.version", &Subject::NODE));
    facts.extend(systemd.map(|version| format!("systemd {version}")));
    facts.push(format!(
        "up {}",
        format_span(judge.timeline().now().uptime.since_boot())
    ));
    facts
}

/// 1 if something is wrong; 3 if something that exists here could not be read (or a named signature cannot be told).
fn exit_of(report: &CheckReport, is_named: bool) -> Exit {
    let rows = &report.results;
    if rows.iter().any(|row| row.verdict == "present") {
        return Exit::Found;
    }
    let blind = [
        MissingReason::NoRights("".into()).kind(),
        MissingReason::Late("".into()).kind(),
        MissingReason::ProbeFailed("".into()).kind(),
        MissingReason::Unreadable("".into()).kind(),
    ];
    let cannot_tell = rows.iter().any(|row| match &row.unknown_kind {
        Some(kind) => is_named || blind.contains(&kind.as_str()),
        None => false,
    });
    if cannot_tell {
        Exit::CannotTell
    } else {
        Exit::Fine
    }
}
