//! One play: a scenario, a seed, and what came of it.

use super::breach::Breach;
use super::flaw::Flaw;
use super::hall::Stage;
use super::meter::Meter;
use super::people::{break_out, come_back, strike};
use super::reading::SIGNATURES;
use super::scenario::{Fault, Scenario, Trouble, Whom};
use super::server::Server;
use super::world::World;
use crate::signatures::Rulebook;
use crate::simulate::{Chance, World as Trade};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// safety.md, I19.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often free slots and waiting nodes are looked at.
const LOOK: Duration = Duration::from_secs(15);

/// What every play needs, made once.
pub struct Theatre {
    trade: Trade,
    rules: Rulebook,
}

/// What came of a play.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The seed, which plays it again.
    pub seed: u64,
    /// The first invariant that broke; the play ended there.
    pub breach: Option<Breach>,
    /// How much was played.
    pub played: Duration,
    /// What happened, line by line, if it was kept.
    pub log: Vec<String>,
    /// A digest of what happened: equal plays have equal digests.
    pub digest: u64,
    /// How many things happened.
    pub events: u64,
    /// How many times a task was woken.
    pub turns: u64,
    /// The most nodes that were disrupted at once, by domain.
    pub most: BTreeMap<Arc<str>, usize>,
    /// Nodes that are ill at the end, by what they wait for.
    pub left: BTreeMap<String, u64>,
    /// The ConfigMaps that stop new slots at the end.
    pub breakers: Vec<String>,
    pub(super) meter: Meter,
}

impl Theatre {
    /// What the product brings, read once.
    ///
    /// # Errors
    /// A sentence: a shipped signature cannot be used.
    pub fn of(trade: Trade) -> Result<Self, String> {
        let is_wanted = |text: &str| {
            SIGNATURES
                .iter()
                .any(|id| text.contains(&format!("id: {id}\n")))
        };
        let sources: Vec<_> = trade
            .rules
            .iter()
            .filter(|source| is_wanted(&source.text))
            .cloned()
            .collect();
        let (rules, reports) = Rulebook::load(&sources, &trade.catalogue);
        match reports.iter().find(|_| rules.len() < SIGNATURES.len()) {
            Some(report) => Err(report.to_string()),
            None => Ok(Self { trade, rules }),
        }
    }

    /// Plays a scenario. What the agents would log is not logged: it is no news of this machine, and the trace has it.
    pub fn play(
        &self,
        scenario: &Scenario,
        seed: u64,
        flaw: Option<Flaw>,
        keeps_log: bool,
    ) -> Outcome {
        let silence = tracing::subscriber::NoSubscriber::default();
        tracing::subscriber::with_default(silence, || {
            self.play_aloud(scenario, seed, flaw, keeps_log)
        })
    }

    fn play_aloud(
        &self,
        scenario: &Scenario,
        seed: u64,
        flaw: Option<Flaw>,
        keeps_log: bool,
    ) -> Outcome {
        let world = Arc::new(World::of(
            scenario,
            seed,
            &self.trade,
            &self.rules,
            flaw,
            keeps_log,
        ));
        let hall = Arc::clone(&world.hall);
        for node in 0..world.names.len() {
            let inner = Arc::clone(&world);
            let after = world.spread(node, scenario.startup);
            hall.spawn(None, async move {
                inner.hall.sleep(None, after).await;
                come_back(&inner, node);
            });
        }
        for outbreak in &scenario.sick {
            hall.spawn(None, break_out(Arc::clone(&world), outbreak.clone()));
        }
        for fault in scenario.faults.iter().cloned().chain(drawn(scenario, seed)) {
            hall.spawn(None, strike(Arc::clone(&world), fault));
        }
        hall.spawn(None, watch_the_waiting(Arc::clone(&world)));
        let mut stage = Stage::of(&hall);
        stage.play(scenario.lasts);
        outcome(&world, seed, stage.turns)
    }
}

fn outcome(world: &World, seed: u64, turns: u64) -> Outcome {
    world.with(|state| {
        let mut left = BTreeMap::new();
        let breakers: Vec<String> = state
            .server
            .maps
            .iter()
            .filter(|(_, map)| super::server::is_breaker(map))
            .map(|(name, map)| {
                let why = map
                    .pointer("/data/reason")
                    .and_then(serde_json::Value::as_str);
                format!("{name}: {}", why.unwrap_or("no reason given"))
            })
            .collect();
        for body in state.bodies.iter().filter(|body| body.ill.is_some()) {
            let why = match (&body.waiting, body.off) {
                (_, 1..) => "its agent is not there".to_owned(),
                (Some((_, why)), _) => super::meter::plain(why),
                (None, _) => {
                    "no run is under way (not opted in, attempts used up, or left to a person)"
                        .to_owned()
                }
            };
            *left.entry(why).or_default() += 1;
        }
        Outcome {
            seed,
            breach: state.jury.breach.clone(),
            played: world.hall.now(),
            log: state.log.lines.take().unwrap_or_default(),
            digest: state.log.digest,
            events: state.log.count,
            turns,
            most: state.jury.most.clone(),
            left,
            breakers,
            meter: state.meter.clone(),
        }
    })
}

/// The faults that the seed draws.
fn drawn(scenario: &Scenario, seed: u64) -> Vec<Fault> {
    let mut chance = Chance::new(seed ^ 0x5eed_fa17);
    let count = scenario.chaos.faults;
    (0..count)
        .filter_map(|_| {
            let (_, what) = chance.pick(&Trouble::WORDS)?;
            let at = chance.span(Duration::ZERO, scenario.lasts);
            let few = u32::try_from(1 + chance.below(u64::from(scenario.nodes.count).div_ceil(3)))
                .unwrap_or(1);
            Some(Fault {
                at,
                lasts: chance.around(Duration::from_secs(150)),
                what: what.clone(),
                whom: Whom {
                    count: Some(if *what == Trouble::Hostile { 1 } else { few }),
                    ..Whom::default()
                },
            })
        })
        .collect()
}

/// Whether a breaker rule without an object of its own may hold: agents that are away, slots of failed runs.
fn is_closed(server: &Server) -> bool {
    let line = |key: &str| {
        let limits = server.maps.get("limits")?;
        limits
            .pointer("/data")?
            .get(key)?
            .as_str()?
            .parse::<u64>()
            .ok()
    };
    let nodes = u64::try_from(server.nodes.len()).unwrap_or(u64::MAX);
    let is_absent = server.away > line("storm-unavailable").unwrap_or((nodes / 20).max(1));
    let is_lenient = [line("storm-casualties"), line("storm-failed-runs")]
        .iter()
        .all(|line| line.is_some_and(|line| line >= 9));
    // A slot that does not say that its run is under way counts as a casualty, also a forged one.
    let failed = |(name, lease): (&String, &Value)| {
        let phase = lease.pointer("/metadata/annotations/nodemend.io~1phase");
        name.starts_with("slot.")
            && !matches!(phase.and_then(Value::as_str), Some("mending" | "stopped"))
    };
    is_absent || !is_lenient && server.leases.iter().any(failed)
}

/// A node that waits, while everything is well and a slot is free for it, gets one (I19).
async fn watch_the_waiting(world: Arc<World>) {
    let mut free_since: BTreeMap<usize, Duration> = BTreeMap::new();
    loop {
        world.hall.sleep(None, LOOK).await;
        let now = world.hall.now();
        world.with(|state| {
            let weather = &state.weather;
            let is_calm = [
                weather.down,
                weather.slow,
                weather.busy,
                weather.failing,
                weather.losing,
            ] == [0; 5];
            let is_open = is_calm && state.server.breaker().is_none() && !is_closed(&state.server);
            if !is_open {
                free_since.clear();
                return;
            }
            let clear_since = weather.clear_since;
            let mut starved = Vec::new();
            for (node, body) in state.bodies.iter().enumerate() {
                let Some((since, why)) = &body.waiting else {
                    free_since.remove(&node);
                    continue;
                };
                let is_there = body.off == 0 && body.cut == 0 && !world.hall.is_frozen(node);
                if !is_there || !state.jury.is_free(node, &state.server) {
                    free_since.remove(&node);
                    continue;
                }
                let free = *free_since.entry(node).or_insert(now);
                let began = free.max(*since).max(body.clear_since).max(clear_since);
                let waited = now.saturating_sub(began);
                state.meter.longest_free_wait = state.meter.longest_free_wait.max(waited);
                if waited > PATIENCE {
                    starved.push((
                        node,
                        format!(
                            "a slot was free for {} s and it waits: {why}",
                            waited.as_secs()
                        ),
                    ));
                }
            }
            for (node, what) in starved {
                state.jury.blame(now, node, "I19", what);
            }
        });
    }
}
