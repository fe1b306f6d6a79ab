//! What must hold at every write and every step (safety.md, section 3), kept apart from the product: it knows names, owners and
//! moments, and none of the lease's code.

use super::admission::Who;
use super::breach::Breach;
use super::chronicle::Chronicle;
use super::consent::{Approvals, Consent};
use super::server::{Change, Server};
use super::vetting::Vetted;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// safety.md, I10.
const MOST_RUNS: usize = 3;
const DAY: Duration = Duration::from_secs(86_400);
/// One defect can break several invariants at once; more of them say nothing new.
const MOST_ALSO: usize = 8;

/// The limit of a domain as people wrote it; `None`: nobody did, or it is no plain number.
pub(super) fn limit_said(server: &Server, domain: &str) -> Option<u32> {
    let said = server.maps.get("limits")?.get("data")?.get(domain)?;
    let text = said.as_str()?;
    let number: u32 = text.parse().ok()?;
    // In its only spelling, and not more than can be counted in three digits.
    (number <= 999 && number.to_string() == text).then_some(number)
}

/// A slot as its writes showed it.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) node: usize,
    pub(super) uid: String,
    pub(super) created: Duration,
    pub(super) written: Duration,
    /// The number in the head that it carries.
    pub(super) anchored: u64,
}

/// What is known of a node.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) process_began: Duration,
    pub(super) last_run: u64,
    pub(super) run_under_way: Option<u64>,
    /// Versions of the own Node that were read since the run was decided, and what they allow.
    pub(super) reads: BTreeMap<String, Consent>,
    pub(super) approvals: Approvals,
    pub(super) chronicle: Chronicle,
    /// The node's wall clock when the executor got its run, or began anew with it.
    pub(super) entrusted_at: i64,
    /// Whether the limits gave the control plane a slot when this node made its last one.
    pub(super) control_allowed: bool,
    pub(super) effects: BTreeMap<(u64, u16), u32>,
    pub(super) opened: BTreeMap<String, Vec<Duration>>,
    /// The step under way: of which run, and which one.
    pub(super) step: Option<(u64, u16)>,
    pub(super) step_ended: Option<Duration>,
    pub(super) soaked: Option<Duration>,
    pub(super) last_word: Duration,
    pub(super) process: u64,
}

/// Judges.
#[derive(Debug, Default)]
pub(super) struct Jury {
    /// The first breach.
    pub(super) breach: Option<Breach>,
    /// What else broke at that moment.
    pub(super) also: Vec<Breach>,
    pub(super) vetted: Vetted,
    /// Tests of one judge silence the others.
    pub(super) only: Option<Vec<&'static str>>,
    /// How many nodes were disrupted at once at most, by domain.
    pub(super) most: BTreeMap<Arc<str>, usize>,
    pub(super) soak: Duration,
    pub(super) names: Vec<String>,
    pub(super) domains: Vec<Vec<Arc<str>>>,
    pub(super) records: Vec<Record>,
    pub(super) slots: BTreeMap<String, Held>,
    pub(super) disrupted: BTreeSet<usize>,
}

/// A step as it begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct StepNote {
    pub(super) run: u64,
    pub(super) step: u16,
    pub(super) repeatable: bool,
    /// How many durable intents of it are in the journal.
    pub(super) intents: u32,
}

impl Jury {
    pub(super) fn of(
        names: Vec<String>,
        domains: Vec<Vec<Arc<str>>>,
        soak: Duration,
        vetted: Vetted,
    ) -> Self {
        let records = names.iter().map(|_| Record::default()).collect();
        Self {
            soak,
            vetted,
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
        if self
            .only
            .as_ref()
            .is_some_and(|only| !only.contains(&invariant))
        {
            return;
        }
        let breach = Breach {
            at,
            node: self.names.get(node).cloned().unwrap_or_default(),
            invariant,
            what,
        };
        match &self.breach {
            None => self.breach = Some(breach),
            Some(first) if first.at == at && self.also.len() < MOST_ALSO => self.also.push(breach),
            Some(_) => {}
        }
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
                    Some(held) if held.node == node && is_agent => {
                        held.written = now;
                        self.anchored(now, node, name, server);
                    }
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
        let said = limit_said(server, domain);
        let cap = said.unwrap_or(0);
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
        if said.is_none() {
            let what = format!("{name} was created, and no limit of {domain} can be read");
            self.blame(now, node, "I14", what);
        }
        let is_control = limit_said(server, "control-plane").is_some_and(|cap| cap > 0);
        if let Some(record) = self.records.get_mut(node) {
            record.control_allowed = is_control;
        }
        let breaker = server.maps.keys().find(|name| {
            let labels = server
                .maps
                .get(*name)
                .and_then(|map| map.pointer("/metadata/labels"));
            name.starts_with("breaker-")
                || labels.is_some_and(|labels| labels.get("nodemend.io/breaker").is_some())
        });
        if let Some(breaker) = breaker {
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
            created: now,
            written: now,
            anchored: 0,
        };
        self.slots.insert(name.to_owned(), held);
        if matches!(who, Who::Agent { .. }) {
            self.anchored(now, node, name, server);
        }
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
        // A slot that was made after the last step ended has seen none: that step's slot went with the Node that was deleted.
        let is_untouched =
            record.step.is_none() && record.step_ended.is_none_or(|ended| ended < held.created);
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
    pub(super) fn rest(&mut self, node: usize) {
        self.disrupted.remove(&node);
        if let Some(record) = self.records.get_mut(node) {
            record.step = None;
            record.step_ended = None;
            record.soaked = None;
        }
    }

    /// The agent's process began.
    pub(super) fn process_began(&mut self, now: Duration, node: usize, wall: i64) {
        if let Some(record) = self.records.get_mut(node) {
            record.entrusted_at = wall;
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
    pub(super) fn read_node(&mut self, node: usize, version: String, consent: Consent) {
        if let Some(record) = self.records.get_mut(node) {
            record.reads.insert(version, consent);
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
}
