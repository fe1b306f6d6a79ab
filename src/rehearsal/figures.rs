//! An outcome for people and for programs.

use super::breach::Breach;
use super::patience::LOOK;
use super::play::Outcome;
use super::scenario::{Scenario, Trouble};
use crate::document::format_span;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;

/// The phase in which machines begin to fall ill.
pub(super) const FIRST_ILLNESS: &str = "first three minutes of illness";

/// A stretch of the time that was played, in whole minutes.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// Its name.
    pub name: &'static str,
    /// How long it was.
    pub minutes: u64,
    /// API requests of all agents in the mean minute.
    pub mean: u64,
    /// API requests of all agents in the busiest minute.
    pub most: u64,
}

/// What a share of the sorted spans does not exceed.
fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted
        .get((sorted.len() * percent / 100).min(last))
        .copied()
        .unwrap_or_default()
}

fn counted(count: u32, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn quantiles(mut spans: Vec<Duration>) -> [Duration; 3] {
    spans.sort();
    [50, 99, 100].map(|percent| quantile(&spans, percent))
}

impl Outcome {
    /// API requests by phase: the start, the quiet, the minute in which the first machine falls ill with the next two, and after.
    pub fn phases(&self, scenario: &Scenario) -> Vec<Phase> {
        let minutes = &self.meter.minutes;
        let whole =
            |span: Duration| usize::try_from(span.as_secs().div_ceil(60)).unwrap_or(usize::MAX);
        let played = usize::try_from(self.played.as_secs() / 60).unwrap_or(0);
        let calm = whole(scenario.startup).saturating_add(1).min(played);
        // The minute in which the first machine fell ill belongs to the storm.
        let ill = self.meter.first_ill.map_or(played, |at| {
            usize::try_from(at.as_secs() / 60).unwrap_or(played)
        });
        let storm = ill.max(calm);
        let after = storm.saturating_add(3).min(played);
        // Where no run ended and nobody is well again there is no such moment.
        let last = self.meter.last_mended;
        let mended = if last.is_zero() { played } else { whole(last) };
        let over = mended.clamp(after, played);
        let phase = |name, from: usize, to: usize| {
            let counts: Vec<u64> = (from..to)
                .map(|at| minutes.get(at).copied().unwrap_or(0))
                .collect();
            let number = u64::try_from(counts.len()).unwrap_or(0);
            Phase {
                name,
                minutes: number,
                mean: counts.iter().sum::<u64>().checked_div(number).unwrap_or(0),
                most: counts.into_iter().max().unwrap_or(0),
            }
        };
        let all = [
            phase("start", 0, calm),
            phase("idle", calm, ill.max(calm)),
            phase(FIRST_ILLNESS, storm, after),
            phase("after that", after, over),
            phase("after the last run", over, played),
        ];
        all.into_iter().filter(|phase| phase.minutes > 0).collect()
    }

    /// Requests of all agents in all.
    pub fn requests(&self) -> u64 {
        self.meter.minutes.iter().sum()
    }

    /// Time from falling ill to being well: half of the nodes, 99 % of them, all of them.
    pub fn heal_times(&self) -> [Duration; 3] {
        quantiles(self.meter.healed.values().flatten().copied().collect())
    }

    /// How many machines fell ill, and how many are well again. One with two illnesses counts twice.
    pub fn ill_and_well(&self) -> (u64, usize) {
        let well = self.meter.healed.values().map(Vec::len).sum();
        (self.meter.fell_ill.values().sum(), well)
    }

    /// From the first machine that fell ill to the last one that was well again.
    pub fn storm_lasted(&self) -> Duration {
        let began = self.meter.first_ill.unwrap_or(self.meter.last_mended);
        self.meter.last_mended.saturating_sub(began)
    }

    /// The longest time that a node waited although a slot was free for it.
    pub fn longest_free_wait(&self) -> Duration {
        self.meter.longest_free_wait
    }

    /// The kinds of faults that came.
    pub fn faults(&self) -> impl Iterator<Item = &'static str> {
        self.meter.faults.keys().copied()
    }

    /// Runs by outcome.
    pub fn runs(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.meter.runs.iter().map(|(kind, count)| (*kind, *count))
    }

    /// The limits of a domain one after the other, as people set them while it was played; `None`: none.
    fn limits(&self, scenario: &Scenario, domain: &str) -> Vec<Option<u32>> {
        let mut later: Vec<_> = scenario
            .faults
            .iter()
            .filter(|fault| fault.at <= self.played)
            .filter_map(|fault| match &fault.what {
                Trouble::Limits(limits) => Some((fault.at, limits)),
                _ => None,
            })
            .collect();
        later.sort_by_key(|(at, _)| *at);
        let sets = std::iter::once(&scenario.limits).chain(later.into_iter().map(|(_, set)| set));
        let mut caps: Vec<_> = sets.map(|set| set.get(domain).copied()).collect();
        caps.dedup();
        caps
    }

    /// For people.
    pub fn text(&self, scenario: &Scenario) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        self.write(scenario, &mut text).ok();
        text
    }

    fn write(&self, scenario: &Scenario, out: &mut String) -> std::fmt::Result {
        let (name, count, seed) = (&scenario.name, scenario.nodes.count, self.seed);
        let played = format_span(self.played);
        let nodes = counted(count, "node");
        writeln!(out, "{name}: {nodes}, {played} played, seed {seed}")?;
        self.write_illness(out)?;
        self.write_disruption(scenario, out)?;
        writeln!(
            out,
            "\nAPI requests a minute, all agents together     mean   most   minutes"
        )?;
        for phase in self.phases(scenario) {
            writeln!(
                out,
                "  {:<43} {:>6} {:>6} {:>9}",
                phase.name, phase.mean, phase.most, phase.minutes
            )?;
        }
        let mut calls: Vec<_> = self.meter.calls.iter().collect();
        calls.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let calls: Vec<String> = calls
            .into_iter()
            .take(8)
            .map(|((verb, resource), count)| format!("{verb} {resource} {count}"))
            .collect();
        writeln!(out, "  in all {}: {}", self.requests(), calls.join(", "))?;
        self.write_refusals(out)?;
        match &self.breach {
            Some(breach) => {
                writeln!(out, "\n{breach}")?;
                self.also
                    .iter()
                    .try_for_each(|breach| writeln!(out, "{breach}"))
            }
            None => writeln!(out, "\nevery invariant held"),
        }
    }

    fn write_illness(&self, out: &mut String) -> std::fmt::Result {
        let (ill, well) = self.ill_and_well();
        let left = self.left.total();
        let nodes = self.meter.ill_nodes.len();
        let times = match u64::try_from(nodes) == Ok(ill) {
            true => format!("{ill} fell ill,"),
            false => format!("{nodes} fell ill, {ill} times in all:"),
        };
        write!(
            out,
            "\nnodes       {times} {well} well again, {left} left ill"
        )?;
        if well > 0 {
            let lasted = format_span(self.storm_lasted());
            write!(out, "; over {lasted} after the first fell ill")?;
        }
        writeln!(out)?;
        for (signature, ill) in &self.meter.fell_ill {
            let healed = self.meter.healed.get(signature).cloned();
            let healed = healed.unwrap_or_default();
            write!(
                out,
                "  {signature:<28} {ill:>5} fell ill, {:>5} well again",
                healed.len()
            )?;
            if !healed.is_empty() {
                let [half, most, all] = quantiles(healed).map(format_span);
                write!(out, " after p50 {half}, p99 {most}, max {all}")?;
            }
            writeln!(out)?;
        }
        for (why, count) in self.left.iter() {
            writeln!(out, "  {count:>5} left ill: {why}")?;
        }
        for breaker in &self.breakers {
            writeln!(out, "  stopped by ConfigMap {breaker}")?;
        }
        Ok(())
    }

    fn write_disruption(&self, scenario: &Scenario, out: &mut String) -> std::fmt::Result {
        let listed = |pairs: Vec<String>| match pairs.is_empty() {
            true => "none".to_owned(),
            false => pairs.join(", "),
        };
        let runs = self.runs().map(|(kind, count)| format!("{count} {kind}"));
        writeln!(out, "runs        {}", listed(runs.collect()))?;
        writeln!(
            out,
            "\nnodes disrupted at once                        most  limit"
        )?;
        let mut domains: Vec<&str> = self.most.keys().map(|domain| &**domain).collect();
        let full = self.meter.full.keys().map(String::as_str);
        domains.extend(full.filter(|domain| !self.most.contains_key(*domain)));
        if domains.is_empty() {
            writeln!(out, "  none was")?;
        }
        for domain in domains {
            let most = self.most.get(domain).copied().unwrap_or(0);
            let shown: Vec<String> = self
                .limits(scenario, domain)
                .into_iter()
                .map(|cap| cap.map_or_else(|| "none".to_owned(), |cap| cap.to_string()))
                .collect();
            let shown = shown.join(", ");
            let waits = match self.meter.full.get(domain) {
                Some(count) => format!("  all in use {count} times when a node asked"),
                None => String::new(),
            };
            writeln!(out, "  {domain:<43} {most:>6} {shown:>6}{waits}")?;
        }
        let caps = self.limits(scenario, "control-plane");
        let is_closed = caps.iter().all(|cap| cap.unwrap_or(0) == 0);
        if scenario.nodes.control_plane > 0 && is_closed {
            let whoever = match scenario.nodes.control_plane {
                1 => "the node of the control plane is".to_owned(),
                count => format!("the {count} nodes of the control plane are"),
            };
            writeln!(
                out,
                "  {whoever} never mended: limits gives `control-plane` no slot"
            )?;
        }
        let wait = match self.longest_free_wait() {
            Duration::ZERO => format!("less than {}", format_span(LOOK)),
            wait => format_span(wait),
        };
        writeln!(out, "longest wait for a slot that was free: {wait}")?;
        if !self.meter.faults.is_empty() {
            let faults = self.meter.faults.iter();
            let faults = faults.map(|(word, count)| format!("{word} {count}"));
            writeln!(out, "faults      {}", listed(faults.collect()))?;
        }
        Ok(())
    }

    fn write_refusals(&self, out: &mut String) -> std::fmt::Result {
        let mut refusals: Vec<_> = self.meter.refusals.iter().collect();
        refusals.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        if !refusals.is_empty() {
            writeln!(
                out,
                "\nwhy something was not done, how often (N: numbers that differ)"
            )?;
        }
        for (why, count) in refusals.iter().take(15) {
            writeln!(out, "  {count:>7} {why}")?;
        }
        if refusals.len() > 15 {
            writeln!(
                out,
                "  and {} more reasons (--output json has all)",
                refusals.len() - 15
            )?;
        }
        Ok(())
    }

    /// For programs.
    pub fn json(&self, scenario: &Scenario) -> Value {
        let seconds = |span: Duration| span.as_secs_f64();
        let [half, most, all] = self.heal_times().map(seconds);
        let (ill, well) = self.ill_and_well();
        let phases: Vec<Value> = self
            .phases(scenario)
            .into_iter()
            .map(|phase| json!({ "phase": phase.name, "minutes": phase.minutes, "mean": phase.mean, "most": phase.most }))
            .collect();
        let calls: Vec<Value> = self
            .meter
            .calls
            .iter()
            .map(|((verb, resource), count)| json!({ "verb": verb, "resource": resource, "count": count }))
            .collect();
        let most_disrupted: serde_json::Map<String, Value> = self
            .most
            .iter()
            .map(|(domain, count)| (domain.to_string(), json!(count)))
            .collect();
        let by_signature: serde_json::Map<String, Value> = self
            .meter
            .fell_ill
            .iter()
            .map(|(signature, ill)| {
                let healed = self
                    .meter
                    .healed
                    .get(signature)
                    .cloned()
                    .unwrap_or_default();
                let well = healed.len();
                let [half, most, all] = quantiles(healed).map(seconds);
                let heal = json!({ "p50": half, "p99": most, "max": all });
                let told = json!({ "fell_ill": ill, "healed": well, "heal_seconds": heal });
                ((*signature).to_owned(), told)
            })
            .collect();
        let breach = |breach: &Breach| json!({ "invariant": breach.invariant, "at_seconds": seconds(breach.at), "node": breach.node, "what": breach.what });
        json!({
            "scenario": scenario.name, "seed": self.seed, "nodes": scenario.nodes.count,
            "played_seconds": seconds(self.played), "digest": format!("{:016x}", self.digest), "events": self.events,
            "nodes_ill": self.meter.ill_nodes.len(), "fell_ill": ill, "healed": well, "left_ill": self.left.json(),
            "breakers": self.breakers,
            "heal_seconds": { "p50": half, "p99": most, "max": all },
            "storm_seconds": seconds(self.storm_lasted()),
            "by_signature": by_signature, "limits": scenario.limits, "all_slots_in_use": self.meter.full,
            "runs": self.meter.runs, "most_disrupted": most_disrupted,
            "longest_free_wait_seconds": seconds(self.longest_free_wait()),
            "requests": { "total": self.requests(), "per_minute": phases, "by_minute": self.meter.minutes, "by_call": calls },
            "refusals": self.meter.refusals.json(), "faults": self.meter.faults,
            "breach": self.breach.as_ref().map(breach),
            "also_broken": self.also.iter().map(breach).collect::<Vec<_>>(),
        })
    }
}
