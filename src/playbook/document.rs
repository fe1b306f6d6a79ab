//! A playbook as it is written: text -> [`Playbook`], with every problem at once.

use super::args::Args;
use super::identity::identity;
use super::kinds::{StepKinds, StepSummary};
use super::steps;
use crate::document::{Fields, FromNode, Node, Place, Problems, Tree, parse};
use crate::policy::{Disruption, PlaybookRef};
use crate::signal::Wall;
use semver::Version;
use std::sync::Arc;
use std::time::Duration;

/// The most steps of one playbook. Ours have three; a list that long is a script and belongs in several playbooks.
pub const MAX_STEPS: usize = 32;
/// The most runs per node and signature in 24 h (safety.md, I10). A playbook may ask for fewer, never for more.
pub const MAX_ATTEMPTS: u32 = 3;
/// The span over which attempts are counted, at the least (safety.md, I10).
const MIN_ATTEMPTS_SPAN: Duration = Duration::from_secs(24 * 3600);
/// The longest soak. A slot is held through it, so other nodes wait.
const MAX_SOAK: Duration = Duration::from_secs(24 * 3600);
/// Ids become file names, labels and annotation values: the length of a DNS label.
const MAX_ID_BYTES: usize = 63;
/// A title is one line of a table.
const MAX_TITLE_BYTES: usize = 120;
/// Conditions are sentences, not programs.
const MAX_CONDITION_BYTES: usize = 2048;

/// What a document is checked against.
pub struct Checks<'a> {
    /// The kinds of steps that this build can carry out.
    pub kinds: &'a dyn StepKinds,
    /// Whether a text is a condition of the rule language; the error says what is wrong with it.
    pub condition: &'a dyn Fn(&str) -> Result<(), String>,
}

/// A playbook: one version of it, read whole and without problems.
#[derive(Debug, Clone, PartialEq)]
pub struct Playbook {
    /// Its id, kebab-case.
    pub id: Arc<str>,
    /// Its version. A released version is never edited.
    pub version: Version,
    /// What it does, one line.
    pub title: String,
    /// Why and when, for people; may be empty.
    pub explain: String,
    /// What it does to the node's work: at least the class of each of its steps.
    pub disruption: Disruption,
    /// The condition (CEL) that must hold right before each step that changes something and has no `if` of its own.
    pub requires: Arc<str>,
    /// How often it may be tried.
    pub attempts: Attempts,
    /// Its steps in order; never empty.
    pub steps: Vec<StepSpec>,
    /// When the case counts as mended.
    pub verify: Verify,
    /// What happens after the last failed attempt.
    pub on_failure: OnFailure,
    /// The moment from which on it must not run any more, if it names one.
    pub expires: Option<Wall>,
    /// SHA-256 over the canonical JSON of the document: its identity.
    pub digest: Arc<str>,
}

/// How often a playbook may be tried on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// The most attempts, 1 to [`MAX_ATTEMPTS`].
    pub max: u32,
    /// The span in which they are counted, at least 24 h.
    pub span: Duration,
    /// The pause after an attempt.
    pub cooldown: Duration,
}

/// One step as written.
#[derive(Debug, Clone, PartialEq)]
pub struct StepSpec {
    /// Its kind.
    pub kind: Arc<str>,
    /// The arguments of its kind.
    pub args: Args,
    /// The condition (CEL) without which it is skipped. It takes the place of the playbook's `requires` for this step.
    pub condition: Option<Arc<str>>,
    /// Its time, if the playbook names one.
    pub timeout: Option<Duration>,
    /// What its kind says about it, with `{{subject}}` still in place.
    pub summary: StepSummary,
    /// Where it stands.
    pub place: Place,
}

/// When the case counts as mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verify {
    /// The condition (CEL) that must hold.
    pub condition: Arc<str>,
    /// How long it must go on holding.
    pub soak: Duration,
}

/// What happens after the last failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnFailure {
    /// The case goes on with another playbook.
    Escalate(Arc<str>),
    /// A person must look; nothing retries by itself.
    NeedsHuman,
}

impl Playbook {
    /// Reads a document.
    ///
    /// # Errors
    /// Every problem of the document with its line and column.
    pub fn parse(origin: &str, text: &str, checks: &Checks<'_>) -> Result<Playbook, Problems> {
        let node = parse(origin, text)?;
        let mut problems = Problems::of(origin);
        let playbook = read(&node, checks, &mut problems);
        problems.into_result(playbook)
    }

    /// Its id, version and digest.
    pub fn reference(&self) -> PlaybookRef {
        PlaybookRef {
            id: self.id.clone(),
            version: self.version.to_string().into(),
            digest: self.digest.clone(),
        }
    }
}

fn read(node: &Node, checks: &Checks<'_>, problems: &mut Problems) -> Option<Playbook> {
    let mut fields = Fields::of(node, "a playbook", problems)?;
    let id = required(&mut fields, "id", problems, read_id);
    let version = required(&mut fields, "version", problems, read_version);
    let title = required(&mut fields, "title", problems, read_title);
    let explain = fields.or_default("explain", problems);
    let disruption: Option<Disruption> = fields.required("disruption", problems);
    let requires = read_condition(&mut fields, "requires", checks, problems);
    let attempts = required(&mut fields, "attempts", problems, read_attempts);
    let steps_node = fields.node("steps");
    if steps_node.is_none() {
        problems.add(fields.place(), "a playbook needs `steps`");
    }
    let steps = steps_node.and_then(|node| steps::read(node, disruption, checks, problems));
    let verify = required(&mut fields, "verify", problems, |node, problems| {
        read_verify(node, checks, problems)
    });
    let on_failure = required(&mut fields, "onFailure", problems, read_on_failure);
    let expires_node = fields.node("expires");
    let expires = expires_node.map(|node| read_date(node, problems));
    fields.finish(problems);
    if let (Some(OnFailure::Escalate(target)), Some(id)) = (&on_failure, &id)
        && target == id
    {
        problems.add(
            node.place,
            "a playbook cannot escalate to itself; name another one or `needsHuman: true`",
        );
    }
    let digest = match identity(node) {
        Ok(digest) => digest,
        Err(error) => {
            problems.add(node.place, format!("no canonical form: {error}"));
            return None;
        }
    };
    Some(Playbook {
        id: id?,
        version: version?,
        title: title?,
        explain,
        disruption: disruption?,
        requires: requires?,
        attempts: attempts?,
        steps: steps?,
        verify: verify?,
        on_failure: on_failure?,
        expires: match expires {
            Some(date) => Some(date?),
            None => None,
        },
        digest,
    })
}

fn required<T>(
    fields: &mut Fields<'_>,
    name: &'static str,
    problems: &mut Problems,
    read: impl FnOnce(&Node, &mut Problems) -> Option<T>,
) -> Option<T> {
    match fields.node(name) {
        Some(node) => read(node, problems),
        None => {
            problems.add(
                fields.place(),
                format!("`{name}` is missing; every playbook names it"),
            );
            None
        }
    }
}

fn text<'a>(node: &'a Node, problems: &mut Problems) -> Option<&'a str> {
    match &node.tree {
        Tree::Text(text) => Some(text),
        other => {
            problems.add(node.place, format!("expected text, found {}", other.form()));
            None
        }
    }
}

/// Whether `text` may be an id: kebab-case, short enough for a label.
pub(super) fn is_id(text: &str) -> bool {
    text.len() <= MAX_ID_BYTES
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.is_empty()
}

fn read_id(node: &Node, problems: &mut Problems) -> Option<Arc<str>> {
    let id = text(node, problems)?;
    if is_id(id) {
        return Some(id.into());
    }
    problems.add(
        node.place,
        format!("an id is written in kebab-case with at most {MAX_ID_BYTES} characters, like systemd-reexec"),
    );
    None
}

fn read_version(node: &Node, problems: &mut Problems) -> Option<Version> {
    let parsed = match &node.tree {
        Tree::Text(text) => Version::parse(text).ok(),
        _ => None,
    };
    // Build metadata has no order, so it cannot say which of two versions is the newer one.
    let version = parsed.filter(|version| version.build.is_empty());
    if version.is_none() {
        problems.add(
            node.place,
            "a version is written MAJOR.MINOR.PATCH (SemVer, without build metadata), like 1.0.0",
        );
    }
    version
}

fn read_title(node: &Node, problems: &mut Problems) -> Option<String> {
    let title = text(node, problems)?;
    if title.is_empty() || title.len() > MAX_TITLE_BYTES || title.contains('\n') {
        problems.add(
            node.place,
            format!(
                "a title is one line of 1 to {MAX_TITLE_BYTES} bytes; put the rest into `explain`"
            ),
        );
        return None;
    }
    Some(title.to_owned())
}

impl FromNode for Disruption {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        match text(node, problems)?.parse() {
            Ok(class) => Some(class),
            Err(error) => {
                problems.add(node.place, error.to_string());
                None
            }
        }
    }
}

fn read_condition(
    fields: &mut Fields<'_>,
    name: &'static str,
    checks: &Checks<'_>,
    problems: &mut Problems,
) -> Option<Arc<str>> {
    required(fields, name, problems, |node, problems| {
        check_condition(node, checks, problems)
    })
}

pub(super) fn check_condition(
    node: &Node,
    checks: &Checks<'_>,
    problems: &mut Problems,
) -> Option<Arc<str>> {
    let condition = text(node, problems)?;
    if condition.trim().is_empty() || condition.len() > MAX_CONDITION_BYTES {
        problems.add(
            node.place,
            format!("a condition has 1 to {MAX_CONDITION_BYTES} bytes"),
        );
        return None;
    }
    match (checks.condition)(condition) {
        Ok(()) => Some(condition.into()),
        Err(message) => {
            problems.add(node.place, message);
            None
        }
    }
}

pub(super) fn bounded(
    span: Duration,
    place: Place,
    most: Duration,
    what: &str,
    problems: &mut Problems,
) -> Option<Duration> {
    if span.is_zero() || span > most {
        let most = crate::document::format_span(most);
        problems.add(
            place,
            format!("{what} must be longer than nothing and at most {most}"),
        );
        return None;
    }
    Some(span)
}

fn read_attempts(node: &Node, problems: &mut Problems) -> Option<Attempts> {
    let mut fields = Fields::of(node, "`attempts`", problems)?;
    let max: Option<u32> = fields.required("max", problems);
    let span: Option<Duration> = fields.required("in", problems);
    let cooldown: Option<Duration> = fields.required("cooldown", problems);
    fields.finish(problems);
    let (max, span, cooldown) = (max?, span?, cooldown?);
    if !(1..=MAX_ATTEMPTS).contains(&max) {
        problems.add(
            node.place,
            format!("`max` must be 1 to {MAX_ATTEMPTS}: no node is tried more often in 24 h"),
        );
    }
    if span < MIN_ATTEMPTS_SPAN {
        problems.add(
            node.place,
            "`in` must be at least 24h, the span in which the agent itself counts",
        );
    }
    if cooldown.is_zero() || cooldown > span {
        problems.add(
            node.place,
            "`cooldown` must be longer than nothing and at most `in`",
        );
    }
    Some(Attempts {
        max,
        span,
        cooldown,
    })
}

fn read_verify(node: &Node, checks: &Checks<'_>, problems: &mut Problems) -> Option<Verify> {
    let mut fields = Fields::of(node, "`verify`", problems)?;
    let condition = read_condition(&mut fields, "condition", checks, problems);
    let soak_place = fields.node("soak").map_or(node.place, |soak| soak.place);
    let soak: Option<Duration> = fields.required("soak", problems);
    fields.finish(problems);
    let soak = bounded(soak?, soak_place, MAX_SOAK, "`soak`", problems);
    Some(Verify {
        condition: condition?,
        soak: soak?,
    })
}

fn read_on_failure(node: &Node, problems: &mut Problems) -> Option<OnFailure> {
    let mut fields = Fields::of(node, "`onFailure`", problems)?;
    let escalate_node = fields.node("escalate");
    let escalate = escalate_node.map(|node| read_id(node, problems));
    let needs_human: Option<bool> = fields.optional("needsHuman", problems);
    fields.finish(problems);
    match (escalate, needs_human) {
        (Some(target), None) => target.map(OnFailure::Escalate),
        (None, Some(true)) => Some(OnFailure::NeedsHuman),
        _ => {
            problems.add(
                node.place,
                "`onFailure` holds either `escalate: PLAYBOOK` or `needsHuman: true`",
            );
            None
        }
    }
}

fn read_date(node: &Node, problems: &mut Problems) -> Option<Wall> {
    let end = text(node, problems).and_then(end_of_day);
    if end.is_none() {
        problems.add(
            node.place,
            "`expires` is the last day on which it may run, like 2028-12-31",
        );
    }
    end
}

/// The end of a day (UTC) that is written YYYY-MM-DD.
pub(super) fn end_of_day(text: &str) -> Option<Wall> {
    if text.len() != 10 {
        return None;
    }
    let day: jiff::civil::Date = text.parse().ok()?;
    let midnight = day
        .tomorrow()
        .ok()?
        .to_zoned(jiff::tz::TimeZone::UTC)
        .ok()?;
    Some(Wall(midnight.timestamp().as_microsecond()))
}
