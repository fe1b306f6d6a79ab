//! Work off the rendering thread, with deadlines and a cap on stuck threads.
//!
//! One worker is enough while everything answers. When a piece of work holds its thread for
//! longer than [`PATIENCE`], another worker takes the rest of the queue; at its deadline the work
//! is given up for this turn. A thread cannot be ended while it hangs in the kernel, so it is
//! counted, and no more than [`MAX_WORKERS`] are ever started. Work that returns late is taken up
//! again in the next turn, with a deadline that fits what it took.

use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use tokio::sync::Notify;

use crate::collectors::source::shared::lock;
use crate::host::clock;

/// How long one piece of work may hold up the others before another worker takes them.
pub const PATIENCE: Duration = Duration::from_millis(20);
/// How long a turn waits for one piece of work that was never late. Long enough that a starved
/// machine, whose metrics matter most, loses nothing; a source that hangs costs it once.
pub const DEADLINE: Duration = Duration::from_secs(1);
/// How long a turn waits at most for work that is slow but does answer (a sensor behind IPMI).
pub const MAX_DEADLINE: Duration = Duration::from_secs(4);
/// Most threads of one lane; beyond it what is stuck takes the rest with it, visibly.
pub const MAX_WORKERS: usize = 8;
/// Workers need little stack: they read files into buffers on the heap.
const STACK_BYTES: usize = 256 * 1024;

/// What a lane does.
pub trait Work: Send + 'static {
    /// What every piece of work is told in a turn.
    type Order: Copy + Send + 'static;

    /// Does the work; may hang. `scratch` belongs to the thread.
    fn run(&mut self, order: Self::Order, scratch: &mut Vec<u8>);
}

/// What a turn has to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// All work is done or given up.
    Settled,
    /// Ask again when work was done, or after this time.
    Wait(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Rest,
    Queued,
    Running { turn: u64, since: Duration },
    Done { turn: u64 },
}

struct Job<W> {
    id: u64,
    phase: Phase,
    work: Option<Box<W>>,
    deadline: Duration,
}

struct State<W: Work> {
    jobs: Vec<Job<W>>,
    order: Option<W::Order>,
    turn: u64,
    next_id: u64,
    workers: usize,
    /// Workers that were hired and have not looked at the queue yet.
    coming: usize,
    idle: usize,
    /// Threads that hang in work that was forgotten.
    orphans: usize,
    stopped: bool,
}

struct Shared<W: Work> {
    state: Mutex<State<W>>,
    queued: Condvar,
    done: Condvar,
    told: Arc<Notify>,
}

/// A lane: work that is kept, and the threads that do it.
pub struct Apart<W: Work> {
    shared: Arc<Shared<W>>,
    name: &'static str,
    limit: Duration,
}

impl<W: Work> std::fmt::Debug for Apart<W> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Apart")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<W: Work> Apart<W> {
    /// A lane without work; `told` is notified when a turn has settled.
    pub fn new(name: &'static str, told: Arc<Notify>) -> Apart<W> {
        let state = State {
            jobs: Vec::new(),
            order: None,
            turn: 0,
            next_id: 0,
            workers: 0,
            coming: 0,
            idle: 0,
            orphans: 0,
            stopped: false,
        };
        let shared = Shared {
            state: Mutex::new(state),
            queued: Condvar::new(),
            done: Condvar::new(),
            told,
        };
        Apart {
            shared: Arc::new(shared),
            name,
            limit: DEADLINE,
        }
    }

    /// The same lane inside another lane's work: its first deadline is no longer than `limit`
    /// and short enough that the work around it still answers before its own.
    pub fn within(mut self, limit: Duration) -> Apart<W> {
        self.limit = limit.min(DEADLINE / 2);
        self
    }

    /// Adds a piece of work and names it by a number.
    pub fn add(&self, work: W) -> u64 {
        let mut state = lock(&self.shared.state);
        let id = state.next_id;
        state.next_id += 1;
        let work = Some(Box::new(work));
        state.jobs.push(Job {
            id,
            phase: Phase::Rest,
            work,
            deadline: self.limit,
        });
        id
    }

    /// Forgets a piece of work; if it is stuck, it is dropped when it returns and counts until then.
    pub fn remove(&self, id: u64) {
        let mut state = lock(&self.shared.state);
        let Some(place) = state.jobs.iter().position(|job| job.id == id) else {
            return;
        };
        let job = state.jobs.remove(place);
        state.orphans += usize::from(matches!(job.phase, Phase::Running { .. }));
    }

    /// Begins a turn: queues the work that `wanted` names and that is not stuck.
    ///
    /// *Cost*: one wake-up if anything was queued.
    pub fn begin(&self, turn: u64, order: W::Order, mut wanted: impl FnMut(u64) -> bool) {
        let mut state = lock(&self.shared.state);
        state.turn = turn;
        state.order = Some(order);
        let mut queued = 0_usize;
        for job in &mut state.jobs {
            if !matches!(job.phase, Phase::Running { .. }) {
                let ask = wanted(job.id);
                job.phase = if ask { Phase::Queued } else { Phase::Rest };
                queued += usize::from(ask);
            }
        }
        if queued > 0 && state.idle == 0 {
            self.hire(&mut state);
        }
        drop(state);
        if queued > 0 {
            self.shared.queued.notify_one();
        }
    }

    /// Queues one more piece of work in the turn that runs.
    pub fn begin_also(&self, id: u64) {
        let mut state = lock(&self.shared.state);
        let found = state.jobs.iter_mut().find(|job| job.id == id);
        let at_rest = found.filter(|job| !matches!(job.phase, Phase::Running { .. }));
        let Some(job) = at_rest else { return };
        job.phase = Phase::Queued;
        if state.idle == 0 {
            self.hire(&mut state);
        }
        drop(state);
        self.shared.queued.notify_one();
    }

    /// Whether a thread hangs in this piece of work.
    pub fn is_stuck(&self, id: u64) -> bool {
        let state = lock(&self.shared.state);
        let now = clock::monotonic();
        let mut jobs = state.jobs.iter().filter(|job| job.id == id);
        jobs.any(|job| is_late(job, state.turn, now))
    }

    /// What to do next; hires a worker if one piece of work holds up the others.
    pub fn next(&self) -> Next {
        let mut state = lock(&self.shared.state);
        self.next_of(&mut state)
    }

    /// Waits until the turn has settled, on this thread.
    pub fn settle(&self) {
        let mut state = lock(&self.shared.state);
        while let Next::Wait(time) = self.next_of(&mut state) {
            let waited = self.shared.done.wait_timeout(state, time);
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }

    /// Looks at a piece of work that was done in this turn; `None` if it was not asked, is stuck
    /// or was not reached.
    pub fn look<T>(&self, id: u64, look: impl FnOnce(&W) -> T) -> Option<T> {
        let state = lock(&self.shared.state);
        let turn = state.turn;
        let job = state.jobs.iter().find(|job| job.id == id)?;
        let done = job.phase == Phase::Done { turn };
        done.then_some(job.work.as_deref()).flatten().map(look)
    }

    /// How many threads are stuck in work of an earlier turn, or past a deadline in this one.
    pub fn stuck(&self) -> usize {
        let state = lock(&self.shared.state);
        let now = clock::monotonic();
        let late = state.jobs.iter();
        let late = late.filter(|job| is_late(job, state.turn, now)).count();
        late + state.orphans
    }

    fn next_of(&self, state: &mut State<W>) -> Next {
        let now = clock::monotonic();
        let turn = state.turn;
        let queued = state.jobs.iter().any(|job| job.phase == Phase::Queued);
        let mut left = Duration::ZERO;
        let mut moving = false;
        for job in &state.jobs {
            let Phase::Running { turn: began, since } = job.phase else {
                continue;
            };
            let used = now.saturating_sub(since);
            if began == turn && used < job.deadline {
                left = left.max(job.deadline - used);
                moving |= used < PATIENCE;
            }
        }
        if !queued {
            return if left.is_zero() {
                Next::Settled
            } else {
                Next::Wait(left)
            };
        }
        if moving || state.coming > 0 {
            return Next::Wait(PATIENCE);
        }
        if state.idle > 0 {
            // The worker that was woken for this queue hangs in its first piece of work.
            self.shared.queued.notify_one();
            return Next::Wait(PATIENCE);
        }
        if self.hire(state) {
            return Next::Wait(PATIENCE);
        }
        // Every thread is taken. Wait for one that may still return in time, then give up.
        if left.is_zero() {
            state
                .jobs
                .iter_mut()
                .filter(|job| job.phase == Phase::Queued)
                .for_each(|job| {
                    job.phase = Phase::Rest;
                });
            return Next::Settled;
        }
        Next::Wait(left)
    }

    /// Starts another worker; false if there are as many as there may be.
    fn hire(&self, state: &mut State<W>) -> bool {
        if state.workers >= MAX_WORKERS {
            return false;
        }
        let (shared, least) = (Arc::clone(&self.shared), self.limit);
        let thread = thread::Builder::new()
            .name(self.name.to_owned())
            .stack_size(STACK_BYTES);
        let hired = thread.spawn(move || work(&shared, least)).is_ok();
        state.workers += usize::from(hired);
        state.coming += usize::from(hired);
        hired
    }
}

impl<W: Work> Drop for Apart<W> {
    fn drop(&mut self) {
        lock(&self.shared.state).stopped = true;
        self.shared.queued.notify_all();
    }
}

fn is_late<W>(job: &Job<W>, turn: u64, now: Duration) -> bool {
    match job.phase {
        Phase::Running { turn: began, since } => {
            began != turn || now.saturating_sub(since) >= job.deadline
        }
        _ => false,
    }
}

/// A worker: takes queued work in order until the lane ends.
fn work<W: Work>(shared: &Shared<W>, least: Duration) {
    let mut scratch = Vec::new();
    let mut state = lock(&shared.state);
    state.coming -= 1;
    loop {
        if state.stopped {
            return;
        }
        let turn = state.turn;
        let order = state.order;
        let queued = state.jobs.iter_mut().find(|job| job.phase == Phase::Queued);
        let (Some(job), Some(order)) = (queued, order) else {
            state.idle += 1;
            let waited = shared.queued.wait(state);
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
            state.idle -= 1;
            continue;
        };
        let since = clock::monotonic();
        job.phase = Phase::Running { turn, since };
        let id = job.id;
        let taken = job.work.take();
        drop(state);
        let done = taken.map(|mut work| {
            work.run(order, &mut scratch);
            work
        });
        let used = clock::monotonic().saturating_sub(since);
        state = lock(&shared.state);
        if let Some(job) = state.jobs.iter_mut().find(|job| job.id == id) {
            job.work = done;
            job.phase = Phase::Done { turn };
            // Slow but alive: the next turn waits twice what it took this time.
            job.deadline = (used * 2).clamp(least, MAX_DEADLINE);
        } else {
            state.orphans -= 1;
        }
        let turn = state.turn;
        let busy = state.jobs.iter().any(|job| match job.phase {
            Phase::Queued => true,
            Phase::Running { turn: began, .. } => began == turn,
            Phase::Rest | Phase::Done { .. } => false,
        });
        if !busy {
            shared.done.notify_all();
            shared.told.notify_one();
        }
    }
}

#[cfg(test)]
#[path = "apart_tests.rs"]
mod tests;
