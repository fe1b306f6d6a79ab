//! YAML text as a tree whose every node knows its place.

use super::problem::{Place, Problems};
use serde::Deserialize;
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};
use std::fmt;

/// The largest document that is read. Ours are a few kilobytes; a megabyte is a mistake or an attack (safety.md, T10).
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// A value of a document and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where the value begins.
    pub place: Place,
    /// The value.
    pub tree: Tree,
}

/// The forms a value can have.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// Nothing: `null`, `~`, or an empty value.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction or beyond 64 bits.
    Number(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the text. Keys are unique: the reader refuses doubles.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Where the key stands.
    pub place: Place,
    /// The key.
    pub name: String,
}

impl Tree {
    /// What people call this form, for error messages.
    pub fn form(&self) -> &'static str {
        match self {
            Tree::Null => "nothing",
            Tree::Bool(_) => "true or false",
            Tree::Integer(_) | Tree::Number(_) => "a number",
            Tree::Text(_) => "text",
            Tree::List(_) => "a list",
            Tree::Map(_) => "a mapping",
        }
    }
}

impl Node {
    /// The value as JSON, for canonical forms and digests.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.tree {
            Tree::Null => Value::Null,
            Tree::Bool(value) => Value::Bool(*value),
            Tree::Integer(value) => Value::from(*value),
            Tree::Number(value) => Value::from(*value),
            Tree::Text(value) => Value::from(value.as_str()),
            Tree::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Tree::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, node)| (key.name.clone(), node.to_json()))
                    .collect(),
            ),
        }
    }

    /// The value under `name`, if this is a mapping that has it.
    pub fn get(&self, name: &str) -> Option<&Node> {
        match &self.tree {
            Tree::Map(entries) => entries
                .iter()
                .find(|(key, _)| key.name == name)
                .map(|(_, node)| node),
            _ => None,
        }
    }
}

/// Reads one YAML document.
///
/// # Errors
/// Text that is too large, is not YAML, holds more than one document, or says a key twice; with line and column.
pub fn parse(origin: &str, text: &str) -> Result<Node, Problems> {
    let mut problems = Problems::of(origin);
    if text.len() > MAX_DOCUMENT_BYTES {
        problems.add(
            Place::default(),
            format!("{} bytes are more than the {MAX_DOCUMENT_BYTES} that a document may have; split it", text.len()),
        );
        return problems.into_result(None);
    }
    if let Some((place, character)) = control_character(text) {
        problems.add(
            place,
            format!(
                "control character U+{:04X} is not allowed; remove it",
                character as u32
            ),
        );
        return problems.into_result(None);
    }
    // The largest document that we ship, systemd-outdated-flapping.yaml, has 323 nodes and is seven deep; aliases that
    // multiply are stopped early. Reading recurses:
    // 63 levels took more than the 2 MiB that a thread has for its stack (unoptimised build).
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_events: 100_000, max_nodes: 50_000, max_depth: 24, max_aliases: 64 },
    };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(spanned) => Ok(spanned.into_node()),
        Err(error) => {
            let place = error.location().map(place_of).unwrap_or_default();
            let message = error.without_snippet().to_string();
            problems.add(place, first_line(&message));
            problems.into_result(None)
        }
    }
}

fn control_character(text: &str) -> Option<(Place, char)> {
    for (line, content) in (1..).zip(text.lines()) {
        for (column, character) in (1..).zip(content.chars()) {
            if character.is_control() && character != '\t' {
                return Some((Place { line, column }, character));
            }
        }
    }
    None
}

/// The library repeats the place in its sentence; ours stands in front of it already.
fn first_line(message: &str) -> String {
    let line = message
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("not readable as YAML");
    let line = line.strip_prefix("error: ").unwrap_or(line);
    let line = match line.rfind(" at line ") {
        Some(end) => line.get(..end).unwrap_or(line),
        None => line,
    };
    in_our_words(line)
}

/// What the library says to programmers, said to whoever writes the file.
fn in_our_words(line: &str) -> String {
    if let Some(rest) = line.strip_prefix("duplicate mapping key: ") {
        let key = rest.split_once(", set ").map_or(rest, |(key, _)| key);
        return format!("the key `{key}` is there twice; keep one of them");
    }
    if line.starts_with("multiple YAML documents") {
        return "a second document begins here; a file holds one, without `---` in between"
            .to_owned();
    }
    if line.starts_with("budget breached") {
        return "this is larger or nested deeper than any document needs to be".to_owned();
    }
    if line.starts_with("recursive references") {
        return "an alias here stands for something that it is part of; write it out".to_owned();
    }
    line.to_owned()
}

fn place_of(location: Location) -> Place {
    let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    Place {
        line: number(location.line()),
        column: number(location.column()),
    }
}

/// What the YAML library yields, before places are attached.
enum Raw {
    Null,
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

trait IntoNode {
    fn into_node(self) -> Node;
}

impl IntoNode for Spanned<Raw> {
    fn into_node(self) -> Node {
        let place = place_of(self.referenced);
        let tree = match self.value {
            Raw::Null => Tree::Null,
            Raw::Bool(value) => Tree::Bool(value),
            Raw::Integer(value) => Tree::Integer(value),
            Raw::Number(value) => Tree::Number(value),
            Raw::Text(value) => Tree::Text(value),
            Raw::List(items) => Tree::List(items.into_iter().map(IntoNode::into_node).collect()),
            Raw::Map(entries) => Tree::Map(
                entries
                    .into_iter()
                    .map(|(key, node)| {
                        (
                            Key {
                                place: place_of(key.referenced),
                                name: key.value,
                            },
                            node.into_node(),
                        )
                    })
                    .collect(),
            ),
        };
        Node { place, tree }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(i64::try_from(value).map_or(Raw::Number(value as f64), Raw::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        parse("f.yaml", text).expect_err("refused").to_string()
    }

    #[test]
    fn every_node_knows_its_place() {
        let node = parse("f.yaml", "a: 1\nb:\n  - x\n  - true\n").expect("parses");
        let b = node.get("b").expect("b");
        let Tree::List(items) = &b.tree else {
            panic!("list")
        };
        assert_eq!(items[1].place, Place { line: 4, column: 5 });
        assert_eq!(items[1].tree, Tree::Bool(true));
    }

    #[test]
    fn json_form_keeps_every_value() {
        let node = parse("f", "a: {b: [1, 1.5, no, ~, \"no\"]}").expect("parses");
        assert_eq!(
            node.to_json().to_string(),
            r#"{"a":{"b":[1,1.5,false,null,"no"]}}"#
        );
    }

    #[test]
    fn broken_text_is_refused_with_its_place() {
        for (text, place) in [
            ("a: [1\nb: 2", "f.yaml:2:"),
            ("a: 1\na: 2", "f.yaml:2:1"),
            ("a: \"x", "f.yaml:1:"),
            ("a: 1\n\tb: 2", "f.yaml:1:"),
            ("a: &x 1\nb: *y", "f.yaml:2:"),
            ("a: \u{1}", "f.yaml:1:4"),
            ("---\na: 1\n---\nb: 2", "f.yaml:"),
        ] {
            let message = problem(text);
            assert!(message.starts_with(place), "{text:?} gave {message}");
        }
    }

    #[test]
    fn broken_text_is_explained_to_its_writer_and_not_to_programmers() {
        let wide = "- a\n".repeat(60_000);
        for (text, told) in [
            (
                "a: 1\na: 2",
                "f.yaml:2:1: the key `a` is there twice; keep one of them",
            ),
            (
                "a: {b: 1, b: 2}",
                "f.yaml:1:11: the key `b` is there twice; keep one of them",
            ),
            (
                "a: 1\n---\nb: 2",
                "a second document begins here; a file holds one, without `---` in between",
            ),
            (
                &wide,
                "this is larger or nested deeper than any document needs to be",
            ),
            (
                "a: &x [*x]",
                "an alias here stands for something that it is part of; write it out",
            ),
        ] {
            let message = problem(text);
            assert!(
                message.trim_end().ends_with(told),
                "{told:?} is not how {message:?} ends"
            );
        }
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..12 {
            let previous = format!("*a{}", level - 1);
            text.push_str(&format!(
                "a{level}: &a{level} [{}]\n",
                vec![previous; 10].join(",")
            ));
        }
        problem(&text);
    }

    /// On a stack of half the size that a thread has: found by fuzzing, an overflow cannot be caught.
    #[test]
    fn a_deeply_nested_document_is_refused_before_the_stack_ends() {
        let deep = || {
            for unit in ["[", "- ", "{a: ", "? ", "a:\n "] {
                for depth in [25, 64, 1_000, 20_000] {
                    assert!(
                        parse("f.yaml", &unit.repeat(depth)).is_err(),
                        "{unit} {depth}"
                    );
                }
            }
            let inside = format!("{}{}", "[".repeat(20), "]".repeat(20));
            assert!(parse("f.yaml", &inside).is_ok());
        };
        let thread = std::thread::Builder::new().stack_size(1 << 20);
        let thread = thread.spawn(deep).expect("a thread");
        thread.join().expect("no panic");
    }

    #[test]
    fn a_huge_document_is_refused_before_it_is_parsed() {
        assert!(problem(&"a".repeat(MAX_DOCUMENT_BYTES + 1)).contains("bytes are more"));
    }
}
