//! Scenario files: YAML -> [`Scenario`], with every mistake and its place.

use super::ailments::signatures;
use super::caps::Caps;
use super::plausible::check;
use super::scenario::{
    Chaos, Fault, Nodes, Outbreak, People, Runs, Scenario, Share, Trouble, Whom,
};
use crate::document::{Fields, FromNode, Node, Place, Problems, Tree, closest, format_span, parse};
use std::ops::RangeInclusive;
use std::time::Duration;

/// What is promised (issue 4): more was not measured.
const MAX_NODES: u32 = 5_000;
const SECOND: Duration = Duration::from_secs(1);
/// A longer time says nothing new.
const TIMES: RangeInclusive<Duration> = SECOND..=Duration::from_secs(30 * 86_400);
/// A step ends at its own limit after ten minutes.
const STEPS: RangeInclusive<Duration> = SECOND..=Duration::from_secs(600);
const SOAKS: RangeInclusive<Duration> = SECOND..=Duration::from_secs(86_400);
/// More at once are no scenario any more but noise.
const MAX_DRAWN: u32 = 1_000;

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// Everything that is wrong with it, with line and column.
    pub fn parse(origin: &str, text: &str) -> Result<Self, Problems> {
        let node = parse(origin, text)?;
        let mut problems = Problems::of(origin);
        if node.tree == Tree::Null {
            let why = "there is nothing in this file; a scenario needs name, lasts, nodes and limits (docs/simulate.md has one)";
            problems.add(node.place, why);
            return problems.into_result(None);
        }
        let scenario = Self::from_node(&node, &mut problems);
        problems.into_result(scenario)
    }
}

/// Something of a file, and where it stands.
pub(super) struct Placed<T> {
    pub(super) place: Place,
    pub(super) it: T,
}

impl<T: FromNode> FromNode for Placed<T> {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let place = node.place;
        T::from_node(node, problems).map(|it| Self { place, it })
    }
}

/// The items of a list that can be read; each that cannot is told, and hides no other.
fn each<T: FromNode>(
    fields: &mut Fields<'_>,
    name: &'static str,
    problems: &mut Problems,
) -> Vec<Placed<T>> {
    let Some(node) = fields.node(name) else {
        return Vec::new();
    };
    let Tree::List(items) = &node.tree else {
        let found = node.tree.form();
        problems.add(node.place, format!("`{name}` must be a list, not {found}"));
        return Vec::new();
    };
    items
        .iter()
        .filter_map(|item| Placed::from_node(item, problems))
        .collect()
}

/// A span of time within limits.
fn span(
    fields: &mut Fields<'_>,
    name: &'static str,
    range: &RangeInclusive<Duration>,
    problems: &mut Problems,
) -> Option<Duration> {
    let span = fields.optional(name, problems)?;
    Some(within(&span, name, range, problems))
}

/// Tells of a span that is not within its limits.
fn within(
    span: &Placed<Duration>,
    name: &'static str,
    range: &RangeInclusive<Duration>,
    problems: &mut Problems,
) -> Duration {
    if !range.contains(&span.it) {
        let (least, most) = (format_span(*range.start()), format_span(*range.end()));
        let what = format!("`{name}` must be from {least} to {most}");
        problems.add(span.place, what);
    }
    span.it
}

impl FromNode for Scenario {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a scenario", problems)?;
        let name: Option<String> = fields.required("name", problems);
        let lasts: Option<Placed<Duration>> = fields.required("lasts", problems);
        let lasts = lasts.map(|it| within(&it, "lasts", &TIMES, problems));
        let seed: u32 = fields.optional("seed", problems).unwrap_or(1);
        let startup: Option<Placed<Duration>> = fields.optional("startup", problems);
        let nodes: Option<Placed<Nodes>> = fields.required("nodes", problems);
        let limits: Option<Caps> = fields.required("limits", problems);
        let sick: Vec<Placed<Outbreak>> = each(&mut fields, "sick", problems);
        let runs: Runs = fields.or_default("runs", problems);
        let people: Option<Placed<People>> = fields.optional("people", problems);
        let faults: Vec<Placed<Fault>> = each(&mut fields, "faults", problems);
        let chaos: Chaos = fields.or_default("chaos", problems);
        fields.finish(problems);
        check(
            lasts,
            startup.as_ref(),
            nodes.as_ref(),
            limits.as_ref(),
            people.as_ref(),
            &sick,
            &faults,
            problems,
        );
        Some(Scenario {
            name: name?,
            lasts: lasts?,
            seed: u64::from(seed),
            startup: startup.map_or(Duration::from_secs(120), |it| it.it),
            nodes: nodes?.it,
            limits: limits?.caps,
            sick: sick.into_iter().map(|it| it.it).collect(),
            runs,
            people: people.map(|it| it.it).unwrap_or_default(),
            faults: faults.into_iter().map(|it| it.it).collect(),
            chaos,
        })
    }
}

impl FromNode for Nodes {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "nodes", problems)?;
        let count: Option<Placed<u32>> = fields.required("count", problems);
        if let Some(count) = &count
            && !(1..=MAX_NODES).contains(&count.it)
        {
            let what = format!("`count` must be from 1 to {MAX_NODES}");
            problems.add(count.place, what);
        }
        let zones = names(&mut fields, "zones", problems);
        let pools = names(&mut fields, "pools", problems);
        let control_plane: Option<Placed<u32>> = fields.optional("controlPlane", problems);
        if let (Some(control), Some(count)) = (&control_plane, &count)
            && control.it > count.it
        {
            let what = format!("`controlPlane` is more than the {} nodes", count.it);
            problems.add(control.place, what);
        }
        let nodes = Nodes {
            // What is too many is told; the rest is checked as if it were the most, and not for billions of nodes.
            count: count.as_ref().map_or(0, |count| count.it.min(MAX_NODES)),
            zones,
            pools,
            control_plane: control_plane.map_or(0, |it| it.it),
            opted_in: fields.optional("optedIn", problems).unwrap_or(Share::ALL),
            approve: fields.or_default("approve", problems),
        };
        fields.finish(problems);
        count.map(|_| nodes)
    }
}

/// Names of zones or pools, as the keys of the limits spell them.
fn names(fields: &mut Fields<'_>, name: &'static str, problems: &mut Problems) -> Vec<String> {
    let placed: Vec<Placed<String>> = each(fields, name, problems);
    let mut names: Vec<String> = Vec::new();
    for one in placed {
        if !is_name(&one.it) {
            let shown: String = one.it.chars().take(40).collect();
            problems.add(one.place, format!("`{shown}` is no name here; write it with a-z, 0-9, . and - in between, at most 63, as the limits spell it"));
        } else if names.contains(&one.it) {
            problems.add(one.place, format!("`{}` is there twice", one.it));
        } else {
            names.push(one.it);
        }
    }
    names
}

/// A label's value, as the limits spell it.
fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_inner = |c: char| is_plain(c) || c == '.' || c == '-';
    text.len() <= 63
        && text.starts_with(is_plain)
        && text.ends_with(is_plain)
        && text.chars().all(is_inner)
}

/// A share as people write it: `25%`, `0.5%`.
impl FromNode for Share {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let wrong = "a share is written like 25% or 0.5%, at most 100%";
        let Tree::Text(text) = &node.tree else {
            problems.add(node.place, format!("{wrong}; found {}", node.tree.form()));
            return None;
        };
        let share = text.strip_suffix('%').and_then(millionths);
        if share.is_none() {
            problems.add(node.place, format!("{wrong}; found `{text}`"));
        }
        share
    }
}

pub(super) fn millionths(percent: &str) -> Option<Share> {
    let (whole, part) = percent.split_once('.').unwrap_or((percent, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty()
        || whole.len() > 3
        || part.len() > 4
        || !is_number(whole)
        || !is_number(part)
    {
        return None;
    }
    let whole: u32 = whole.parse().ok()?;
    let part: u32 = format!("{part:0<4}").parse().ok()?;
    let share = Share(whole * 10_000 + part);
    (share <= Share::ALL).then_some(share)
}

fn whom(fields: &mut Fields<'_>, problems: &mut Problems) -> Whom {
    let count: Option<Placed<u32>> = fields.optional("count", problems);
    let share: Option<Placed<Share>> = fields.optional("share", problems);
    if let (Some(_), Some(share)) = (&count, &share) {
        problems.add(share.place, "give `share` or `count`, not both");
    }
    if let Some(count) = count.as_ref().filter(|count| count.it == 0) {
        problems.add(count.place, "`count` 0 means nobody; leave this out");
    }
    if let Some(share) = share.as_ref().filter(|share| share.it == Share::default()) {
        problems.add(share.place, "`share` 0% means nobody; leave this out");
    }
    Whom {
        share: share.map(|it| it.it),
        count: count.map(|it| it.it),
        zone: fields.optional("zone", problems),
        pool: fields.optional("pool", problems),
    }
}

impl FromNode for Outbreak {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "an outbreak", problems)?;
        let at: Option<Duration> = fields.required("at", problems);
        let signature: Option<Placed<String>> = fields.required("signature", problems);
        if let Some(signature) = &signature
            && !signatures().contains(&signature.it.as_str())
        {
            let known = signatures();
            let hint = closest(&signature.it, known.iter().copied()).map_or_else(
                || format!("these can: {}", known.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            let shown: String = signature.it.chars().take(80).collect();
            problems.add(
                signature.place,
                format!("`{shown}` cannot be simulated; {hint}"),
            );
        }
        let outbreak = Outbreak {
            at: at.unwrap_or_default(),
            over: fields.or_default("over", problems),
            whom: whom(&mut fields, problems),
            is_false: fields.or_default("falseAlarm", problems),
            step: span(&mut fields, "step", &STEPS, problems),
            succeed: fields.optional("succeed", problems),
            signature: signature
                .as_ref()
                .map_or_else(String::new, |it| it.it.clone()),
        };
        fields.finish(problems);
        at.and(signature).map(|_| outbreak)
    }
}

impl FromNode for Runs {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "runs", problems)?;
        let usual = Runs::default();
        let step = span(&mut fields, "step", &STEPS, problems);
        let soak = span(&mut fields, "soak", &SOAKS, problems);
        let succeed = fields.optional("succeed", problems);
        fields.finish(problems);
        Some(Runs {
            step: step.unwrap_or(usual.step),
            soak: soak.unwrap_or(usual.soak),
            succeed: succeed.unwrap_or(usual.succeed),
        })
    }
}

impl FromNode for People {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "people", problems)?;
        let people = People {
            approve: span(&mut fields, "approve", &TIMES, problems)
                .unwrap_or(People::default().approve),
            wrong: fields.or_default("wrong", problems),
            never: fields.or_default("never", problems),
            twice: fields.or_default("twice", problems),
        };
        fields.finish(problems);
        Some(people)
    }
}

impl FromNode for Fault {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a fault", problems)?;
        let at = fields.required("at", problems);
        let lasts: Option<Placed<Duration>> = fields.optional("lasts", problems);
        let word: Option<Placed<String>> = fields.required("what", problems);
        let whom = whom(&mut fields, problems);
        let limits: Option<Caps> = fields.optional("limits", problems);
        let what = word.and_then(|word| trouble(&word, limits, problems));
        fields.finish(problems);
        if let Some(what) = &what {
            let (word, place) = (what.word(), node.place);
            match (&lasts, what.lasts()) {
                (None, true) => problems.add(place, format!("{word} needs `lasts`, like 5m")),
                (Some(lasts), true) => {
                    within(lasts, "lasts", &TIMES, problems);
                }
                (Some(lasts), false) => {
                    let why = format!("{word} happens at one moment; it takes no `lasts`");
                    problems.add(lasts.place, why);
                }
                _ => {}
            }
            if !what.is_about_nodes() && whom != Whom::default() {
                let why = format!(
                    "{word} is about everybody; it takes no `count`, `share`, `zone` or `pool`"
                );
                problems.add(place, why);
            }
        }
        Some(Fault {
            at: at?,
            lasts: lasts.map(|it| it.it).unwrap_or_default(),
            what: what?,
            whom,
        })
    }
}

fn trouble(
    word: &Placed<String>,
    limits: Option<Caps>,
    problems: &mut Problems,
) -> Option<Trouble> {
    let (word, place) = (word.it.as_str(), word.place);
    let plain = Trouble::WORDS.iter().find(|(known, _)| *known == word);
    match (plain, limits) {
        (None, Some(caps)) if word == "set-limits" => return Some(Trouble::Limits(caps.caps)),
        (None, None) if word == "set-limits" => {
            problems.add(place, "set-limits needs `limits`, the whole ConfigMap");
        }
        (Some((_, trouble)), None) => return Some(trouble.clone()),
        (Some(_), Some(caps)) => problems.add(caps.place, format!("{word} takes no `limits`")),
        (None, _) => {
            let known = Trouble::WORDS.iter().map(|(word, _)| *word);
            let known: Vec<&str> = std::iter::once("set-limits").chain(known).collect();
            let hint = closest(word, known.iter().copied()).map_or_else(
                || format!("known are {}", known.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            let shown: String = word.chars().take(80).collect();
            problems.add(place, format!("`{shown}` is no fault; {hint}"));
        }
    }
    None
}

impl FromNode for Chaos {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "chaos", problems)?;
        let faults: Option<Placed<u32>> = fields.optional("faults", problems);
        if let Some(faults) = faults.as_ref().filter(|faults| faults.it > MAX_DRAWN) {
            let what = format!("`faults` must be from 0 to {MAX_DRAWN}");
            problems.add(faults.place, what);
        }
        let chaos = Chaos {
            requests_lost: fields.or_default("requestsLost", problems),
            answers_lost: fields.or_default("answersLost", problems),
            refusals: fields.or_default("refusals", problems),
            slow: fields.or_default("slow", problems),
            crashes_after_write: fields.or_default("crashesAfterWrite", problems),
            faults: faults.map_or(0, |it| it.it),
        };
        fields.finish(problems);
        Some(chaos)
    }
}
