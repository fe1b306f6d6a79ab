//! One play: a scenario, a seed, and what came of it.

use super::ailments::{ailment, signatures};
use super::approval::decide;
use super::breach::Breach;
use super::cost::too_dear;
use super::flaw::Flaw;
use super::hall::Stage;
use super::meter::{Meter, Reasons};
use super::patience::watch_the_waiting;
use super::people::{break_out, come_back, strike};
use super::scenario::{Fault, Scenario, Trouble, Whom};
use super::settings::asks_people;
use super::vetting::{Papers, Vetted};
use super::world::{World, lock};
use crate::document::Problems;
use crate::playbook::Catalogue;
use crate::signatures::{Rulebook, Source};
use crate::simulate::{Chance, World as Trade};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What every play needs, made once.
pub struct Theatre {
    trade: Trade,
    playbooks: Arc<Catalogue>,
    vetted: Vetted,
    /// Rules by the signatures of a scenario: compiling them costs more than a play.
    books: Mutex<BTreeMap<Vec<String>, Rulebook>>,
}

/// What came of a play.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The seed, which plays it again.
    pub seed: u64,
    /// The first invariant that broke; the play ended there.
    pub breach: Option<Breach>,
    /// What else broke at that moment.
    pub also: Vec<Breach>,
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
    /// What ails nodes at the end, by what these wait for. A node with two illnesses counts twice.
    pub left: Reasons,
    /// The ConfigMaps that stop new slots at the end.
    pub breakers: Vec<String>,
    pub(super) meter: Meter,
}

impl Theatre {
    /// What the product brings, read once. `keys` are the trusted ones as `NAME ed25519:HEX`, `named` the digests of playbooks
    /// that the configuration names: by these the jury vets the playbooks for itself.
    ///
    /// # Errors
    /// A sentence: a shipped signature cannot be used.
    pub fn of(
        trade: Trade,
        playbooks: Catalogue,
        keys: &[String],
        named: &BTreeSet<String>,
    ) -> Result<Self, String> {
        let theatre = Self {
            vetted: Vetted::of(&papers_of(&playbooks), keys, named),
            trade,
            playbooks: Arc::new(playbooks),
            books: Mutex::default(),
        };
        let wanted = signatures();
        let (rules, reports) = theatre.load(&wanted);
        match reports.iter().find(|_| rules.len() < wanted.len()) {
            Some(report) => Err(report.to_string()),
            None => Ok(theatre),
        }
    }

    fn load(&self, wanted: &[&str]) -> (Rulebook, Vec<Problems>) {
        let is_wanted = |source: &&Source| {
            let mut wanted = wanted.iter();
            wanted.any(|id| source.text.contains(&format!("id: {id}\n")))
        };
        let sources: Vec<_> = self.trade.rules.iter().filter(is_wanted).cloned().collect();
        Rulebook::load(&sources, &self.trade.catalogue)
    }

    /// The rules by which what this scenario makes ill shows.
    fn rules_for(&self, scenario: &Scenario) -> Rulebook {
        let ids = scenario.sick.iter().map(|one| one.signature.as_str());
        let ids: BTreeSet<&str> = ids.filter(|id| ailment(id).is_some()).collect();
        let key: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        let mut books = lock(&self.books);
        let book = books.entry(key).or_insert_with(|| {
            let ids: Vec<&str> = ids.into_iter().collect();
            self.load(&ids).0
        });
        book.clone()
    }

    /// Plays a scenario. What the agents would log is not logged: it is no news of this machine, and the trace has it.
    pub fn play(
        &self,
        scenario: &Scenario,
        seed: u64,
        flaw: Option<Flaw>,
        keeps_log: bool,
    ) -> Outcome {
        self.play_before(None, scenario, seed, flaw, keeps_log)
    }

    /// The same before some of the judges only; `None`: all of them.
    pub(super) fn play_before(
        &self,
        only: Option<Vec<&'static str>>,
        scenario: &Scenario,
        seed: u64,
        flaw: Option<Flaw>,
        keeps_log: bool,
    ) -> Outcome {
        let _silence =
            tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::default());
        let world = Arc::new(World::of(
            scenario,
            seed,
            &self.trade,
            &self.rules_for(scenario),
            (&self.playbooks, &self.vetted),
            flaw,
            keeps_log,
        ));
        world.with(|state| state.jury.only = only);
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
        for node in 0..world.names.len() {
            if asks_people(scenario, node) {
                hall.spawn(None, decide(Arc::clone(&world), node));
            }
        }
        let mut stage = Stage::of(&hall);
        stage.play(scenario.lasts);
        let mut outcome = outcome(&world, seed, stage.turns);
        if outcome.breach.is_none() {
            outcome.breach = too_dear(&outcome, scenario);
        }
        outcome
    }
}

/// The playbooks' papers, for whoever vets them.
pub(super) fn papers_of(playbooks: &Catalogue) -> Vec<Papers> {
    let papers = playbooks.iter().map(|listed| {
        let playbook = listed.playbook.reference();
        Papers {
            text: listed.text.to_string(),
            signature: listed.signature.as_deref().map(str::to_owned),
            identity: [playbook.id, playbook.version, playbook.digest].map(|it| it.to_string()),
        }
    });
    papers.collect()
}

fn outcome(world: &World, seed: u64, turns: u64) -> Outcome {
    world.with(|state| {
        let mut left = Reasons::default();
        let breakers: Vec<String> = state
            .server
            .maps
            .iter()
            .filter(|(_, map)| super::server::is_breaker(map))
            .map(|(name, map)| {
                let why = map.pointer("/data/reason").and_then(Value::as_str);
                format!("{name}: {}", why.unwrap_or("no reason given"))
            })
            .collect();
        for (body, node) in state.bodies.iter().zip(&state.server.nodes) {
            if body.ill.is_empty() {
                continue;
            }
            // What the agent itself says of it on its Node.
            let said = node.annotations.get("nodemend.io/blocked");
            let why: &str = match (&body.waiting, body.off) {
                (_, 1..) => "its agent is not there",
                (Some((_, why)), _) => why,
                (None, _) => said.map_or(
                    "its agent sees nothing that it could mend, or just begins",
                    String::as_str,
                ),
            };
            left.note(why, body.ill.len() as u64);
        }
        Outcome {
            seed,
            breach: state.jury.breach.clone(),
            also: state.jury.also.clone(),
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
