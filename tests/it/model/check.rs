//! What the model says of the protocol as it is, and of the protocol done wrong.

use super::protocol::{AFTER_RESTART, BREAKER, CAP, FRESH, Flaw, HOLDER, NAMES, Protocol};
use stateright::{Checker, HasDiscoveries, Model};

/// Every state is visited; no property may fail, and what must be possible must be.
fn holds(name: &str, model: Protocol) {
    let checker = model.checker().spawn_bfs().join();
    println!("{name}: {} states", checker.unique_state_count());
    checker.assert_properties();
}

/// The shortest way to the failure is found, and it is this failure.
fn fails(name: &str, property: &'static str, model: Protocol) {
    let checker = model
        .checker()
        .finish_when(HasDiscoveries::AllOf([property].into()))
        .spawn_bfs()
        .join();
    let path = checker.discovery(property);
    let path = path.unwrap_or_else(|| panic!("{name}: no counterexample to `{property}`"));
    println!("{name}: {:?}", path.into_actions());
}

#[test]
fn the_slot_protocol_holds_when_processes_crash_and_sleep() {
    let model = Protocol {
        crashes: 1,
        stale_reads: true,
        ..Protocol::PLAIN
    };
    holds("crash, sleep, stale read", model);
}

#[test]
fn the_slot_protocol_holds_when_requests_are_lost_or_late() {
    let model = Protocol {
        losses: 1,
        last_tick: 2,
        ..Protocol::PLAIN
    };
    holds("lost and late requests", model);
}

#[test]
fn the_slot_protocol_holds_when_nodes_are_deleted() {
    let model = Protocol {
        deletions: 1,
        last_tick: 2,
        ..Protocol::PLAIN
    };
    holds("deleted Node", model);
}

#[test]
fn the_slot_protocol_holds_for_runs_of_two_steps() {
    let model = Protocol {
        steps: 2,
        last_tick: 4,
        ..Protocol::PLAIN
    };
    holds("two steps", model);
}

#[test]
fn the_slot_protocol_holds_for_three_nodes_and_two_slots() {
    let model = Protocol {
        nodes: 3,
        cap: 2,
        // Time stands still here: the cap alone is looked at, in every order of requests.
        last_tick: 0,
        ..Protocol::PLAIN
    };
    holds("three nodes, two slots", model);
}

#[test]
fn the_slot_protocol_holds_when_a_breaker_opens() {
    let model = Protocol {
        breaker: true,
        last_tick: 2,
        ..Protocol::PLAIN
    };
    holds("breaker", model);
}

#[test]
fn every_protocol_done_wrong_gives_a_counterexample() {
    let plain = Protocol::PLAIN;
    let crashing = Protocol {
        crashes: 1,
        ..plain
    };
    let table = [
        ("check, then act", Flaw::CheckThenAct, CAP, plain),
        ("no renewal before a step", Flaw::NoRenewal, FRESH, plain),
        (
            "read for write after a restart",
            Flaw::ReadForWrite,
            AFTER_RESTART,
            crashing,
        ),
        (
            "journal believed after a restart",
            Flaw::TrustsJournal,
            AFTER_RESTART,
            crashing,
        ),
        ("take-over after expiry", Flaw::TakeOver, CAP, plain),
        ("wall clock", Flaw::WallClock, FRESH, plain),
        (
            "hold counted from the answer",
            Flaw::FromAnswer,
            FRESH,
            plain,
        ),
        (
            "late free by name",
            Flaw::LateFree,
            HOLDER,
            Protocol { losses: 1, ..plain },
        ),
        ("freed while its step runs", Flaw::EarlyFree, CAP, plain),
        (
            "no breaker read",
            Flaw::NoBreaker,
            BREAKER,
            Protocol {
                breaker: true,
                ..plain
            },
        ),
        ("name outside the cap", Flaw::NameOutsideCap, NAMES, plain),
        (
            "more holders than the cap",
            Flaw::NameOutsideCap,
            CAP,
            plain,
        ),
    ];
    for (name, flaw, property, model) in table {
        let flaw = Some(flaw);
        fails(name, property, Protocol { flaw, ..model });
    }
}
