//! What all agents together may ask of the API server (I20), in plays in which nothing else goes wrong. The figures are those
//! of safety.md, section 2, for 5,000 nodes; a smaller cluster may not need more.

use super::breach::Breach;
use super::figures::FIRST_ILLNESS;
use super::play::Outcome;
use super::scenario::{Chaos, Scenario};

/// Requests a minute for each node that is well: 500 for 5,000.
const IDLE_NODES: u64 = 10;
/// Requests a minute on average while everybody falls sick and in the two minutes after: each writes its condition at once, and
/// that alone is more than this in the minute in which all fall sick together.
const FIRST: u64 = 2_500;
/// Requests a minute after that.
const LATER: u64 = 1_000;
/// Shorter idle times say nothing of the mean: a watch is begun anew every half hour.
const MIN_IDLE: u64 = 10;

/// The first figure that is exceeded.
pub(super) fn too_dear(outcome: &Outcome, scenario: &Scenario) -> Option<Breach> {
    if !scenario.faults.is_empty() || scenario.chaos != Chaos::default() {
        return None;
    }
    let nodes = u64::from(scenario.nodes.count);
    let what = outcome.phases(scenario).into_iter().find_map(|phase| {
        let (count, most) = match phase.name {
            "idle" if phase.minutes >= MIN_IDLE => (phase.mean, nodes.div_ceil(IDLE_NODES)),
            FIRST_ILLNESS => (phase.mean, FIRST),
            "after that" | "after the last run" => (phase.most, LATER),
            _ => return None,
        };
        let name = phase.name;
        (count > most).then(|| {
            format!("{name}: {count} requests a minute from all agents, and {most} are allowed")
        })
    })?;
    Some(Breach {
        at: outcome.played,
        node: "all nodes".to_owned(),
        invariant: "I20",
        what,
    })
}
