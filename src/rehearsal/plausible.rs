//! What no field of a scenario can know of itself: times after the end, nodes that are not there, limits that say nothing.

use super::caps::Caps;
use super::reading::Placed;
use super::scenario::{Fault, Nodes, Outbreak, People, Share, Trouble, Whom};
use crate::document::{Place, Problems, closest, format_span};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Everything that does not fit together, as far as the parts could be read.
#[allow(
    clippy::too_many_arguments,
    reason = "the parts of a file, each of which may be missing"
)]
pub(super) fn check(
    lasts: Option<Duration>,
    startup: Option<&Placed<Duration>>,
    nodes: Option<&Placed<Nodes>>,
    limits: Option<&Caps>,
    people: Option<&Placed<People>>,
    sick: &[Placed<Outbreak>],
    faults: &[Placed<Fault>],
    problems: &mut Problems,
) {
    if let (Some(startup), Some(lasts)) = (startup, lasts)
        && startup.it >= lasts
    {
        let end = format_span(lasts);
        problems.add(
            startup.place,
            format!("`startup` is not over when the play ends after {end}"),
        );
    }
    let moments = sick
        .iter()
        .map(|one| (one.place, one.it.at))
        .chain(faults.iter().map(|one| (one.place, one.it.at)));
    for (place, at) in moments {
        if let Some(lasts) = lasts.filter(|lasts| at >= *lasts) {
            let (at, end) = (format_span(at), format_span(lasts));
            problems.add(
                place,
                format!("this never happens: the play ends after {end}, and it is at {at}"),
            );
        }
    }
    let Some(nodes) = nodes else { return };
    if let Some(people) = people
        && nodes.it.approve == Share::default()
    {
        problems.add(people.place, "nobody is asked; say with `nodes: {approve: 50%}` which share of the nodes waits for people");
    }
    let whoms = sick
        .iter()
        .map(|one| (one.place, &one.it.whom))
        .chain(faults.iter().map(|one| (one.place, &one.it.whom)));
    for (place, whom) in whoms {
        check_whom(place, whom, &nodes.it, problems);
    }
    if let Some(limits) = limits {
        check_limits(&limits.places, limits.place, &nodes.it, problems);
    }
    for fault in faults {
        if let Trouble::Limits(caps) = &fault.it.what {
            let named = caps.keys().map(|key| (key.clone(), fault.place)).collect();
            // Without any slot in the cluster the other limits say nothing.
            if caps.get("cluster") == Some(&0) {
                check_names(&named, &nodes.it, problems);
            } else {
                check_limits(&named, fault.place, &nodes.it, problems);
            }
        }
    }
}

fn check_whom(place: Place, whom: &Whom, nodes: &Nodes, problems: &mut Problems) {
    let mut is_known = true;
    for (what, name, known) in [
        ("zone", &whom.zone, &nodes.zones),
        ("pool", &whom.pool, &nodes.pools),
    ] {
        let Some(name) = name.as_ref().filter(|name| !known.contains(name)) else {
            continue;
        };
        is_known = false;
        let has = if known.is_empty() {
            format!("nodes has no {what}s")
        } else {
            format!("nodes has: {}", known.join(", "))
        };
        problems.add(place, format!("no node is in {what} `{name}`; {has}"));
    }
    let there = nodes.meant(whom).len();
    if let Some(count) = whom.count.filter(|_| is_known)
        && usize::try_from(count).is_ok_and(|count| count > there)
    {
        problems.add(
            place,
            format!("`count` is {count}, and there are {there} such nodes"),
        );
    }
    if is_known && there == 0 && nodes.count > 0 && whom.count.is_none() {
        problems.add(place, "no node is in this zone and this pool at once");
    }
}

/// Every domain that the nodes are in has a limit, and every limit a domain. 0 says in so many words that nothing is mended there.
fn check_limits(
    named: &BTreeMap<String, Place>,
    place: Place,
    nodes: &Nodes,
    problems: &mut Problems,
) {
    for domain in std::iter::once("cluster".to_owned()).chain(shared(nodes)) {
        if !named.contains_key(&domain) {
            problems.add(place, format!("limits does not name {domain}, so no node of it would ever be mended; add `{domain}: 1`, or `{domain}: 0` if you mean that"));
        }
    }
    check_names(named, nodes, problems);
}

/// The domains that only some of the nodes are in.
fn shared(nodes: &Nodes) -> impl Iterator<Item = String> {
    let zones = nodes.zones.iter().map(|zone| format!("zone-{zone}"));
    zones.chain(nodes.pools.iter().map(|pool| format!("pool-{pool}")))
}

/// A limit for a zone or a pool that no node is in is a slip of the pen.
fn check_names(named: &BTreeMap<String, Place>, nodes: &Nodes, problems: &mut Problems) {
    let known: BTreeSet<String> = shared(nodes).collect();
    for (name, place) in named {
        let is_named = name.starts_with("zone-") || name.starts_with("pool-");
        if !is_named || known.contains(name) {
            continue;
        }
        let hint = closest(name, known.iter().map(String::as_str))
            .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        problems.add(
            *place,
            format!("limits names `{name}`, and no node is in it{hint}"),
        );
    }
}
