//! What the API server is told next: one patch of the Node at a time, one event at a time, and the rest in between. The agent
//! and `nodemend simulate` only wait and send; everything that is decided is decided here. Pure, but for lines in the log.
//!
//! While the server is away nothing is queued but events: the Node's state is computed whole each time, and the latest is sent.

use super::conditions::{Letter, NOTES, Telling, Told};
use super::events::{EventBook, Happening, Post, Regarding};
use super::pace::{COALESCE, HEARTBEAT, MIN_HEARTBEAT, Moment, beat_rest, quiet_rest};
use crate::host::cluster::{ApiError, Call, Fields, NodeView, Resource, Verb};
use crate::host::retry::Rests;
use crate::policy::{CaseId, RunId};
use crate::signal::{Timestamp, Uptime};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The ConfigMap that lists the condition types that agents may write.
const CONDITIONS: &str = "conditions";
/// Conditions that were never ours: with no others there is none that could be retired.
const OF_KUBERNETES: [&str; 5] = [
    "Ready",
    "MemoryPressure",
    "DiskPressure",
    "PIDPressure",
    "NetworkUnavailable",
];
/// How many happenings wait to be told; the newest count.
const MAX_HAPPENINGS: usize = 32;

/// Why a run waits that has not looked for a slot yet.
const SOON: &str = "looks for a slot soon, at a random moment so that not all nodes look at once";

/// Numbers from 0 up to 1, another one each time.
pub type Draw = Box<dyn FnMut() -> f64 + Send>;

/// What is known at this moment.
pub struct Facts<'a> {
    /// Now.
    pub now: Timestamp,
    /// The own Node as last seen.
    pub view: Option<&'a NodeView>,
    /// What it is to say.
    pub telling: &'a Telling,
    /// How many agents there are, where that is known.
    pub agents: Option<u64>,
}

/// What to do.
#[derive(Debug)]
pub enum Next {
    /// Send this, and say by [`Desk::heard`] what came of it.
    Send(Call),
    /// Wait for this long, or until something changes.
    Rest(Duration),
}

/// What was sent last and is not answered.
enum UnderWay {
    Types,
    Node(Letter),
    Event(Call),
}

/// What the server is known to have of this Node.
#[derive(Default)]
struct Sent {
    uid: String,
    conditions: BTreeMap<String, (bool, String)>,
    notes: [Option<String>; 3],
    /// Types that were ours, stand on the Node, and are named by no signature any more.
    retired: Vec<String>,
    /// Types that the server refused for good, and when: they are tried again with the next heartbeat.
    refused: BTreeMap<String, Uptime>,
    /// Parts of a letter that was refused: each is tried alone.
    apart: VecDeque<Letter>,
}

/// An event that is to be told, and when; at once if that is `None`.
#[derive(Debug)]
struct Planned {
    what: Happening,
    at: Option<Moment>,
    is_planned: bool,
}

impl Planned {
    fn due(&self, facts: &Facts) -> Uptime {
        let now = facts.now.uptime;
        self.at.map_or(now, |at| at.of(quiet_rest, facts.agents))
    }
}

/// Who tells the server how the node is.
pub struct Desk {
    namespace: String,
    draw: Draw,
    sent: Sent,
    events: EventBook,
    happenings: VecDeque<Planned>,
    /// Why the run under way has no slot yet, and the last run that had one.
    waiting: Option<String>,
    riding: Option<RunId>,
    under_way: Option<UnderWay>,
    /// An event that the server may not have yet.
    unsent: Option<Call>,
    /// When conditions were written last, and when the Node was, by whatever outcome.
    edge: Option<Uptime>,
    wrote: Option<Uptime>,
    /// When a condition that stands is written again, and when quiet news of the annotations is told.
    beat: Moment,
    quiet: Option<Moment>,
    /// The server failed: nothing is sent before this.
    not_before: Uptime,
    rests: Rests,
}

impl Desk {
    /// Nothing is known yet. `namespace`: the agents'.
    pub fn new(namespace: &str, draw: Draw) -> Self {
        Self {
            namespace: namespace.to_owned(),
            draw,
            sent: Sent::default(),
            events: EventBook::new(Timestamp::default()),
            happenings: VecDeque::new(),
            waiting: None,
            riding: None,
            under_way: None,
            unsent: None,
            edge: None,
            wrote: None,
            beat: Moment::default(),
            quiet: None,
            not_before: Uptime::default(),
            rests: Rests::default(),
        }
    }

    /// Something that people are told by an event.
    pub fn happened(&mut self, what: Happening) {
        if self.happenings.len() >= MAX_HAPPENINGS {
            self.happenings.pop_front();
        }
        self.happenings.push_back(Planned {
            what,
            at: None,
            is_planned: false,
        });
    }

    /// The run under way waits for a slot, and why; `None`: it has not looked yet.
    pub fn waits(&mut self, why: Option<String>) {
        self.waiting = why;
    }

    /// This run has its slot: it waits no longer, and must not say so for as long as it mends.
    pub fn rides(&mut self, run: RunId) {
        self.riding = Some(run);
    }

    /// Why the run under way has no slot yet, if there is a run and it has none.
    pub fn waiting(&self, run: Option<(CaseId, RunId)>) -> Option<&str> {
        let (_, run) = run?;
        let why = self.waiting.as_deref().unwrap_or(SOON);
        (self.riding != Some(run)).then_some(why)
    }

    /// What to do now.
    pub fn next(&mut self, facts: &Facts) -> Next {
        let now = facts.now.uptime;
        self.plan(facts);
        if now < self.not_before {
            return Next::Rest(self.not_before.since(now));
        }
        let Some(view) = facts.view else {
            return Next::Rest(HEARTBEAT);
        };
        if self.sent.uid != view.uid {
            let is_told = |kind: &str| facts.telling.conditions.contains_key(kind);
            let mut kinds = view.conditions.iter().map(|one| one.kind.as_str());
            if kinds.any(|kind| !is_told(kind) && !OF_KUBERNETES.contains(&kind)) {
                self.under_way = Some(UnderWay::Types);
                let place = &self.namespace;
                let call = Call::new(Verb::Get, Resource::ConfigMaps, place, CONDITIONS);
                return Next::Send(call);
            }
            self.meet(facts, None);
        }
        let rest = match self.letter(facts) {
            Ok(letter) => return Next::Send(self.post(letter, view, facts)),
            Err(rest) => rest,
        };
        if let Some(call) = self.event(view, facts) {
            self.under_way = Some(UnderWay::Event(call.clone()));
            return Next::Send(call);
        }
        let due = |planned: &Planned| planned.due(facts).since(now);
        let events = self.happenings.iter().map(due).min();
        Next::Rest(events.map_or(rest, |event| event.min(rest)))
    }

    /// What became of the call that [`Desk::next`] gave. `facts`: as then, but for the time.
    pub fn heard(&mut self, facts: &Facts, answer: Result<Value, ApiError>) {
        let failed = match (self.under_way.take(), answer) {
            (Some(UnderWay::Types), Ok(types)) => self.meet(facts, Some(&types)),
            (Some(UnderWay::Types), Err(error)) if is_refusal(&error) => {
                tracing::info!(%error, "retired conditions stay");
                self.meet(facts, None)
            }
            (Some(UnderWay::Node(letter)), Ok(_)) => self.keep(letter, facts),
            (Some(UnderWay::Node(letter)), Err(error)) if is_refusal(&error) => {
                self.refuse(letter, facts.now.uptime, &error)
            }
            (Some(UnderWay::Node(letter)), Err(error)) => {
                self.sent.retired.extend(letter.retired);
                Some(error)
            }
            (Some(UnderWay::Event(_)), Err(error)) if error.is_final() => {
                // AlreadyExists: it was made before, when only the answer was lost.
                if error.reason() != "AlreadyExists" {
                    // An event is told once or not at all: it must not hold up what comes after it.
                    tracing::warn!(%error, "an event was not told");
                }
                None
            }
            (Some(UnderWay::Event(call)), Err(error)) => {
                // As it is: to the book it is made, and it would be told as the second of an event that nobody has.
                self.unsent = Some(call);
                Some(error)
            }
            (_, Err(error)) => Some(error),
            (_, Ok(_)) => None,
        };
        let Some(error) = failed else {
            self.rests.reset();
            return;
        };
        tracing::warn!(%error, "the API server cannot be told how the Node is; trying again");
        let wait = self.rests.next(error.retry_after(), (self.draw)());
        self.not_before = facts.now.uptime.plus(wait);
    }

    /// Gives each happening its moment. Those of one reason keep their order.
    fn plan(&mut self, facts: &Facts) {
        for at in 0..self.happenings.len() {
            let Some(planned) = self.happenings.get(at).filter(|one| !one.is_planned) else {
                continue;
            };
            let before = self.happenings.iter().take(at);
            let before = before.filter(|other| other.what.reason == planned.what.reason);
            let moment = match before.max_by_key(|other| other.due(facts)) {
                Some(before) => before.at,
                None => planned.what.is_common.then(|| Moment {
                    since: facts.now.uptime,
                    draw: (self.draw)(),
                }),
            };
            if let Some(planned) = self.happenings.get_mut(at) {
                planned.at = moment;
                planned.is_planned = true;
            }
        }
    }

    /// What the Node is told now, or how long it may rest.
    fn letter(&mut self, facts: &Facts) -> Result<Letter, Duration> {
        if let Some(letter) = self.sent.apart.pop_front() {
            return Ok(letter);
        }
        let now = facts.now.uptime;
        let news = self.sent.news(facts.telling, now);
        let standing = self.sent.standing(facts.telling, now);
        let notes = facts.telling.notes();
        let beat = self.beat.of(beat_rest, facts.agents);
        let mut due: Vec<Uptime> = Vec::new();
        let after = |since: Option<Uptime>| since.map_or(now, |since| since.plus(COALESCE));
        if !news.is_empty() || !self.sent.retired.is_empty() {
            due.push(after(self.edge));
        }
        match Weight::of(&self.sent.notes, &notes) {
            Weight::Nothing => self.quiet = None,
            Weight::Loud => due.push(after(self.wrote)),
            Weight::Quiet => {
                let draw = &mut self.draw;
                let at = self.quiet.get_or_insert_with(|| Moment {
                    since: now,
                    draw: draw(),
                });
                due.push(at.of(quiet_rest, facts.agents).max(after(self.wrote)));
            }
            Weight::Numbers => due.push(beat),
        }
        if !standing.is_empty() {
            due.push(beat);
        }
        let first = due.into_iter().min();
        if first.is_none_or(|first| first > now) {
            let rest = first.map_or(HEARTBEAT, |first| first.since(now));
            return Err(rest.min(HEARTBEAT));
        }
        let beats = now >= beat || self.edge.is_none_or(|at| now.since(at) >= MIN_HEARTBEAT);
        let mut conditions = news;
        for kind in standing.into_iter().filter(|_| beats) {
            if !conditions.iter().any(|(known, _)| *known == kind) {
                conditions.push((kind, false));
            }
        }
        let told = |(kind, flips): (&str, bool)| {
            let told = facts.telling.conditions.get(kind)?;
            Some((kind.to_owned(), told.clone(), flips))
        };
        Ok(Letter {
            conditions: conditions.into_iter().filter_map(told).collect(),
            retired: std::mem::take(&mut self.sent.retired),
            notes: (self.sent.notes != notes).then_some(notes),
        })
    }

    fn post(&mut self, letter: Letter, view: &NodeView, facts: &Facts) -> Call {
        self.wrote = Some(facts.now.uptime);
        if !letter.conditions.is_empty() {
            self.edge = self.wrote;
        }
        let call = Call::new(Verb::Patch, Resource::NodeStatus, "", &view.name)
            .strategically()
            .sending(letter.patch(&facts.now.wall.to_rfc3339()));
        self.under_way = Some(UnderWay::Node(letter));
        call
    }

    /// The next event whose time has come.
    fn event(&mut self, view: &NodeView, facts: &Facts) -> Option<Call> {
        if let Some(call) = self.unsent.take() {
            return Some(call);
        }
        let about = Regarding {
            node: view.name.clone(),
            uid: view.uid.clone(),
        };
        loop {
            let is_due = |planned: &Planned| planned.due(facts) <= facts.now.uptime;
            let at = self.happenings.iter().position(is_due)?;
            let what = self.happenings.remove(at)?.what;
            let call = |verb, name: &str| Call::new(verb, Resource::Events, "default", name);
            match self.events.post(&about, &what) {
                Post::Create(event) => return Some(call(Verb::Create, "").sending(event)),
                Post::Again(name, patch) => return Some(call(Verb::Patch, &name).sending(patch)),
                Post::Nothing => {}
            }
        }
    }

    /// Takes what the Node says already: of a process before this one. `types`: the ConfigMap that lists what is ours.
    fn meet(&mut self, facts: &Facts, types: Option<&Value>) -> Option<ApiError> {
        let view = facts.view?;
        let is_told = |kind: &String| facts.telling.conditions.contains_key(kind);
        let types = types.map(|types| {
            let fields = Fields::of(types, "ConfigMap");
            fields.ensure_kind().and_then(|()| fields.texts("/data"))
        });
        let types = types.transpose().unwrap_or_else(|error| {
            tracing::warn!(%error, "retired conditions stay");
            None
        });
        let types = types.unwrap_or_default();
        let ours = |kind: &String| types.get(kind).is_some_and(|by| !by.starts_with("npd "));
        let kinds = view.conditions.iter().map(|one| &one.kind);
        self.sent = Sent {
            uid: view.uid.clone(),
            conditions: view
                .conditions
                .iter()
                .filter(|one| is_told(&one.kind))
                .map(|one| (one.kind.clone(), (one.status == "True", one.reason.clone())))
                .collect(),
            notes: NOTES.map(|key| view.annotations.get(key).cloned()),
            retired: kinds
                .filter(|kind| ours(kind) && !is_told(kind))
                .cloned()
                .collect(),
            ..Sent::default()
        };
        self.beat_later(facts);
        None
    }

    fn keep(&mut self, letter: Letter, facts: &Facts) -> Option<ApiError> {
        for (kind, told, _) in letter.conditions {
            self.sent.refused.remove(&kind);
            let has = (told.is_problem, told.reason);
            self.sent.conditions.insert(kind, has);
        }
        if let Some(notes) = letter.notes {
            self.sent.notes = notes;
            self.quiet = None;
        }
        self.beat_later(facts);
        None
    }

    fn beat_later(&mut self, facts: &Facts) {
        self.beat = Moment {
            since: facts.now.uptime,
            draw: (self.draw)(),
        };
    }

    /// Perhaps only a part of it is not wanted: it must not keep the others from being seen.
    fn refuse(&mut self, letter: Letter, at: Uptime, error: &ApiError) -> Option<ApiError> {
        let parts = letter.apart();
        if parts.len() > 1 {
            tracing::warn!(%error, "a write to the Node is refused; each part is tried alone");
            self.sent.apart.extend(parts);
            return None;
        }
        if let Some((kind, ..)) = letter.conditions.first() {
            tracing::error!(
                condition = kind,
                %error,
                "the condition is refused; add its type to the ConfigMap `{CONDITIONS}`"
            );
            self.sent.refused.insert(kind.clone(), at);
        } else if let Some(notes) = letter.notes {
            tracing::error!(%error, "the annotations are refused; are the policies those of this version?");
            // Not again until they say something else.
            self.sent.notes = notes;
        } else {
            tracing::error!(%error, "a retired condition cannot be removed");
        }
        None
    }
}

impl Sent {
    fn is_refused(&self, kind: &str, now: Uptime) -> bool {
        let since = self.refused.get(kind);
        since.is_some_and(|since| now.since(*since) < HEARTBEAT)
    }

    /// The conditions that the server does not have as they are, and whether their status flips.
    fn news<'a>(&self, telling: &'a Telling, now: Uptime) -> Vec<(&'a str, bool)> {
        let news = |(kind, told): (&'a String, &Told)| {
            let before = self.conditions.get(kind);
            // What was never a problem here is not written: a healthy node costs nothing.
            let flips = before.map_or(told.is_problem, |(problem, _)| *problem != told.is_problem);
            let is_news = flips || before.is_some_and(|(_, reason)| *reason != told.reason);
            (is_news && !self.is_refused(kind, now)).then_some((kind.as_str(), flips))
        };
        telling.conditions.iter().filter_map(news).collect()
    }

    /// The problems that stand.
    fn standing<'a>(&self, telling: &'a Telling, now: Uptime) -> Vec<&'a str> {
        let conditions = telling.conditions.iter();
        conditions
            .filter(|(kind, told)| told.is_problem && !self.is_refused(kind, now))
            .map(|(kind, _)| kind.as_str())
            .collect()
    }
}

/// How soon a change of the annotations is told.
#[derive(Debug, PartialEq, Eq)]
enum Weight {
    Nothing,
    /// Only numbers changed: with the next write. A reason that counts seconds is not news each time it is asked.
    Numbers,
    /// Why the node waits: all nodes of a storm may say so at once, and the condition has told the news.
    Quiet,
    /// A case opened or closed, a run began or ended.
    Loud,
}

impl Weight {
    fn of(before: &[Option<String>; 3], now: &[Option<String>; 3]) -> Self {
        let said = |notes: &[Option<String>; 3]| {
            let plain = |text: &String| text.chars().filter(|c| !c.is_ascii_digit()).collect();
            notes.each_ref().map(|note| note.as_ref().map(plain))
        };
        let ([old, old_case, _], [new, new_case, _]) = (before, now);
        let (plain_before, plain_now): ([Option<String>; 3], [Option<String>; 3]) =
            (said(before), said(now));
        let begins_to_wait = new.as_deref() == Some("waiting") && old.as_deref() != Some("mending");
        if before == now {
            Self::Nothing
        } else if old_case != new_case || (old != new && !begins_to_wait) {
            Self::Loud
        } else if plain_before == plain_now {
            Self::Numbers
        } else {
            Self::Quiet
        }
    }
}

/// A no to what was sent, and neither to who sent it nor because others wrote the Node in the same moment.
fn is_refusal(error: &ApiError) -> bool {
    error.is_final() && !matches!(error.code(), Some(401 | 409))
}
