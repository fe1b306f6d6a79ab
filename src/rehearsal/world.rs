//! Everything that is not an agent: the machines, their disks, the weather between them and the API server, the log.

use super::admission::Who;
use super::ailments::{AILMENTS, Ailment, PROBES};
use super::flaw::Flaw;
use super::hall::Hall;
use super::jury::Jury;
use super::meter::Meter;
use super::scenario::{Scenario, Share};
use super::server::{EPOCH_US, NodeObject, Server};
use super::settings::settings_of;
use super::vetting::Vetted;
use crate::host::BoxFuture;
use crate::host::clock::Clock;
use crate::playbook::Catalogue;
use crate::signal::{Timestamp, Uptime, Wall};
use crate::signatures::Rulebook;
use crate::simulate::{Chance, Machine, World as Trade};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How long a machine was up when the rehearsal began.
const UPTIME: Duration = Duration::from_secs(3_600);

/// A machine: what is the matter with it, what is on its disk, how it is connected.
pub(super) struct Body {
    pub(super) machine: Machine,
    /// What ails it really, by the signature that it shows.
    pub(super) ill: BTreeMap<&'static str, Illness>,
    /// The probes that see anything it ever had; what the others read is never news.
    pub(super) seen_by: BTreeSet<&'static str>,
    pub(super) chance: Chance,
    /// The ledger's file.
    pub(super) ledger: Option<String>,
    /// The last line of its audit log.
    pub(super) audit: String,
    /// The id of its state directory.
    pub(super) instance: String,
    /// The journals.
    pub(super) files: BTreeMap<PathBuf, Vec<u8>>,
    pub(super) boot: u64,
    pub(super) booted: Duration,
    /// How far its wall clock is off, in microseconds.
    pub(super) skew: i64,
    /// Reasons why it cannot reach the server.
    pub(super) cut: u32,
    /// Reasons why its process does not run.
    pub(super) off: u32,
    /// The uid in the token of its agent's pod.
    pub(super) token_uid: String,
    /// The last run whose end is in the audit log.
    pub(super) heard_of: u64,
    /// Which effects of which steps stand.
    pub(super) effects: Vec<(u64, u16)>,
    /// Why its run has no slot yet, and since when it waits; for the I19 checker.
    pub(super) waiting: Option<(Duration, String)>,
    /// Since when nothing has stood between it and the server.
    pub(super) clear_since: Duration,
}

/// What ails a machine.
#[derive(Debug, Clone)]
pub(super) struct Illness {
    pub(super) since: Duration,
    pub(super) ailment: &'static Ailment,
    /// The detector is wrong: no mend helps.
    pub(super) is_false: bool,
    /// How long a step takes, about, and which share of the steps helps.
    pub(super) step: Duration,
    pub(super) succeed: Share,
}

/// What holds for all nodes at once, counted by its reasons.
#[derive(Debug, Default)]
pub(super) struct Weather {
    pub(super) down: u32,
    pub(super) slow: u32,
    pub(super) busy: u32,
    pub(super) failing: u32,
    pub(super) losing: u32,
    pub(super) garbled: u32,
    pub(super) cord: u32,
    /// Since when none of the first five has held.
    pub(super) clear_since: Duration,
}

/// All that changes.
pub(super) struct State {
    pub(super) server: Server,
    /// The limits that people set last.
    pub(super) limits: BTreeMap<String, u32>,
    pub(super) jury: Jury,
    pub(super) bodies: Vec<Body>,
    pub(super) weather: Weather,
    pub(super) meter: Meter,
    pub(super) chance: Chance,
    pub(super) log: Log,
}

/// What happened, line by line; and a digest of it, so that two plays can be compared without keeping either.
pub(super) struct Log {
    pub(super) lines: Option<Vec<String>>,
    pub(super) digest: u64,
    pub(super) count: u64,
}

impl Log {
    /// Notes one thing.
    pub(super) fn note(&mut self, now: Duration, who: &str, what: &str) {
        self.count += 1;
        // FNV-1a: not for secrets, the same on every machine.
        let micros = now.as_micros().to_le_bytes();
        let bytes = micros
            .iter()
            .chain(who.as_bytes())
            .chain([&b' '])
            .chain(what.as_bytes());
        for byte in bytes {
            self.digest = (self.digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>10.3} {who} {what}", now.as_secs_f64()));
        }
    }
}

/// What a node's watch has to tell.
#[derive(Default)]
pub(super) struct Feed {
    pub(super) events: Mutex<VecDeque<(Duration, Value)>>,
    pub(super) broken: Mutex<bool>,
    pub(super) news: Notify,
}

/// The whole.
pub(super) struct World {
    pub(super) hall: Arc<Hall>,
    pub(super) scenario: Scenario,
    pub(super) trade: Trade,
    pub(super) rules: Rulebook,
    pub(super) playbooks: Arc<Catalogue>,
    /// The probes that the illnesses of this scenario need.
    pub(super) probes: Vec<&'static str>,
    pub(super) names: Vec<String>,
    pub(super) flaw: Option<Flaw>,
    pub(super) feeds: Vec<Feed>,
    /// Rung when a machine falls ill: its agent looks closer.
    pub(super) alarms: Vec<Notify>,
    state: Mutex<State>,
}

impl World {
    /// A cluster in which nothing has happened yet.
    pub(super) fn of(
        scenario: &Scenario,
        seed: u64,
        trade: &Trade,
        rules: &Rulebook,
        playbooks: (&Arc<Catalogue>, &Vetted),
        flaw: Option<Flaw>,
        keeps_log: bool,
    ) -> Self {
        let mut chance = Chance::new(seed);
        let count = scenario.nodes.count;
        let names: Vec<String> = (0..count).map(|number| format!("node-{number}")).collect();
        let mut server = Server::of(flaw);
        let mut domains = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let labels = labels_of(scenario, index);
            domains.push(domains_of(&labels));
            let annotations = settings_of(scenario, index);
            let uid = server.next_uid();
            let version = server.next_version();
            server.nodes.push(NodeObject {
                name: name.clone(),
                uid,
                version,
                labels,
                annotations,
                exists: true,
            });
            server.away += 1;
        }
        super::settings::set_limits(&mut server, Duration::ZERO, &scenario.limits);
        let bodies = names.iter().map(|_| body(&mut chance)).collect();
        let state = State {
            server,
            limits: scenario.limits.clone(),
            jury: Jury::of(
                names.clone(),
                domains,
                scenario.runs.soak,
                playbooks.1.clone(),
            ),
            bodies,
            weather: Weather::default(),
            meter: Meter::default(),
            chance: Chance::new(chance.number()),
            log: Log {
                lines: keeps_log.then(Vec::new),
                digest: 0xcbf2_9ce4_8422_2325,
                count: 0,
            },
        };
        Self {
            hall: Arc::new(Hall::default()),
            scenario: scenario.clone(),
            trade: trade.clone(),
            rules: rules.clone(),
            playbooks: Arc::clone(playbooks.0),
            probes: probes_of(scenario),
            flaw,
            feeds: names.iter().map(|_| Feed::default()).collect(),
            alarms: names.iter().map(|_| Notify::new()).collect(),
            names,
            state: Mutex::new(state),
        }
    }

    /// Looks at what changes, or changes it. Never across a wait.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut state);
        if state.jury.breach.is_some() {
            self.hall.close();
        }
        result
    }

    /// The same for one machine.
    pub(super) fn body<T>(&self, node: usize, work: impl FnOnce(&mut Body) -> T) -> Option<T> {
        self.with(|state| state.bodies.get_mut(node).map(work))
    }

    /// The name of a node.
    pub(super) fn name(&self, node: usize) -> &str {
        self.names.get(node).map_or("", String::as_str)
    }

    /// Notes that something happened.
    pub(super) fn tell(&self, node: usize, what: &str) {
        let now = self.hall.now();
        let name = self.name(node);
        self.with(|state| state.log.note(now, name, what));
    }

    /// A span from nothing to `most`, from this node's own chance.
    pub(super) fn spread(&self, node: usize, most: Duration) -> Duration {
        self.body(node, |body| body.chance.span(Duration::ZERO, most))
            .unwrap_or_default()
    }

    /// A number from 0 up to 1, from this node's own chance.
    pub(super) fn draw(&self, node: usize) -> f64 {
        let draw = self.body(node, |body| body.chance.below(10_000));
        f64::from(u16::try_from(draw.unwrap_or_default()).unwrap_or(0)) / 10_000.0
    }

    /// Who the agent on `node` is to the server.
    pub(super) fn agent(&self, node: usize) -> Who {
        Who::Agent {
            node: self.name(node).to_owned(),
            uid: self
                .body(node, |body| body.token_uid.clone())
                .unwrap_or_default(),
        }
    }

    /// Tells the watcher of a node that its Node is another now.
    pub(super) fn announce(&self, node: usize, kind: &str, lag: Duration) {
        let object = self.with(|state| state.server.nodes.get(node).map(NodeObject::object));
        let (Some(object), Some(feed)) = (object, self.feeds.get(node)) else {
            return;
        };
        let event = serde_json::json!({ "type": kind, "object": object });
        let due = self.hall.now().saturating_add(lag);
        lock(&feed.events).push_back((due, event));
        feed.news.notify_one();
    }

    /// The watch of a node ends without a word.
    pub(super) fn break_watch(&self, node: usize) {
        if let Some(feed) = self.feeds.get(node) {
            *lock(&feed.broken) = true;
            feed.news.notify_one();
        }
    }
}

/// A lock that nothing is left broken behind.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The probes that see what can go wrong in this scenario, in their order.
fn probes_of(scenario: &Scenario) -> Vec<&'static str> {
    let is_meant = |ailment: &&Ailment| {
        let mut meant = scenario.sick.iter();
        meant.any(|outbreak| outbreak.signature == ailment.signature)
    };
    let needed: Vec<&str> = AILMENTS
        .iter()
        .filter(is_meant)
        .flat_map(|ailment| ailment.probes)
        .copied()
        .collect();
    let mut probes = PROBES.to_vec();
    probes.retain(|probe| needed.contains(probe));
    probes
}

fn labels_of(scenario: &Scenario, index: usize) -> BTreeMap<String, String> {
    let nodes = &scenario.nodes;
    let mut labels = BTreeMap::new();
    if let Some(zone) = nodes.zone_of(index) {
        labels.insert("topology.kubernetes.io/zone".to_owned(), zone.to_owned());
    }
    if let Some(pool) = nodes.pool_of(index) {
        labels.insert("nodemend.io/pool".to_owned(), pool.to_owned());
    }
    if index < usize::try_from(nodes.control_plane).unwrap_or(0) {
        labels.insert(
            "node-role.kubernetes.io/control-plane".to_owned(),
            String::new(),
        );
    }
    labels
}

/// The domains of a node, told apart from the product's own reading of the labels.
fn domains_of(labels: &BTreeMap<String, String>) -> Vec<Arc<str>> {
    let mut domains: Vec<Arc<str>> = vec![Arc::from("cluster")];
    let named = |key: &str, kind: &str| {
        labels
            .get(key)
            .map(|name| Arc::from(format!("{kind}-{name}")))
    };
    domains.extend(named("topology.kubernetes.io/zone", "zone"));
    domains.extend(named("nodemend.io/pool", "pool"));
    if labels.contains_key("node-role.kubernetes.io/control-plane") {
        domains.push(Arc::from("control-plane"));
    }
    domains
}

fn body(chance: &mut Chance) -> Body {
    let hour = 3_600_000_000;
    let skew = i64::try_from(chance.below(2 * hour)).unwrap_or(0);
    Body {
        machine: Machine::healthy(),
        ill: BTreeMap::new(),
        seen_by: BTreeSet::new(),
        // Clocks an hour apart: nothing may depend on them.
        skew: skew - i64::try_from(hour).unwrap_or(0),
        chance: Chance::new(chance.number()),
        ledger: None,
        audit: String::new(),
        instance: format!("instance-{}", chance.number()),
        files: BTreeMap::new(),
        boot: 0,
        booted: Duration::ZERO,
        cut: 0,
        // Not started yet; whoever comes first starts it, and nobody starts it twice.
        off: 1,
        token_uid: String::new(),
        heard_of: 0,
        effects: Vec::new(),
        waiting: None,
        clear_since: Duration::ZERO,
    }
}

/// A node's clocks.
pub(super) struct NodeClock {
    pub(super) world: Arc<World>,
    pub(super) node: usize,
}

impl Clock for NodeClock {
    fn now(&self) -> Timestamp {
        let hall = &self.world.hall;
        let now = hall.now();
        let (booted, skew) = self
            .world
            .body(self.node, |body| (body.booted, body.skew))
            .unwrap_or_default();
        let mut uptime = now.saturating_add(UPTIME).saturating_sub(booted);
        if self.world.flaw == Some(Flaw::ClockStopsInSuspend) {
            uptime = uptime.saturating_sub(hall.slept(Some(self.node)));
        }
        let micros = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        Timestamp {
            uptime: Uptime::new(uptime),
            wall: Wall(EPOCH_US.saturating_add(micros).saturating_add(skew)),
        }
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'_, ()> {
        Box::pin(self.world.hall.sleep(Some(self.node), span))
    }

    fn alarm(&self, span: Duration) -> BoxFuture<'_, ()> {
        self.sleep(span)
    }
}
