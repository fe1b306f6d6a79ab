//! How many control planes run at once, and which of the waiting tests is next.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Control planes for each core: half a gigabyte each, and after its start a tenth of a core, for what a test does most of its
/// time is wait, for holds, soaks and probes.
const FOR_EACH_CORE: usize = 2;
/// What takes longest, longest first, with its room: a crowd keeps a core busy. These go before the others, so that none of them
/// is left over at the end.
const LONG: &[(&str, usize)] = &[
    ("troubled", 2),
    ("crowd", 2),
    ("mended", 1),
    ("partitions", 1),
    ("answers", 1),
    ("twins", 1),
    ("wedged", 1),
    ("idle", 1),
    ("many-agents", 1),
    ("runtime", 1),
    ("faults", 1),
    ("kernel-line", 1),
];

/// The right of a test to run a control plane.
pub struct Seat {
    name: String,
    number: usize,
    room: usize,
    since: Instant,
}

struct Table {
    /// Numbers in use.
    taken: Vec<usize>,
    free: usize,
    /// Place in [`LONG`] and name of those that wait, who is next first.
    waiting: Vec<(usize, String)>,
}

static TABLE: Mutex<Option<Table>> = Mutex::new(None);
static FREED: Condvar = Condvar::new();

impl Seat {
    /// Waits until the test called `name` may start a control plane.
    pub fn take(name: &str) -> Self {
        let place = LONG.iter().position(|(long, _)| *long == name);
        let own = (place.unwrap_or(LONG.len()), name.to_owned());
        let room = place.map_or(1, |place| LONG[place].1);
        let mut guard = lock();
        table(&mut guard).wait(own.clone());
        let mut guard = FREED
            .wait_while(guard, |guard| !table(guard).is_next(&own, room))
            .unwrap_or_else(PoisonError::into_inner);
        let number = table(&mut guard).seat(room);
        drop(guard);
        // Whoever is next now may have room beside this one.
        FREED.notify_all();
        Self {
            name: own.1,
            number,
            room,
            since: Instant::now(),
        }
    }

    /// A number that no other control plane of this process has now.
    pub fn number(&self) -> usize {
        self.number
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        table(&mut lock()).leave(self.number, self.room);
        FREED.notify_all();
        eprintln!("cluster {}: {:?}", self.name, self.since.elapsed());
    }
}

fn lock() -> MutexGuard<'static, Option<Table>> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn table(guard: &mut Option<Table>) -> &mut Table {
    guard.get_or_insert_with(|| {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        Table::of(cores * FOR_EACH_CORE)
    })
}

impl Table {
    /// The side-by-side test needs two, and so does a crowd.
    fn of(seats: usize) -> Self {
        Self {
            taken: Vec::new(),
            free: seats.max(2),
            waiting: Vec::new(),
        }
    }

    fn wait(&mut self, who: (usize, String)) {
        let at = self.waiting.partition_point(|other| *other <= who);
        self.waiting.insert(at, who);
    }

    fn is_next(&self, who: &(usize, String), room: usize) -> bool {
        self.waiting.first() == Some(who) && self.free >= room
    }

    /// Seats the first that waits.
    fn seat(&mut self, room: usize) -> usize {
        self.waiting.remove(0);
        self.free -= room;
        let number = (0..).find(|number| !self.taken.contains(number));
        let number = number.expect("fewer are taken than there are numbers");
        self.taken.push(number);
        number
    }

    fn leave(&mut self, number: usize, room: usize) {
        self.taken.retain(|taken| *taken != number);
        self.free += room;
    }
}

#[test]
fn the_long_ones_come_first_and_nobody_sits_where_there_is_no_room() {
    let mut table = Table::of(3);
    let [short, crowd, mended] = [(9, "x"), (0, "crowd"), (1, "mended")].map(|(place, name)| {
        let who = (place, name.to_owned());
        table.wait(who.clone());
        who
    });
    assert!(!table.is_next(&short, 1) && !table.is_next(&mended, 1));
    assert!(table.is_next(&crowd, 2));
    assert_eq!(table.seat(2), 0);
    assert!(table.is_next(&mended, 1) && !table.is_next(&mended, 2));
    assert_eq!(table.seat(1), 1);
    assert!(!table.is_next(&short, 1), "all is taken");
    table.leave(0, 2);
    assert!(table.is_next(&short, 1));
    assert_eq!(table.seat(1), 0, "a number that is free again");
}
