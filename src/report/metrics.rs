//! The program's own metric families (interface.md, section 4), in the Prometheus text format.
//!
//! Written by hand rather than by prometheus-client: that crate only writes OpenMetrics, and the page that these families
//! join is the text format 0.0.4, from which the server derives OpenMetrics on demand.

use crate::diagnosis::CaseState;
use crate::engine::Engine;
use crate::policy::{Blocked, Mode, gates};
use crate::report::model::ProbeView;
use crate::signal::{Form, KeySpec, LogSource, Reading, Timeline, Unit};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A family: name, type and help. Every family of this program stands in [`FAMILIES`].
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// `gauge`, `counter` or `histogram`.
    pub kind: &'static str,
    /// What it says.
    pub help: &'static str,
}

macro_rules! families {
    ($($id:ident = $name:literal, $kind:literal, $help:literal;)*) => {
        $(const $id: Family = Family { name: $name, kind: $kind, help: $help };)*
        /// Every family of this program.
        pub const FAMILIES: &[Family] = &[$($id),*];
    };
}

families! {
    BUILD = "nodemend_build_info", "gauge", "The version that runs; always 1.";
    PRESENT = "nodemend_signature_present", "gauge", "Whether a failure signature is present on this node.";
    UNKNOWN = "nodemend_signature_unknown", "gauge", "Whether it cannot be told if a failure signature is present.";
    CASES = "nodemend_cases", "gauge", "Open cases.";
    RUNS = "nodemend_runs_total", "counter", "Runs of playbooks by outcome.";
    STEPS = "nodemend_step_duration_seconds", "histogram", "How long steps of playbooks took.";
    BLOCKING = "nodemend_gate_blocking", "gauge", "Open cases whose mend a gate holds back or refuses now.";
    REFUSALS = "nodemend_gate_refusals_total", "counter", "How often a gate began to hold back or refuse a mend.";
    PROBE_UP = "nodemend_probe_up", "gauge", "Whether a probe's last run could read; 0 also where its source is not on this machine.";
    PROBE_SECONDS = "nodemend_probe_duration_seconds", "gauge", "How long a probe's last run took.";
    LINES = "nodemend_log_lines_total", "counter", "Log lines that were looked at.";
    GAPS = "nodemend_log_gaps_total", "counter", "Log lines that were lost before they could be looked at.";
    SLOT = "nodemend_slot_held", "gauge", "Whether this node holds a slot.";
    RENEWALS = "nodemend_slot_renewals_total", "counter", "Writes that took or renewed a slot, by outcome.";
    WAITING = "nodemend_waiting", "gauge", "Whether a run of this node waits for a slot, by what it waits for: its turn (queue), people who stopped all runs (stopped), or a look at the slots (unread).";
    REQUESTS = "nodemend_api_requests_total", "counter", "Calls to the API server, by verb, resource and HTTP status; 0 is no answer.";
    RECORDS = "nodemend_audit_records_total", "counter", "Audit records written.";
    WRITE_FAILURES = "nodemend_audit_write_failures_total", "counter", "Audit records that could not be written.";
    MODE = "nodemend_mode", "gauge", "The mode in force: 1 for it, 0 for the others.";
    UNDERSTOOD = "nodemend_opt_in_understood", "gauge", "Whether the node's own settings, its annotations in a cluster, were understood; 0 means that the agent only observes.";
    RELOAD = "nodemend_config_last_reload_successful", "gauge", "Whether the configuration was understood when it was read last.";
    STOPPED = "nodemend_stopped", "gauge", "Whether something keeps this agent from starting any run.";
}

/// Upper bounds of the step histogram in seconds: from a sysctl write to a package upgrade.
const BUCKETS: [f64; 8] = [0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 120.0, 600.0];

/// What a run waits for: the closed set of the label.
pub const WAITS: [&str; 3] = ["queue", "stopped", "unread"];

/// Run outcomes: the closed set of the label.
pub const OUTCOMES: [&str; 6] = [
    "mended",
    "untouched",
    "failed",
    "needs-human",
    "stopped",
    "halted",
];

#[derive(Debug, Default, Clone)]
struct Histogram {
    counts: [u64; BUCKETS.len()],
    sum: f64,
    count: u64,
}

#[derive(Debug, Default)]
struct Counters {
    runs: BTreeMap<(String, String, &'static str), u64>,
    steps: BTreeMap<String, Histogram>,
    refusals: BTreeMap<&'static str, u64>,
    lines: BTreeMap<LogSource, u64>,
    gaps: BTreeMap<LogSource, u64>,
    renewals: BTreeMap<&'static str, u64>,
    reload_failed: bool,
    slot_held: bool,
    domains: BTreeMap<String, bool>,
    waiting: Option<&'static str>,
    requests: BTreeMap<(&'static str, &'static str, u16), u64>,
}

/// Counts what happens, and writes the families.
#[derive(Debug, Default)]
pub struct AgentMetrics {
    counters: Mutex<Counters>,
}

/// What the families say of the present, beside the counters.
pub struct Present<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The probes.
    pub probes: &'a [ProbeView],
    /// Audit records written, and those that could not be.
    pub audit: (u64, u64),
    /// Whether something keeps the agent from starting any run.
    pub is_stopped: bool,
}

impl AgentMetrics {
    fn with<T>(&self, change: impl FnOnce(&mut Counters) -> T) -> T {
        change(&mut self.counters.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts log lines that were read, and lines that were lost.
    pub fn note_lines(&self, read: impl IntoIterator<Item = LogSource>, lost: &[(LogSource, u64)]) {
        self.with(|counters| {
            for source in read {
                *counters.lines.entry(source).or_default() += 1;
            }
            for (source, count) in lost {
                *counters.gaps.entry(*source).or_default() += count;
            }
        });
    }

    /// Counts gates that now hold back or refuse.
    pub fn note_refusals(&self, blocked: &Blocked) {
        self.with(|counters| {
            for answer in blocked.refusals() {
                *counters.refusals.entry(answer.gate).or_default() += 1;
            }
        });
    }

    /// Whether the configuration was understood.
    pub fn note_reload(&self, understood: bool) {
        self.with(|counters| counters.reload_failed = !understood);
    }

    /// Counts a run that ended. An outcome that is not in [`OUTCOMES`] counts as `halted`.
    pub fn note_run(&self, playbook: &str, version: &str, outcome: &str) {
        let outcome = OUTCOMES
            .into_iter()
            .find(|known| *known == outcome)
            .unwrap_or("halted");
        self.with(|counters| {
            let key = (playbook.to_owned(), version.to_owned(), outcome);
            *counters.runs.entry(key).or_default() += 1;
        });
    }

    /// Counts a step and its time.
    pub fn note_step(&self, kind: &str, took: Duration) {
        let seconds = took.as_secs_f64();
        self.with(|counters| {
            let histogram = counters.steps.entry(kind.to_owned()).or_default();
            for (bound, count) in BUCKETS.iter().zip(&mut histogram.counts) {
                *count += u64::from(seconds <= *bound);
            }
            histogram.sum += seconds;
            histogram.count += 1;
        });
    }

    /// Counts a write that took or renewed a slot.
    pub fn note_renewal(&self, outcome: &'static str) {
        self.with(|counters| *counters.renewals.entry(outcome).or_default() += 1);
    }

    /// Whether a slot is held now.
    pub fn note_slot(&self, is_held: bool) {
        self.with(|counters| counters.slot_held = is_held);
    }

    /// Whether a slot of this domain is held now.
    pub fn note_domain(&self, domain: &str, is_held: bool) {
        self.with(|counters| {
            counters.domains.insert(domain.to_owned(), is_held);
            // A run that has its slot waits no longer.
            counters.waiting = counters.waiting.filter(|_| !is_held);
        });
    }

    /// What a run waits for now, one of [`WAITS`]; `None` where none waits.
    pub fn note_waiting(&self, reason: Option<&'static str>) {
        self.with(|counters| counters.waiting = reason);
    }

    /// Counts a call to the API server.
    pub fn note_request(&self, verb: &'static str, resource: &'static str, code: u16) {
        self.with(|counters| {
            *counters.requests.entry((verb, resource, code)).or_default() += 1;
        });
    }

    /// Appends all families to `page`.
    pub fn write(&self, present: &Present<'_>, page: &mut String) {
        self.with(|counters| {
            let mut writer = Writer { page };
            write_build(&mut writer);
            write_signatures(&mut writer, present.engine);
            write_cases(&mut writer, present.engine);
            write_runs(&mut writer, counters);
            write_gates(&mut writer, counters, present.engine);
            write_sources(&mut writer, counters, present.probes);
            write_state(&mut writer, counters, present);
            write_signals(&mut writer, present.engine.judge().timeline());
        });
    }
}

struct Writer<'a> {
    page: &'a mut String,
}

impl Writer<'_> {
    fn head(&mut self, family: Family) {
        let Family { name, kind, help } = family;
        self.text(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn text(&mut self, text: std::fmt::Arguments<'_>) {
        let written = self.page.write_fmt(text);
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.text(format_args!("{name}"));
        for (index, (label, text)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let text = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            self.text(format_args!("{open}{label}=\"{text}\""));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        self.text(format_args!("{close} {value}\n"));
    }

    fn single(&mut self, family: Family, value: f64) {
        self.head(family);
        self.value(family.name, &[], value);
    }
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

fn write_build(writer: &mut Writer<'_>) {
    writer.head(BUILD);
    writer.value(BUILD.name, &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
}

fn write_signatures(writer: &mut Writer<'_>, engine: &Engine) {
    let judge = engine.judge();
    writer.head(PRESENT);
    for rule in judge.rulebook().iter() {
        let signature = &rule.signature;
        let is_present = matches!(judge.verdicts().get(&signature.id), Some(Ok(true)));
        let labels = [
            ("signature", &*signature.id),
            ("severity", signature.severity.as_str()),
        ];
        writer.value(PRESENT.name, &labels, flag(is_present));
    }
    writer.head(UNKNOWN);
    for rule in judge.rulebook().iter() {
        let is_unknown = !matches!(judge.verdicts().get(&rule.signature.id), Some(Ok(_)));
        writer.value(
            UNKNOWN.name,
            &[("signature", &*rule.signature.id)],
            flag(is_unknown),
        );
    }
}

fn write_cases(writer: &mut Writer<'_>, engine: &Engine) {
    writer.head(CASES);
    let open = engine.book().open();
    for rule in engine.judge().rulebook().iter() {
        for state in CaseState::OPEN {
            let count = open
                .iter()
                .filter(|case| case.signature == rule.signature.id && case.state == state)
                .count();
            let labels = [
                ("signature", &*rule.signature.id),
                ("state", state.as_str()),
            ];
            writer.value(CASES.name, &labels, count as f64);
        }
    }
}

fn write_runs(writer: &mut Writer<'_>, counters: &Counters) {
    writer.head(RUNS);
    for ((playbook, version, outcome), count) in &counters.runs {
        let labels = [
            ("playbook", playbook.as_str()),
            ("version", version),
            ("outcome", outcome),
        ];
        writer.value(RUNS.name, &labels, *count as f64);
    }
    writer.head(STEPS);
    for (kind, histogram) in &counters.steps {
        for (bound, count) in BUCKETS.iter().zip(&histogram.counts) {
            let name = format!("{}_bucket", STEPS.name);
            writer.value(
                &name,
                &[("step", kind), ("le", &bound.to_string())],
                *count as f64,
            );
        }
        let name = format!("{}_bucket", STEPS.name);
        writer.value(
            &name,
            &[("step", kind), ("le", "+Inf")],
            histogram.count as f64,
        );
        writer.value(
            &format!("{}_sum", STEPS.name),
            &[("step", kind)],
            histogram.sum,
        );
        writer.value(
            &format!("{}_count", STEPS.name),
            &[("step", kind)],
            histogram.count as f64,
        );
    }
}

fn write_gates(writer: &mut Writer<'_>, counters: &Counters, engine: &Engine) {
    let blocking = engine.blocking();
    writer.head(BLOCKING);
    for gate in gates::NAMES {
        let count = blocking.iter().filter(|name| *name == gate).count();
        writer.value(BLOCKING.name, &[("gate", gate)], count as f64);
    }
    writer.head(REFUSALS);
    for gate in gates::NAMES {
        let count = counters.refusals.get(gate).copied().unwrap_or(0);
        writer.value(REFUSALS.name, &[("gate", gate)], count as f64);
    }
}

fn write_sources(writer: &mut Writer<'_>, counters: &Counters, probes: &[ProbeView]) {
    writer.head(PROBE_UP);
    for probe in probes {
        let is_up = matches!(probe.state.as_str(), "healthy" | "degraded");
        writer.value(PROBE_UP.name, &[("probe", &probe.probe)], flag(is_up));
    }
    writer.head(PROBE_SECONDS);
    for probe in probes {
        writer.value(
            PROBE_SECONDS.name,
            &[("probe", &probe.probe)],
            probe.last_run_seconds,
        );
    }
    writer.head(LINES);
    for source in LogSource::ALL {
        let count = counters.lines.get(&source).copied().unwrap_or(0);
        writer.value(LINES.name, &[("source", source.as_str())], count as f64);
    }
    writer.head(GAPS);
    for source in LogSource::ALL {
        let count = counters.gaps.get(&source).copied().unwrap_or(0);
        writer.value(GAPS.name, &[("source", source.as_str())], count as f64);
    }
}

/// How many subjects of one signal are shown: a page must not grow with what somebody creates on the node.
const MAX_SUBJECTS: usize = 500;

/// The family of a signal: `systemd.bus.serial` is `nodemend_systemd_bus_serial`. Its unit stands last, as everywhere.
pub fn signal_family(spec: &KeySpec) -> String {
    let unit = match spec.unit {
        Unit::Seconds => "_seconds",
        Unit::Bytes => "_bytes",
        Unit::Ratio => "_ratio",
        Unit::PerSecond => "_per_second",
        Unit::None => "",
    };
    let name = spec.name.replace('.', "_");
    if name.ends_with(unit) {
        format!("nodemend_{name}")
    } else {
        format!("nodemend_{name}{unit}")
    }
}

/// Every fresh reading that is a number or a truth: what the rules see, anybody can graph.
fn write_signals(writer: &mut Writer<'_>, timeline: &Timeline) {
    for entry in timeline
        .catalogue()
        .iter()
        .filter(|entry| entry.spec.form != Form::Text)
    {
        let name = signal_family(entry.spec);
        let help = entry.spec.help;
        writer.text(format_args!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
        let label = entry.spec.per.map(|what| what.replace(' ', "_"));
        for subject in timeline.subjects(entry.spec.name).take(MAX_SUBJECTS) {
            let Reading::Fresh { value, .. } = timeline.latest(entry.spec.name, subject) else {
                continue;
            };
            let Some(number) = value.as_number() else {
                continue;
            };
            match &label {
                Some(label) => writer.value(&name, &[(label, subject.as_str())], number),
                None => writer.value(&name, &[], number),
            }
        }
    }
}

fn write_state(writer: &mut Writer<'_>, counters: &Counters, present: &Present<'_>) {
    writer.head(SLOT);
    if counters.domains.is_empty() {
        writer.value(SLOT.name, &[("domain", "local")], flag(counters.slot_held));
    }
    for (domain, is_held) in &counters.domains {
        writer.value(SLOT.name, &[("domain", domain)], flag(*is_held));
    }
    writer.head(WAITING);
    for reason in WAITS {
        let is_it = counters.waiting == Some(reason);
        writer.value(WAITING.name, &[("reason", reason)], flag(is_it));
    }
    writer.head(REQUESTS);
    for ((verb, resource, code), count) in &counters.requests {
        let code = code.to_string();
        let labels = [("verb", *verb), ("resource", *resource), ("code", &*code)];
        writer.value(REQUESTS.name, &labels, *count as f64);
    }
    writer.head(RENEWALS);
    for outcome in ["written", "refused", "failed"] {
        let count = counters.renewals.get(outcome).copied().unwrap_or(0);
        writer.value(RENEWALS.name, &[("outcome", outcome)], count as f64);
    }
    writer.single(RECORDS, present.audit.0 as f64);
    writer.single(WRITE_FAILURES, present.audit.1 as f64);
    writer.head(MODE);
    for (word, mode) in Mode::WORDS {
        writer.value(
            MODE.name,
            &[("mode", word)],
            flag(present.engine.opt_in().mode == mode),
        );
    }
    let is_understood = present.engine.opt_in().trouble.is_empty();
    writer.single(UNDERSTOOD, flag(is_understood));
    writer.single(RELOAD, flag(!counters.reload_failed));
    writer.single(STOPPED, flag(present.is_stopped));
}
