//! The picture of one agent, as pages, JSON and the terminal show it.

use crate::diagnosis::{Case, CaseState};
use crate::engine::{Engine, Stance};
use crate::policy::{Answer, Blocked, Ruling};
use crate::signal::Timestamp;
use crate::signatures::Verdict;
use serde::{Deserialize, Serialize};

/// The answer of a gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateView {
    /// The gate.
    pub gate: String,
    /// `pass`, `wait` or `refuse`.
    pub answer: String,
    /// Why.
    pub why: String,
    /// When it may change by itself.
    pub until: Option<String>,
}

/// What would be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WouldView {
    /// Playbook id.
    pub playbook: String,
    /// Its version.
    pub version: String,
    /// Its digest.
    pub digest: String,
    /// What it does to the node's work.
    pub disruption: String,
}

/// A case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseView {
    /// `case-41`; empty while it is only suspected.
    pub id: String,
    /// Its signature.
    pub signature: String,
    /// What the signature says is the matter.
    pub title: String,
    /// How bad.
    pub severity: String,
    /// What it is about; empty for the node.
    pub subject: String,
    /// Where it stands.
    pub state: String,
    /// When it was confirmed.
    pub opened: Option<String>,
    /// Seconds since then.
    pub open_seconds: Option<f64>,
    /// Seconds since it was last seen.
    pub last_seen_seconds: f64,
    /// What was seen.
    pub evidence: Vec<String>,
    /// Why the latest check could not tell, if so.
    pub unknown: Option<String>,
    /// How it was confirmed: `3 checks`.
    pub hold: String,
    /// The case that is its cause.
    pub cause: Option<String>,
    /// Open cases that it explains.
    pub hides: Vec<String>,
    /// What would be run.
    pub would: Option<WouldView>,
    /// Every gate with its answer.
    pub gates: Vec<GateView>,
    /// What comes next, in one sentence.
    pub next: String,
    /// What a person can do.
    pub suggest: String,
    /// Its runs.
    pub runs: Vec<String>,
    /// Why it is over, if it is.
    pub closed: Option<String>,
}

/// A probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeView {
    /// Its name.
    pub probe: String,
    /// Its name for people.
    pub title: String,
    /// `starting`, `healthy`, `unsupported`, `degraded` or `failed`.
    pub state: String,
    /// Why, if it is not healthy.
    pub why: String,
    /// Seconds that the last run took.
    pub last_run_seconds: f64,
}

/// A signature with what it says now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureView {
    /// Its id.
    pub id: String,
    /// What is the matter when it is present.
    pub title: String,
    /// How bad that is.
    pub severity: String,
    /// The part of the node.
    pub subsystem: String,
    /// `present`, `absent` or `unknown`.
    pub verdict: String,
    /// Why it is unknown, or what was seen.
    pub why: Vec<String>,
    /// The playbook that mends it.
    pub mend: Option<String>,
}

/// The agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    /// Version of nodemend.
    pub version: String,
    /// The node's name.
    pub node: String,
    /// Whether it runs without a cluster.
    pub standalone: bool,
    /// The mode in force.
    pub mode: String,
    /// The highest class in force.
    pub allow: String,
    /// Where these two come from.
    pub opt_in: String,
    /// What was not understood of the settings.
    pub trouble: Vec<String>,
    /// Why nothing may start, if so.
    pub paused: Option<String>,
    /// `healthy`, `case`, `waiting`, `mending`, `needs-human`.
    pub state: String,
    /// Seconds since the agent began to watch.
    pub watching_seconds: f64,
    /// Probes.
    pub probes: Vec<ProbeView>,
    /// Signatures by verdict: present, absent, unknown.
    pub verdicts: [usize; 3],
    /// Open cases.
    pub cases: usize,
    /// The run under way.
    pub run: Option<String>,
    /// Where metrics are served.
    pub metrics: String,
    /// Where the audit log is.
    pub audit: String,
}

/// The views of all cases, open ones first, then the newest that are over.
pub fn case_views(engine: &Engine, now: Timestamp) -> Vec<CaseView> {
    let book = engine.book();
    let open = book.open();
    let closed = book.closed().iter().rev().take(20);
    open.into_iter()
        .chain(closed)
        .map(|case| case_view(engine, case, now))
        .collect()
}

/// The view of one case.
pub fn case_view(engine: &Engine, case: &Case, now: Timestamp) -> CaseView {
    let signature = engine.judge().rulebook().find(&case.signature);
    let stance = engine.stance(case, now);
    let name = |case: &Case| case.id.map(|id| id.to_string()).unwrap_or_default();
    let book = engine.book();
    let hides = book
        .open()
        .into_iter()
        .filter(|other| {
            book.cause_of(other).and_then(|cause| cause.id) == case.id && case.id.is_some()
        })
        .map(|other| format!("{} ({})", other.signature, name(other)))
        .collect();
    let blocked = if let Stance::Gated(blocked) = &stance {
        Some(&**blocked)
    } else {
        None
    };
    let closed = if let CaseState::Closed(reason) = case.state {
        Some(reason.to_string())
    } else {
        None
    };
    CaseView {
        id: name(case),
        signature: case.signature.to_string(),
        title: signature.map_or_else(String::new, |s| s.title.clone()),
        severity: signature.map_or("", |s| s.severity.as_str()).to_owned(),
        subject: case.subject.as_str().to_owned(),
        state: case.state.as_str().to_owned(),
        opened: case.opened.map(|at| at.wall.to_rfc3339()),
        open_seconds: case
            .opened
            .map(|at| now.uptime.since(at.uptime).as_secs_f64()),
        last_seen_seconds: now.uptime.since(case.last_seen.uptime).as_secs_f64(),
        evidence: case.evidence.clone(),
        unknown: case.unknown.clone(),
        hold: signature.map_or_else(String::new, |s| s.hold.to_string()),
        cause: book
            .cause_of(case)
            .map(|cause| format!("{} ({})", cause.signature, name(cause))),
        hides,
        would: blocked.map(would_view),
        gates: blocked
            .map(|b| b.answers.iter().map(gate_view).collect())
            .unwrap_or_default(),
        next: next_of(&stance, case),
        suggest: signature.map_or_else(String::new, |s| s.suggest.trim().to_owned()),
        runs: case.runs.iter().map(ToString::to_string).collect(),
        closed,
    }
}

fn would_view(blocked: &Blocked) -> WouldView {
    let proposal = &blocked.proposal;
    WouldView {
        playbook: proposal.playbook.id.to_string(),
        version: proposal.playbook.version.to_string(),
        digest: proposal.playbook.digest.to_string(),
        disruption: proposal.disruption.to_string(),
    }
}

fn gate_view(answer: &Answer) -> GateView {
    let until = match &answer.ruling {
        Ruling::Hold { until, .. } => until.map(|wall| wall.to_rfc3339()),
        _ => None,
    };
    GateView {
        gate: answer.gate.to_owned(),
        answer: answer.ruling.word().to_owned(),
        why: answer.ruling.why().to_owned(),
        until,
    }
}

fn next_of(stance: &Stance, case: &Case) -> String {
    match stance {
        Stance::ReportOnly => "a person: this signature only reports".to_owned(),
        Stance::NoPlaybook(id) => {
            format!("a person: the playbook `{id}` is not there; see nodemend playbook list")
        }
        Stance::Treating(run) => format!("{run} is under way"),
        Stance::Clearing => match case.state {
            CaseState::Closed(_) => "nothing: it is over".to_owned(),
            _ => "closes when it stays away".to_owned(),
        },
        Stance::Gated(blocked) => blocked.refusals().next().map_or_else(
            || "a run".to_owned(),
            |answer| format!("{}: {}", answer.gate, answer.ruling.why()),
        ),
        Stance::Ready => "a run starts now".to_owned(),
    }
}

/// The views of all signatures, in the order of their ids.
pub fn signature_views(engine: &Engine) -> Vec<SignatureView> {
    let judge = engine.judge();
    let mut views: Vec<SignatureView> = judge
        .rulebook()
        .iter()
        .map(|rule| {
            let signature = &rule.signature;
            let (verdict, why) = match judge.verdicts().get(&signature.id) {
                Some(Ok(true)) => ("present", evidence_of(engine, &signature.id)),
                Some(Ok(false)) => ("absent", Vec::new()),
                Some(Err(reason)) => ("unknown", vec![reason.to_string()]),
                None => ("unknown", vec!["not judged yet".to_owned()]),
            };
            SignatureView {
                id: signature.id.to_string(),
                title: signature.title.clone(),
                severity: signature.severity.as_str().to_owned(),
                subsystem: signature.subsystem.clone(),
                verdict: verdict.to_owned(),
                why,
                mend: signature.mend.clone(),
            }
        })
        .collect();
    views.sort_by(|a, b| a.id.cmp(&b.id));
    views
}

fn evidence_of(engine: &Engine, id: &str) -> Vec<String> {
    let Some(signature) = engine.judge().rulebook().find(id) else {
        return Vec::new();
    };
    engine
        .judge()
        .judge_one(signature, false)
        .into_iter()
        .filter_map(|judgement| match judgement.verdict {
            Verdict::Present(evidence) => Some(evidence),
            _ => None,
        })
        .flatten()
        .collect()
}

/// How many signatures are present, absent and unknown.
pub fn verdict_counts(engine: &Engine) -> [usize; 3] {
    let verdicts = engine.judge().verdicts();
    let present = verdicts.values().filter(|v| matches!(v, Ok(true))).count();
    let absent = verdicts.values().filter(|v| matches!(v, Ok(false))).count();
    [
        present,
        absent,
        engine
            .judge()
            .rulebook()
            .len()
            .saturating_sub(present + absent),
    ]
}

/// The word for the node's state: the annotation `nodemend.io/state`.
pub fn node_state(engine: &Engine) -> &'static str {
    let open = engine.book().open();
    if open.iter().any(|case| case.state == CaseState::NeedsHuman) {
        "needs-human"
    } else if engine.run().is_some() {
        "mending"
    } else if open.iter().any(|case| case.state == CaseState::Confirmed) {
        let waits = open.iter().any(|case| {
            engine
                .judge()
                .rulebook()
                .find(&case.signature)
                .is_some_and(|s| s.mend.is_some())
        });
        if waits { "waiting" } else { "case" }
    } else if open.is_empty() {
        "healthy"
    } else {
        "case"
    }
}
