//! What must hold at every write and every step (safety.md, section 3), kept apart from the product: it knows names, owners and
//! moments, and none of the lease's code.

use super::admission::Who;
use super::server::{Change, Server};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long a write proves a slot (safety.md, section 2).
const HOLD: Duration = Duration::from_secs(60);
/// How long one step may take at most: the limit of the imagined ones.
pub(super) const STEP_LIMIT: Duration = Duration::from_secs(600);
/// safety.md, I10.
const MOST_RUNS: usize = 3;
const DAY: Duration = Duration::from_secs(86_400);

/// What must hold did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// Virtual time since the beginning.
    pub at: Duration,
    /// The node.
    pub node: String,
    /// The invariant's number in safety.md: `I5`.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at.as_secs();
        let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
        let (node, invariant, what) = (&self.node, self.invariant, &self.what);
        write!(
            f,
            "{invariant} broken at {hours:02}:{minutes:02}:{:02} on {node}: {what}",
            seconds % 60
        )
    }
}

/// A slot as its writes showed it.
#[derive(Debug, Clone)]
struct Held {
    node: usize,
    uid: String,
    written: Duration,
}

/// What is known of a node.
#[derive(Debug, Default)]
struct Record {
    process_began: Duration,
    last_run: u64,
    run_under_way: Option<u64>,
    /// Versions of the own Node that were read since the run was decided, and whether they allow it.
    reads: BTreeMap<String, bool>,
    intents: BTreeMap<(u64, u16), u32>,
    effects: BTreeMap<(u64, u16), u32>,
    opened: BTreeMap<String, Vec<Duration>>,
    step: Option<(u64, u16, u64)>,
    step_ended: Option<Duration>,
    soaked: Option<Duration>,
    last_word: Duration,
    process: u64,
}

/// Judges.
#[derive(Debug, Default)]
pub(super) struct Jury {
    /// The first breach.
    pub(super) breach: Option<Breach>,
    /// How many nodes were disrupted at once at most, by domain.
    pub(super) most: BTreeMap<Arc<str>, usize>,
    soak: Duration,
    names: Vec<String>,
    domains: Vec<Vec<Arc<str>>>,
    records: Vec<Record>,
    slots: BTreeMap<String, Held>,
    disrupted: BTreeSet<usize>,
}

/// A step as it begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct StepNote {
    pub(super) run: u64,
    pub(super) step: u16,
    pub(super) repeatable: bool,
}

impl Jury {
    pub(super) fn of(names: Vec<String>, domains: Vec<Vec<Arc<str>>>, soak: Duration) -> Self {
        let records = names.iter().map(|_| Record::default()).collect();
        Self {
            soak,
            names,
            domains,
            records,
            ..Self::default()
        }
    }

    pub(super) fn blame(
        &mut self,
        at: Duration,
        node: usize,
        invariant: &'static str,
        what: String,
    ) {
        let name = self.names.get(node).cloned().unwrap_or_default();
        self.breach.get_or_insert(Breach {
            at,
            node: name,
            invariant,
            what,
        });
    }

    fn number_of(&self, who: &Who) -> Option<usize> {
        match who {
            Who::Agent { node, .. } => self.names.iter().position(|name| name == node),
            Who::People => None,
        }
    }

    /// A write that was done.
    pub(super) fn wrote(
        &mut self,
        now: Duration,
        who: &Who,
        node: usize,
        change: &Change,
        server: &Server,
    ) {
        match change {
            Change::Created(name) => self.created(now, who, node, name, server),
            Change::Updated(name) => {
                let is_agent = matches!(who, Who::Agent { .. });
                match self.slots.get_mut(name) {
                    Some(held) if held.node == node && is_agent => held.written = now,
                    Some(_) if is_agent => {
                        self.blame(
                            now,
                            node,
                            "I3",
                            format!("it changed {name}, which it does not hold"),
                        );
                    }
                    _ => {}
                }
            }
            Change::Deleted(name) => self.deleted(now, who, node, name),
            Change::Node(name) => {
                if let Who::Agent { node: own, .. } = who
                    && own != name
                {
                    self.blame(now, node, "I16", format!("it wrote Node {name}"));
                }
            }
            Change::Other => {}
        }
    }

    fn created(&mut self, now: Duration, who: &Who, node: usize, name: &str, server: &Server) {
        let Some((domain, index)) = name
            .strip_prefix("slot.")
            .and_then(|rest| rest.rsplit_once('.'))
        else {
            return;
        };
        let cap = server.cap(domain);
        if index
            .parse::<u32>()
            .map_or(true, |number| number >= cap || number.to_string() != index)
        {
            self.blame(
                now,
                node,
                "I1",
                format!("{name} was created, and the cap is {cap}"),
            );
        }
        if let Some(breaker) = server.breaker() {
            self.blame(
                now,
                node,
                "I4",
                format!("{name} was created while {breaker} exists"),
            );
        }
        let lease = server.leases.get(name);
        let text = |pointer: &str| {
            let found = lease.and_then(|lease| lease.pointer(pointer)?.as_str());
            found.unwrap_or("").to_owned()
        };
        let holder = text("/spec/holderIdentity");
        if let Who::Agent { node: own, .. } = who
            && holder != *own
        {
            self.blame(now, node, "I3", format!("it created {name} for {holder}"));
        }
        let held = Held {
            node,
            uid: text("/metadata/uid"),
            written: now,
        };
        self.slots.insert(name.to_owned(), held);
    }

    fn deleted(&mut self, now: Duration, who: &Who, node: usize, name: &str) {
        let Some(held) = self.slots.remove(name) else {
            return;
        };
        if self.number_of(who).is_none() {
            // The collector or a person: the node is gone, or somebody looked.
            self.rest(held.node);
            return;
        }
        if held.node != node {
            let holder = self.names.get(held.node).cloned().unwrap_or_default();
            self.blame(
                now,
                node,
                "I3",
                format!("it freed {name}, which {holder} holds"),
            );
            return;
        }
        let Some(record) = self.records.get(node) else {
            return;
        };
        let is_untouched = record.step.is_none() && record.step_ended.is_none();
        let soaked = record
            .soaked
            .zip(record.step_ended)
            .filter(|(soaked, ended)| {
                soaked >= ended
                    && soaked.saturating_sub(*ended) >= self.soak
                    && record.step.is_none()
            });
        if !is_untouched && soaked.is_none() {
            let what = format!(
                "{name} was freed before the node was well for {:?}",
                self.soak
            );
            self.blame(now, node, "I11", what);
        }
    }

    /// The node does not count as disrupted any more.
    fn rest(&mut self, node: usize) {
        self.disrupted.remove(&node);
        if let Some(record) = self.records.get_mut(node) {
            record.step = None;
            record.step_ended = None;
            record.soaked = None;
        }
    }

    /// The agent's process began.
    pub(super) fn process_began(&mut self, now: Duration, node: usize) {
        if let Some(record) = self.records.get_mut(node) {
            record.process_began = now;
            record.process += 1;
            record.reads.clear();
            record.run_under_way = None;
            record.last_word = now;
        }
    }

    /// The server answered the node.
    pub(super) fn heard(&mut self, now: Duration, node: usize) {
        if let Some(record) = self.records.get_mut(node) {
            record.last_word = now;
        }
    }

    /// The agent read its own Node from the server.
    pub(super) fn read_node(&mut self, node: usize, version: String, allows: bool) {
        if let Some(record) = self.records.get_mut(node) {
            record.reads.insert(version, allows);
        }
    }

    /// A run was decided on.
    pub(super) fn decided(&mut self, now: Duration, node: usize, run: u64) {
        let Some(record) = self.records.get_mut(node) else {
            return;
        };
        record.reads.clear();
        let (before, under_way) = (record.last_run, record.run_under_way.replace(run));
        record.last_run = before.max(run);
        if run <= before {
            self.blame(
                now,
                node,
                "I7",
                format!("run-{run} came after run-{before}"),
            );
        }
        if let Some(other) = under_way {
            self.blame(
                now,
                node,
                "I7",
                format!("run-{run} was decided on while run-{other} is under way"),
            );
        }
    }

    /// A run of before goes on.
    pub(super) fn resumed(&mut self, now: Duration, node: usize, run: u64) {
        let Some(record) = self.records.get_mut(node) else {
            return;
        };
        record.last_run = record.last_run.max(run);
        if let Some(other) = record.run_under_way.replace(run) {
            self.blame(
                now,
                node,
                "I7",
                format!("run-{run} goes on while run-{other} is under way"),
            );
        }
    }

    /// A run ended, or went back to the engine.
    pub(super) fn run_ended(&mut self, node: usize) {
        if let Some(record) = self.records.get_mut(node) {
            record.run_under_way = None;
        }
    }

    /// A run has its slot and its journal.
    pub(super) fn opened(&mut self, now: Duration, node: usize, signature: &str) {
        let Some(record) = self.records.get_mut(node) else {
            return;
        };
        let list = record.opened.entry(signature.to_owned()).or_default();
        list.retain(|at| now.saturating_sub(*at) < DAY);
        list.push(now);
        let count = list.len();
        if count > MOST_RUNS {
            self.blame(
                now,
                node,
                "I10",
                format!("{count} runs for {signature} in 24 h"),
            );
        }
    }

    /// An intent is durable.
    pub(super) fn intends(
        &mut self,
        now: Duration,
        node: usize,
        run: u64,
        step: u16,
        opt_in: &str,
    ) {
        let Some(record) = self.records.get_mut(node) else {
            return;
        };
        *record.intents.entry((run, step)).or_default() += 1;
        let what = match record.reads.get(opt_in) {
            Some(true) => return,
            Some(false) => {
                format!("run-{run} rests on version {opt_in} of its Node, which does not allow it")
            }
            None => format!(
                "run-{run} rests on version {opt_in} of its Node, which was not read in this run"
            ),
        };
        self.blame(now, node, "I12", what);
    }

    /// A disruptive step begins, right now.
    pub(super) fn step_begins(
        &mut self,
        now: Duration,
        node: usize,
        note: StepNote,
        server: &Server,
    ) {
        let StepNote {
            run,
            step,
            repeatable,
        } = note;
        let faults = self.faults_of_step(now, node, note, server);
        for (invariant, what) in faults {
            self.blame(
                now,
                node,
                invariant,
                format!("run-{run} step {step}: {what}"),
            );
        }
        let Some(record) = self.records.get_mut(node) else {
            return;
        };
        let count = record.effects.entry((run, step)).or_default();
        *count += 1;
        let is_again = *count > 1 && !repeatable;
        let process = record.process;
        let open = record.step.replace((run, step, process));
        record.soaked = None;
        if is_again {
            self.blame(now, node, "I9", format!("run-{run} step {step} ran again"));
        }
        if let Some((other, _, of)) = open
            && of == process
        {
            self.blame(
                now,
                node,
                "I7",
                format!("run-{run} step {step} began inside a step of run-{other}"),
            );
        }
        self.disrupted.insert(node);
        self.count(now, node);
    }

    fn faults_of_step(
        &self,
        now: Duration,
        node: usize,
        note: StepNote,
        server: &Server,
    ) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let (Some(record), Some(domains)) = (self.records.get(node), self.domains.get(node)) else {
            return faults;
        };
        for domain in domains {
            let prefix = format!("slot.{domain}.");
            let held = self.slots.iter().find(|(name, held)| {
                held.node == node
                    && name
                        .strip_prefix(&prefix)
                        .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
            });
            let Some((name, held)) = held else {
                faults.push(("I2", format!("it holds no slot of domain {domain}")));
                continue;
            };
            let uid = server
                .leases
                .get(name)
                .and_then(|lease| lease.pointer("/metadata/uid")?.as_str());
            if uid != Some(&held.uid) {
                faults.push(("I2", format!("{name} is not the one it wrote")));
            }
            let age = now.saturating_sub(held.written);
            if age >= HOLD {
                faults.push((
                    "I5",
                    format!("{name} was last written {} s ago", age.as_secs()),
                ));
            }
            if held.written < record.process_began {
                faults.push((
                    "I6",
                    format!("{name} was not written since the process began"),
                ));
            }
        }
        if !record.intents.contains_key(&(note.run, note.step)) {
            faults.push(("I8", "no intent is in the journal".to_owned()));
        }
        let silent = now.saturating_sub(record.last_word);
        if silent >= HOLD {
            faults.push((
                "I13",
                format!("the API server was last heard {} s ago", silent.as_secs()),
            ));
        }
        faults
    }

    /// The step is over.
    pub(super) fn step_ends(&mut self, now: Duration, node: usize) {
        let Some(record) = self.records.get_mut(node) else {
            return;
        };
        record.step = None;
        record.step_ended = Some(now);
        let silent = now.saturating_sub(record.last_word);
        if silent > HOLD + STEP_LIMIT {
            let what = format!(
                "a step ran while the API server was silent for {} s",
                silent.as_secs()
            );
            self.blame(now, node, "I13", what);
        }
    }

    /// The machine was well for the whole soak, as the journal says.
    pub(super) fn soaked(&mut self, now: Duration, node: usize) {
        if let Some(record) = self.records.get_mut(node) {
            // A step that its process left behind ended with it.
            if record.step.take().is_some() {
                record.step_ended = record.step_ended.or(Some(record.process_began));
            }
            record.soaked = Some(now);
        }
        self.disrupted.remove(&node);
    }

    /// The slots of a node that is freed for good reason are gone: what it did before does not count any more.
    pub(super) fn freed_all(&mut self, node: usize) {
        if !self.slots.values().any(|held| held.node == node) && !self.disrupted.contains(&node) {
            self.rest(node);
        }
    }

    fn count(&mut self, now: Duration, node: usize) {
        for domain in self.domains.get(node).into_iter().flatten() {
            let of_domain = |other: &&usize| {
                self.domains
                    .get(**other)
                    .is_some_and(|known| known.contains(domain))
            };
            let count = self.disrupted.iter().filter(of_domain).count();
            let most = self.most.entry(Arc::clone(domain)).or_default();
            *most = (*most).max(count);
        }
        let is_control =
            |known: &Vec<Arc<str>>| known.iter().any(|domain| &**domain == "control-plane");
        let all = self
            .domains
            .iter()
            .filter(|known| is_control(known))
            .count();
        let down = self
            .disrupted
            .iter()
            .filter(|node| self.domains.get(**node).is_some_and(is_control))
            .count();
        if self.domains.get(node).is_some_and(is_control) && down * 2 >= all {
            self.blame(
                now,
                node,
                "I18",
                format!("{down} of {all} control-plane nodes are disrupted"),
            );
        }
    }

    /// Whether a slot is free in each of the domains.
    pub(super) fn is_free(&self, node: usize, server: &Server) -> bool {
        self.domains.get(node).into_iter().flatten().all(|domain| {
            let cap = server.cap(domain);
            (0..cap).any(|index| {
                !server
                    .leases
                    .contains_key(&format!("slot.{domain}.{index}"))
            })
        })
    }
}
