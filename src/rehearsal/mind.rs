//! One agent's process: the product's engine, gates, slots and runner, wired as `app::agent` wires them.
//!
//! What is repeated here because it lives with real files and sockets there: the order of the first inputs (`boot.rs`), the
//! watch of the own Node (`cluster.rs`), the wait for a slot (`queue.rs`). What is looked at and told, and when, is the product's own (`lease::look`,
//! `report::desk`).

use super::hall::Sleep;
use super::imagined::{Clerk, Nothing, Plate, Silent, Truth};
use super::line::{Line, NAMESPACE};
use super::world::{NodeClock, World, lock};
use crate::diagnosis::{CaseChange, ChangeKind};
use crate::engine::{Command, Engine, Input, Ledger, Limits, RunNews};
use crate::executor::{BootId, Entry, Rein, RunEvent, Runner};
use crate::host::Host;
use crate::host::clock::Clock;
use crate::host::cluster::NodeView;
use crate::lease::{ApiSlots, Keeper};
use crate::policy::annotations::{Notes, read_annotations, unread};
use crate::policy::{CaseId, Cleared, Disruption, Mode, OptIn, RunId};
use crate::report::desk::Desk;
use crate::report::events::Happening;
use crate::signal::{Timeline, Timestamp};
use crate::signatures::Judge;
use crate::steps::Site;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// One agent's process.
pub(super) struct Mind {
    pub(super) world: Arc<World>,
    pub(super) node: usize,
    pub(super) clock: Arc<NodeClock>,
    pub(super) line: Arc<Line>,
    pub(super) slots: Arc<ApiSlots>,
    pub(super) runner: Runner,
    /// Made when it is first needed: a healthy machine's engine has nothing to say.
    engine: Mutex<Option<Engine>>,
    pub(super) view: Mutex<Option<NodeView>>,
    pub(super) failure: Mutex<Option<String>>,
    pub(super) reins: watch::Sender<Rein>,
    /// Wakes the reporter.
    pub(super) changed: Notify,
    pub(super) desk: Mutex<Desk>,
    /// Whether the first full pass is done.
    pub(super) has_looked: Mutex<bool>,
}

impl Mind {
    /// A process that begins now.
    pub(super) fn of(world: &Arc<World>, node: usize) -> Arc<Self> {
        let clock = Arc::new(NodeClock {
            world: Arc::clone(world),
            node,
        });
        let line = Arc::new(Line::of(world, node));
        let instance = world
            .body(node, |body| body.instance.clone())
            .unwrap_or_default();
        let slots = ApiSlots::new(
            line.clone(),
            NAMESPACE,
            world.name(node),
            &instance,
            Arc::new(Silent),
        );
        let slots = Arc::new(slots.timed_by(clock.clone()));
        let boot = world.body(node, |body| body.boot).unwrap_or_default();
        let chance = Arc::clone(world);
        let draw = Box::new(move || chance.draw(node));
        Arc::new_cyclic(|mind| Self {
            runner: Runner {
                site: Site {
                    host: Host::at("/nowhere"),
                    services: Arc::new(Nothing),
                    commands: Arc::new(Nothing),
                    oracle: Arc::new(Truth {
                        world: Arc::clone(world),
                        node,
                    }),
                    clock: clock.clone(),
                },
                lease: Arc::new(Keeper::new(Arc::clone(&slots), clock.clone())),
                witness: Arc::new(Clerk {
                    world: Arc::clone(world),
                    node,
                    mind: mind.clone(),
                }),
                disk: Arc::new(Plate {
                    world: Arc::clone(world),
                    node,
                }),
                folder: PathBuf::from("/nowhere/journal"),
                boot: BootId::new(&format!("boot-{boot}")),
            },
            world: Arc::clone(world),
            node,
            clock,
            line,
            slots,
            engine: Mutex::new(None),
            view: Mutex::default(),
            failure: Mutex::default(),
            reins: watch::Sender::new(Rein::Go),
            changed: Notify::new(),
            desk: Mutex::new(Desk::new(NAMESPACE, draw)),
            has_looked: Mutex::new(false),
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn sleep(&self, span: Duration) -> Sleep {
        self.world.hall.sleep(Some(self.node), span)
    }

    /// Asks the engine, if there is one yet.
    pub(super) fn engine<T>(&self, ask: impl FnOnce(&mut Engine) -> T) -> Option<T> {
        lock(&self.engine).as_mut().map(ask)
    }

    /// Makes the engine from what is on the disk, and gives it its first inputs in the agent's order.
    pub(super) fn wake(self: &Arc<Self>) {
        if lock(&self.engine).is_some() {
            return;
        }
        let boot_id = self.runner.boot.as_str().to_owned();
        let kept = self
            .world
            .body(self.node, |body| body.ledger.clone())
            .flatten();
        let ledger = kept.and_then(|text| Ledger::parse(&text).ok());
        let mut ledger = ledger.unwrap_or_else(|| Ledger::empty(&boot_id));
        ledger.boot_id.clone_from(&boot_id);
        if let Ok(shelf) = self.runner.shelf() {
            ledger.next_run = ledger.next_run.max(shelf.next_run().0);
        }
        let timeline = Timeline::new(self.world.trade.catalogue.clone());
        let Ok(judge) = Judge::new(self.world.rules.clone(), timeline, false) else {
            return;
        };
        let engine = Engine::new(judge, Some(ledger), &boot_id, self.now());
        *lock(&self.engine) = Some(engine);
        if !*lock(&self.has_looked) {
            self.turn(Input::StopCord(Some(Arc::from(
                "the first full pass is not done",
            ))));
        }
        self.turn(Input::OptIn(self.opt_in()));
        self.turn(Input::Limits(Limits::default()));
        self.turn(Input::Remedies(self.world.trade.remedies.clone()));
    }

    /// The node's own settings as they are known now.
    pub(super) fn opt_in(&self) -> OptIn {
        let view = lock(&self.view);
        let Some(view) = &*view else {
            let why = lock(&self.failure).clone();
            return unread(&why.unwrap_or_else(|| "the Node was not read yet".to_owned()));
        };
        let notes = Notes {
            node: &view.name,
            version: &view.version,
            annotations: &view.annotations,
            taints: &view.taints,
            is_going: view.is_going,
        };
        // The ceiling of the overlay `standard`.
        read_annotations(notes, (Mode::Auto, Disruption::Restart))
    }

    /// Puts the node's own settings in force; a run under way that they no longer allow stops at its next boundary.
    pub(super) fn apply_opt_in(self: &Arc<Self>) {
        let opt_in = self.opt_in();
        let stop = match (&opt_in.pause, opt_in.mode, opt_in.trouble.first()) {
            (Some(reason), _, _) => Some(format!("paused: {reason}")),
            (_, Mode::Observe, _) => Some("the mode is observe now".to_owned()),
            (_, _, Some(trouble)) => Some(format!("the settings are not understood: {trouble}")),
            _ => None,
        };
        if let Some(why) = stop {
            self.reins.send_replace(Rein::Stop(why));
        }
        self.turn(Input::OptIn(opt_in));
    }

    /// Gives the engine an input and does what it says.
    pub(super) fn turn(self: &Arc<Self>, input: Input) {
        let now = self.now();
        let Some((commands, ledger)) = self.engine(|engine| {
            let commands = engine.turn(now, input);
            let keeps = commands
                .iter()
                .any(|command| matches!(command, Command::Persist));
            let ledger = engine.ledger().filter(|_| keeps);
            (
                commands,
                ledger.and_then(|ledger| serde_json::to_string(ledger).ok()),
            )
        }) else {
            return;
        };
        if !commands.is_empty() {
            self.changed.notify_one();
        }
        if let Some(text) = ledger {
            self.world.body(self.node, |body| body.ledger = Some(text));
        }
        for command in commands {
            match command {
                Command::Persist => {}
                Command::Changed(change) => self.tell_change(&change),
                Command::Decided(blocked) => self.world.with(|state| {
                    for answer in blocked.refusals() {
                        let why = format!("gate {}: {}", answer.gate, answer.ruling.why());
                        state.meter.refused(&why);
                    }
                }),
                Command::Treat { cleared, run } => self.treat(&cleared, run),
            }
        }
    }

    fn treat(self: &Arc<Self>, cleared: &Cleared, run: RunId) {
        let now = self.world.hall.now();
        self.world.tell(self.node, &format!("{run} is decided on"));
        self.world
            .with(|state| state.jury.decided(now, self.node, run.0));
        self.reins.send_replace(Rein::Go);
        let (case, playbook) = (cleared.proposal().case, cleared.proposal().playbook.clone());
        let turn = super::turn::Turn {
            mind: Arc::clone(self),
            case,
            playbook,
            run,
        };
        self.world.hall.spawn(Some(self.node), turn.take());
    }

    /// A run left the runner.
    pub(super) fn run_ended(
        self: &Arc<Self>,
        case: CaseId,
        run: RunId,
        ending: crate::engine::Ending,
    ) {
        self.world
            .tell(self.node, &format!("{run} ended: {ending:?}"));
        self.world.with(|state| state.jury.run_ended(self.node));
        self.turn(Input::Run(RunNews::Ended { case, run, ending }));
        if let Some(alarm) = self.world.alarms.get(self.node) {
            alarm.notify_one();
        }
    }

    /// Why the run under way has no slot yet; `None`: it has one, or has not looked, or there is no run.
    pub(super) fn set_waiting(&self, why: Option<String>) {
        let now = self.world.hall.now();
        self.world.body(self.node, |body| {
            body.waiting = why.clone().map(|why| match body.waiting.take() {
                Some((since, _)) => (since, why),
                None => (now, why),
            });
        });
        lock(&self.desk).waits(why);
        self.changed.notify_one();
    }

    fn happened(&self, what: Happening) {
        lock(&self.desk).happened(what);
        self.changed.notify_one();
    }

    fn tell_change(&self, change: &CaseChange) {
        let case = &change.case;
        let word = match change.kind {
            ChangeKind::Opened => "Opened",
            ChangeKind::Closed(_) => "Closed",
            ChangeKind::Moved(_) => "Moved",
        };
        let line = format!("{} {} {}", case.name(), word, case.state.as_str());
        self.world.tell(self.node, &line);
        if let Some(what) = Happening::of_case(change, self.now()) {
            self.happened(what);
        }
    }

    /// As `app::agent::told` tells of runs.
    pub(super) fn tell_run(&self, event: &RunEvent) {
        lock(&self.desk).rides(event.run);
        let word = match event.entry {
            Entry::Opened { .. } => {
                self.set_waiting(None);
                "RunOpened"
            }
            Entry::Closed { .. } => "RunClosed",
            _ => return self.changed.notify_one(),
        };
        self.happened(Happening {
            at: self.now(),
            reason: format!("{word}{}", event.opening.playbook),
            action: "Mend",
            note: format!("{} with {}", event.run, event.opening.playbook),
            is_warning: false,
            is_common: false,
        });
    }
}
