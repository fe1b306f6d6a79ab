//! Events about the own Node (events.k8s.io/v1): repeated ones become a series, and there is a limit to their rate. Pure.

use super::audit::outcome_text;
use crate::diagnosis::{CaseChange, CaseState, ChangeKind};
use crate::executor::{Entry, Outcome, RunEvent};
use crate::signal::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// What happened is still the same series if it comes again within this time: twice what Kubernetes' own recorder takes.
const SERIES_SPAN: Duration = Duration::from_secs(720);
/// A series is written at most this often.
const SERIES_GAP: Duration = Duration::from_secs(60);
/// How many new events may come at once, and how long one more takes.
const BURST: u32 = 10;
const REFILL: Duration = Duration::from_secs(60);
/// Kubernetes refuses longer notes.
const MAX_NOTE_CHARS: usize = 1000;
/// How many series are remembered: more reasons than there are signatures.
const MAX_SERIES: usize = 200;

/// Something that people are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// When.
    pub at: Timestamp,
    /// A short word: `CaseOpened`.
    pub reason: String,
    /// What the agent did: `Diagnose`, `Mend`.
    pub action: &'static str,
    /// A sentence.
    pub note: String,
    /// Whether it is bad news.
    pub is_warning: bool,
    /// Whether it may come from every node in the same second. Such news waits for a random while ([`super::pace`]); what a
    /// slot or a person bounds is told at once.
    pub is_common: bool,
}

impl Happening {
    /// What people are told of a case: its opening, its end, and that it needs a person.
    pub fn of_case(change: &CaseChange, at: Timestamp) -> Option<Self> {
        let case = &change.case;
        let (word, is_warning, is_common) = match change.kind {
            ChangeKind::Opened => ("Opened", true, true),
            ChangeKind::Closed(_) => ("Closed", false, true),
            // After runs only, and every run had a slot.
            ChangeKind::Moved(_) if case.state == CaseState::NeedsHuman => {
                ("NeedsHuman", true, false)
            }
            ChangeKind::Moved(_) => return None,
        };
        let id = case.id.map(|id| id.to_string()).unwrap_or_default();
        Some(Self {
            at,
            // One series for each signature: a case that opens and closes all day is one event with a count.
            reason: format!("{word}{}", pascal(&case.signature)),
            action: "Diagnose",
            note: format!("{id} {}: {}", case.signature, case.evidence.join("; ")),
            is_warning,
            is_common,
        })
    }
}

impl Happening {
    /// What people are told of a run: its beginning and its end. A slot bounds how many nodes tell of one, so at once.
    pub fn of_run(event: &RunEvent) -> Option<Self> {
        let opening = &event.opening;
        let (word, note, is_warning) = match &event.entry {
            Entry::Opened { .. } => ("RunOpened", format!("holds {}", event.slot), false),
            Entry::Closed { result } => {
                let is_fine = matches!(result, Outcome::Mended);
                ("RunClosed", outcome_text(result), !is_fine)
            }
            _ => return None,
        };
        Some(Self {
            at: event.at,
            reason: format!("{word}{}", pascal(&opening.playbook)),
            action: "Mend",
            note: format!(
                "{} with {}@{} for case-{}: {note}",
                event.run, opening.playbook, opening.version, opening.case
            ),
            is_warning,
            is_common: false,
        })
    }
}

/// `systemd-reexec` as Kubernetes writes reasons: `SystemdReexec`.
pub fn pascal(text: &str) -> String {
    text.split('-')
        .flat_map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|c| c.to_ascii_uppercase());
            first.into_iter().chain(letters)
        })
        .take(100)
        .collect()
}

/// What to send.
#[derive(Debug, Clone, PartialEq)]
pub enum Post {
    /// A new event.
    Create(Value),
    /// The event of this name came again.
    Again(String, Value),
    /// Nothing now.
    Nothing,
}

struct Series {
    name: String,
    count: u32,
    last: Timestamp,
    written: Timestamp,
}

/// Whom the events are about.
#[derive(Debug, Clone)]
pub struct Regarding {
    /// The Node.
    pub node: String,
    /// Its uid.
    pub uid: String,
}

/// All series, and how many events may still be made.
pub struct EventBook {
    series: BTreeMap<String, Series>,
    left: u32,
    refilled: Timestamp,
    made: u64,
    /// How many were not made because of the rate.
    pub dropped: u64,
}

impl EventBook {
    /// A book that begins now.
    pub fn new(now: Timestamp) -> Self {
        Self {
            series: BTreeMap::new(),
            left: BURST,
            refilled: now,
            made: 0,
            dropped: 0,
        }
    }

    /// What to send for a happening.
    pub fn post(&mut self, about: &Regarding, what: &Happening) -> Post {
        self.refill(what.at);
        self.series
            .retain(|_, series| what.at.uptime.since(series.last.uptime) < SERIES_SPAN);
        if let Some(series) = self.series.get_mut(&what.reason) {
            series.count = series.count.saturating_add(1);
            series.last = what.at;
            let gap = what.at.uptime.since(series.written.uptime);
            if series.count > 2 && gap < SERIES_GAP {
                return Post::Nothing;
            }
            series.written = what.at;
            let patch =
                json!({ "series": { "count": series.count, "lastObservedTime": micro(what.at) } });
            return Post::Again(series.name.clone(), patch);
        }
        if self.left == 0 || self.series.len() >= MAX_SERIES {
            self.dropped += 1;
            return Post::Nothing;
        }
        self.left -= 1;
        self.made += 1;
        // Wall time and a counter: unique on this node, also after a restart.
        let name = format!("{}.{:x}{:02x}", about.node, what.at.wall.0, self.made % 256);
        let event = event_of(about, what, &name);
        let series = Series {
            name,
            count: 1,
            last: what.at,
            written: what.at,
        };
        self.series.insert(what.reason.clone(), series);
        Post::Create(event)
    }

    fn refill(&mut self, now: Timestamp) {
        while self.left < BURST && now.uptime.since(self.refilled.uptime) >= REFILL {
            self.left += 1;
            self.refilled = self.refilled.plus(REFILL);
        }
        if self.left == BURST {
            self.refilled = now;
        }
    }
}

fn event_of(about: &Regarding, what: &Happening, name: &str) -> Value {
    let note: String = what.note.chars().take(MAX_NOTE_CHARS).collect();
    json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": { "name": name, "namespace": "default" },
        "eventTime": micro(what.at), "type": if what.is_warning { "Warning" } else { "Normal" },
        "reason": what.reason, "action": what.action, "note": note,
        "reportingController": "nodemend.io/agent", "reportingInstance": about.node,
        "regarding": { "apiVersion": "v1", "kind": "Node", "name": about.node, "uid": about.uid },
    })
}

fn micro(at: Timestamp) -> Option<String> {
    let time = jiff::Timestamp::from_microsecond(at.wall.0).ok()?;
    Some(format!("{time:.6}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::Opening;
    use crate::policy::RunId;
    use std::sync::Arc;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::default().plus(Duration::from_secs(seconds))
    }

    fn happening(reason: &str, seconds: u64) -> Happening {
        Happening {
            at: at(seconds),
            reason: reason.to_owned(),
            action: "Diagnose",
            note: "x".repeat(5_000),
            is_warning: true,
            is_common: false,
        }
    }

    #[test]
    fn the_end_of_a_run_is_told_and_what_did_not_mend_is_a_warning() {
        let opening = Opening {
            case: 3,
            signature: "it-is-broken".to_owned(),
            subject: String::new(),
            playbook: "fix-it".to_owned(),
            version: "1.2.3".to_owned(),
            digest: "d".to_owned(),
            plan: "p".to_owned(),
            values: BTreeMap::new(),
        };
        let told = |entry| {
            Happening::of_run(&RunEvent {
                at: at(7),
                run: RunId(9),
                opening: Arc::new(opening.clone()),
                entry,
                step_kind: None,
                slot: String::new(),
                opt_in: Arc::from(""),
                took: None,
            })
        };
        let closed = |result| told(Entry::Closed { result }).expect("told");
        let mended = closed(Outcome::Mended);
        assert_eq!(
            (mended.reason.as_str(), mended.is_warning),
            ("RunClosedFixIt", false)
        );
        let note = "run-9 with fix-it@1.2.3 for case-3: ";
        assert!(mended.note.starts_with(note), "{}", mended.note);
        let why = "a person pulled the cord".to_owned();
        let stopped = closed(Outcome::Stopped { why });
        assert!(stopped.is_warning && stopped.note.contains("pulled the cord"));
        assert_eq!(told(Entry::Soaked), None, "in between nothing is");
    }

    #[test]
    fn a_repeated_event_is_a_series_and_a_storm_of_them_is_bounded() {
        let about = Regarding {
            node: "a".into(),
            uid: "u".into(),
        };
        let mut book = EventBook::new(at(0));
        let Post::Create(event) = book.post(&about, &happening("S", 1)) else {
            panic!("the first is an event")
        };
        assert_eq!(event["note"].as_str().map(str::len), Some(MAX_NOTE_CHARS));
        assert!(
            matches!(book.post(&about, &happening("S", 2)), Post::Again(_, patch) if patch["series"]["count"] == 2)
        );
        assert_eq!(book.post(&about, &happening("S", 3)), Post::Nothing);
        assert!(
            matches!(book.post(&about, &happening("S", 90)), Post::Again(_, patch) if patch["series"]["count"] == 4)
        );
        let made = (0..100)
            .filter(|i| {
                matches!(
                    book.post(&about, &happening(&format!("R{i}"), 91)),
                    Post::Create(_)
                )
            })
            .count();
        assert!(made <= BURST as usize, "{made}");
        assert!(book.dropped >= 90);
        assert!(
            matches!(book.post(&about, &happening("S", 2_000)), Post::Create(_)),
            "a new series"
        );
    }
}
