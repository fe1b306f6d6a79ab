//! An outcome for people and for programs.

use super::play::Outcome;
use super::scenario::Scenario;
use crate::document::format_span;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;

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

impl Outcome {
    /// API requests by phase: the start, the quiet, the first two minutes of a storm, and after.
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
        let mended = self
            .meter
            .first_ill
            .map_or(played, |_| whole(self.meter.last_mended));
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
            phase("first two minutes of illness", storm, after),
            phase("after that", after, over),
            phase("once all is done", over, played),
        ];
        all.into_iter().filter(|phase| phase.minutes > 0).collect()
    }

    /// Requests of all agents in all.
    pub fn requests(&self) -> u64 {
        self.meter.minutes.iter().sum()
    }

    /// Time from falling ill to being well: half of the nodes, 99 % of them, all of them.
    pub fn heal_times(&self) -> [Duration; 3] {
        let mut healed = self.meter.healed.clone();
        healed.sort();
        [50, 99, 100].map(|percent| quantile(&healed, percent))
    }

    /// How many machines fell ill, and how many are well again.
    pub fn ill_and_well(&self) -> (u64, usize) {
        (self.meter.fell_ill, self.meter.healed.len())
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

    /// For people.
    pub fn text(&self, scenario: &Scenario) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        self.write(scenario, &mut text).ok();
        text
    }

    fn write(&self, scenario: &Scenario, out: &mut String) -> std::fmt::Result {
        let (ill, well) = self.ill_and_well();
        writeln!(
            out,
            "{}: {} nodes, {} played, seed {}",
            scenario.name,
            scenario.nodes.count,
            format_span(self.played),
            self.seed
        )?;
        writeln!(
            out,
            "\nnodes       {ill} fell ill, {well} well again, {} left ill",
            self.left.values().sum::<u64>()
        )?;
        let [half, most, all] = self.heal_times().map(format_span);
        if well > 0 {
            writeln!(out, "time to heal  p50 {half}, p99 {most}, max {all}")?;
        }
        for (why, count) in &self.left {
            writeln!(out, "  {count:>5} left: {why}")?;
        }
        for breaker in &self.breakers {
            writeln!(out, "  stopped by ConfigMap {breaker}")?;
        }
        self.write_runs(scenario, out)?;
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
            Some(breach) => writeln!(out, "\n{breach}"),
            None => writeln!(out, "\nevery invariant held"),
        }
    }

    fn write_runs(&self, scenario: &Scenario, out: &mut String) -> std::fmt::Result {
        let runs: Vec<String> = self
            .runs()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        let runs = if runs.is_empty() {
            "none".to_owned()
        } else {
            runs.join(", ")
        };
        writeln!(out, "runs        {runs}")?;
        let most: Vec<String> = self
            .most
            .iter()
            .map(|(domain, count)| {
                let cap = scenario.limits.get(&**domain).copied().unwrap_or(0);
                format!("{domain} {count} (limit {cap})")
            })
            .collect();
        let most = if most.is_empty() {
            "none".to_owned()
        } else {
            most.join(", ")
        };
        writeln!(out, "most nodes disrupted at once  {most}")?;
        let wait = format_span(self.longest_free_wait());
        writeln!(out, "longest wait for a slot that was free  {wait}")?;
        if !self.meter.faults.is_empty() {
            let faults: Vec<String> = self
                .meter
                .faults
                .iter()
                .map(|(word, count)| format!("{word} {count}"))
                .collect();
            writeln!(out, "faults      {}", faults.join(", "))?;
        }
        Ok(())
    }

    fn write_refusals(&self, out: &mut String) -> std::fmt::Result {
        let mut refusals: Vec<_> = self.meter.refusals.iter().collect();
        refusals.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        if !refusals.is_empty() {
            writeln!(out, "\nrefusals, by reason")?;
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
        json!({
            "scenario": scenario.name, "seed": self.seed, "nodes": scenario.nodes.count,
            "played_seconds": seconds(self.played), "digest": format!("{:016x}", self.digest), "events": self.events,
            "fell_ill": ill, "healed": well, "left_ill": self.left,
            "breakers": self.breakers,
            "heal_seconds": { "p50": half, "p99": most, "max": all },
            "runs": self.meter.runs, "most_disrupted": most_disrupted,
            "longest_free_wait_seconds": seconds(self.longest_free_wait()),
            "requests": { "total": self.requests(), "per_minute": phases, "by_minute": self.meter.minutes, "by_call": calls },
            "refusals": self.meter.refusals, "faults": self.meter.faults,
            "breach": self.breach.as_ref().map(|breach| json!({
                "invariant": breach.invariant, "at_seconds": seconds(breach.at), "node": breach.node, "what": breach.what,
            })),
        })
    }
}
