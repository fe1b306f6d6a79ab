//! A simulated year of one ordinary node; prints how long it took. At most 30 s on one core.
//!
//! ```text
//! cargo bench --bench year            # seed 1
//! cargo bench --bench year -- 7 12    # the seeds from 7 to 11
//! ```
#![allow(
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a measuring tool stops at the first surprise, and reads the clock"
)]

use nodemend::playbook::{Catalogue, Checks, SHIPPED, TrustRoot, release_keys};
use nodemend::probes;
use nodemend::simulate::{Life, Temper, World};
use nodemend::steps::Kinds;
use std::time::{Duration, Instant};

const YEAR: Duration = Duration::from_secs(365 * 86_400);

fn world() -> World {
    let root = TrustRoot {
        keys: release_keys().unwrap_or_else(|error| panic!("{error}")),
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

fn main() {
    let numbers: Vec<u64> = std::env::args()
        .filter_map(|word| word.parse().ok())
        .collect();
    let from = numbers.first().copied().unwrap_or(1);
    let to = numbers.get(1).copied().unwrap_or(from + 1);
    let world = world();
    for seed in from..to {
        let began = Instant::now();
        let year =
            Life::begin(world.clone(), seed, Temper::ORDINARY).and_then(|mut life| life.live(YEAR));
        let tally = year.unwrap_or_else(|broken| panic!("{broken}"));
        let took = began.elapsed();
        println!(
            "seed {seed}: 365 days in {:.1} s ({:.0} times as fast), {} turns, {:.2} us each",
            took.as_secs_f64(),
            YEAR.as_secs_f64() / took.as_secs_f64(),
            tally.turns,
            took.as_secs_f64() * 1e6 / tally.turns as f64
        );
        println!("  {tally:?}");
    }
}
