//! What is rehearsed: a cluster, its limits, what falls sick, what goes wrong.

use std::collections::BTreeMap;
use std::time::Duration;

/// A share, in millionths: exact, so that the same file means the same on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Share(pub u32);

impl Share {
    /// All of it.
    pub const ALL: Share = Share(1_000_000);

    /// This share of `count`, rounded up: one of three is never none.
    pub fn of(self, count: usize) -> usize {
        let parts = (count as u128 * u128::from(self.0)).div_ceil(u128::from(Share::ALL.0));
        usize::try_from(parts).unwrap_or(count).min(count)
    }
}

/// A cluster and what happens to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// What people call it.
    pub name: String,
    /// How long it is watched, in virtual time.
    pub lasts: Duration,
    /// The seed, unless the command line says another.
    pub seed: u64,
    /// Over which time the agents start: a rollout is never one moment.
    pub startup: Duration,
    /// The nodes.
    pub nodes: Nodes,
    /// The ConfigMap `limits`.
    pub limits: BTreeMap<String, u32>,
    /// What falls sick.
    pub sick: Vec<Outbreak>,
    /// How runs go.
    pub runs: Runs,
    /// How people decide where they are asked.
    pub people: People,
    /// What goes wrong, and what people do, at its time.
    pub faults: Vec<Fault>,
    /// What goes wrong at any time.
    pub chaos: Chaos,
}

/// The nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Nodes {
    /// How many.
    pub count: u32,
    /// Their zones, in turn; none: no zone label.
    pub zones: Vec<String>,
    /// Their pools, in turn; none: no pool label.
    pub pools: Vec<String>,
    /// How many of them carry the control plane; the first ones.
    pub control_plane: u32,
    /// Which share may be mended: mode auto, allow restart. The others only observe.
    pub opted_in: Share,
    /// Which share of those asks a person first: mode approve. The last ones, so that the control plane is not among them.
    pub approve: Share,
}

impl Nodes {
    /// The zone of the node with this number.
    pub fn zone_of(&self, index: usize) -> Option<&str> {
        in_turn(&self.zones, index)
    }

    /// The pool of the node with this number.
    pub fn pool_of(&self, index: usize) -> Option<&str> {
        in_turn(&self.pools, index)
    }

    /// The nodes among which the seed chooses.
    pub fn meant(&self, whom: &Whom) -> Vec<usize> {
        let is_in = |wanted: &Option<String>, own: Option<&str>| {
            wanted.is_none() || wanted.as_deref() == own
        };
        let count = usize::try_from(self.count).unwrap_or(0);
        (0..count)
            .filter(|index| is_in(&whom.zone, self.zone_of(*index)))
            .filter(|index| is_in(&whom.pool, self.pool_of(*index)))
            .collect()
    }
}

fn in_turn(names: &[String], index: usize) -> Option<&str> {
    let at = index.checked_rem(names.len())?;
    names.get(at).map(String::as_str)
}

/// Nodes, chosen by the seed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Whom {
    /// A share of those that are meant.
    pub share: Option<Share>,
    /// A number of those that are meant.
    pub count: Option<u32>,
    /// Only of this zone.
    pub zone: Option<String>,
    /// Only of this pool.
    pub pool: Option<String>,
}

/// Something makes nodes sick.
#[derive(Debug, Clone, PartialEq)]
pub struct Outbreak {
    /// When it begins.
    pub at: Duration,
    /// Over which time the nodes fall sick.
    pub over: Duration,
    /// The signature that fires.
    pub signature: String,
    /// Which nodes.
    pub whom: Whom,
    /// The detector is wrong: nothing is the matter, and nothing mends it.
    pub is_false: bool,
    /// How long a disruptive step takes here, where it is not as in [`Runs`].
    pub step: Option<Duration>,
    /// Which share of the steps helps here, where it is not as in [`Runs`].
    pub succeed: Option<Share>,
}

/// How runs go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Runs {
    /// How long a disruptive step takes, about.
    pub step: Duration,
    /// How long a mended node is watched before its slot is freed.
    pub soak: Duration,
    /// Which share of the runs mends what it should.
    pub succeed: Share,
}

/// How people decide on nodes in mode approve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct People {
    /// After about which time somebody approves a case.
    pub approve: Duration,
    /// Which share of the approvals names another case.
    pub wrong: Share,
    /// Which share of the cases nobody looks at.
    pub never: Share,
    /// Which share of the cases is approved once more a few minutes later.
    pub twice: Share,
}

/// What goes wrong, or what people do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The API server does not answer.
    ServerDown,
    /// Nodes cannot reach the API server.
    Partition,
    /// Calls take seconds.
    SlowCalls,
    /// The API server asks to slow down.
    TooManyRequests,
    /// The API server fails every other call.
    ServerErrors,
    /// Every other answer of the API server is lost.
    AnswersLost,
    /// Every watch ends without a word.
    WatchesDropped,
    /// The agent's process dies and starts again.
    Restart,
    /// The machine is suspended.
    Suspend,
    /// The machine restarts.
    Reboot,
    /// The Node object is deleted; its kubelet makes a new one afterwards.
    NodeDeleted,
    /// People change the ConfigMap `limits` (and do not change it back).
    Limits(BTreeMap<String, u32>),
    /// The ConfigMap `limits` turns into something else, and back.
    LimitsGarbled,
    /// People pull the stop cord, and let it go afterwards.
    StopCord,
    /// People remove every breaker.
    BreakersRemoved,
    /// People set the nodes to observe, and back.
    OptOut,
    /// The nodes' settings turn into something that is none, and back.
    OptInGarbled,
    /// Somebody with root uses the agent's token (safety.md, T1 to T5).
    Hostile,
}

impl Trouble {
    /// Those that need nothing but a name, with their words in scenario files.
    pub const WORDS: [(&'static str, Trouble); 17] = [
        ("server-down", Trouble::ServerDown),
        ("partition", Trouble::Partition),
        ("slow-calls", Trouble::SlowCalls),
        ("too-many-requests", Trouble::TooManyRequests),
        ("server-errors", Trouble::ServerErrors),
        ("answers-lost", Trouble::AnswersLost),
        ("watches-dropped", Trouble::WatchesDropped),
        ("restart", Trouble::Restart),
        ("suspend", Trouble::Suspend),
        ("reboot", Trouble::Reboot),
        ("node-deleted", Trouble::NodeDeleted),
        ("limits-garbled", Trouble::LimitsGarbled),
        ("stop-cord", Trouble::StopCord),
        ("breakers-removed", Trouble::BreakersRemoved),
        ("opt-out", Trouble::OptOut),
        ("opt-in-garbled", Trouble::OptInGarbled),
        ("hostile", Trouble::Hostile),
    ];

    /// Whether it lasts, or happens at one moment.
    pub fn lasts(&self) -> bool {
        !matches!(
            self,
            Trouble::WatchesDropped
                | Trouble::Restart
                | Trouble::Reboot
                | Trouble::Limits(_)
                | Trouble::BreakersRemoved
        )
    }

    /// Whether it is about some nodes, or about everybody.
    pub fn is_about_nodes(&self) -> bool {
        matches!(
            self,
            Trouble::Partition
                | Trouble::WatchesDropped
                | Trouble::Restart
                | Trouble::Suspend
                | Trouble::Reboot
                | Trouble::NodeDeleted
                | Trouble::OptOut
                | Trouble::OptInGarbled
                | Trouble::Hostile
        )
    }

    /// The word in scenario files and in the log.
    pub fn word(&self) -> &'static str {
        Trouble::WORDS
            .iter()
            .find(|(_, trouble)| trouble == self)
            .map_or("set-limits", |(word, _)| word)
    }
}

/// Something goes wrong at its time.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// When.
    pub at: Duration,
    /// For how long.
    pub lasts: Duration,
    /// What.
    pub what: Trouble,
    /// On which nodes, where it is about nodes.
    pub whom: Whom,
}

/// What goes wrong at any time, per call, and how many faults of all kinds the seed draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chaos {
    /// The request never arrives.
    pub requests_lost: Share,
    /// The call is done, and its answer never arrives.
    pub answers_lost: Share,
    /// The server refuses for the moment: 429 or 503.
    pub refusals: Share,
    /// The call takes seconds.
    pub slow: Share,
    /// The agent dies right after a write of its was done.
    pub crashes_after_write: Share,
    /// How many faults the seed draws and spreads over the time.
    pub faults: u32,
}

impl Default for Nodes {
    fn default() -> Self {
        Self {
            count: 10,
            zones: Vec::new(),
            pools: Vec::new(),
            control_plane: 0,
            opted_in: Share::ALL,
            approve: Share::default(),
        }
    }
}

impl Default for People {
    fn default() -> Self {
        Self {
            approve: Duration::from_secs(600),
            wrong: Share::default(),
            never: Share::default(),
            twice: Share::default(),
        }
    }
}

impl Default for Runs {
    fn default() -> Self {
        Self {
            step: Duration::from_secs(20),
            // The soak of the shipped playbooks.
            soak: Duration::from_secs(300),
            succeed: Share::ALL,
        }
    }
}
