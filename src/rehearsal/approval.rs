//! People who are asked: on nodes in mode `approve` they look at the case that the Node shows, and approve it late, wrongly,
//! twice, or never.

use super::scenario::Share;
use super::world::World;
use std::sync::Arc;
use std::time::Duration;

/// How often somebody looks at a Node.
const LOOK: Duration = Duration::from_secs(30);
/// How long after it somebody who is not sure approves once more.
const ONCE_MORE: Duration = Duration::from_secs(300);
/// How long the annotation is away before it is there again.
const AWAY: Duration = Duration::from_secs(10);

const APPROVE: &str = "nodemend.io/approve";

/// Looks at one node for ever, and decides once on each case, and once more when it needs a human.
pub(super) async fn decide(world: Arc<World>, node: usize) {
    let people = world.scenario.people;
    let mut decided = None;
    loop {
        world.hall.sleep(None, LOOK).await;
        let Some((case, state)) = shown(&world, node) else {
            continue;
        };
        if !matches!(state.as_str(), "case" | "waiting" | "needs-human") {
            continue;
        }
        let is_again = state == "needs-human";
        // What changes by itself, to and fro, is nothing to decide on once more.
        if decided.replace((case, is_again)) == Some((case, is_again)) {
            continue;
        }
        let draw = |share: Share| {
            let drawn = world.with(|state| state.chance.below(u64::from(Share::ALL.0)));
            drawn < u64::from(share.0)
        };
        if draw(people.never) {
            world.tell(node, &format!("nobody looks at case-{case}"));
            continue;
        }
        let after = world.with(|state| state.chance.around(people.approve));
        world.hall.sleep(None, after).await;
        let named = if draw(people.wrong) {
            wrong(&world, case)
        } else {
            case
        };
        if is_again {
            set(&world, node, None);
            world.hall.sleep(None, AWAY).await;
        }
        approve(&world, node, named);
        if draw(people.twice) {
            once_more(&world, node, named).await;
        }
    }
}

async fn once_more(world: &Arc<World>, node: usize, named: u64) {
    let after = world.with(|state| state.chance.around(ONCE_MORE));
    world.hall.sleep(None, after).await;
    set(world, node, None);
    world.hall.sleep(None, AWAY).await;
    approve(world, node, named);
}

/// The case and the state that the Node shows.
fn shown(world: &World, node: usize) -> Option<(u64, String)> {
    world.with(|state| {
        let object = state.server.nodes.get(node).filter(|node| node.exists)?;
        let note = |key: &str| object.annotations.get(key);
        let case = note("nodemend.io/case")?.strip_prefix("case-")?;
        Some((case.parse().ok()?, note("nodemend.io/state")?.clone()))
    })
}

/// The number of some other case: the next one, one that never was, or one of before.
fn wrong(world: &World, case: u64) -> u64 {
    match world.with(|state| state.chance.below(3)) {
        0 => case.saturating_add(1),
        1 => case.saturating_sub(1),
        _ => 4_711,
    }
}

fn approve(world: &World, node: usize, named: u64) {
    world.tell(node, &format!("a person approves case-{named}"));
    world.with(|state| state.jury.approved(node, named));
    set(world, node, Some(format!("case-{named}")));
}

fn set(world: &World, node: usize, text: Option<String>) {
    super::settings::annotate(world, node, &[(APPROVE, text.as_deref())]);
}
