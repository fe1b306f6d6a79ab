//! What is done to a crowd while it mends itself, drawn from a seed: agents killed, stopped, cut off and slowed down; the server
//! killed, its store paused, a Node removed, the limits set to nothing, a storm.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::crowd::{Crowd, Member, caps, now};
use crate::fleet::CONFIG_MAPS;

/// Longer than a write proves a slot (60 s).
const STOPPED: (u64, u64) = (65, 75);
/// How long people take to look at a breaker and let it go.
const LOOKED_AT: Duration = Duration::from_secs(10);
/// How long agents may take to see the storm and stop.
const STORM_SEEN: Duration = Duration::from_secs(150);
/// How long a node may take to say why it waits.
const REASON_GIVEN: Duration = Duration::from_secs(90);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OfOne {
    Kill,
    Stop,
    Cut,
    Slow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OfAll {
    Storm,
    ServerKilled,
    NodeRemoved,
    NoLimits,
    StorePaused,
    SickAgain,
}

/// How a trouble ends.
enum End {
    Restart(usize),
    Continue(usize),
    Open(usize),
    Server,
    Store,
    Limits,
    Calm,
    LetGo(String),
}

/// All troubles of one run.
pub struct Troubles {
    seed: u64,
    chance: Chance,
    /// Those of single agents that are still to come.
    deck: Vec<OfOne>,
    /// Those of the whole cluster, each when this share of the nodes is well.
    plan: VecDeque<(f64, OfAll)>,
    ends: Vec<(Instant, i64, End)>,
    next: Instant,
    storm: Option<Instant>,
    looked: Instant,
    tally: BTreeMap<&'static str, usize>,
}

impl Troubles {
    /// The troubles of `seed` for a crowd of `agents`.
    pub fn draw(seed: u64, agents: usize) -> Self {
        let mut chance = Chance(seed);
        let mut deck = Vec::new();
        for (trouble, share) in [
            (OfOne::Kill, 3),
            (OfOne::Stop, 8),
            (OfOne::Cut, 6),
            (OfOne::Slow, 6),
        ] {
            deck.extend(std::iter::repeat_n(trouble, agents.div_ceil(share)));
        }
        for at in (1..deck.len()).rev() {
            deck.swap(at, chance.below(at + 1));
        }
        let plan = [
            (0.15, OfAll::Storm),
            (0.30, OfAll::ServerKilled),
            (0.40, OfAll::NodeRemoved),
            (0.50, OfAll::NoLimits),
            (0.60, OfAll::StorePaused),
            (0.70, OfAll::SickAgain),
        ];
        Self {
            seed,
            chance,
            deck,
            plan: VecDeque::from(plan),
            ends: Vec::new(),
            next: Instant::now(),
            storm: None,
            looked: Instant::now(),
            tally: BTreeMap::new(),
        }
    }

    /// Whether all that concerns the whole cluster came and everything has ended.
    pub fn are_over(&self) -> bool {
        self.plan.is_empty() && self.ends.is_empty() && self.storm.is_none()
    }

    /// Ends what is due to end and begins what is due to begin; how many nodes are sick.
    pub fn go_on(&mut self, crowd: &mut Crowd) -> usize {
        let due: Vec<_> = self
            .ends
            .extract_if(.., |(at, _, _)| *at <= Instant::now())
            .collect();
        for (_, from, end) in due {
            self.end(crowd, from, end);
        }
        let sick = crowd.count_sick();
        if sick > 0 && Instant::now() >= self.next && !self.is_server_away() {
            self.next = Instant::now() + self.seconds((2, 5));
            self.trouble_one(crowd);
        }
        if self.looked.elapsed() >= Duration::from_secs(1) && !self.is_server_away() {
            self.looked = Instant::now();
            self.look(crowd);
            let well = 1.0 - sick as f64 / crowd.members.len() as f64;
            let is_due = self.plan.front().is_some_and(|(share, _)| *share <= well);
            if is_due && !self.is_cluster_troubled() {
                let trouble = self.plan.pop_front().map(|(_, trouble)| trouble);
                self.trouble_all(crowd, trouble.expect("it was due"));
            }
        }
        sick
    }

    fn is_server_away(&self) -> bool {
        let of_server = |end: &End| matches!(end, End::Server | End::Store);
        self.ends.iter().any(|(_, _, end)| of_server(end))
    }

    fn is_cluster_troubled(&self) -> bool {
        let of_all = |end: &End| matches!(end, End::Server | End::Store | End::Limits | End::Calm);
        self.storm.is_some() || self.ends.iter().any(|(_, _, end)| of_all(end))
    }

    fn seconds(&mut self, (least, most): (u64, u64)) -> Duration {
        let span =
            self.chance
                .below(usize::try_from((most - least) * 1000).expect("short")) as u64;
        Duration::from_millis(least * 1000 + span)
    }

    fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    fn until_after(&mut self, span: Duration, end: End) {
        self.ends.push((Instant::now() + span, now(), end));
    }

    fn is_troubled(&self, number: usize) -> bool {
        self.ends.iter().any(|(_, _, end)| {
            matches!(end, End::Restart(of) | End::Continue(of) | End::Open(of) if *of == number)
        })
    }

    /// One agent, every other time one that holds a slot.
    fn trouble_one(&mut self, crowd: &mut Crowd) {
        let holders = match self.chance.below(2) {
            0 => crowd.holders(),
            _ => Vec::new(),
        };
        let mut from: Vec<usize> = holders
            .iter()
            .filter_map(|node| crowd.number_of(node))
            .collect();
        from.retain(|number| !self.is_troubled(*number));
        if from.is_empty() {
            let is_free = |number: &usize| {
                let member = &crowd.members[*number];
                !member.is_well && !member.is_removed && !self.is_troubled(*number)
            };
            from = (0..crowd.members.len()).filter(is_free).collect();
        }
        if from.is_empty() {
            return;
        }
        let number = from[self.chance.below(from.len())];
        let Some(trouble) = self.deck.pop() else {
            return;
        };
        match trouble {
            OfOne::Kill => {
                self.count("killed");
                crowd.members[number].patient.process.kill();
                let span = self.seconds((1, 8));
                self.until_after(span, End::Restart(number));
            }
            OfOne::Stop => {
                self.count("stopped");
                crowd.members[number].patient.process.pause();
                let span = self.seconds(STOPPED);
                self.until_after(span, End::Continue(number));
            }
            OfOne::Cut => {
                self.count(crowd.cut_off(number));
                let span = self.seconds((10, 80));
                self.until_after(span, End::Open(number));
            }
            OfOne::Slow => {
                // Around the limit of a call, which is 5 s.
                let delay = self.seconds((1, 4));
                self.count(crowd.hamper(number, delay));
                let span = self.seconds((20, 60));
                self.until_after(span, End::Open(number));
            }
        }
    }

    fn trouble_all(&mut self, crowd: &mut Crowd, trouble: OfAll) {
        eprintln!("{trouble:?}");
        match trouble {
            OfAll::Storm => {
                // Without a line of people's own it is 5 nodes or 2 %.
                let mut limits = caps();
                let lines = limits.as_object_mut().expect("an object");
                lines.remove("storm-nodes");
                lines.remove("storm-nodes-any");
                crowd.set_limits(&limits);
                self.storm = Some(Instant::now());
            }
            OfAll::ServerKilled => {
                crowd.plane.api.kill();
                let span = self.seconds((5, 15));
                self.until_after(span, End::Server);
            }
            OfAll::StorePaused => {
                crowd.plane.etcd.pause();
                let span = self.seconds((8, 15));
                self.until_after(span, End::Store);
            }
            OfAll::NodeRemoved => {
                let Some(node) = crowd.holders().first().cloned() else {
                    return self.plan.push_front((0.0, trouble));
                };
                let number = crowd.number_of(&node).expect("holders are members");
                let member = &mut crowd.members[number];
                let path = member.patient.agent.node_path();
                crowd.admin.delete(&path).expect("remove the Node");
                member.is_removed = true;
                crowd.scenery.troubled.push((node, now(), i64::MAX));
            }
            OfAll::SickAgain => {
                // What it told once it tells as a series now, unless it was restarted meanwhile: so three of them.
                let is_over = |member: &&Member| {
                    member.is_well
                        && !member.is_removed
                        && !member.patient.told("case-closed").is_empty()
                };
                let over: Vec<_> = crowd.members.iter().filter(is_over).take(3).collect();
                if over.len() < 3 {
                    return self.plan.push_front((0.0, trouble));
                }
                over.iter().for_each(|member| member.patient.fall_sick());
            }
            OfAll::NoLimits => {
                let mut limits = caps();
                limits["cluster"] = json!("0");
                crowd.set_limits(&limits);
                let span = self.seconds((15, 25));
                self.until_after(span, End::Limits);
            }
        }
        self.count("of the cluster");
    }

    fn end(&mut self, crowd: &mut Crowd, from: i64, end: End) {
        match end {
            End::Restart(number) => {
                crowd.members[number].patient.process.restart();
                self.was_troubled(crowd, number, from);
            }
            End::Continue(number) => {
                crowd.members[number].patient.process.resume();
                self.was_troubled(crowd, number, from);
            }
            End::Open(number) => {
                crowd.reconnect(number);
                self.was_troubled(crowd, number, from);
            }
            End::Server => {
                crowd.plane.api.restart();
                crowd.plane.await_ready();
                crowd.scenery.away.push((from, now()));
            }
            End::Store => {
                crowd.plane.etcd.resume();
                crowd.plane.await_ready();
                crowd.scenery.away.push((from, now()));
            }
            End::Limits => crowd.set_limits(&caps()),
            End::LetGo(name) => {
                // Gone already if the storm was calmed meanwhile.
                crowd.admin.delete(&format!("{CONFIG_MAPS}/{name}"));
            }
            End::Calm => self.calm(crowd, from),
        }
    }

    fn was_troubled(&self, crowd: &mut Crowd, number: usize, from: i64) {
        let node = crowd.members[number].patient.agent.node.clone();
        crowd.scenery.troubled.push((node, from, now()));
    }

    /// Sees breakers, as people do.
    fn look(&mut self, crowd: &Crowd) {
        let breakers = crowd.breakers();
        if let Some(since) = self.storm {
            if breakers.is_empty() {
                assert!(
                    since.elapsed() < STORM_SEEN,
                    "no agent saw the storm: {self}"
                );
            } else {
                eprintln!(
                    "breaker after {:?}: {}",
                    since.elapsed(),
                    reason(&breakers[0])
                );
                self.storm = None;
                self.count("breakers of the storm");
                self.until_after(LOOKED_AT, End::Calm);
            }
            return;
        }
        for breaker in breakers {
            let name = breaker["metadata"]["name"]
                .as_str()
                .expect("a name")
                .to_owned();
            let is_known = self.ends.iter().any(|(_, _, end)| {
                matches!(end, End::Calm) || matches!(end, End::LetGo(of) if *of == name)
            });
            if !is_known {
                eprintln!("a breaker: {}", reason(&breaker));
                self.count("other breakers");
                self.until_after(LOOKED_AT, End::LetGo(name));
            }
        }
    }

    /// Ends the storm, once every node says why it waits.
    fn calm(&mut self, crowd: &mut Crowd, from: i64) {
        let mut silent = crowd.without_a_reason();
        silent.retain(|text| {
            let node = text.split(':').next().unwrap_or_default();
            let number = crowd.number_of(node).expect("it is a member");
            let of_late = |(whose, _, to): &(String, i64, i64)| {
                whose == node && to.saturating_add(30_000_000) > now()
            };
            !self.is_troubled(number) && !crowd.scenery.troubled.iter().any(of_late)
        });
        if !silent.is_empty() {
            let waited = now() - from;
            assert!(
                waited < i64::try_from(REASON_GIVEN.as_micros()).expect("short"),
                "under a breaker these nodes do not say why they wait: {silent:#?}"
            );
            let again = Instant::now() + Duration::from_secs(2);
            return self.ends.push((again, from, End::Calm));
        }
        crowd.set_limits(&caps());
        for breaker in crowd.breakers() {
            let name = breaker["metadata"]["name"].as_str().expect("a name");
            let path = format!("{CONFIG_MAPS}/{name}");
            crowd.admin.delete(&path).expect("let the breaker go");
        }
    }
}

fn reason(breaker: &Value) -> String {
    breaker["data"]["reason"].as_str().unwrap_or("-").to_owned()
}

impl fmt::Display for Troubles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}:", self.seed)?;
        for (what, count) in &self.tally {
            write!(f, " {count} {what},")?;
        }
        write!(
            f,
            " {} not drawn, {} under way",
            self.deck.len(),
            self.ends.len()
        )
    }
}

/// Numbers from a seed (splitmix64), the same on every machine.
pub struct Chance(u64);

impl Chance {
    /// Those of this seed.
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `most`, which is not 0.
    pub fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let most = u64::try_from(most).expect("usize is at most 64 bits");
        usize::try_from((z ^ (z >> 31)) % most).expect("below a usize")
    }
}

#[test]
fn a_seed_draws_the_same_troubles_again_and_every_kind_of_them() {
    let (one, two) = (Troubles::draw(7, 32), Troubles::draw(7, 32));
    assert_eq!(one.deck, two.deck);
    assert_ne!(one.deck, Troubles::draw(8, 32).deck);
    for kind in [OfOne::Kill, OfOne::Stop, OfOne::Cut, OfOne::Slow] {
        assert!(
            one.deck.iter().filter(|of| **of == kind).count() >= 4,
            "{kind:?}"
        );
    }
}
