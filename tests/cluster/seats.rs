//! How many control planes run at once, and which of the waiting tests is next.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Control planes for each core: half a gigabyte each, and after its start a tenth of a core, for what a test does most of its
/// time is wait, for holds, soaks and probes.
const FOR_EACH_CORE: usize = 2;
/// What a control plane and a node were seen to take of the inotify instances that this machine's root may have: 4 and 14.
/// Without one, kubelet and containerd end.
const INOTIFY: usize = 18;
/// What they take of this machine's memory, with agents and pods.
const MEMORY_KIB: usize = 1 << 20;
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
        say(&format!(
            "cluster {}: {:?}",
            self.name,
            self.since.elapsed()
        ));
    }
}

/// Past the harness, which shows what it captures of failures only.
fn say(text: &str) {
    writeln!(std::io::stderr(), "{text}").ok();
}

fn lock() -> MutexGuard<'static, Option<Table>> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn table(guard: &mut Option<Table>) -> &mut Table {
    guard.get_or_insert_with(|| {
        let seats = seats();
        say(&format!("cluster: room for {seats} control planes at once"));
        Table::of(seats)
    })
}

/// For how many control planes this machine has the cores, and at present the memory and inotify instances.
fn seats() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let number = |file: &str, before: &str| -> usize {
        let text = fs::read_to_string(file).expect("Linux has this file");
        let line = text.lines().find_map(|line| line.strip_prefix(before));
        let word = line.and_then(|line| line.split_whitespace().next());
        word.and_then(|word| word.parse().ok()).expect("a number")
    };
    let memory = number("/proc/meminfo", "MemAvailable:") / MEMORY_KIB;
    let most = number("/proc/sys/fs/inotify/max_user_instances", "");
    let inotify = most.saturating_sub(inotify_in_use()) / INOTIFY;
    (cores * FOR_EACH_CORE).min(memory).min(inotify)
}

/// Those of all users: more than those that count.
fn inotify_in_use() -> usize {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    // Not every entry is a process, and one may end meanwhile.
    let files = processes.filter_map(|process| fs::read_dir(process.path().join("fd")).ok());
    let is_inotify = |file: &fs::DirEntry| {
        fs::read_link(file.path()).is_ok_and(|to| to == Path::new("anon_inode:inotify"))
    };
    files.flatten().flatten().filter(is_inotify).count()
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
