//! What happens to the cluster: machines fall ill, things break, people do something.

use super::agent::begin;
use super::ailments::ailment;
use super::scenario::{Fault, Outbreak, Trouble, Whom};
use super::server::{NodeObject, is_breaker};
use super::settings::{garble_opt_in, garbled_limits, opt_out, set_limits, settings_of};
use super::world::{Illness, State, World};
use crate::host::cluster::Resource;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long a process that died is away at least; the kubelet starts it anew, with a wait that grows.
const RESTART: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(20));
/// How long a machine takes to boot.
const BOOT: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(120));
/// How soon the collector finds what belonged to a Node that is gone.
const COLLECT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(20));

/// The nodes that are meant, chosen by the seed.
pub(super) fn chosen(world: &World, whom: &Whom) -> Vec<usize> {
    let mut meant = world.scenario.nodes.meant(whom);
    let count = match (whom.share, whom.count) {
        (Some(share), _) => share.of(meant.len()),
        (_, Some(count)) => usize::try_from(count)
            .unwrap_or(usize::MAX)
            .min(meant.len()),
        _ => return meant,
    };
    world.with(|state| {
        // The first `count` of a shuffle (Fisher and Yates).
        for place in 0..count {
            let left = u64::try_from(meant.len() - place).unwrap_or(1);
            let other = place + usize::try_from(state.chance.below(left)).unwrap_or(0);
            meant.swap(place, other);
        }
    });
    meant.truncate(count);
    meant
}

/// Machines fall ill, one after the other.
pub(super) async fn break_out(world: Arc<World>, outbreak: Outbreak) {
    world.hall.sleep(None, outbreak.at).await;
    let nodes = chosen(&world, &outbreak.whom);
    let Some(ailment) = ailment(&outbreak.signature) else {
        return;
    };
    let runs = world.scenario.runs;
    let illness = Illness {
        since: Duration::ZERO,
        ailment,
        is_false: outbreak.is_false,
        step: outbreak.step.unwrap_or(runs.step),
        succeed: outbreak.succeed.unwrap_or(runs.succeed),
    };
    for node in nodes {
        let after = world.with(|state| state.chance.span(Duration::ZERO, outbreak.over));
        let (inner, illness) = (Arc::clone(&world), illness.clone());
        world.hall.spawn(None, async move {
            inner.hall.sleep(None, after).await;
            fall_ill(&inner, node, illness);
        });
    }
}

fn fall_ill(world: &World, node: usize, mut illness: Illness) {
    let now = world.hall.now();
    illness.since = now;
    let (ailment, is_false) = (illness.ailment, illness.is_false);
    let is_new = world.with(|state| {
        let body = state.bodies.get_mut(node)?;
        if body.ill.contains_key(ailment.signature) {
            return None;
        }
        body.machine.strike(ailment.fault, now);
        body.seen_by.extend(ailment.probes);
        body.ill.insert(ailment.signature, illness);
        state.meter.ill_nodes.insert(node);
        *state.meter.fell_ill.entry(ailment.signature).or_default() += 1;
        state.meter.first_ill.get_or_insert(now);
        Some(())
    });
    if is_new.is_some() {
        let what = if is_false { "seems ill" } else { "falls ill" };
        world.tell(node, &format!("{what}: {}", ailment.signature));
        if let Some(alarm) = world.alarms.get(node) {
            alarm.notify_one();
        }
    }
}

/// A machine is well again, as far as this signature goes.
pub(super) fn heal(world: &World, state: &mut State, node: usize, signature: &str) {
    let now = world.hall.now();
    let Some(body) = state.bodies.get_mut(node) else {
        return;
    };
    if let Some(ill) = body.ill.remove(signature) {
        body.machine.heal(ill.ailment.fault);
        let healed = state.meter.healed.entry(ill.ailment.signature);
        healed.or_default().push(now.saturating_sub(ill.since));
        state.meter.last_mended = now;
        let line = format!("is well again: {signature}");
        state.log.note(now, world.name(node), &line);
    }
    if let Some(alarm) = world.alarms.get(node) {
        alarm.notify_one();
    }
}

/// The agent's process dies now, and starts again in a while.
pub(super) fn crash(world: &Arc<World>, node: usize) {
    die(world, node, "the agent dies");
    let away = world.with(|state| state.chance.span(RESTART.0, RESTART.1));
    let inner = Arc::clone(world);
    world.hall.spawn(None, async move {
        inner.hall.sleep(None, away).await;
        come_back(&inner, node);
    });
}

/// The process ends; it has one more reason not to run.
fn die(world: &World, node: usize, why: &str) {
    world.tell(node, why);
    let forgets = world.flaw == Some(super::flaw::Flaw::DiskForgets);
    world.with(|state| state.server.away += 1);
    world.body(node, |body| {
        body.off += 1;
        body.waiting = None;
        if forgets {
            body.files.clear();
            body.ledger = None;
        }
    });
    world.hall.end(node);
}

/// The DaemonSet's controller sees an agent again.
fn is_back(world: &World) {
    world.with(|state| state.server.away = state.server.away.saturating_sub(1));
}

/// One reason less; the process begins when none is left.
pub(super) fn come_back(world: &Arc<World>, node: usize) {
    is_back(world);
    let is_on = world.body(node, |body| {
        body.off = body.off.saturating_sub(1);
        body.off == 0
    });
    let exists = world.with(|state| state.server.nodes.get(node).is_some_and(|node| node.exists));
    if is_on == Some(true) && exists {
        begin(world, node);
    }
}

/// A fault comes at its time and goes after it.
pub(super) async fn strike(world: Arc<World>, fault: Fault) {
    world.hall.sleep(None, fault.at).await;
    let now = world.hall.now();
    let word = fault.what.word();
    world.with(|state| {
        *state.meter.faults.entry(word).or_default() += 1;
        state.log.note(now, "everybody", word);
    });
    if everywhere(&world, &fault) {
        turn_weather(&world, &fault.what, true);
        world.hall.sleep(None, fault.lasts).await;
        turn_weather(&world, &fault.what, false);
        return;
    }
    let nodes = chosen(&world, &fault.whom);
    match fault.what {
        Trouble::Partition => cut(&world, &nodes, fault.lasts).await,
        Trouble::WatchesDropped => nodes.iter().for_each(|node| world.break_watch(*node)),
        Trouble::Restart => nodes.iter().for_each(|node| crash(&world, *node)),
        Trouble::Suspend => suspend(&world, &nodes, fault.lasts).await,
        Trouble::Reboot => reboot(&world, &nodes).await,
        Trouble::NodeDeleted => delete(&world, &nodes, fault.lasts).await,
        Trouble::OptOut => opt_out(&world, &nodes, fault.lasts).await,
        Trouble::OptInGarbled => garble_opt_in(&world, &nodes, fault.lasts).await,
        Trouble::Hostile => {
            for node in nodes {
                let inner = Arc::clone(&world);
                world
                    .hall
                    .spawn(None, super::hostile::attack(inner, node, fault.lasts));
            }
        }
        _ => {}
    }
}

/// Faults that are not about nodes.
fn everywhere(world: &World, fault: &Fault) -> bool {
    let now = world.hall.now();
    match &fault.what {
        Trouble::Limits(limits) => world.with(|state| {
            state.limits.clone_from(limits);
            set_limits(&mut state.server, now, limits);
        }),
        Trouble::BreakersRemoved => world.with(|state| {
            let breakers: Vec<String> = state
                .server
                .maps
                .iter()
                .filter(|(_, map)| is_breaker(map))
                .map(|(name, _)| name.clone())
                .collect();
            for name in breakers {
                state.server.put(now, Resource::ConfigMaps, &name, None);
            }
        }),
        Trouble::ServerDown
        | Trouble::SlowCalls
        | Trouble::TooManyRequests
        | Trouble::ServerErrors
        | Trouble::AnswersLost
        | Trouble::LimitsGarbled
        | Trouble::StopCord => {}
        _ => return false,
    }
    true
}

fn turn_weather(world: &World, what: &Trouble, begins: bool) {
    let now = world.hall.now();
    let turned = |count: &mut u32| {
        *count = if begins {
            *count + 1
        } else {
            count.saturating_sub(1)
        }
    };
    world.with(|state| {
        let weather = &mut state.weather;
        weather.clear_since = now;
        match what {
            Trouble::ServerDown => turned(&mut weather.down),
            Trouble::SlowCalls => turned(&mut weather.slow),
            Trouble::TooManyRequests => turned(&mut weather.busy),
            Trouble::ServerErrors => turned(&mut weather.failing),
            Trouble::AnswersLost => turned(&mut weather.losing),
            Trouble::StopCord => turned(&mut weather.cord),
            Trouble::LimitsGarbled => turned(&mut weather.garbled),
            _ => {}
        }
        change_maps(state, now, what, begins);
        let line = if begins { "begins" } else { "ends" };
        state.log.note(now, what.word(), line);
    });
    let is_down = matches!(what, Trouble::ServerDown);
    if is_down && begins {
        (0..world.names.len()).for_each(|node| world.break_watch(node));
    }
}

/// What people do to ConfigMaps for a while; it is undone when the last one of them is over.
fn change_maps(state: &mut State, now: Duration, what: &Trouble, begins: bool) {
    const CORD: &str = "breaker-stop";
    let (server, weather) = (&mut state.server, &state.weather);
    match (what, begins) {
        (Trouble::StopCord, true) => {
            let map =
                json!({ "metadata": { "name": CORD }, "data": { "reason": "a person pulled it" } });
            server.put(now, Resource::ConfigMaps, CORD, Some(map));
        }
        (Trouble::StopCord, false) if weather.cord == 0 => {
            server.put(now, Resource::ConfigMaps, CORD, None);
        }
        (Trouble::LimitsGarbled, true) => {
            let map = garbled_limits(&mut state.chance);
            server.put(now, Resource::ConfigMaps, "limits", map);
        }
        (Trouble::LimitsGarbled, false) if weather.garbled == 0 => {
            set_limits(server, now, &state.limits);
        }
        _ => {}
    }
}

async fn cut(world: &Arc<World>, nodes: &[usize], lasts: Duration) {
    for node in nodes {
        world.tell(*node, "is cut off");
        world.body(*node, |body| body.cut += 1);
        world.with(|state| state.server.away += 1);
    }
    world.hall.sleep(None, lasts).await;
    let now = world.hall.now();
    for node in nodes {
        world.tell(*node, "is connected again");
        is_back(world);
        world.body(*node, |body| {
            body.cut = body.cut.saturating_sub(1);
            body.clear_since = now;
        });
        world.break_watch(*node);
    }
}

async fn suspend(world: &Arc<World>, nodes: &[usize], lasts: Duration) {
    let awake: Vec<usize> = nodes
        .iter()
        .copied()
        .filter(|node| !world.hall.is_frozen(*node))
        .collect();
    for node in &awake {
        world.tell(*node, "is suspended");
        world.with(|state| state.server.away += 1);
        world.hall.freeze(*node);
    }
    world.hall.sleep(None, lasts).await;
    let now = world.hall.now();
    for node in awake {
        world.tell(node, "goes on");
        is_back(world);
        world.body(node, |body| body.clear_since = now);
        world.break_watch(node);
        world.hall.thaw(node);
    }
}

async fn reboot(world: &Arc<World>, nodes: &[usize]) {
    for node in nodes {
        die(world, *node, "reboots");
    }
    let took = world.with(|state| state.chance.span(BOOT.0, BOOT.1));
    world.hall.sleep(None, took).await;
    let now = world.hall.now();
    for node in nodes {
        world.with(|state| {
            if let Some(body) = state.bodies.get_mut(*node) {
                body.boot += 1;
                body.booted = now;
            }
            let cured: Vec<&'static str> = state
                .bodies
                .get(*node)
                .into_iter()
                .flat_map(|body| body.ill.values())
                .filter(|ill| !ill.is_false && ill.ailment.ends_with_boot)
                .map(|ill| ill.ailment.signature)
                .collect();
            for signature in cured {
                heal(world, state, *node, signature);
            }
        });
        come_back(world, *node);
    }
}

/// The Node goes, what it owned is collected, its pod is gone; later its kubelet makes a new one.
async fn delete(world: &Arc<World>, nodes: &[usize], lasts: Duration) {
    for node in nodes {
        let uid = world.with(|state| {
            let object = state
                .server
                .nodes
                .get_mut(*node)
                .filter(|object| object.exists)?;
            object.exists = false;
            Some(object.uid.clone())
        });
        let Some(uid) = uid else { continue };
        world.tell(*node, "its Node is deleted");
        world.announce(*node, "DELETED", Duration::ZERO);
        let (inner, node) = (Arc::clone(world), *node);
        world.hall.spawn(None, async move {
            let soon = inner.with(|state| state.chance.span(COLLECT.0, COLLECT.1));
            inner.hall.sleep(None, soon).await;
            collect(&inner, &uid);
            let soon = inner.with(|state| state.chance.span(COLLECT.0, COLLECT.1));
            inner.hall.sleep(None, soon).await;
            die(&inner, node, "its pod is deleted");
            inner.hall.sleep(None, lasts.max(COLLECT.1)).await;
            register(&inner, node);
            come_back(&inner, node);
        });
    }
}

/// Garbage collection: what a Node that is gone owned is gone.
fn collect(world: &World, uid: &str) {
    let now = world.hall.now();
    world.with(|state| {
        let owner = |lease: &Value| {
            lease
                .pointer("/metadata/ownerReferences/0/uid")
                .and_then(Value::as_str)
                == Some(uid)
        };
        let owned: Vec<String> = state
            .server
            .leases
            .iter()
            .filter(|(_, lease)| owner(lease))
            .map(|(name, _)| name.clone())
            .collect();
        for name in owned {
            state.server.put(now, Resource::Leases, &name, None);
            let change = super::server::Change::Deleted(name.clone());
            state.log.note(now, "collector", &format!("deletes {name}"));
            state.jury.wrote(
                now,
                &super::admission::Who::People,
                0,
                &change,
                &state.server,
            );
        }
    });
}

fn register(world: &World, node: usize) {
    world.tell(node, "its Node is new");
    world.with(|state| {
        let uid = state.server.next_uid();
        let version = state.server.next_version();
        if let Some(object) = state.server.nodes.get_mut(node) {
            let known = std::mem::take(object);
            // The annotations of a new Node are empty: people opt it in again.
            *object = NodeObject {
                uid,
                version,
                exists: true,
                annotations: settings_of(&world.scenario, node),
                ..known
            };
        }
    });
}
