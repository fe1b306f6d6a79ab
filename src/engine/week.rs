//! A simulated week of one node, several times over. A week that breaks prints its seed, and breaks again with it.

use crate::playbook::{Catalogue, Checks, SHIPPED, TrustRoot, release_keys};
use crate::probes;
use crate::simulate::{Broken, Life, Tally, Temper, World};
use crate::steps::Kinds;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

fn world() -> World {
    let root = TrustRoot {
        keys: release_keys().expect("pinned keys are keys"),
        ..TrustRoot::default()
    };
    let checks = Checks {
        kinds: &Kinds,
        condition: &|_| Ok(()),
    };
    let (playbooks, problems) = Catalogue::load(SHIPPED, &[], &root, &checks);
    assert!(problems.is_empty(), "{problems:?}");
    World::shipped(probes::catalogue(), &playbooks)
}

fn tell<T>(broken: Broken) -> T {
    panic!("{broken}")
}

/// Seven days, each of which ends in two hours in which all is well and every case must close.
fn week(seed: u64) -> Tally {
    let mut life = Life::begin(world(), seed, Temper::ROUGH).unwrap_or_else(tell);
    for _ in 1..7 {
        life.live(DAY - 2 * Duration::from_secs(3_600))
            .unwrap_or_else(tell);
        life.settle().unwrap_or_else(tell);
    }
    life.live(DAY).unwrap_or_else(tell)
}

#[test]
fn a_rough_week_breaks_no_promise() {
    let tally = week(1);
    assert!(tally.runs > 5 && tally.mended > 2, "{tally:?}");
    assert!(
        tally.restarts > 20 && tally.reboots > 3 && tally.jumps > 20,
        "{tally:?}"
    );
}

#[test]
fn another_rough_week_breaks_no_promise() {
    let tally = week(2);
    assert!(tally.opened > 20, "{tally:?}");
}

#[test]
fn rough_days_of_other_seeds_break_no_promise() {
    for seed in 3..10 {
        let mut life = Life::begin(world(), seed, Temper::ROUGH).unwrap_or_else(tell);
        life.live(DAY / 2).unwrap_or_else(tell);
        life.settle().unwrap_or_else(tell);
    }
}

#[test]
fn a_seed_lives_the_same_life_twice() {
    let day = |seed| {
        let mut life = Life::begin(world(), seed, Temper::ROUGH).expect("begins");
        life.live(DAY / 4).expect("lives")
    };
    assert_eq!(day(9), day(9));
    assert_ne!(day(9), day(10));
}
