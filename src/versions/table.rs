//! Tables of faulty versions: the documents under `remediations/versions/`.

use super::dpkg::compare_dpkg;
use super::rpm::compare_rpm;
use crate::document::{Fields, FromNode, Node, Problems, items, parse};
use std::cmp::Ordering;

/// The most steps that one line may have. The longest that we ship has three.
pub const MAX_STEPS: usize = 64;

/// How versions of a distribution are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionScheme {
    /// As dpkg does it.
    Dpkg,
    /// As rpm does it.
    Rpm,
}

impl VersionScheme {
    /// The order of two versions.
    pub fn compare(self, a: &str, b: &str) -> Ordering {
        match self {
            VersionScheme::Dpkg => compare_dpkg(a, b),
            VersionScheme::Rpm => compare_rpm(a, b),
        }
    }
}

/// What is known about the versions from one step to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The fault is in them.
    Affected {
        /// The version to upgrade to, if there is one.
        fixed_in: Option<String>,
    },
    /// The fault is not in them.
    Fixed,
    /// Nobody knows.
    Unknown,
}

/// From this version on, up to the next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The first version; none in the first step: from the oldest on.
    pub from: Option<String>,
    /// What is known about them.
    pub standing: Standing,
    /// Where that is known from, for people.
    pub because: String,
}

/// What a table knows about one distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionLine {
    /// `ID` of os-release, one of these; empty for all that no line before this one names.
    pub os: Vec<String>,
    /// `VERSION_ID`: equal, or it begins with this and a dot.
    pub version: Option<String>,
    /// The order of versions. None where the line is about all distributions: upstream versions are compared.
    pub scheme: Option<VersionScheme>,
    /// What is known, oldest first. The first step begins at the oldest version, so every version has its step.
    pub steps: Vec<Step>,
}

/// A fault and the versions that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionTable {
    /// Its name in kebab-case.
    pub id: String,
    /// The fault in one sentence.
    pub title: String,
    /// The package it is in.
    pub package: String,
    /// Where the facts are from.
    pub references: Vec<String>,
    /// By distribution. The first that fits counts.
    pub lines: Vec<VersionLine>,
}

/// The tables that are part of this build.
const EMBEDDED: &[(&str, &str)] = &[
    (
        "systemd-cookie-overrun.yaml",
        include_str!("../../remediations/versions/systemd-cookie-overrun.yaml"),
    ),
    (
        "systemd-write-queue-overflow.yaml",
        include_str!("../../remediations/versions/systemd-write-queue-overflow.yaml"),
    ),
];

/// The tables that are part of this build, in the order of their names.
///
/// # Errors
/// The first table with problems; a test keeps the shipped ones right.
pub fn embedded_tables() -> Result<Vec<VersionTable>, Problems> {
    let read = |(origin, text): &(&str, &str)| parse_table(origin, text);
    EMBEDDED.iter().map(read).collect()
}

/// Reads a table.
///
/// # Errors
/// Every problem of the document at once, each with its line and column.
pub fn parse_table(origin: &str, text: &str) -> Result<VersionTable, Problems> {
    let node = parse(origin, text)?;
    let mut problems = Problems::of(origin);
    let table = VersionTable::from_node(&node, &mut problems);
    problems.into_result(table)
}

impl FromNode for VersionTable {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a version table", problems)?;
        let id = fields.required::<String>("id", problems);
        if let Some(id) = &id
            && !is_kebab(id)
        {
            let message = format!("`{id}` is no id; write it like systemd-cookie-overrun");
            problems.add(node.get("id").map_or(node.place, |n| n.place), message);
        }
        let title = fields.required("title", problems);
        let package = fields.required("package", problems);
        let references: Option<Vec<String>> = fields.required("references", problems);
        if references.as_ref().is_some_and(Vec::is_empty) {
            problems.add(node.place, "a version table needs at least one reference");
        }
        let lines = match fields.node("lines") {
            Some(list) => items(list, "`lines`", problems),
            None => {
                problems.add(fields.place(), "a version table needs `lines`");
                None
            }
        };
        fields.finish(problems);
        Some(Self {
            id: id?,
            title: title?,
            package: package?,
            references: references?,
            lines: lines?,
        })
    }
}

fn is_kebab(id: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    !id.is_empty()
        && id
            .split('-')
            .all(|word| !word.is_empty() && word.chars().all(plain))
}

impl FromNode for VersionLine {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a line", problems)?;
        let os: Vec<String> = fields.or_default("os", problems);
        let version: Option<String> = fields.optional("version", problems);
        let scheme: Option<VersionScheme> = fields.optional("scheme", problems);
        if os.is_empty() && (version.is_some() || scheme.is_some()) {
            let message = "a line without `os` is about all distributions, so `version` and `scheme` mean nothing in \
                           it; remove them or add `os`";
            problems.add(node.place, message);
        }
        if !os.is_empty() && scheme.is_none() && node.get("scheme").is_none() {
            problems.add(node.place, "a line with `os` needs `scheme`: dpkg or rpm");
        }
        let steps: Option<Vec<Step>> = match fields.node("steps") {
            Some(list) => items(list, "`steps`", problems),
            None => {
                problems.add(node.place, "a line needs `steps`");
                None
            }
        };
        fields.finish(problems);
        let line = Self {
            os,
            version,
            scheme,
            steps: steps?,
        };
        line.check_steps(node, problems);
        Some(line)
    }
}

impl VersionLine {
    fn check_steps(&self, node: &Node, problems: &mut Problems) {
        let place = node.get("steps").map_or(node.place, |n| n.place);
        if self.steps.is_empty() || self.steps.len() > MAX_STEPS {
            problems.add(place, format!("a line has 1 to {MAX_STEPS} steps"));
        }
        if self.steps.first().is_some_and(|first| first.from.is_some()) {
            let message =
                "the first step must begin `from: any`, so that every version has its step";
            problems.add(place, message);
        }
        let scheme = self.scheme.unwrap_or(VersionScheme::Rpm);
        for (before, step) in self.steps.iter().zip(self.steps.iter().skip(1)) {
            let Some(from) = &step.from else {
                problems.add(place, "only the first step may begin `from: any`");
                continue;
            };
            let rises = before
                .from
                .as_ref()
                .is_none_or(|earlier| scheme.compare(earlier, from).is_lt());
            if !rises {
                let earlier = before.from.as_deref().unwrap_or_default();
                problems.add(
                    place,
                    format!("step `{from}` is not above `{earlier}`; put the steps in the order of versions"),
                );
            }
        }
    }
}

impl FromNode for VersionScheme {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        match String::from_node(node, problems)?.as_str() {
            "dpkg" => Some(VersionScheme::Dpkg),
            "rpm" => Some(VersionScheme::Rpm),
            other => {
                let message = format!("`{other}` is no order of versions; write dpkg or rpm");
                problems.add(node.place, message);
                None
            }
        }
    }
}

impl FromNode for Step {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a step", problems)?;
        let from: Option<String> = fields.required("from", problems);
        let word: Option<String> = fields.required("is", problems);
        let fixed_in: Option<String> = fields.optional("fixedIn", problems);
        let because = fields.required("because", problems);
        fields.finish(problems);
        if let Some(from) = &from
            && from != "any"
            && !from.starts_with(|c: char| c.is_ascii_digit())
        {
            let message = format!("`{from}` is no version; it begins with a digit, or is `any`");
            problems.add(node.get("from").map_or(node.place, |n| n.place), message);
        }
        let place = node.get("is").map_or(node.place, |n| n.place);
        let standing = match (word?.as_str(), fixed_in) {
            ("affected", fixed_in) => Standing::Affected { fixed_in },
            ("fixed", None) => Standing::Fixed,
            ("unknown", None) => Standing::Unknown,
            ("fixed" | "unknown", Some(_)) => {
                problems.add(place, "`fixedIn` belongs to a step that is `affected` only");
                return None;
            }
            (other, _) => {
                let message = format!("a step is affected, fixed or unknown, not `{other}`");
                problems.add(place, message);
                return None;
            }
        };
        Some(
            Self {
                from: from.filter(|text| text != "any"),
                standing,
                because: because?,
            }
            .with_known_start(node),
        )
    }
}

impl Step {
    /// A `from` that is missing was reported above; it must not look like `any`, which would hide the next problem.
    fn with_known_start(mut self, node: &Node) -> Self {
        if node.get("from").is_none() {
            self.from = Some(String::new());
        }
        self
    }
}

#[cfg(test)]
mod tests;
