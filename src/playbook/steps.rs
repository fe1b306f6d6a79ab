//! The list of steps of a document.

use super::args::Args;
use super::document::{Checks, MAX_STEPS, StepSpec, bounded, check_condition};
use crate::document::{FromNode, Key, Node, Problems, Tree, closest};
use crate::policy::Disruption;
use std::sync::Arc;
use std::time::Duration;

/// The longest time of one step: longer than any package upgrade seen, shorter than a maintenance window.
const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

/// Reads `steps`; `declared` is the class that the playbook names, if that could be read.
pub(super) fn read(
    node: &Node,
    declared: Option<Disruption>,
    checks: &Checks<'_>,
    problems: &mut Problems,
) -> Option<Vec<StepSpec>> {
    let Tree::List(list) = &node.tree else {
        problems.add(
            node.place,
            format!("`steps` must be a list, not {}", node.tree.form()),
        );
        return None;
    };
    if list.is_empty() || list.len() > MAX_STEPS {
        problems.add(
            node.place,
            format!("`steps` holds 1 to {MAX_STEPS} steps, not {}", list.len()),
        );
        return None;
    }
    let steps: Vec<Option<StepSpec>> = list
        .iter()
        .map(|step| read_step(step, declared, checks, problems))
        .collect();
    let steps: Option<Vec<StepSpec>> = steps.into_iter().collect();
    if let Some(steps) = &steps
        && !steps.iter().any(|step| step.summary.changes)
    {
        problems.add(
            node.place,
            "no step changes anything; add the step that mends",
        );
    }
    steps
}

fn read_step(
    node: &Node,
    declared: Option<Disruption>,
    checks: &Checks<'_>,
    problems: &mut Problems,
) -> Option<StepSpec> {
    let (kind, body) = kind_and_body(node, problems)?;
    let known = checks.kinds.known();
    if !known.contains(&kind.name.as_str()) {
        let hint = match closest(&kind.name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known kinds: {}", known.join(", ")),
        };
        problems.add(kind.place, format!("no step kind `{}`; {hint}", kind.name));
        return None;
    }
    let parts = read_body(body, checks, problems)?;
    let summary = match checks.kinds.check(&kind.name, &parts.args) {
        Ok(summary) => summary,
        Err(error) => {
            for problem in error.problems {
                let arg = problem.arg.and_then(|name| parts.args.get(&name));
                problems.add(arg.map_or(body.place, |arg| arg.place), problem.message);
            }
            return None;
        }
    };
    for (name, condition) in &summary.conditions {
        if let Err(message) = (checks.condition)(condition) {
            problems.add(
                parts.args.get(name).map_or(body.place, |arg| arg.place),
                message,
            );
        }
    }
    if let Some(declared) = declared
        && summary.disruption > declared
    {
        problems.add(
            kind.place,
            format!(
                "{} is of class {}, more than the playbook's `disruption: {declared}`; raise that",
                kind.name, summary.disruption
            ),
        );
    }
    Some(StepSpec {
        kind: kind.name.as_str().into(),
        args: parts.args,
        condition: parts.condition,
        timeout: parts.timeout,
        summary,
        place: kind.place,
    })
}

/// A step is a mapping with one key, its kind.
fn kind_and_body<'a>(node: &'a Node, problems: &mut Problems) -> Option<(&'a Key, &'a Node)> {
    match &node.tree {
        Tree::Map(entries) => match entries.as_slice() {
            [(key, body)] => Some((key, body)),
            _ => {
                problems.add(node.place, format!("a step is one kind with its arguments, and this names {}; begin each step with `- `", entries.len()));
                None
            }
        },
        other => {
            problems.add(
                node.place,
                format!(
                    "a step is written `- kind: {{ arguments }}`, not {}",
                    other.form()
                ),
            );
            None
        }
    }
}

struct Body {
    args: Args,
    condition: Option<Arc<str>>,
    timeout: Option<Duration>,
}

/// The arguments of a step, with the two that every kind has (`if`, `timeout`) set apart.
fn read_body(node: &Node, checks: &Checks<'_>, problems: &mut Problems) -> Option<Body> {
    let mut body = Body {
        args: Args::default(),
        condition: None,
        timeout: None,
    };
    let entries = match &node.tree {
        Tree::Null => return Some(body),
        Tree::Map(entries) => entries,
        other => {
            problems.add(
                node.place,
                format!(
                    "the arguments of a step are a mapping, not {}",
                    other.form()
                ),
            );
            return None;
        }
    };
    for (key, value) in entries {
        match key.name.as_str() {
            "if" => body.condition = check_condition(value, checks, problems),
            "timeout" => {
                body.timeout = Duration::from_node(value, problems).and_then(|span| {
                    bounded(span, value.place, MAX_TIMEOUT, "`timeout`", problems)
                });
            }
            name => body.args.push(name, value, problems),
        }
    }
    Some(body)
}
