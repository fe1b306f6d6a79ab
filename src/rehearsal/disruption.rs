//! What must hold when a step disturbs its node, and until the node is well again.

use super::jury::{Held, Jury, Record, StepNote, limit_said};
use super::server::Server;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// How long a write proves a slot (safety.md, section 2).
const HOLD: Duration = Duration::from_secs(60);
/// How long one step may take at most: the limit of the imagined ones.
pub(super) const STEP_LIMIT: Duration = Duration::from_secs(600);

/// What a step lacks on paper: its intent, its record, the leave of the limits.
fn faults_of_papers(
    record: &Record,
    domains: &[Arc<str>],
    note: StepNote,
) -> Vec<(&'static str, String)> {
    let mut faults = Vec::new();
    let done = record.effects.get(&(note.run, note.step));
    let done = done.copied().unwrap_or(0);
    if note.intents <= done {
        let what = format!(
            "{} intents are in the journal, and it was done {done} times before",
            note.intents
        );
        faults.push(("I8", what));
    }
    let announced = record
        .chronicle
        .announced
        .get(&(note.run, note.step.into()));
    match announced {
        None => faults.push(("I17", "no record of the audit log announces it".to_owned())),
        Some(seq) if record.chronicle.anchored < *seq => {
            let what = format!("no slot was written since record {seq}, which announces it");
            faults.push(("I17", what));
        }
        Some(_) => {}
    }
    let is_control = domains.iter().any(|domain| &**domain == "control-plane");
    if is_control && !record.control_allowed {
        faults.push((
            "I18",
            "the limits gave the control plane no slot".to_owned(),
        ));
    }
    faults
}

impl Jury {
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
            ..
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
        let open = record.step.replace((run, step));
        record.soaked = None;
        if is_again {
            self.blame(now, node, "I9", format!("run-{run} step {step} ran again"));
        }
        if let Some((other, _)) = open {
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
            // Somebody hostile may hold a second one in this node's name: the one that was written last counts.
            let is_own = |(name, held): &(&String, &Held)| {
                let rest = name.strip_prefix(&prefix);
                held.node == node
                    && rest.is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
            };
            let own = self.slots.iter().filter(is_own);
            let held = own.max_by_key(|(_, held)| held.written);
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
        faults.extend(faults_of_papers(record, domains, note));
        let silent = now.saturating_sub(record.last_word);
        if silent >= HOLD {
            faults.push((
                "I13",
                format!("the API server was last heard {} s ago", silent.as_secs()),
            ));
        }
        faults
    }

    /// The step is over; meanwhile its machine was suspended for as long as it `slept`.
    pub(super) fn step_ends(&mut self, now: Duration, node: usize, slept: Duration) {
        let Some(record) = self.records.get_mut(node) else {
            return;
        };
        record.step = None;
        record.step_ended = Some(now);
        let silent = now.saturating_sub(record.last_word).saturating_sub(slept);
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
                format!("{down} of {all} control-plane nodes are disrupted, which is not fewer than half; lower the limit control-plane"),
            );
        }
    }

    /// Somebody hostile writes in this node's name from now on.
    pub(super) fn is_hostile(&mut self, node: usize) {
        if let Some(record) = self.records.get_mut(node) {
            record.chronicle.is_hostile = true;
        }
    }

    /// Whether a slot is free in each of the domains.
    pub(super) fn is_free(&self, node: usize, server: &Server) -> bool {
        self.domains.get(node).into_iter().flatten().all(|domain| {
            let cap = limit_said(server, domain).unwrap_or(0);
            (0..cap).any(|index| {
                !server
                    .leases
                    .contains_key(&format!("slot.{domain}.{index}"))
            })
        })
    }
}

/// How many durable intents of a step are in the journal of its run, read from its bytes.
pub(super) fn intents_in(journal: &[u8], step: u16) -> u32 {
    let text = String::from_utf8_lossy(journal);
    let is_intent = |line: &&str| {
        let json = line.splitn(3, ' ').nth(2).unwrap_or("");
        let record: Value = serde_json::from_str(json).unwrap_or(Value::Null);
        let entry = record.get("entry").unwrap_or(&Value::Null);
        entry.get("entry").and_then(Value::as_str) == Some("began")
            && entry.get("step").and_then(Value::as_u64) == Some(step.into())
    };
    let count = text.lines().filter(is_intent).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}
