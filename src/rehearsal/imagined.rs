//! What the runner works on: steps without a machine, a disk without blocks, conditions that look at the truth.

use super::disruption::{STEP_LIMIT, intents_in};
use super::flaw::Flaw;
use super::jury::StepNote;
use super::mind::Mind;
use super::server::EPOCH_US;
use super::trail::Trail;
use super::world::{State, World};
use crate::executor::{
    Course, Disk, Entry, JournalError, JournalFile, Leg, Opening, Outline, Receipt, RunEvent,
    StepShape, UndoWay, Witness, WitnessError, Work,
};
use crate::host::BoxFuture;
use crate::lease::{Permit, SlotWitness};
use crate::playbook::Guard;
use crate::policy::Cleared;
use crate::report::audit::of_run;
use crate::steps::{
    Commands, HostTask, Oracle, Pong, PortError, Services, Site, Step, StepError, TaskEnd, Ticket,
    Tri, UnitNow, Verified, Way,
};
use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Where the journals are, on the disk that is not there.
pub(super) const FOLDER: &str = "/nowhere/journal";
/// The condition that the fault is there.
const SICK: &str = "the machine is sick";
/// The condition that it is mended.
const WELL: &str = "the machine is well";

/// The first step may be done again, the second must not; neither can be undone.
const SHAPES: [StepShape; 2] = [
    StepShape {
        repeatable: true,
        reboots: false,
        undo: UndoWay::NothingToUndo,
    },
    StepShape {
        repeatable: false,
        reboots: false,
        undo: UndoWay::NothingToUndo,
    },
];

/// The course of a run.
pub(super) fn course(world: &Arc<World>, node: usize, opening: Opening) -> Course {
    let legs = SHAPES.iter().enumerate().map(|(index, shape)| {
        let guard = if index == 0 {
            Guard::Requires(Arc::from(SICK))
        } else {
            Guard::If(Arc::from(SICK))
        };
        Leg {
            kind: Arc::from("imagined"),
            guard,
            timeout: STEP_LIMIT,
            step: Box::new(Imagined {
                world: Arc::clone(world),
                node,
                shape: *shape,
            }),
        }
    });
    Course {
        outline: Outline {
            plan: opening.plan.clone(),
            steps: SHAPES.to_vec(),
            needs_human_on_failure: true,
        },
        opening: Arc::new(opening),
        legs: legs.collect(),
        condition: Arc::from(WELL),
        soak: world.scenario.runs.soak,
    }
}

/// What the journal says of a new run.
pub(super) fn opening(cleared: &Cleared) -> Opening {
    let proposal = cleared.proposal();
    Opening {
        case: proposal.case.0,
        signature: proposal.signature.to_string(),
        subject: proposal.subject.as_str().to_owned(),
        playbook: proposal.playbook.id.to_string(),
        version: proposal.playbook.version.to_string(),
        digest: proposal.playbook.digest.to_string(),
        plan: "imagined".to_owned(),
        values: std::collections::BTreeMap::new(),
    }
}

struct Imagined {
    world: Arc<World>,
    node: usize,
    shape: StepShape,
}

impl Imagined {
    async fn disrupt(&self, ticket: &Ticket) {
        let (world, node) = (&self.world, self.node);
        let now = world.hall.now();
        let signature = ticket.opening.signature.as_str();
        let (note, took, succeed) = world.with(|state| {
            let body = state.bodies.get(node);
            let journal = Path::new(FOLDER).join(format!("run-{}.journal", ticket.run.0));
            let journal = body.and_then(|body| body.files.get(&journal));
            let note = StepNote {
                run: ticket.run.0,
                step: ticket.step.0,
                repeatable: self.shape.repeatable,
                intents: journal.map_or(0, |bytes| intents_in(bytes, ticket.step.0)),
            };
            let line = format!("step {} of {} begins", note.step, ticket.run);
            state.log.note(now, world.name(node), &line);
            state.jury.step_begins(now, node, note, &state.server);
            let runs = world.scenario.runs;
            let Some(body) = state.bodies.get_mut(node) else {
                return (note, Duration::ZERO, runs.succeed);
            };
            let ill = body.ill.get(signature);
            let (mean, succeed) =
                ill.map_or((runs.step, runs.succeed), |ill| (ill.step, ill.succeed));
            (note, body.chance.around(mean), succeed)
        });
        let under_way = UnderWay::of(world, node);
        world.hall.sleep(Some(node), took).await;
        drop(under_way);
        world.with(|state| {
            let Some(body) = state.bodies.get_mut(node) else {
                return;
            };
            body.effects.push((note.run, note.step));
            let helps = body.chance.below(1_000_000) < u64::from(succeed.0);
            let is_false = body.ill.get(signature).is_some_and(|ill| ill.is_false);
            // Now and then only the second step helps.
            let is_enough = note.step > 0 || !body.chance.one_in(4);
            if helps && is_enough && !is_false {
                super::people::heal(world, state, node, signature);
            }
        });
    }
}

/// A step that disturbs its node. However it ends, at its end, at its limit or with its process, the jury is told.
struct UnderWay<'a> {
    world: &'a World,
    node: usize,
    /// How long the machine had been suspended when it began.
    slept: Duration,
}

impl<'a> UnderWay<'a> {
    fn of(world: &'a World, node: usize) -> Self {
        let slept = world.hall.slept(Some(node));
        Self { world, node, slept }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let (hall, node) = (&self.world.hall, self.node);
        let now = hall.now();
        // Nothing runs on a machine that is suspended.
        let slept = match hall.is_frozen(node) {
            true => Duration::MAX,
            false => hall.slept(Some(node)).saturating_sub(self.slept),
        };
        self.world
            .with(|state| state.jury.step_ends(now, node, slept));
    }
}

impl Step for Imagined {
    fn shape(&self) -> StepShape {
        self.shape
    }

    fn capture<'a>(
        &'a self,
        _site: &'a Site,
        _ticket: &'a Ticket,
    ) -> BoxFuture<'a, Result<Receipt, StepError>> {
        Box::pin(async { Ok(Receipt(serde_json::Value::Null)) })
    }

    fn apply<'a>(
        &'a self,
        site: &'a Site,
        ticket: &'a Ticket,
        permit: &'a Permit,
        _prior: &'a Receipt,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async move {
            // As every real step does.
            if permit.ensure_live(site.clock.now().uptime).is_err() {
                return Err(StepError::Refused {
                    why: "the permit is too old".to_owned(),
                });
            }
            self.disrupt(ticket).await;
            if self.world.flaw == Some(Flaw::DoesItTwice) {
                self.disrupt(ticket).await;
            }
            Ok(())
        })
    }

    fn verify<'a>(
        &'a self,
        _site: &'a Site,
        ticket: &'a Ticket,
        _prior: &'a Receipt,
    ) -> BoxFuture<'a, Result<Verified, StepError>> {
        let wanted = (ticket.run.0, ticket.step.0);
        let stands = self
            .world
            .body(self.node, |body| body.effects.contains(&wanted));
        Box::pin(async move {
            Ok(if stands == Some(true) {
                Verified::Yes("it was done".to_owned())
            } else {
                Verified::NotYet("it was not done".to_owned())
            })
        })
    }

    fn undo<'a>(
        &'a self,
        _site: &'a Site,
        _ticket: &'a Ticket,
        _permit: &'a Permit,
        _prior: &'a Receipt,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Answers the conditions of a course from the truth.
pub(super) struct Truth {
    pub(super) world: Arc<World>,
    pub(super) node: usize,
}

impl Oracle for Truth {
    fn condition(&self, condition: &str, opening: &Opening) -> Tri {
        let signature = opening.signature.as_str();
        let is_ill = self
            .world
            .body(self.node, |body| body.ill.contains_key(signature));
        match (is_ill, condition) {
            (Some(true), SICK) | (Some(false), WELL) => Tri::Yes,
            (None, _) => Tri::Unknown("there is no such machine".to_owned()),
            _ => Tri::No,
        }
    }
}

/// Where a run is written down: the log, the jury, and the agent that tells people.
pub(super) struct Clerk {
    pub(super) world: Arc<World>,
    pub(super) node: usize,
    pub(super) mind: Weak<Mind>,
    pub(super) trail: Arc<Trail>,
}

impl Witness for Clerk {
    fn note<'a>(&'a self, event: &'a RunEvent) -> BoxFuture<'a, Result<(), WitnessError>> {
        let (world, node) = (&self.world, self.node);
        let now = world.hall.now();
        self.trail.write(event.at, &of_run(event));
        world.with(|state| {
            let line = format!("{} {}", event.run, event.entry.kind());
            state.log.note(now, world.name(node), &line);
            match &event.entry {
                Entry::Opened { opening, .. } => {
                    let wall = wall_of(state, node, now);
                    state.jury.opened(now, node, &opening.signature);
                    state.jury.entrusted(now, node, opening, wall, true);
                }
                Entry::Began { .. } => {
                    let wall = wall_of(state, node, now);
                    state.jury.entrusted(now, node, &event.opening, wall, false);
                }
                Entry::Soaked => state.jury.soaked(now, node),
                Entry::Closed { result } => {
                    *state.meter.runs.entry(result.kind()).or_default() += 1;
                }
                _ => {}
            }
        });
        if let Some(mind) = self.mind.upgrade() {
            mind.tell_run(event);
        }
        Box::pin(async { Ok(()) })
    }
}

/// What a node's wall clock shows, in microseconds since 1970.
pub(super) fn wall_of(state: &State, node: usize, now: Duration) -> i64 {
    let skew = state.bodies.get(node).map_or(0, |body| body.skew);
    let micros = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
    EPOCH_US.saturating_add(micros).saturating_add(skew)
}

/// The lease's witness: counts nothing here, because every write is counted at the server.
pub(super) struct Anchor(pub(super) Arc<Trail>);

impl SlotWitness for Anchor {
    fn wrote(&self, _outcome: &'static str) {}

    fn holds(&self, _domain: &str, _held: bool) {}

    fn audit_head(&self) -> String {
        self.0.head()
    }
}

/// The node's disk: what is written is durable at once. A process that dies between two writes leaves what it wrote.
#[derive(Clone)]
pub(super) struct Plate {
    pub(super) world: Arc<World>,
    pub(super) node: usize,
}

struct PlateFile {
    plate: Plate,
    path: std::path::PathBuf,
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl JournalFile for PlateFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let is_intent = || String::from_utf8_lossy(bytes).contains(r#""entry":"began""#);
        if self.plate.world.flaw == Some(Flaw::JournalSkipsIntents) && is_intent() {
            return Ok(());
        }
        let written = self.plate.files(|files| match files.get_mut(&self.path) {
            Some(file) => {
                file.extend_from_slice(bytes);
                Ok(())
            }
            None => Err(missing()),
        });
        written?
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Files = std::collections::BTreeMap<std::path::PathBuf, Vec<u8>>;

impl Plate {
    fn files<T>(&self, work: impl FnOnce(&mut Files) -> T) -> io::Result<T> {
        self.world
            .body(self.node, |body| work(&mut body.files))
            .ok_or_else(missing)
    }
}

impl Disk for Plate {
    fn runs(&self, folder: &Path) -> io::Result<Vec<u64>> {
        self.files(|files| {
            let names = files.keys().filter(|path| path.parent() == Some(folder));
            let mut numbers: Vec<u64> = names
                .filter_map(|path| {
                    let name = path.file_name()?.to_str()?;
                    name.strip_prefix("run-")?
                        .strip_suffix(".journal")?
                        .parse()
                        .ok()
                })
                .collect();
            numbers.sort_unstable();
            numbers
        })
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let bytes = self.files(|files| {
            files
                .get(path)
                .map(|file| file.iter().take(limit).copied().collect())
        })?;
        bytes.ok_or_else(missing)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn JournalFile>> {
        let is_new = self.files(|files| {
            let is_new = !files.contains_key(path);
            files.entry(path.to_owned()).or_default();
            is_new
        })?;
        if is_new {
            self.reopen(path)
        } else {
            Err(io::ErrorKind::AlreadyExists.into())
        }
    }

    fn reopen(&self, path: &Path) -> io::Result<Box<dyn JournalFile>> {
        Ok(Box::new(PlateFile {
            plate: self.clone(),
            path: path.to_owned(),
        }))
    }

    fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.files(|files| files.insert(path.to_owned(), bytes.to_vec()))?;
        Ok(())
    }

    fn cut(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let length = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.files(|files| {
            if let Some(file) = files.get_mut(path) {
                file.truncate(length);
            }
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files(|files| files.remove(path))?;
        Ok(())
    }

    fn work(
        &self,
        work: Work,
        _limit: Duration,
    ) -> BoxFuture<'_, Option<Result<(), JournalError>>> {
        let done = work();
        Box::pin(async move { Some(done) })
    }
}

/// There is no machine: whatever a step asked of it would be a defect of the rehearsal.
pub(super) struct Nothing;

fn nothing<T: Send + 'static>() -> BoxFuture<'static, Result<T, PortError>> {
    let error = PortError {
        kind: "no-machine".to_owned(),
        message: "a rehearsal has no machine".to_owned(),
        may_be_done: false,
    };
    Box::pin(async move { Err(error) })
}

impl Services for Nothing {
    fn ping(&self, _way: Way, _limit: Duration) -> BoxFuture<'_, Result<Pong, PortError>> {
        nothing()
    }
    fn reexecute(&self, _limit: Duration) -> BoxFuture<'_, Result<(), PortError>> {
        nothing()
    }
    fn terminate_pid1(&self) -> BoxFuture<'_, Result<(), PortError>> {
        nothing()
    }
    fn unit<'a>(
        &'a self,
        _unit: &'a str,
        _limit: Duration,
    ) -> BoxFuture<'a, Result<UnitNow, PortError>> {
        nothing()
    }
    fn restart<'a>(
        &'a self,
        _unit: &'a str,
        _limit: Duration,
    ) -> BoxFuture<'a, Result<UnitNow, PortError>> {
        nothing()
    }
}

impl Commands for Nothing {
    fn run<'a>(&'a self, _task: &'a HostTask) -> BoxFuture<'a, Result<TaskEnd, PortError>> {
        nothing()
    }
    fn is_running<'a>(
        &'a self,
        _task: &'a HostTask,
    ) -> BoxFuture<'a, Result<Option<bool>, PortError>> {
        nothing()
    }
    fn remove<'a>(&'a self, _task: &'a HostTask) -> BoxFuture<'a, Result<(), PortError>> {
        nothing()
    }
}
