//! Reading a signature's document, with all its problems at once.

use super::document::{Condition, Example, Given, LogRule, Places, Severity, Signature};
use super::expression::Expression;
use super::hold::Hold;
use super::template::Template;
use crate::document::{Fields, FromNode, Node, Problems, Tree, parse_span};
use crate::signal::{LogSource, Value};
use regex::RegexBuilder;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Regular expressions of rules stay small: ours are below 200 bytes, and their automata below 256 KiB.
const MAX_PATTERN_BYTES: usize = 2_000;
const MAX_AUTOMATON_BYTES: usize = 1 << 20;

/// The signature that a document holds.
pub(super) fn read_signature(node: &Node, problems: &mut Problems) -> Option<Signature> {
    let mut fields = Fields::of(node, "a signature", problems)?;
    let id = fields.required::<KebabCase>("id", problems);
    let owner: Arc<str> = id
        .as_ref()
        .map_or_else(|| Arc::from(""), |id| Arc::from(id.0.as_str()));
    let title = fields.required("title", problems);
    let severity = fields.required("severity", problems);
    let subsystem = fields.required("subsystem", problems);
    let explain = fields.required("explain", problems);
    let logs = read_logs(&mut fields, &owner, problems);
    let when = read_when(&mut fields, problems);
    let each = fields.optional("each", problems);
    let hold = fields.optional("for", problems).unwrap_or(Hold::Checks(1));
    let clear = fields
        .optional("clearFor", problems)
        .unwrap_or(Hold::Checks(2));
    let evidence = fields.or_default("evidence", problems);
    let hides = fields.or_default("hides", problems);
    let condition = fields.optional("condition", problems);
    let suggest = fields.required("suggest", problems);
    let mend = fields.optional("mend", problems);
    let example = fields.or_default("example", problems);
    let false_positives = fields.or_default("falsePositives", problems);
    let references = fields.or_default("references", problems);
    let cases = fields.required::<Vec<Example>>("cases", problems);
    if cases.as_ref().is_some_and(Vec::is_empty) {
        problems.add(
            fields.place(),
            "a signature needs at least one test case under `cases`",
        );
    }
    let places = places_of(&mut fields);
    fields.finish(problems);
    Some(Signature {
        id: Arc::from(id?.0.as_str()),
        title: title?,
        severity: severity?,
        subsystem: subsystem?,
        explain: explain?,
        when: when?,
        each,
        logs: logs?,
        hold,
        clear,
        evidence,
        hides,
        condition,
        suggest: suggest?,
        mend,
        example,
        false_positives,
        references,
        cases: cases?,
        places,
    })
}

fn places_of(fields: &mut Fields<'_>) -> Places {
    let whole = fields.place();
    let mut place = |name| fields.node(name).map(|node| node.place);
    Places {
        when: place("when").or_else(|| place("count")).unwrap_or(whole),
        each: place("each").unwrap_or(whole),
        evidence: place("evidence").unwrap_or(whole),
        cases: place("cases").unwrap_or(whole),
        mend: place("mend").unwrap_or(whole),
        hides: place("hides").unwrap_or(whole),
    }
}

/// `when:`, or `count: 3 in 10m` as the short form for a signature with one log pattern.
fn read_when(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Expression> {
    let place = fields.place();
    match (fields.node("when"), fields.node("count")) {
        (Some(when), None) => Expression::from_node(when, problems),
        (None, Some(count)) => {
            let text = String::from_node(count, problems)?;
            let parts = text.split_once(" in ").and_then(|(number, span)| {
                Some((
                    number.trim().parse::<u32>().ok().filter(|n| *n > 0)?,
                    parse_span(span).ok()?,
                ))
            });
            let Some((number, _)) = parts else {
                problems.add(
                    count.place,
                    format!("`{text}` is no count; write it like `3 in 10m`"),
                );
                return None;
            };
            let span = text.split_once(" in ").map_or("", |(_, span)| span.trim());
            Expression::compile(&format!("lines(\"log\", \"{span}\") >= {number}")).ok()
        }
        (Some(_), Some(count)) => {
            problems.add(
                count.place,
                "`count` and `when` exclude each other; use lines(\"log\", \"10m\") in `when`",
            );
            None
        }
        (None, None) => {
            problems.add(
                place,
                "a signature needs `when`, or `log` with `count: 3 in 10m`",
            );
            None
        }
    }
}

/// `log:` for one pattern (named `log`), `logs:` for several.
fn read_logs(
    fields: &mut Fields<'_>,
    owner: &Arc<str>,
    problems: &mut Problems,
) -> Option<Vec<LogRule>> {
    let mut rules = Vec::new();
    if let Some(node) = fields.node("log") {
        rules.push(read_log(node, "log", owner, problems)?);
    }
    if let Some(node) = fields.node("logs") {
        let Tree::Map(entries) = &node.tree else {
            problems.add(
                node.place,
                format!(
                    "`logs` must map names to patterns, not be {}",
                    node.tree.form()
                ),
            );
            return None;
        };
        for (key, node) in entries {
            rules.push(read_log(node, &key.name, owner, problems)?);
        }
    }
    Some(rules)
}

fn read_log(node: &Node, name: &str, owner: &Arc<str>, problems: &mut Problems) -> Option<LogRule> {
    let mut fields = Fields::of(node, "a log pattern", problems)?;
    let source = fields.required("source", problems);
    let identifier = fields.optional("identifier", problems);
    let pattern = fields.required::<Pattern>("pattern", problems);
    fields.finish(problems);
    Some(LogRule {
        owner: owner.clone(),
        name: name.to_owned(),
        source: source?,
        identifier,
        pattern: pattern?.0,
    })
}

struct KebabCase(String);

impl FromNode for KebabCase {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let text = String::from_node(node, problems)?;
        let fits = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        if text.len() <= 63 && text.split('-').all(fits) {
            return Some(KebabCase(text));
        }
        problems.add(
            node.place,
            format!(
                "`{text}` is no id; use lower-case words with `-` between them, at most 63 bytes"
            ),
        );
        None
    }
}

struct Pattern(String);

impl FromNode for Pattern {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let text = String::from_node(node, problems)?;
        if text.is_empty() || text.len() > MAX_PATTERN_BYTES {
            problems.add(
                node.place,
                format!(
                    "a pattern has 1 to {MAX_PATTERN_BYTES} bytes, this one {}",
                    text.len()
                ),
            );
            return None;
        }
        match RegexBuilder::new(&text)
            .size_limit(MAX_AUTOMATON_BYTES)
            .build()
        {
            Ok(_) => Some(Pattern(text)),
            Err(error) => {
                let line = error
                    .to_string()
                    .lines()
                    .last()
                    .unwrap_or("not a regular expression")
                    .to_owned();
                problems.add(
                    node.place,
                    format!(
                        "`{text}` is no pattern: {}",
                        line.trim_start_matches("error: ")
                    ),
                );
                None
            }
        }
    }
}

fn of_word<T: Copy>(node: &Node, words: &[(&str, T)], problems: &mut Problems) -> Option<T> {
    let text = String::from_node(node, problems)?;
    let found = words
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, value)| *value);
    if found.is_none() {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        problems.add(
            node.place,
            format!("`{text}` is not one of {}", known.join(", ")),
        );
    }
    found
}

impl FromNode for Severity {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        of_word(node, &Severity::WORDS, problems)
    }
}

impl FromNode for LogSource {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        of_word(
            node,
            &LogSource::ALL.map(|source| (source.as_str(), source)),
            problems,
        )
    }
}

impl FromNode for Hold {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let text = String::from_node(node, problems)?;
        let checks = text
            .strip_suffix(" checks")
            .or_else(|| text.strip_suffix(" check"));
        let hold = match checks {
            Some(number) => number
                .trim()
                .parse()
                .ok()
                .filter(|n| (1..=1_000).contains(n))
                .map(Hold::Checks),
            None => parse_span(&text).ok().map(Hold::Span),
        };
        if hold.is_none() {
            problems.add(
                node.place,
                format!("`{text}` is no hold; write it like `3 checks` or `5m`"),
            );
        }
        hold
    }
}

impl FromNode for Expression {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let text = String::from_node(node, problems)?;
        compiled(Expression::compile(&text), node, problems)
    }
}

impl FromNode for Template {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let text = String::from_node(node, problems)?;
        compiled(Template::compile(&text), node, problems)
    }
}

fn compiled<T>(result: Result<T, Vec<String>>, node: &Node, problems: &mut Problems) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(mistakes) => {
            mistakes
                .into_iter()
                .for_each(|mistake| problems.add(node.place, mistake));
            None
        }
    }
}

impl FromNode for Condition {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a condition", problems)?;
        let kind = fields.required::<PascalCase>("type", problems);
        let reason = fields.required::<PascalCase>("reason", problems);
        fields.finish(problems);
        Some(Condition {
            kind: kind?.0,
            reason: reason?.0,
        })
    }
}

struct PascalCase(String);

impl FromNode for PascalCase {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let text = String::from_node(node, problems)?;
        if text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.bytes().all(|b| b.is_ascii_alphanumeric())
        {
            return Some(PascalCase(text));
        }
        problems.add(
            node.place,
            format!("`{text}` is not PascalCase, as in `SystemdUnresponsive`"),
        );
        None
    }
}

impl FromNode for Example {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a test case", problems)?;
        let name = fields.required("name", problems);
        let given = fields
            .node("given")
            .map_or(Some(Vec::new()), |node| read_given(node, problems));
        let lines = fields
            .node("lines")
            .map_or(Some(BTreeMap::new()), |node| read_lines(node, problems));
        let verdicts = fields
            .node("verdicts")
            .map_or(Some(BTreeMap::new()), |node| read_verdicts(node, problems));
        let every = fields
            .optional("every", problems)
            .unwrap_or(Duration::from_secs(10));
        let subject = fields.or_default("subject", problems);
        let expect = fields.node("expect").and_then(|node| {
            of_word(
                node,
                &["present", "absent", "unknown"].map(|word| (word, word)),
                problems,
            )
        });
        if fields.node("expect").is_none() {
            problems.add(fields.place(), "a test case needs `expect`");
        }
        fields.finish(problems);
        Some(Example {
            name: name?,
            given: given?,
            lines: lines?,
            verdicts: verdicts?,
            every,
            subject,
            expect: expect?.to_owned(),
        })
    }
}

fn read_given(node: &Node, problems: &mut Problems) -> Option<Vec<Given>> {
    let Tree::Map(entries) = &node.tree else {
        problems.add(
            node.place,
            format!(
                "`given` must map signals to readings, not be {}",
                node.tree.form()
            ),
        );
        return None;
    };
    let mut given = Vec::new();
    for (key, node) in entries {
        match &node.tree {
            Tree::Map(subjects) => {
                for (subject, node) in subjects {
                    given.push(read_values(&key.name, &subject.name, node, problems)?);
                }
            }
            _ => given.push(read_values(&key.name, "", node, problems)?),
        }
    }
    Some(given)
}

fn read_values(key: &str, subject: &str, node: &Node, problems: &mut Problems) -> Option<Given> {
    let single = std::slice::from_ref(node);
    let list = if let Tree::List(list) = &node.tree {
        list.as_slice()
    } else {
        single
    };
    let values = list
        .iter()
        .map(|item| match &item.tree {
            Tree::Bool(value) => Some(Some(Value::Bool(*value))),
            Tree::Integer(value) => Some(Some(Value::Integer(*value))),
            Tree::Number(value) => Some(Some(Value::Number(*value))),
            Tree::Text(text) if text == "missing" => Some(None),
            Tree::Text(text) => Some(Some(Value::Text(text.as_str().into()))),
            other => {
                problems.add(
                    item.place,
                    format!(
                        "a reading is yes, no, a number, text or `missing`, not {}",
                        other.form()
                    ),
                );
                None
            }
        })
        .collect::<Option<_>>()?;
    Some(Given {
        key: key.to_owned(),
        subject: subject.to_owned(),
        values,
    })
}

fn read_lines(node: &Node, problems: &mut Problems) -> Option<BTreeMap<String, Vec<String>>> {
    match &node.tree {
        Tree::List(_) => Some(BTreeMap::from([(
            "log".to_owned(),
            Vec::from_node(node, problems)?,
        )])),
        Tree::Map(entries) => entries
            .iter()
            .map(|(key, node)| Some((key.name.clone(), Vec::from_node(node, problems)?)))
            .collect(),
        other => {
            problems.add(
                node.place,
                format!(
                    "`lines` is a list, or maps log names to lists, not {}",
                    other.form()
                ),
            );
            None
        }
    }
}

fn read_verdicts(node: &Node, problems: &mut Problems) -> Option<BTreeMap<String, bool>> {
    let Tree::Map(entries) = &node.tree else {
        problems.add(
            node.place,
            format!(
                "`verdicts` must map signatures to present or absent, not be {}",
                node.tree.form()
            ),
        );
        return None;
    };
    entries
        .iter()
        .map(|(key, node)| {
            Some((
                key.name.clone(),
                of_word(node, &[("present", true), ("absent", false)], problems)?,
            ))
        })
        .collect()
}
