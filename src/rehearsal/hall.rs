//! Virtual time and the tasks that live in it. One thread, no clock: whoever waits is woken in the order of its moment, and
//! whoever waits for the same moment in the order in which it began to wait. So the same seed plays the same piece.

use crate::host::BoxFuture;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Whose task it is: a node's number, or the world's own.
pub(super) type Owner = Option<usize>;

struct Task {
    owner: Owner,
    waker: Waker,
    future: BoxFuture<'static, ()>,
}

#[derive(Default)]
struct Book {
    now: Duration,
    order: u64,
    timers: BTreeMap<(Duration, u64), Waker>,
    ready: VecDeque<u64>,
    queued: BTreeSet<u64>,
    new: Vec<(u64, Owner, BoxFuture<'static, ()>)>,
    ended: Vec<usize>,
    /// Nodes that are suspended, with the tasks that would go on.
    frozen: BTreeMap<usize, (Duration, Vec<u64>)>,
    /// How long each node was suspended so far.
    slept: BTreeMap<usize, Duration>,
    is_over: bool,
}

/// The time, and the list of those who wait.
#[derive(Default)]
pub(super) struct Hall {
    book: Mutex<Book>,
}

struct Bell {
    hall: Arc<Hall>,
    task: u64,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let mut book = self.hall.book();
        if book.queued.insert(self.task) {
            book.ready.push_back(self.task);
        }
    }
}

impl Hall {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True time since the beginning. CLOCK_BOOTTIME of every node goes with it.
    pub(super) fn now(&self) -> Duration {
        self.book().now
    }

    /// Begins a task at this moment.
    pub(super) fn spawn(&self, owner: Owner, future: impl Future<Output = ()> + Send + 'static) {
        let mut book = self.book();
        book.order += 1;
        let id = book.order;
        // Without tokio's budget: who has used it up is woken by tokio's own loop, and that is not this one.
        book.new
            .push((id, owner, Box::pin(tokio::task::unconstrained(future))));
        book.queued.insert(id);
        book.ready.push_back(id);
    }

    /// All tasks of this node are gone before anything else happens: its process died.
    pub(super) fn end(&self, node: usize) {
        self.book().ended.push(node);
    }

    /// Nothing of this node goes on until it is thawed, and the clock by which its sleeps end stands still.
    pub(super) fn freeze(&self, node: usize) {
        let mut book = self.book();
        let now = book.now;
        book.frozen.entry(node).or_insert((now, Vec::new()));
    }

    /// The node goes on.
    pub(super) fn thaw(&self, node: usize) {
        let mut book = self.book();
        let Some((since, tasks)) = book.frozen.remove(&node) else {
            return;
        };
        let slept = book.now.saturating_sub(since);
        *book.slept.entry(node).or_default() += slept;
        for task in tasks {
            if book.queued.insert(task) {
                book.ready.push_back(task);
            }
        }
    }

    /// Whether the node is suspended.
    pub(super) fn is_frozen(&self, node: usize) -> bool {
        self.book().frozen.contains_key(&node)
    }

    /// How long the node was suspended so far.
    pub(super) fn slept(&self, node: Owner) -> Duration {
        let book = self.book();
        node.and_then(|node| book.slept.get(&node).copied())
            .unwrap_or_default()
    }

    /// Nothing more is played.
    pub(super) fn close(&self) {
        self.book().is_over = true;
    }

    /// Ends after `span` in which the owner was awake.
    pub(super) fn sleep(self: &Arc<Self>, owner: Owner, span: Duration) -> Sleep {
        let awake = self.now().saturating_sub(self.slept(owner));
        Sleep {
            hall: Arc::clone(self),
            owner,
            until: awake.saturating_add(span),
            timer: None,
        }
    }
}

/// A wait.
pub(super) struct Sleep {
    hall: Arc<Hall>,
    owner: Owner,
    /// By the clock that stands still in suspend.
    until: Duration,
    timer: Option<(Duration, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let slept = this.hall.slept(this.owner);
        let mut book = this.hall.book();
        if let Some(timer) = this.timer.take() {
            book.timers.remove(&timer);
        }
        let due = this.until.saturating_add(slept);
        if due <= book.now {
            return Poll::Ready(());
        }
        book.order += 1;
        let timer = (due, book.order);
        book.timers.insert(timer, context.waker().clone());
        this.timer = Some(timer);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            // The waker may be the last owner of what it wakes: it is dropped after the lock.
            let waker = self.hall.book().timers.remove(&timer);
            drop(waker);
        }
    }
}

/// Plays the tasks of a hall.
pub(super) struct Stage {
    hall: Arc<Hall>,
    tasks: BTreeMap<u64, Task>,
    /// How many times a task was woken: what the piece costs.
    pub(super) turns: u64,
}

impl Stage {
    /// An empty one.
    pub(super) fn of(hall: &Arc<Hall>) -> Self {
        Self {
            hall: Arc::clone(hall),
            tasks: BTreeMap::new(),
            turns: 0,
        }
    }

    /// Plays until `end`, or until nobody waits for anything, or until the hall is closed.
    pub(super) fn play(&mut self, end: Duration) {
        loop {
            self.admit();
            let next = {
                let mut book = self.hall.book();
                if book.is_over {
                    break;
                }
                let next = book.ready.pop_front();
                next.inspect(|task| {
                    book.queued.remove(task);
                })
            };
            match next {
                Some(task) => self.turn(task),
                None if self.advance(end) => {}
                None => break,
            }
        }
        // Whatever still waits ends here; its drop may look at the hall.
        let tasks = std::mem::take(&mut self.tasks);
        drop(tasks);
    }

    fn admit(&mut self) {
        let (new, ended) = {
            let mut book = self.hall.book();
            (
                std::mem::take(&mut book.new),
                std::mem::take(&mut book.ended),
            )
        };
        // A process ends first: what was begun meanwhile belongs to the next one.
        for node in ended {
            let gone: Vec<u64> = self
                .tasks
                .iter()
                .filter(|(_, task)| task.owner == Some(node))
                .map(|(id, _)| *id)
                .collect();
            for id in gone {
                self.tasks.remove(&id);
            }
        }
        for (id, owner, future) in new {
            let bell = Bell {
                hall: Arc::clone(&self.hall),
                task: id,
            };
            let waker = Waker::from(Arc::new(bell));
            let task = Task {
                owner,
                waker,
                future,
            };
            self.tasks.insert(id, task);
        }
    }

    fn turn(&mut self, id: u64) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        if let Some(node) = task.owner {
            let mut book = self.hall.book();
            if let Some((_, parked)) = book.frozen.get_mut(&node) {
                parked.push(id);
                return;
            }
        }
        self.turns += 1;
        let mut context = Context::from_waker(&task.waker);
        if task.future.as_mut().poll(&mut context).is_ready() {
            self.tasks.remove(&id);
        }
    }

    /// To the next moment for which somebody waits.
    fn advance(&mut self, end: Duration) -> bool {
        let first = {
            let mut book = self.hall.book();
            match book.timers.pop_first() {
                Some(((due, _), waker)) if due <= end => {
                    book.now = book.now.max(due);
                    Some(waker)
                }
                _ => {
                    book.now = book.now.max(end);
                    None
                }
            }
        };
        match first {
            Some(waker) => {
                waker.wake();
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Told = Arc<Mutex<Vec<(u64, &'static str)>>>;

    fn tell(told: &Told, hall: &Hall, what: &'static str) {
        let at = hall.now().as_secs();
        told.lock().expect("told").push((at, what));
    }

    #[test]
    fn waits_end_in_the_order_of_their_moments_and_nothing_else_passes_time() {
        let (hall, told) = (Arc::new(Hall::default()), Told::default());
        for (span, what) in [(7, "late"), (3, "early"), (7, "later")] {
            let (inner, told) = (Arc::clone(&hall), Arc::clone(&told));
            hall.spawn(None, async move {
                inner.sleep(None, Duration::from_secs(span)).await;
                tell(&told, &inner, what);
            });
        }
        Stage::of(&hall).play(Duration::from_secs(60));
        let expected = [(3, "early"), (7, "late"), (7, "later")];
        assert_eq!(*told.lock().expect("told"), expected);
        assert_eq!(hall.now(), Duration::from_secs(60));
    }

    #[test]
    fn the_sleep_of_a_suspended_node_does_not_end_in_suspend() {
        let (hall, told) = (Arc::new(Hall::default()), Told::default());
        let (inner, heard) = (Arc::clone(&hall), Arc::clone(&told));
        hall.spawn(Some(1), async move {
            inner.sleep(Some(1), Duration::from_secs(10)).await;
            tell(&heard, &inner, "awake");
        });
        let inner = Arc::clone(&hall);
        hall.spawn(None, async move {
            inner.sleep(None, Duration::from_secs(4)).await;
            inner.freeze(1);
            inner.sleep(None, Duration::from_secs(100)).await;
            inner.thaw(1);
        });
        Stage::of(&hall).play(Duration::from_secs(600));
        assert_eq!(*told.lock().expect("told"), [(110, "awake")]);
    }

    #[test]
    fn a_process_that_died_does_nothing_more() {
        let (hall, told) = (Arc::new(Hall::default()), Told::default());
        let (inner, heard) = (Arc::clone(&hall), Arc::clone(&told));
        hall.spawn(Some(1), async move {
            // It dies in its own turn, as after a write.
            inner.end(1);
            inner.sleep(Some(1), Duration::ZERO).await;
            std::future::pending::<()>().await;
            tell(&heard, &inner, "undead");
        });
        Stage::of(&hall).play(Duration::from_secs(60));
        assert_eq!(*told.lock().expect("told"), []);
    }
}
