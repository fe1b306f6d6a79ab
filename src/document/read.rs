//! Reading a tree of nodes into values while collecting every problem.

use super::duration::parse_span;
use super::node::{Node, Tree};
use super::problem::{Place, Problems};
use std::time::Duration;

/// A value that a node can be read as.
pub trait FromNode: Sized {
    /// The value, or `None` after noting at least one problem.
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self>;
}

/// The fields of a mapping: each is taken once, and [`Fields::finish`] refuses what nobody took.
pub struct Fields<'a> {
    what: &'static str,
    place: Place,
    entries: &'a [(super::node::Key, Node)],
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The fields of `node`, which the messages call `what`.
    pub fn of(node: &'a Node, what: &'static str, problems: &mut Problems) -> Option<Self> {
        match &node.tree {
            Tree::Map(entries) => Some(Self {
                what,
                place: node.place,
                entries,
                known: Vec::new(),
            }),
            other => {
                problems.add(
                    node.place,
                    format!("{what} must be a mapping, not {}", other.form()),
                );
                None
            }
        }
    }

    /// Where the mapping stands.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The node under `name`, if it is there and not null.
    pub fn node(&mut self, name: &'static str) -> Option<&'a Node> {
        self.known.push(name);
        self.entries
            .iter()
            .find(|(key, _)| key.name == name)
            .map(|(_, node)| node)
            .filter(|node| node.tree != Tree::Null)
    }

    /// The value under `name`; a missing one is a problem.
    pub fn required<T: FromNode>(
        &mut self,
        name: &'static str,
        problems: &mut Problems,
    ) -> Option<T> {
        match self.node(name) {
            Some(node) => T::from_node(node, problems),
            None => {
                problems.add(self.place, format!("{} needs `{name}`", self.what));
                None
            }
        }
    }

    /// The value under `name`, if it is there.
    pub fn optional<T: FromNode>(
        &mut self,
        name: &'static str,
        problems: &mut Problems,
    ) -> Option<T> {
        self.node(name)
            .and_then(|node| T::from_node(node, problems))
    }

    /// The value under `name`, or the default of its type.
    pub fn or_default<T: FromNode + Default>(
        &mut self,
        name: &'static str,
        problems: &mut Problems,
    ) -> T {
        self.optional(name, problems).unwrap_or_default()
    }

    /// Refuses every key that nobody asked for, and names the closest known one.
    pub fn finish(self, problems: &mut Problems) {
        for (key, _) in self.entries {
            if self.known.contains(&key.name.as_str()) {
                continue;
            }
            let hint = match closest(&key.name, self.known.iter().copied()) {
                Some(near) => format!("; did you mean `{near}`?"),
                None => format!("; known keys: {}", self.known.join(", ")),
            };
            problems.add(
                key.place,
                format!("{} has no key `{}`{hint}", self.what, key.name),
            );
        }
    }
}

/// The items of a list, each read by itself so that one bad item does not hide the next.
pub fn items<T: FromNode>(node: &Node, what: &str, problems: &mut Problems) -> Option<Vec<T>> {
    let Tree::List(list) = &node.tree else {
        problems.add(
            node.place,
            format!("{what} must be a list, not {}", node.tree.form()),
        );
        return None;
    };
    let read: Vec<Option<T>> = list
        .iter()
        .map(|item| T::from_node(item, problems))
        .collect();
    read.into_iter().collect()
}

/// The name among `known` that `wrong` was probably meant to be: at most two edits away.
pub fn closest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (edits(wrong, name), name))
        .filter(|(distance, name)| *distance <= 2 && *distance < name.chars().count())
        .min()
        .map(|(_, name)| name)
}

/// The Levenshtein distance, row by row.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut previous = i + 1;
        let mut next = Vec::with_capacity(row.len());
        next.push(previous);
        for (right, above) in b.iter().zip(row.iter().skip(1)) {
            let cost = usize::from(left != *right);
            previous = (diagonal + cost).min(above + 1).min(previous + 1);
            diagonal = *above;
            next.push(previous);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

fn wrong_form(node: &Node, wanted: &str, problems: &mut Problems) {
    problems.add(
        node.place,
        format!("expected {wanted}, found {}", node.tree.form()),
    );
}

impl FromNode for String {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        match &node.tree {
            Tree::Text(text) => Some(text.clone()),
            Tree::Bool(_) | Tree::Integer(_) | Tree::Number(_) => {
                let found = node.tree.form();
                let why = format!("expected text, found {found}; put it in quotes if it is a name");
                problems.add(node.place, why);
                None
            }
            _ => {
                wrong_form(node, "text", problems);
                None
            }
        }
    }
}

impl FromNode for bool {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        match node.tree {
            Tree::Bool(value) => Some(value),
            _ => {
                wrong_form(node, "true or false", problems);
                None
            }
        }
    }
}

impl FromNode for u32 {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        if let Tree::Integer(value) = node.tree
            && let Ok(value) = u32::try_from(value)
        {
            return Some(value);
        }
        wrong_form(node, "a whole number from 0 to 4294967295", problems);
        None
    }
}

impl FromNode for f64 {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        match node.tree {
            Tree::Integer(value) => Some(value as f64),
            Tree::Number(value) if value.is_finite() => Some(value),
            _ => {
                wrong_form(node, "a number", problems);
                None
            }
        }
    }
}

impl FromNode for Duration {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let Tree::Text(text) = &node.tree else {
            wrong_form(node, "a span of time like 30s, 5m or 7d", problems);
            return None;
        };
        match parse_span(text) {
            Ok(span) => Some(span),
            Err(message) => {
                problems.add(node.place, message);
                None
            }
        }
    }
}

impl<T: FromNode> FromNode for Vec<T> {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        items(node, "this", problems)
    }
}

#[cfg(test)]
mod tests {
    use super::super::node::parse;
    use super::*;

    #[test]
    fn every_problem_of_a_document_is_reported_at_once() {
        let node =
            parse("c.yaml", "nmae: x\ncount: many\nspan: 5\nlist: [1, a, b]\n").expect("parses");
        let mut problems = Problems::of("c.yaml");
        let mut fields = Fields::of(&node, "the thing", &mut problems).expect("mapping");
        fields.required::<String>("name", &mut problems);
        fields.required::<u32>("count", &mut problems);
        fields.required::<Duration>("span", &mut problems);
        fields.required::<Vec<u32>>("list", &mut problems);
        fields.finish(&mut problems);
        let text = problems
            .into_result::<()>(None)
            .expect_err("refused")
            .to_string();
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                "c.yaml:1:1: the thing has no key `nmae`; did you mean `name`?",
                "c.yaml:1:1: the thing needs `name`",
                "c.yaml:2:8: expected a whole number from 0 to 4294967295, found text",
                "c.yaml:3:7: expected a span of time like 30s, 5m or 7d, found a number",
                "c.yaml:4:11: expected a whole number from 0 to 4294967295, found text",
                "c.yaml:4:14: expected a whole number from 0 to 4294967295, found text",
            ]
        );
    }

    #[test]
    fn a_name_that_yaml_takes_for_something_else_is_told_to_be_quoted() {
        for (text, is_hinted) in [("7", true), ("1.5", true), ("no", true), ("[a]", false)] {
            let node = parse("c.yaml", text).expect("parses");
            let mut problems = Problems::of("c.yaml");
            assert_eq!(String::from_node(&node, &mut problems), None, "{text}");
            let told = &problems.list[0].message;
            assert_eq!(told.contains("in quotes"), is_hinted, "{text}: {told}");
        }
    }

    #[test]
    fn edit_distance_is_the_known_one() {
        for (a, b, distance) in [
            ("kitten", "sitting", 3),
            ("", "abc", 3),
            ("same", "same", 0),
            ("ab", "ba", 2),
        ] {
            assert_eq!(edits(a, b), distance, "{a} {b}");
        }
    }
}
