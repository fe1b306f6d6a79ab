//! One page from begin to finish.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::apart::{Apart, MAX_WORKERS, Next, PATIENCE, Work};
use crate::exposition::family::{Family, Head};
use crate::exposition::label::Labels;
use crate::exposition::page::Page;
use crate::host::clock;
use crate::scrape::epoch::Epoch;
use crate::scrape::selection::Selection;

const DURATION: Family = Family::gauge(
    "node_scrape_collector_duration_seconds",
    "node_exporter: Duration of a collector scrape.",
)
.from("monotonic clock")
.unit("seconds");
const SUCCESS: Family = Family::gauge(
    "node_scrape_collector_success",
    "node_exporter: Whether a collector succeeded.",
)
.from("the collector's result")
.differs("0 also when the source did not answer before its deadline");
const STUCK: Family = Family::gauge(
    "nodemend_scrape_stuck_threads",
    "Threads that hang in the kernel in a read of a metrics source.",
)
.from("the workers")
.differs("not in node_exporter");

/// The families of the page itself.
pub const FAMILIES: [Family; 3] = [DURATION, SUCCESS, STUCK];

/// Who adds families of its own to the page: the product's `nodemend_*`, values of probes.
pub trait Contributor: Send {
    /// Appends families in the Prometheus text format 0.0.4 to `out`; must not hang.
    fn contribute(&mut self, out: &mut String);
}

/// The page, with everything that is kept between scrapes.
///
/// *Cost* of one page in the steady state: no open, no allocation, at most 40 system calls on a
/// small machine.
#[derive(Debug)]
pub struct ScrapePage {
    page: Page,
    scratch: Vec<u8>,
    slots: Vec<Slot>,
    apart: Apart<ApartCollector>,
    told: Arc<Notify>,
    order: Order,
    epoch: Epoch,
    /// Whether successors were looked for on this page.
    relieved: bool,
    /// Whether all roots are the kernel's own, so that what is absent stays absent in an epoch.
    keeps: bool,
    heads: [Head; 3],
    none: Labels,
    contributors: Vec<Contribution>,
    contributed: String,
}

/// What every collector is told about the page.
#[derive(Debug, Clone, Copy, Default)]
pub struct Order {
    number: u64,
    epoch: u64,
    wall: Duration,
    monotonic: Duration,
}

struct Contribution(Box<dyn Contributor>);

impl std::fmt::Debug for Contribution {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Contribution")
    }
}

struct Slot {
    name: &'static str,
    labels: Labels,
    seat: Seat,
    asked: bool,
    result: Result<(), CollectError>,
    took: Duration,
    /// Threads that it hangs with, beside the one that it runs on.
    stuck: usize,
    /// Takes over when the collector's thread hangs.
    spare: Option<Box<dyn Collector>>,
    /// The epoch in which this collector turned out to have nothing to show.
    empty_in: u64,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Slot")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

enum Seat {
    Here(Box<dyn Collector>),
    Apart(u64),
}

impl ScrapePage {
    /// Opens every collector of `table` that is switched on.
    ///
    /// *Errors*: a setting that a collector cannot use.
    pub fn new(settings: &Settings, table: &[&Entry]) -> Result<ScrapePage, SetupError> {
        let told = Arc::new(Notify::new());
        let apart = Apart::new("scrape-apart", Arc::clone(&told));
        let sources = Sources::new(settings.roots.clone());
        let mut slots = Vec::new();
        for entry in table.iter().filter(|entry| settings.is_enabled(entry)) {
            let collector = (entry.open)(settings, &sources)?;
            let spare = collector.successor();
            let seat = match entry.lane {
                Lane::Page => Seat::Here(collector),
                Lane::Apart => Seat::Apart(apart.add(ApartCollector::new(collector))),
            };
            slots.push(Slot {
                name: entry.name,
                labels: Labels::new(&[("collector", entry.name.as_bytes())]),
                seat,
                asked: false,
                result: Ok(()),
                took: Duration::ZERO,
                stuck: 0,
                spare,
                empty_in: 0,
            });
        }
        Ok(ScrapePage {
            page: Page::new(),
            scratch: Vec::new(),
            slots,
            apart,
            told,
            order: Order::default(),
            epoch: Epoch::start(clock::monotonic()),
            relieved: false,
            keeps: settings.roots.procfs.is_kernel() && settings.roots.sysfs.is_kernel(),
            heads: FAMILIES.each_ref().map(Head::of),
            none: Labels::none(),
            contributors: Vec::new(),
            contributed: String::new(),
        })
    }

    /// Adds a contributor; its families stand after those of the collectors.
    pub fn contribute(&mut self, contributor: Box<dyn Contributor>) {
        self.contributors.push(Contribution(contributor));
    }

    /// Writes a whole page and lends it; waits on this thread for sources that are slow.
    pub fn render(&mut self, selection: &Selection) -> &[u8] {
        self.begin(selection);
        self.apart.settle();
        if self.relieve() {
            self.apart.settle();
        }
        self.finish()
    }

    /// Begins a page: starts the workers and asks the collectors of this thread.
    pub fn begin(&mut self, selection: &Selection) {
        let now = clock::monotonic();
        self.order = Order {
            number: self.order.number + 1,
            epoch: self.epoch.at(now),
            wall: clock::since_1970(),
            monotonic: now,
        };
        self.page.clear();
        self.relieved = false;
        for slot in &mut self.slots {
            slot.asked = selection.asks(slot.name);
        }
        let epoch = if self.keeps {
            self.order.epoch
        } else {
            u64::MAX
        };
        let slots = &self.slots;
        self.apart.begin(self.order.number, self.order, |id| {
            let slot = slots
                .iter()
                .find(|slot| matches!(slot.seat, Seat::Apart(seat) if seat == id));
            slot.is_some_and(|slot| slot.asked && slot.empty_in != epoch)
        });
        for slot in self.slots.iter_mut().filter(|slot| slot.asked) {
            let Seat::Here(collector) = &mut slot.seat else {
                continue;
            };
            let mut turn = self.order.turn(&mut self.page, &mut self.scratch);
            let began = clock::monotonic();
            slot.result = collector.collect(&mut turn);
            slot.took = clock::monotonic().saturating_sub(began);
        }
    }

    /// What a page that was begun waits for.
    pub fn what_next(&mut self) -> Next {
        let next = self.apart.next();
        if next == Next::Settled && !self.relieved && self.relieve() {
            return Next::Wait(PATIENCE);
        }
        next
    }

    /// Leaves threads that hang to their collectors and lets successors show what else these
    /// knew; once a page. False where nothing hangs that has a successor.
    fn relieve(&mut self) -> bool {
        self.relieved = true;
        let mut relieved = false;
        for slot in self.slots.iter_mut().filter(|slot| slot.asked) {
            let Seat::Apart(id) = slot.seat else { continue };
            // Half of the threads stay for the others, however many sources hang.
            if !self.apart.is_stuck(id) || self.apart.stuck() > MAX_WORKERS / 2 {
                continue;
            }
            let next = slot.spare.as_ref().and_then(|spare| spare.successor());
            let Some(next) = next else { continue };
            if let Some(spare) = slot.spare.replace(next) {
                self.apart.remove(id);
                let id = self.apart.add(ApartCollector::new(spare));
                slot.seat = Seat::Apart(id);
                self.apart.begin_also(id);
                relieved = true;
            }
        }
        relieved
    }

    /// Notified when a page that was begun has settled.
    pub fn told(&self) -> Arc<Notify> {
        Arc::clone(&self.told)
    }

    /// Ends a page that has settled and lends it. What has not answered is left out and marked.
    pub fn finish(&mut self) -> &[u8] {
        for slot in self.slots.iter_mut().filter(|slot| slot.asked) {
            let Seat::Apart(id) = slot.seat else { continue };
            if self.keeps && slot.empty_in == self.order.epoch {
                slot.took = Duration::ZERO;
                continue;
            }
            let page = &mut self.page;
            let looked = self.apart.look(id, |done| {
                page.append(&done.page);
                slot.stuck = done.stuck;
                (done.result.clone(), done.took, done.page.samples() == 0)
            });
            let (result, took, empty) = looked.unwrap_or_else(|| {
                let waited = clock::monotonic().saturating_sub(self.order.monotonic);
                (Err(CollectError::Stuck), waited, false)
            });
            let absent = match &result {
                Ok(()) | Err(CollectError::NoData(_)) => empty,
                Err(CollectError::Read(error)) => empty && error.is_absent(),
                Err(_) => false,
            };
            slot.empty_in = if absent { self.order.epoch } else { 0 };
            slot.result = result;
            slot.took = took;
        }
        self.finish_own();
        self.page.text()
    }

    /// Each collector's name and last result, for diagnosis.
    pub fn results(&self) -> impl Iterator<Item = (&'static str, &Result<(), CollectError>)> {
        self.slots.iter().map(|slot| (slot.name, &slot.result))
    }

    fn finish_own(&mut self) {
        let [duration, success, stuck] = &self.heads;
        let mut family = self.page.family(duration);
        for slot in self.slots.iter().filter(|slot| slot.asked) {
            let nanos = u64::try_from(slot.took.as_nanos()).unwrap_or(u64::MAX);
            family.scaled(&slot.labels, nanos, 9, nanos as f64 / 1e9);
        }
        drop(family);
        let mut family = self.page.family(success);
        for slot in self.slots.iter().filter(|slot| slot.asked) {
            family.flag(&slot.labels, slot.result.is_ok());
        }
        drop(family);
        let threads = self.slots.iter().map(|slot| slot.stuck).sum::<usize>();
        let threads = threads + self.apart.stuck();
        self.page.family(stuck).int(&self.none, threads as u64);
        self.contributed.clear();
        for Contribution(contributor) in &mut self.contributors {
            contributor.contribute(&mut self.contributed);
        }
        self.page.append_text(self.contributed.as_bytes());
    }
}

impl Order {
    fn turn<'a>(&self, page: &'a mut Page, scratch: &'a mut Vec<u8>) -> Turn<'a> {
        Turn {
            page,
            scratch,
            number: self.number,
            epoch: self.epoch,
            wall: self.wall,
            monotonic: self.monotonic,
        }
    }
}

/// A collector on a worker, with its part of the page.
struct ApartCollector {
    collector: Box<dyn Collector>,
    page: Page,
    result: Result<(), CollectError>,
    took: Duration,
    stuck: usize,
}

impl ApartCollector {
    fn new(collector: Box<dyn Collector>) -> ApartCollector {
        ApartCollector {
            collector,
            page: Page::new(),
            result: Ok(()),
            took: Duration::ZERO,
            stuck: 0,
        }
    }
}

impl Work for ApartCollector {
    type Order = Order;

    fn run(&mut self, order: Order, scratch: &mut Vec<u8>) {
        self.page.clear();
        let began = clock::monotonic();
        self.result = self
            .collector
            .collect(&mut order.turn(&mut self.page, scratch));
        self.took = clock::monotonic().saturating_sub(began);
        self.stuck = self.collector.stuck();
    }
}
