//! One agent's process: the product's engine, gates, slots and runner, wired as `app::agent` wires them.
//!
//! What is repeated here because it lives with real files and sockets there: the order of the first inputs (`boot.rs`), the
//! watch of the own Node (`cluster.rs`), the wait for a slot (`queue.rs`). What is looked at and told, and when, is the product's own (`lease::look`,
//! `report::desk`).

use super::flaw::Flaw;
use super::hall::Sleep;
use super::imagined::{Anchor, Clerk, FOLDER, Nothing, Plate, Truth};
use super::line::{Line, NAMESPACE};
use super::trail::Trail;
use super::world::{NodeClock, World, lock};
use crate::diagnosis::{CaseChange, ChangeKind};
use crate::engine::{Command, Engine, Input, Ledger, Limits, Remedies, RunNews, remedies_of};
use crate::executor::{BootId, Entry, Rein, RunEvent, Runner};
use crate::host::Host;
use crate::host::clock::Clock;
use crate::host::cluster::NodeView;
use crate::lease::{ApiSlots, Keeper};
use crate::policy::annotations::{Notes, read_annotations, unread};
use crate::policy::{
    Approvals, Approved, Blocked, CaseId, Cleared, Disruption, Mode, OptIn, RunId,
};
use crate::report::audit::{Decision, Entry as Audited, RecordKind};
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
    pub(super) trail: Arc<Trail>,
    pub(super) approvals: Mutex<Approvals>,
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
        let boot = world.body(node, |body| body.boot).unwrap_or_default();
        let boot = format!("boot-{boot}");
        let trail = Arc::new(Trail::of(world, node, &boot));
        let slots = ApiSlots::new(
            line.clone(),
            NAMESPACE,
            world.name(node),
            &instance,
            Arc::new(Anchor(Arc::clone(&trail))),
        );
        let slots = Arc::new(slots.timed_by(clock.clone()));
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
                    trail: Arc::clone(&trail),
                }),
                disk: Arc::new(Plate {
                    world: Arc::clone(world),
                    node,
                }),
                folder: PathBuf::from(FOLDER),
                boot: BootId::new(&boot),
            },
            world: Arc::clone(world),
            node,
            clock,
            line,
            slots,
            engine: Mutex::new(None),
            trail,
            approvals: Mutex::default(),
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
        if self.world.flaw == Some(Flaw::ForgetsAttempts) {
            ledger.attempts.clear();
        }
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
        self.turn(Input::OptIn(self.standing()));
        self.turn(Input::Limits(Limits::default()));
        self.turn(Input::Remedies(self.remedies()));
    }

    /// The playbooks as a process that begins now takes them.
    fn remedies(&self) -> Remedies {
        let mut remedies = remedies_of(&self.world.playbooks, self.now().wall);
        for remedy in remedies.values_mut() {
            match self.world.flaw {
                Some(Flaw::TakesForgedPlaybooks) => remedy.playbook.digest = Arc::from("f0f0"),
                Some(Flaw::TakesExpiredPlaybooks) => {
                    remedy.expires = None;
                    remedy.voucher = Some(Arc::from("nobody"));
                }
                _ => {}
            }
        }
        remedies
    }

    /// What the engine knows of a case that a person approved.
    pub(super) fn known_as(&self, case: CaseId) -> Approved {
        let known = self.engine(|engine| engine.book().known_as(case));
        known.unwrap_or(Approved::NotOpen)
    }

    /// A run of this case used its approval up.
    pub(super) fn spend_approval(&self, case: CaseId) {
        if self.world.flaw != Some(Flaw::SpendsNoApproval) {
            lock(&self.approvals).spend(case);
        }
    }

    pub(super) fn record(&self, entry: &Audited) {
        self.trail.write(self.now(), entry);
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
        let mut opt_in = read_annotations(notes, (Mode::Auto, Disruption::Restart));
        if self.world.flaw == Some(Flaw::TakesGarbageForLeave) && !opt_in.trouble.is_empty() {
            opt_in.trouble.clear();
            (opt_in.mode, opt_in.allow) = (Mode::Auto, Disruption::Restart);
        }
        opt_in
    }

    /// The same without the approvals that are used up.
    pub(super) fn standing(&self) -> OptIn {
        lock(&self.approvals).standing(self.opt_in())
    }

    /// Puts the node's own settings in force; a run under way that they no longer allow stops at its next boundary.
    pub(super) fn apply_opt_in(self: &Arc<Self>) {
        let opt_in = self.standing();
        let stop = self.engine(|engine| engine.why_to_stop(&opt_in));
        if let Some(why) = stop.flatten() {
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
                Command::Decided(blocked) => self.tell_refusal(&blocked),
                Command::Treat { cleared, run } => self.treat(&cleared, run),
            }
        }
    }

    fn tell_refusal(&self, blocked: &Blocked) {
        let mut entry = Audited::of(RecordKind::Decided);
        entry.case = Some(blocked.proposal.case);
        entry.decision = Some(Decision::Wait);
        for answer in blocked.refusals() {
            let why = format!("gate {}: {}", answer.gate, answer.ruling.why());
            self.world.with(|state| state.meter.refused(&why));
            entry.reasons.push(why);
        }
        self.record(&entry);
    }

    fn treat(self: &Arc<Self>, cleared: &Cleared, run: RunId) {
        let now = self.world.hall.now();
        self.world.tell(self.node, &format!("{run} is decided on"));
        self.world
            .with(|state| state.jury.decided(now, self.node, run.0));
        let mut entry = Audited::of(RecordKind::Decided);
        entry.case = Some(cleared.proposal().case);
        entry.run = Some(run);
        entry.playbook = Some(cleared.proposal().playbook.clone());
        entry.decision = Some(Decision::Act);
        self.record(&entry);
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
        let mut entry = Audited::of(match change.kind {
            ChangeKind::Opened => RecordKind::CaseOpened,
            ChangeKind::Closed(_) => RecordKind::CaseClosed,
            ChangeKind::Moved(_) => RecordKind::CaseChanged,
        });
        entry.case = case.id;
        entry.signature = Some(case.signature.clone());
        entry.evidence = case.evidence.clone();
        self.record(&entry);
        self.world.tell(self.node, &line);
        if let Some(what) = Happening::of_case(change, self.now()) {
            self.happened(what);
        }
    }

    /// As `app::agent::scribe` tells of runs.
    pub(super) fn tell_run(&self, event: &RunEvent) {
        lock(&self.desk).rides(event.run);
        if let Entry::Opened { .. } = event.entry {
            self.set_waiting(None);
        }
        match Happening::of_run(event) {
            Some(what) => self.happened(what),
            None => self.changed.notify_one(),
        }
    }
}
