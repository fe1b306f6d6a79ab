//! Lanes with work that hangs until its gate opens.

use super::{Apart, Job, MAX_WORKERS, Next, Phase, Work, lock};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// Hangs until its gate opens, if it has one.
struct Gate {
    gate: Option<Arc<Mutex<Receiver<()>>>>,
    runs: u64,
}

impl Work for Gate {
    type Order = u64;
    fn run(&mut self, order: u64, _: &mut Vec<u8>) {
        if let Some(gate) = &self.gate {
            let _opened = gate.lock().unwrap().recv();
        }
        self.runs = order;
    }
}

fn open() -> Gate {
    Gate {
        gate: None,
        runs: 0,
    }
}

fn closed() -> (Gate, Sender<()>) {
    let (key, gate) = channel();
    (
        Gate {
            gate: Some(Arc::new(Mutex::new(gate))),
            runs: 0,
        },
        key,
    )
}

fn turn(lane: &Apart<Gate>, number: u64) {
    lane.begin(number, number, |_| true);
    lane.settle();
}

/// Waits until no thread is in a piece of work, however long the machine takes.
fn wait_for_all(lane: &Apart<Gate>) {
    let mut state = lock(&lane.shared.state);
    let runs = |job: &Job<Gate>| matches!(job.phase, Phase::Running { .. });
    while state.jobs.iter().any(runs) {
        state = lane.shared.done.wait(state).unwrap();
    }
}

#[test]
fn stuck_work_is_given_up_counted_and_taken_up_again() {
    let lane = Apart::new("test", Arc::new(Notify::new()));
    let first = lane.add(open());
    let (gate, key) = closed();
    let hung = lane.add(gate);
    let last = lane.add(open());
    for number in 1..=3 {
        turn(&lane, number);
        assert_eq!(lane.look(first, |work| work.runs), Some(number));
        assert_eq!(lane.look(last, |work| work.runs), Some(number));
        assert_eq!(lane.look(hung, |work| work.runs), None);
        assert_eq!(lane.stuck(), 1);
    }
    drop(key); // The gate stays open from here on.
    wait_for_all(&lane);
    turn(&lane, 4);
    assert_eq!(lane.look(hung, |work| work.runs), Some(4));
    assert_eq!(lane.stuck(), 0);
}

/// Two workers are idle then, and only one of them is woken for a queue.
#[test]
fn work_that_hangs_a_second_time_still_holds_up_nobody() {
    let lane = Apart::new("test", Arc::new(Notify::new()));
    let (gate, key) = closed();
    let hung = lane.add(gate);
    let last = lane.add(open());
    turn(&lane, 1);
    assert_eq!(lane.stuck(), 1);
    key.send(()).unwrap(); // Opens once.
    wait_for_all(&lane);
    lane.begin(2, 2, |_| true);
    let settled = (0..1000).any(|_| match lane.next() {
        Next::Settled => true,
        Next::Wait(time) => {
            let state = lock(&lane.shared.state);
            drop(lane.shared.done.wait_timeout(state, time).unwrap());
            false
        }
    });
    assert!(settled);
    assert_eq!(lane.look(hung, |work| work.runs), None);
    assert_eq!(lane.look(last, |work| work.runs), Some(2));
    // Forgotten work still holds its thread.
    lane.remove(hung);
    assert_eq!(lane.stuck(), 1);
    drop(key);
}

#[test]
fn stuck_threads_are_capped_and_the_turn_still_ends() {
    let lane = Apart::new("test", Arc::new(Notify::new()));
    let mut keys = Vec::new();
    for _ in 0..MAX_WORKERS + 2 {
        let (gate, key) = closed();
        lane.add(gate);
        keys.push(key);
    }
    let last = lane.add(open());
    turn(&lane, 1);
    turn(&lane, 2);
    assert_eq!(lane.stuck(), MAX_WORKERS);
    assert_eq!(lane.look(last, |work| work.runs), None);
    keys.clear();
    wait_for_all(&lane);
    turn(&lane, 3);
    assert_eq!(lane.look(last, |work| work.runs), Some(3));
    assert_eq!(lane.stuck(), 0);
}

#[test]
fn work_that_is_not_wanted_rests() {
    let lane = Apart::new("test", Arc::new(Notify::new()));
    let (one, two) = (lane.add(open()), lane.add(open()));
    lane.begin(1, 1, |id| id == two);
    lane.settle();
    assert_eq!(lane.look(one, |work| work.runs), None);
    assert_eq!(lane.look(two, |work| work.runs), Some(1));
    lane.remove(two);
    turn(&lane, 2);
    assert_eq!(lane.look(two, |work| work.runs), None);
    assert_eq!(lane.look(one, |work| work.runs), Some(2));
}
