//! The life of one node.

use super::chance::Chance;
use super::demand::{self, Demands, Moment};
use super::fate::Event;
use super::machine::{Fault, Machine, PROBES};
use super::people;
use super::temper::Temper;
use crate::diagnosis::{CaseChange, ChangeKind};
use crate::engine::{Command, Ending, Engine, Input, Ledger, Remedies, RunNews, remedies_of};
use crate::playbook::Catalogue as Playbooks;
use crate::policy::{CaseId, Cleared, RunId};
use crate::signal::{Catalogue, Subject, Timeline, Timestamp, Uptime, Wall};
use crate::signatures::{Judge, Rulebook, Source, shipped};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What the agent of a life is built from.
#[derive(Debug, Clone)]
pub struct World {
    /// The signals.
    pub catalogue: Catalogue,
    /// The signatures.
    pub rules: Vec<Source>,
    /// The playbooks.
    pub remedies: Remedies,
}

impl World {
    /// The signatures and playbooks that come with the binary, read from the probes' signals.
    pub fn shipped(catalogue: Catalogue, playbooks: &Playbooks) -> Self {
        Self {
            catalogue,
            rules: shipped::sources(),
            remedies: remedies_of(playbooks, Wall(EPOCH_MICROS)),
        }
    }
}

/// What happened in a life, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Turns of the engine.
    pub turns: u64,
    /// Faults that struck.
    pub faults: u64,
    /// Cases that opened.
    pub opened: u64,
    /// Cases that closed.
    pub closed: u64,
    /// Runs that started.
    pub runs: u64,
    /// Runs that ended well.
    pub mended: u64,
    /// Processes that ended and began again, reboots included.
    pub restarts: u64,
    /// Reboots.
    pub reboots: u64,
    /// Jumps of the wall clock.
    pub jumps: u64,
}

/// What must hold did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The seed of the life, which breaks again at the same moment.
    pub seed: u64,
    /// When, in true time since its beginning.
    pub at: Duration,
    /// What did not hold.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at.as_secs();
        write!(
            f,
            "seed {}: {} (day {}, {:02}:{:02}:{:02})",
            self.seed,
            self.what,
            seconds / 86_400,
            seconds / 3_600 % 24,
            seconds / 60 % 60,
            seconds % 60
        )
    }
}

/// A run that has not ended.
#[derive(Debug, Clone)]
pub(super) struct OpenRun {
    pub(super) case: CaseId,
    pub(super) run: RunId,
    pub(super) signature: Arc<str>,
    pub(super) subject: Subject,
    /// How it will end; `None`: never by itself.
    pub(super) ending: Option<Ending>,
    /// Whether its journal was on disk when the process died.
    pub(super) is_journaled: bool,
}

/// At which point of a turn the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dying {
    BeforeItKeeps,
    AfterItKept,
}

/// One node from its first start on.
pub struct Life {
    pub(super) seed: u64,
    pub(super) temper: Temper,
    pub(super) world: World,
    pub(super) chance: Chance,
    pub(super) machine: Machine,
    pub(super) queue: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    order: u64,
    pub(super) at: Duration,
    pub(super) booted: Duration,
    pub(super) boot: u64,
    /// How far the wall clock is ahead of the true time, in microseconds.
    pub(super) ahead: i64,
    pub(super) asleep_until: Duration,
    pub(super) engine: Engine,
    pub(super) demands: Demands,
    /// The ledger's file.
    pub(super) disk: String,
    pub(super) run: Option<OpenRun>,
    /// The highest run that the journal knows.
    journal_run: u64,
    pub(super) down_until: [Duration; PROBES.len()],
    pub(super) failures: [u32; PROBES.len()],
    pub(super) healed: BTreeMap<Fault, Duration>,
    /// Since when nothing disturbed the sight of the bus.
    pub(super) bus_clear_since: Duration,
    pub(super) is_quiet: bool,
    pub(super) dying: Option<Dying>,
    pub(super) without: Option<usize>,
    /// Rule books without the rule of a number: compiling one costs more than an hour of life.
    books: BTreeMap<Option<usize>, Rulebook>,
    pub(super) tally: Tally,
}

/// The true time at the beginning, by the wall clock: 2026-01-01.
const EPOCH_MICROS: i64 = 1_767_225_600_000_000;

impl Life {
    /// A node that starts for the first time, uptime 30 s.
    ///
    /// # Errors
    /// Rules that cannot be used.
    pub fn begin(world: World, seed: u64, temper: Temper) -> Result<Self, Broken> {
        let at = Duration::from_secs(30);
        let broken = |what: String| Broken { seed, at, what };
        let ledger = Ledger::empty("boot-0");
        let disk = serde_json::to_string(&ledger).map_err(|error| broken(error.to_string()))?;
        let judge = judge(&world, rulebook(&world, None)).map_err(broken)?;
        let now = Timestamp {
            uptime: Uptime::new(at),
            wall: Wall(EPOCH_MICROS),
        };
        let mut life = Self {
            seed,
            temper,
            chance: Chance::new(seed),
            machine: Machine::healthy(),
            queue: BinaryHeap::new(),
            order: 0,
            at,
            booted: Duration::ZERO,
            boot: 0,
            ahead: 0,
            asleep_until: Duration::ZERO,
            engine: Engine::new(judge, Some(ledger), "boot-0", now),
            demands: Demands::default(),
            disk,
            run: None,
            journal_run: 0,
            down_until: [Duration::ZERO; PROBES.len()],
            failures: [0; PROBES.len()],
            healed: BTreeMap::new(),
            bus_clear_since: Duration::ZERO,
            is_quiet: false,
            dying: None,
            without: None,
            books: BTreeMap::new(),
            tally: Tally::default(),
            world,
        };
        life.machine.loss = temper.loss;
        life.demands.remedies = life.world.remedies.clone();
        life.demands.opt_in = people::settings(&mut life.chance);
        life.schedule_all();
        life.start().map_err(broken)?;
        Ok(life)
    }

    /// Lives on for `span`.
    ///
    /// # Errors
    /// Something that must hold does not.
    pub fn live(&mut self, span: Duration) -> Result<Tally, Broken> {
        let end = self.at.saturating_add(span);
        while let Some(Reverse((due, _, _))) = self.queue.peek() {
            if *due > end {
                break;
            }
            if let Some(Reverse((due, _, event))) = self.queue.pop() {
                self.at = self.at.max(due).max(self.asleep_until);
                self.happen(event).map_err(|what| self.broken(what))?;
            }
        }
        self.at = self.at.max(end);
        Ok(self.tally)
    }

    /// All is well for two hours and people look after what is left to them: then no case may be open any more.
    ///
    /// # Errors
    /// Something that must hold does not.
    pub fn settle(&mut self) -> Result<Tally, Broken> {
        self.calm().map_err(|what| self.broken(what))?;
        for _ in 0..8 {
            self.live(Duration::from_secs(900))?;
            self.look_after().map_err(|what| self.broken(what))?;
        }
        let left: Vec<String> = self
            .engine
            .book()
            .current()
            .map(|case| {
                format!(
                    "{} {} is {}",
                    case.signature,
                    case.subject,
                    case.state.as_str()
                )
            })
            .collect();
        demand::demand(
            left.is_empty(),
            &format!("no fault stands, but {}", left.join(", ")),
        )
        .map_err(|what| self.broken(what))?;
        self.is_quiet = false;
        self.machine.loss = self.temper.loss;
        Ok(self.tally)
    }

    fn broken(&self, what: String) -> Broken {
        Broken {
            seed: self.seed,
            at: self.at,
            what,
        }
    }

    /// What the machine's clocks show.
    pub(super) fn now(&self) -> Timestamp {
        let micros = i64::try_from(self.at.as_micros()).unwrap_or(i64::MAX);
        Timestamp {
            uptime: Uptime::new(self.at.saturating_sub(self.booted)),
            wall: Wall(
                EPOCH_MICROS
                    .saturating_add(micros)
                    .saturating_add(self.ahead),
            ),
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            at: self.at,
            now: self.now(),
            boot: self.boot,
            ahead: self.ahead,
        }
    }

    pub(super) fn schedule(&mut self, after: Duration, event: Event) {
        self.order += 1;
        let due = self.at.saturating_add(after);
        self.queue.push(Reverse((due, self.order, event)));
    }

    /// Gives the engine an input and does what it says, as the agent does; or dies on the way.
    pub(super) fn turn(&mut self, input: Input) -> Result<(), String> {
        let moment = self.moment();
        let commands = self.engine.turn(moment.now, input);
        self.tally.turns += 1;
        let under_way = self.run.as_ref().map(|run| (run.case, run.run));
        self.demands
            .after_turn(moment, &self.engine, &commands, under_way)?;
        let keeps = commands
            .iter()
            .any(|command| matches!(command, Command::Persist));
        if keeps && self.dying == Some(Dying::BeforeItKeeps) {
            return self.restart(false);
        }
        if keeps {
            self.keep()?;
        }
        if keeps && self.dying == Some(Dying::AfterItKept) {
            // The attempt counts and the run never was.
            return self.restart(false);
        }
        for command in commands {
            match command {
                Command::Persist | Command::Decided(_) => {}
                Command::Changed(change) => self.tell(&change)?,
                Command::Treat { cleared, run } => self.treat(moment, &cleared, run)?,
            }
        }
        Ok(())
    }

    pub(super) fn keep(&mut self) -> Result<(), String> {
        let ledger = self.engine.ledger().ok_or("there is no ledger to keep")?;
        self.disk = serde_json::to_string(ledger).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn tell(&mut self, change: &CaseChange) -> Result<(), String> {
        self.demands.told(change)?;
        match change.kind {
            ChangeKind::Opened => {
                self.tally.opened += 1;
                let case = &change.case;
                let is_real = demand::is_real(
                    &self.machine,
                    &self.healed,
                    self.at,
                    &case.signature,
                    &case.subject,
                );
                demand::demand(
                    is_real,
                    &format!("{} {} opened without a fault", case.signature, case.subject),
                )
            }
            ChangeKind::Closed(_) => {
                self.tally.closed += 1;
                Ok(())
            }
            ChangeKind::Moved(_) => Ok(()),
        }
    }

    fn treat(&mut self, moment: Moment, cleared: &Cleared, run: RunId) -> Result<(), String> {
        self.demands.run_begins(moment, cleared, run)?;
        self.tally.runs += 1;
        let ending = match self.chance.below(10) {
            0..=4 => Some(Ending::Mended),
            5..=7 => Some(Ending::Undone),
            8 => Some(Ending::NeedsHuman),
            _ => None,
        };
        let proposal = cleared.proposal();
        self.run = Some(OpenRun {
            case: proposal.case,
            run,
            signature: proposal.signature.clone(),
            subject: proposal.subject.clone(),
            ending,
            is_journaled: !self.chance.one_in(10),
        });
        self.journal_run = self.journal_run.max(run.0);
        if ending.is_some() {
            let after = self.chance.around(Duration::from_secs(90));
            self.schedule(after, Event::RunEnds(run));
        }
        Ok(())
    }

    /// The process begins: the inputs come in the order in which the agent gives them.
    pub(super) fn start(&mut self) -> Result<(), String> {
        let moment = self.moment();
        self.demands.restarted(moment);
        self.bus_clear_since = self.at;
        self.turn(Input::Limits(self.demands.limits.clone()))?;
        let rules = self.rules();
        self.turn(Input::Rulebook(rules))?;
        self.turn(Input::Remedies(self.demands.remedies.clone()))?;
        let pause = self.engine.ledger().and_then(|ledger| ledger.pause.clone());
        self.demands.opt_in.pause = pause.as_deref().map(Arc::from);
        self.turn(Input::OptIn(self.demands.opt_in.clone()))?;
        self.turn(Input::StopCord(self.demands.cord.clone()))?;
        if let Some(open) = self.run.take_if(|open| open.is_journaled) {
            let (case, run) = (open.case, open.run);
            self.run = Some(OpenRun {
                ending: Some(match self.chance.below(4) {
                    0 => Ending::NeedsHuman,
                    1 => Ending::Mended,
                    _ => Ending::Undone,
                }),
                ..open
            });
            self.turn(Input::Run(RunNews::Resumed { case, run }))?;
            let after = self.chance.around(Duration::from_secs(30));
            self.schedule(after, Event::RunEnds(run));
        }
        Ok(())
    }

    /// The rules in force.
    pub(super) fn rules(&mut self) -> Rulebook {
        let world = &self.world;
        let without = self.without;
        let book = self.books.entry(without);
        book.or_insert_with(|| rulebook(world, without)).clone()
    }

    /// The process ends and begins again from what is on disk.
    pub(super) fn restart(&mut self, is_reboot: bool) -> Result<(), String> {
        self.dying = None;
        self.tally.restarts += 1;
        if is_reboot {
            self.tally.reboots += 1;
            self.boot += 1;
            self.booted = self.at.saturating_sub(Duration::from_secs(20));
            self.machine.reboot();
        }
        let boot_id = format!("boot-{}", self.boot);
        let mut ledger = Ledger::parse(&self.disk).map_err(|error| error.to_string())?;
        ledger.boot_id.clone_from(&boot_id);
        ledger.next_run = ledger.next_run.max(self.journal_run + 1);
        let rules = self.rules();
        let judge = judge(&self.world, rules)?;
        self.engine = Engine::new(judge, Some(ledger), &boot_id, self.now());
        if self.run.as_ref().is_some_and(|open| !open.is_journaled) {
            self.run = None;
        }
        self.start()
    }
}

fn judge(world: &World, rules: Rulebook) -> Result<Judge, String> {
    let timeline = Timeline::new(world.catalogue.clone());
    Judge::new(rules, timeline, false).map_err(|error| error.to_string())
}

/// The rules without the one of this number.
fn rulebook(world: &World, without: Option<usize>) -> Rulebook {
    let sources: Vec<Source> = world
        .rules
        .iter()
        .enumerate()
        .filter(|(index, _)| Some(*index) != without)
        .map(|(_, source)| source.clone())
        .collect();
    Rulebook::load(&sources, &world.catalogue).0
}
