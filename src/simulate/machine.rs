//! A machine that is not there: its faults, and what the probes would read on it.

use super::chance::Chance;
use crate::signal::{
    Batch, LogRecord, LogSource, MissingReason, Sample, Subject, Timestamp, Value,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What can be wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// PID 1 no longer answers on the bus; its private socket answers.
    BusMute,
    /// The bus daemon is dead.
    DaemonDead,
    /// PID 1 is frozen.
    Frozen,
    /// The unit with this number restarts again and again.
    CrashLoop(usize),
    /// The setting with this number is not what its file declares.
    Drift(usize),
    /// The file system with this number is read-only.
    ReadOnly(usize),
    /// Tasks hang and the kernel says so.
    TaskHung,
    /// The installed systemd is one with the counter fault.
    Outdated,
    /// The container runtime does not answer.
    RuntimeMute,
    /// The kubelet starts no pods, since PID 1 was silent for a moment.
    WorkersWedged,
    /// The message counter of an outdated systemd is about to run over.
    NearOverrun,
    /// An outdated systemd says again and again that its messages are not supported.
    Unsupported,
}

impl Fault {
    /// The faults of a life.
    pub const ALL: [Fault; 12] = [
        Fault::BusMute,
        Fault::DaemonDead,
        Fault::Frozen,
        Fault::CrashLoop(0),
        Fault::CrashLoop(1),
        Fault::Drift(0),
        Fault::Drift(1),
        Fault::Drift(2),
        Fault::ReadOnly(0),
        Fault::ReadOnly(1),
        Fault::TaskHung,
        Fault::Outdated,
    ];
}

/// The probes that are imitated, with their periods. The log probes of the product look every 1 s and 2 s; a look that finds
/// nothing changes nothing as long as there is one within 30 s, so quiet looks are folded into one.
pub const PROBES: [(&str, Duration); 7] = [
    ("systemd-bus", Duration::from_secs(10)),
    ("systemd-units", Duration::from_secs(15)),
    ("kernel-log", Duration::from_secs(25)),
    ("journal", Duration::from_secs(25)),
    ("packages", Duration::from_secs(60)),
    ("kernel", Duration::from_secs(60)),
    ("storage", Duration::from_secs(30)),
];

const UNITS: [&str; 3] = ["containerd.service", "kubelet.service", "cron.service"];
const SETTINGS: [&str; 3] = [
    "net.ipv4.ip_forward",
    "vm.overcommit_memory",
    "kernel.panic",
];
const MOUNTS: [&str; 2] = ["/", "/var/lib/containerd"];

/// How many messages PID 1 sends in a second, and where an affected build falls silent.
const SERIAL_RATE: f64 = 20.0;
const SERIAL_END: f64 = 4_294_967_296.0;
/// How many questions PID 1 leaves unanswered in the moment that wedges a kubelet.
const SILENCE: u32 = 2;

/// The machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Faults that stand.
    faults: BTreeMap<Fault, Duration>,
    /// One reading in so many is lost; 0: none.
    pub loss: u64,
    /// How many settings are declared in files; the list of a machine may become empty.
    pub declared: usize,
    restarts: [i64; UNITS.len()],
    /// How often PID 1 was asked since the kubelet's workers hang.
    asked: u32,
    units: Vec<Subject>,
    settings: Vec<Subject>,
    mounts: Vec<Subject>,
    systemd: Subject,
    overrun: Subject,
    words: Words,
    spoke: Option<Duration>,
}

/// Texts that every batch uses.
#[derive(Debug, Clone)]
struct Words {
    active: Arc<str>,
    failed: Arc<str>,
    success: Arc<str>,
    limit: Arc<str>,
    good: Arc<str>,
    bad: Arc<str>,
    none: Arc<str>,
    hung: Arc<str>,
    unsupported: Arc<str>,
    systemd: Arc<str>,
    late: Arc<str>,
}

impl Machine {
    /// A healthy machine.
    pub fn healthy() -> Self {
        let named = |names: &[&str]| names.iter().map(|name| Subject::named(name)).collect();
        Self {
            faults: BTreeMap::new(),
            loss: 0,
            declared: SETTINGS.len(),
            restarts: [0; UNITS.len()],
            asked: 0,
            units: named(&UNITS),
            settings: named(&SETTINGS),
            mounts: named(&MOUNTS),
            systemd: Subject::named("systemd"),
            overrun: Subject::named("systemd-cookie-overrun"),
            words: Words {
                active: Arc::from("active"),
                failed: Arc::from("failed"),
                success: Arc::from("success"),
                limit: Arc::from("start-limit-hit"),
                good: Arc::from("1"),
                bad: Arc::from("0"),
                none: Arc::from(""),
                hung: Arc::from("INFO: task touch:3077 blocked for more than 122 seconds."),
                unsupported: Arc::from(
                    "Failed to propagate agent release message: Operation not supported",
                ),
                systemd: Arc::from("systemd"),
                late: Arc::from("late"),
            },
            spoke: None,
        }
    }

    /// A fault strikes at `at`.
    pub fn strike(&mut self, fault: Fault, at: Duration) {
        self.faults.entry(fault).or_insert(at);
    }

    /// A fault goes away.
    pub fn heal(&mut self, fault: Fault) {
        self.faults.remove(&fault);
        if fault == Fault::WorkersWedged {
            self.asked = 0;
        }
    }

    /// Everything goes away, also what was lost.
    pub fn heal_all(&mut self) {
        self.faults.clear();
        self.loss = 0;
        self.declared = SETTINGS.len();
    }

    /// A reboot ends what lives in memory only.
    pub fn reboot(&mut self) {
        self.faults
            .retain(|fault, _| matches!(fault, Fault::Outdated | Fault::CrashLoop(_)));
        self.restarts = [0; UNITS.len()];
    }

    /// Whether it stands.
    pub fn has(&self, fault: Fault) -> bool {
        self.faults.contains_key(&fault)
    }

    /// Faults that stand, with when they struck.
    pub fn faults(&self) -> impl Iterator<Item = (Fault, Duration)> {
        self.faults.iter().map(|(fault, at)| (*fault, *at))
    }

    /// The number of the setting with this name.
    pub fn setting(name: &str) -> Option<usize> {
        SETTINGS.iter().position(|setting| *setting == name)
    }

    /// What the probe reads at `now`, `uptime` after the machine's start.
    pub fn read(&mut self, probe: &'static str, now: Timestamp, chance: &mut Chance) -> Batch {
        let mut batch = Batch::of(probe);
        batch.at = now;
        match probe {
            "systemd-bus" => self.read_bus(&mut batch, now),
            "systemd-units" => self.read_units(&mut batch, chance),
            "packages" => self.read_packages(&mut batch),
            "kernel" => self.read_settings(&mut batch),
            "storage" => self.read_mounts(&mut batch),
            "runtime" => self.read_runtime(&mut batch),
            "kubelet" => self.read_kubelet(&mut batch),
            "kernel-log" => self.read_log(&mut batch, LogSource::Kernel, chance),
            _ => self.read_log(&mut batch, LogSource::Journal, chance),
        }
        for sample in &mut batch.samples {
            if chance.one_in(self.loss) {
                sample.value = Err(MissingReason::Late("lost".into()));
            }
        }
        batch
    }

    fn read_bus(&mut self, batch: &mut Batch, now: Timestamp) {
        let daemon = !self.has(Fault::DaemonDead);
        let private = !self.has(Fault::Frozen);
        if self.has(Fault::WorkersWedged) {
            self.asked = self.asked.saturating_add(1);
        }
        // Less than the hold of a mute bus: what it left behind is the fault.
        let is_silent = (1..=SILENCE).contains(&self.asked);
        let manager = daemon && private && !self.has(Fault::BusMute) && !is_silent;
        let since_boot = now.uptime.since_boot().as_secs_f64();
        let serial = match self.has(Fault::NearOverrun) {
            true => SERIAL_END - 1e8 + since_boot,
            false => (since_boot * SERIAL_RATE) % SERIAL_END,
        };
        let answered = |answers: bool, value: Value| match answers {
            true => Ok(value),
            false => Err(MissingReason::Late("5 s".into())),
        };
        let node = |key, value| sample(key, &Subject::NODE, value);
        batch.samples.extend([
            node("systemd.bus.daemon.answers", Ok(Value::Bool(daemon))),
            node(
                "systemd.bus.daemon.latency",
                answered(daemon, Value::Number(0.001)),
            ),
            node("systemd.bus.manager.answers", Ok(Value::Bool(manager))),
            node("systemd.bus.manager.deadline", Ok(Value::Number(5.0))),
            node("systemd.private.answers", Ok(Value::Bool(private))),
            node(
                "systemd.private.latency",
                answered(private, Value::Number(0.001)),
            ),
            node(
                "systemd.bus.serial",
                answered(manager, Value::Integer(whole(serial))),
            ),
            node(
                "systemd.bus.serial.rate",
                answered(manager, Value::Number(SERIAL_RATE)),
            ),
            node(
                "systemd.bus.days_to_overrun",
                answered(
                    manager,
                    Value::Number((SERIAL_END - serial) / SERIAL_RATE / 86_400.0),
                ),
            ),
        ]);
    }

    fn read_units(&mut self, batch: &mut Batch, chance: &mut Chance) {
        batch.complete.extend([
            "systemd.unit.restarts",
            "systemd.unit.active",
            "systemd.unit.result",
        ]);
        for (index, unit) in self.units.iter().enumerate() {
            let is_crashing = self.faults.contains_key(&Fault::CrashLoop(index));
            let Some(restarts) = self.restarts.get_mut(index) else {
                continue;
            };
            if is_crashing {
                *restarts += 1 + i64::from(chance.one_in(2));
            }
            // Units in a crash loop end at their start limit now and then.
            let at_limit = is_crashing && *restarts % 7 == 0;
            let (active, result) = match at_limit {
                true => (&self.words.failed, &self.words.limit),
                false => (&self.words.active, &self.words.success),
            };
            batch.samples.extend([
                sample("systemd.unit.restarts", unit, Ok(Value::Integer(*restarts))),
                sample("systemd.unit.active", unit, Ok(Value::Text(active.clone()))),
                sample("systemd.unit.result", unit, Ok(Value::Text(result.clone()))),
            ]);
        }
    }

    fn read_packages(&self, batch: &mut Batch) {
        let is_outdated = [Fault::Outdated, Fault::NearOverrun, Fault::Unsupported]
            .iter()
            .any(|fault| self.has(*fault));
        let text = |words: &Arc<str>| Ok(Value::Text(words.clone()));
        batch.samples.extend([
            sample("package.version", &self.systemd, text(&self.words.good)),
            sample(
                "package.fault.affected",
                &self.overrun,
                Ok(Value::Bool(is_outdated)),
            ),
            sample(
                "package.fault.because",
                &self.overrun,
                text(&self.words.none),
            ),
            sample(
                "package.fault.fixed_in",
                &self.overrun,
                text(&self.words.none),
            ),
        ]);
    }

    fn read_settings(&self, batch: &mut Batch) {
        // An older kernel: it reports and does not count.
        let left = sample(
            "kernel.hung_task_reports_left",
            &Subject::NODE,
            Ok(Value::Integer(10)),
        );
        batch.samples.push(left);
        batch.complete.extend([
            "kernel.sysctl.matches",
            "kernel.sysctl.value",
            "kernel.sysctl.wanted",
            "kernel.sysctl.declared_in",
        ]);
        for (index, setting) in self.settings.iter().enumerate().take(self.declared) {
            let drifts = self.has(Fault::Drift(index));
            let value = if drifts {
                &self.words.bad
            } else {
                &self.words.good
            };
            let text = |words: &Arc<str>| Ok(Value::Text(words.clone()));
            batch.samples.extend([
                sample("kernel.sysctl.matches", setting, Ok(Value::Bool(!drifts))),
                sample("kernel.sysctl.value", setting, text(value)),
                sample("kernel.sysctl.wanted", setting, text(&self.words.good)),
                sample("kernel.sysctl.declared_in", setting, text(&self.words.none)),
            ]);
        }
    }

    fn read_mounts(&self, batch: &mut Batch) {
        batch
            .complete
            .extend(["fs.readonly", "fs.emergency_ro", "fs.type"]);
        for (index, mount) in self.mounts.iter().enumerate() {
            let is_readonly = self.has(Fault::ReadOnly(index));
            batch.samples.extend([
                sample("fs.readonly", mount, Ok(Value::Bool(is_readonly))),
                sample("fs.emergency_ro", mount, Ok(Value::Bool(false))),
                sample("fs.type", mount, Ok(Value::Text(self.words.none.clone()))),
            ]);
        }
    }

    fn read_runtime(&self, batch: &mut Batch) {
        let answers = !self.has(Fault::RuntimeMute);
        let Some(unit) = self.units.first() else {
            return;
        };
        let error = if answers {
            &self.words.none
        } else {
            &self.words.late
        };
        batch.complete.extend(["runtime.answers", "runtime.error"]);
        batch.samples.extend([
            sample("runtime.answers", unit, Ok(Value::Bool(answers))),
            sample("runtime.deadline", unit, Ok(Value::Number(10.0))),
            sample("runtime.error", unit, Ok(Value::Text(error.clone()))),
        ]);
    }

    fn read_kubelet(&self, batch: &mut Batch) {
        let waiting = i64::from(self.has(Fault::WorkersWedged));
        let Some(unit) = self.units.get(1) else {
            return;
        };
        batch
            .complete
            .extend(["kubelet.pods", "kubelet.pods.waiting"]);
        batch.samples.extend([
            sample("kubelet.pods", unit, Ok(Value::Integer(12))),
            sample("kubelet.pods.waiting", unit, Ok(Value::Integer(waiting))),
            sample(
                "kubelet.pods.waiting.oldest",
                unit,
                Ok(Value::Number(60.0 * f64::from(u8::from(waiting > 0)))),
            ),
            sample("kubelet.healthz.ok", unit, Ok(Value::Bool(true))),
        ]);
    }

    fn read_log(&mut self, batch: &mut Batch, source: LogSource, chance: &mut Chance) {
        batch.heard.push(source);
        if self.loss > 0 && chance.one_in(self.loss.saturating_mul(20)) {
            batch.gaps.push((source, 1 + chance.below(500)));
        }
        let now = batch.at.uptime.since_boot();
        let line = match source {
            LogSource::Kernel if self.has(Fault::TaskHung) => {
                // The detector reports every two minutes at most.
                let is_due = self.spoke.is_none_or(|at| {
                    at > now || now.saturating_sub(at) >= Duration::from_secs(120)
                });
                is_due.then(|| (self.words.none.clone(), self.words.hung.clone()))
            }
            LogSource::Journal if self.has(Fault::Unsupported) => {
                Some((self.words.systemd.clone(), self.words.unsupported.clone()))
            }
            LogSource::Journal if self.has(Fault::Outdated) && self.has(Fault::BusMute) => chance
                .one_in(8)
                .then(|| (self.words.systemd.clone(), self.words.unsupported.clone())),
            _ => None,
        };
        if let Some((identifier, text)) = line {
            if source == LogSource::Kernel {
                self.spoke = Some(now);
            }
            batch.records.push(LogRecord {
                source,
                at: batch.at,
                written: None,
                identifier,
                unit: self.words.none.clone(),
                text,
                history: false,
            });
        }
    }
}

fn sample(key: &'static str, subject: &Subject, value: Result<Value, MissingReason>) -> Sample {
    Sample {
        key,
        subject: subject.clone(),
        value,
    }
}

/// The whole part of a number that fits by the remainder above.
fn whole(number: f64) -> i64 {
    number as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes;
    use crate::signal::{DroppedCount, Timeline};

    #[test]
    fn every_reading_is_one_that_the_product_knows() {
        let mut timeline = Timeline::new(probes::catalogue());
        let (mut machine, mut chance) = (Machine::healthy(), Chance::new(1));
        let others = [Fault::RuntimeMute, Fault::WorkersWedged, Fault::NearOverrun];
        let faults = Fault::ALL.into_iter().chain(others);
        for fault in std::iter::once(None).chain(faults.map(Some)) {
            if let Some(fault) = fault {
                machine.strike(fault, Duration::ZERO);
            }
            let rehearsed = ["runtime", "kubelet"];
            for probe in PROBES.iter().map(|(probe, _)| *probe).chain(rehearsed) {
                let now = timeline.now().plus(Duration::from_secs(1));
                let batch = machine.read(probe, now, &mut chance);
                assert_eq!(timeline.ingest(&batch), DroppedCount(0), "{probe}");
            }
        }
    }

    #[test]
    fn every_probe_is_one_of_the_product_and_no_faster_than_it() {
        for (name, period) in PROBES {
            let spec = probes::SPECS.iter().find(|spec| spec.name == name);
            let spec = spec.unwrap_or_else(|| panic!("there is no probe {name}"));
            let is_log = matches!(name, "kernel-log" | "journal");
            assert!(is_log || spec.period == period, "{name}");
        }
    }
}
