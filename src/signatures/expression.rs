//! CEL expressions over signals: compiled once, every input known, and with a third answer.
//!
//! The questions in an expression are replaced by variables when it is loaded and looked up lazily when it runs. A
//! question without an answer ends the evaluation, and the whole expression is then unknown: CEL's short circuits decide
//! which questions are asked at all, never which unknowns may be ignored.

use super::depth::too_deep;
use super::question::{Question, seconds_of_call};
use crate::signal::{MissingReason, Value};
use cel::common::ast::{CallExpr, EntryExpr, Expr, LiteralValue};
use cel::common::types::CelString;
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::{Context, Env, IdedExpr, Program};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// The longest expression that is compiled. Ours are below 300 bytes.
const MAX_EXPRESSION_BYTES: usize = 4_096;

/// CEL's own functions, shared by all evaluations: building them costs more than a hundred evaluations.
static STANDARD: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// Answers questions.
pub trait Answers {
    /// The value, or why there is none.
    fn answer(&self, question: &Question) -> Result<Value, MissingReason>;
}

/// A compiled expression with its questions.
#[derive(Debug, Clone)]
pub struct Expression {
    text: String,
    tree: IdedExpr,
    questions: Vec<Question>,
    last: Arc<Mutex<Option<Evaluated>>>,
}

/// The last evaluation. The value follows from the answers that it looked at, and on a healthy node these stay the same
/// for days: then comparing them costs a hundredth of evaluating again.
#[derive(Debug)]
struct Evaluated {
    answers: Vec<Result<Value, MissingReason>>,
    looked_at: u64,
    value: Result<Value, MissingReason>,
}

impl Evaluated {
    fn is_of(&self, answers: &[Result<Value, MissingReason>]) -> bool {
        let mut pairs = self.answers.iter().zip(answers).enumerate();
        pairs.all(|(index, (old, new))| self.looked_at & bit(index) == 0 || old == new)
    }
}

/// The mark of a question. Questions beyond the 63rd share one: then any of them counts as looked at.
fn bit(index: usize) -> u64 {
    1 << index.min(63)
}

impl Expression {
    /// Compiles CEL text.
    ///
    /// # Errors
    /// One sentence per mistake: syntax, unknown function, or a question asked wrongly.
    pub fn compile(text: &str) -> Result<Self, Vec<String>> {
        if text.len() > MAX_EXPRESSION_BYTES {
            return Err(vec![format!(
                "the expression is longer than {MAX_EXPRESSION_BYTES} bytes; split the rule"
            )]);
        }
        if let Some(mistake) = too_deep(text) {
            return Err(vec![mistake]);
        }
        let program = Program::compile(text).map_err(|errors| {
            errors
                .errors
                .iter()
                .map(|e| format!("the expression is not CEL: {}", e.msg))
                .collect::<Vec<_>>()
        })?;
        let mut rewriter = Rewriter::default();
        let mut tree = program.expression().clone();
        rewriter.rewrite(&mut tree);
        if rewriter.mistakes.is_empty() {
            Ok(Self {
                text: text.trim().to_owned(),
                tree,
                questions: rewriter.questions,
                last: Arc::default(),
            })
        } else {
            rewriter.mistakes.dedup();
            Err(rewriter.mistakes)
        }
    }

    /// The text it was compiled from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Everything it may ask.
    pub fn questions(&self) -> &[Question] {
        &self.questions
    }

    /// If the whole expression is one question, that question.
    pub fn as_question(&self) -> Option<&Question> {
        match (&self.tree.expr, self.questions.as_slice()) {
            (Expr::Ident(_), [question]) => Some(question),
            _ => None,
        }
    }

    /// Its value.
    ///
    /// # Errors
    /// The reason of the first question without an answer, or [`MissingReason::Rule`] if the expression itself fails.
    pub fn value(&self, answers: &dyn Answers) -> Result<Value, MissingReason> {
        let asked = Asked::ask(&self.questions, answers);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last.as_ref()
            && last.is_of(&asked.answers)
        {
            return last.value.clone();
        }
        let value = self.evaluate(&asked);
        *last = Some(Evaluated {
            answers: asked.answers,
            looked_at: asked.looked_at.into_inner(),
            value: value.clone(),
        });
        value
    }

    fn evaluate(&self, asked: &Asked) -> Result<Value, MissingReason> {
        let mut context = Context::with_env(STANDARD.clone());
        context.set_variable_resolver(asked);
        let result = context.resolve(&self.tree);
        if let Some(reason) = asked.unanswered() {
            return Err(reason);
        }
        match result {
            Ok(cel::Value::Bool(value)) => Ok(Value::Bool(value)),
            Ok(cel::Value::Int(value)) => Ok(Value::Integer(value)),
            Ok(cel::Value::UInt(value)) => Ok(Value::Number(value as f64)),
            Ok(cel::Value::Float(value)) => Ok(Value::Number(value)),
            Ok(cel::Value::String(value)) => Ok(Value::Text(value.as_str().into())),
            Ok(other) => Err(rule(format!(
                "`{}` gives {:?}, which is no value",
                self.text,
                other.type_of()
            ))),
            Err(error) => Err(rule(format!(
                "`{}` cannot be evaluated: {error}",
                self.text
            ))),
        }
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// As [`Expression::value`]; a value that is not true or false is an error too.
    pub fn holds(&self, answers: &dyn Answers) -> Result<bool, MissingReason> {
        match self.value(answers)? {
            Value::Bool(value) => Ok(value),
            other => Err(rule(format!(
                "`{}` gives {other}, not true or false",
                self.text
            ))),
        }
    }
}

fn rule(text: String) -> MissingReason {
    MissingReason::Rule(Arc::from(text))
}

/// Replaces questions by variables `q0`, `q1`, ...
#[derive(Default)]
struct Rewriter {
    questions: Vec<Question>,
    mistakes: Vec<String>,
}

/// Functions and operators of CEL that a rule may use; the rest is refused so that a rule's cost stays bounded.
const ALLOWED: &[&str] = &[
    "size",
    "startsWith",
    "endsWith",
    "contains",
    "matches",
    "int",
    "double",
    "string",
];

impl Rewriter {
    fn rewrite(&mut self, node: &mut IdedExpr) {
        match &mut node.expr {
            Expr::Call(call) => {
                if let Some(replacement) = self.rewrite_call(call) {
                    node.expr = replacement;
                }
            }
            Expr::List(list) => list.elements.iter_mut().for_each(|item| self.rewrite(item)),
            Expr::Map(map) => {
                for entry in &mut map.entries {
                    if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                        self.rewrite(&mut entry.key);
                        self.rewrite(&mut entry.value);
                    }
                }
            }
            Expr::Ident(name) => {
                self.mistakes.push(format!(
                    "`{name}` is not known; a signal is asked as signal(\"{name}\")"
                ));
            }
            Expr::Select(_) => {
                self.mistakes.push(
                    "fields are not known here; a signal is asked as signal(\"name.of.it\")"
                        .to_owned(),
                );
            }
            Expr::Comprehension(_) | Expr::Struct(_) => {
                self.mistakes
                    .push("loops and messages are not allowed in a rule; use `each:`".to_owned());
            }
            Expr::Literal(_) | Expr::Unspecified => {}
        }
    }

    fn rewrite_call(&mut self, call: &mut CallExpr) -> Option<Expr> {
        match seconds_of_call(&call.func_name, &call.args) {
            Ok(Some(seconds)) => return Some(Expr::Literal(LiteralValue::Double(seconds.into()))),
            Ok(None) => {}
            Err(mistake) => {
                self.mistakes.push(mistake);
                return None;
            }
        }
        match Question::of_call(&call.func_name, &call.args) {
            Ok(Some(question)) => return Some(Expr::Ident(self.variable(question))),
            Ok(None) => {}
            Err(mistake) => {
                self.mistakes.push(mistake);
                return None;
            }
        }
        let is_operator = call.func_name.starts_with(['_', '!', '-', '@']);
        if !is_operator && !ALLOWED.contains(&call.func_name.as_str()) {
            let known = super::question::QUESTIONS.iter().map(|(name, _, _)| *name);
            let hint =
                crate::document::closest(&call.func_name, known.chain(ALLOWED.iter().copied()));
            self.mistakes.push(match hint {
                Some(near) => format!(
                    "there is no function `{}`; did you mean `{near}`?",
                    call.func_name
                ),
                None => format!(
                    "there is no function `{}`; see `nodemend signature lint --help`",
                    call.func_name
                ),
            });
        }
        call.target
            .iter_mut()
            .for_each(|target| self.rewrite(target));
        call.args
            .iter_mut()
            .for_each(|argument| self.rewrite(argument));
        None
    }

    fn variable(&mut self, question: Question) -> String {
        let index = self
            .questions
            .iter()
            .position(|known| *known == question)
            .unwrap_or_else(|| {
                self.questions.push(question);
                self.questions.len() - 1
            });
        format!("q{index}")
    }
}

/// The answers of one evaluation. They are looked up before it runs, because CEL wants its variables `Sync` and a
/// timeline is not worth a lock; what stays unanswered matters only if the evaluation gets there.
struct Asked {
    answers: Vec<Result<Value, MissingReason>>,
    looked_at: AtomicU64,
    unanswered: Mutex<Option<MissingReason>>,
}

impl Asked {
    fn ask(questions: &[Question], answers: &dyn Answers) -> Self {
        Self {
            answers: questions
                .iter()
                .map(|question| answers.answer(question))
                .collect(),
            looked_at: AtomicU64::new(0),
            unanswered: Mutex::new(None),
        }
    }

    fn unanswered(&self) -> Option<MissingReason> {
        self.unanswered
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }
}

impl VariableResolver for Asked {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let index: usize = variable.strip_prefix('q')?.parse().ok()?;
        self.looked_at.fetch_or(bit(index), Ordering::Relaxed);
        match self.answers.get(index)? {
            Ok(Value::Text(text)) => Some(CowVal::owned(CelString::from(&**text))),
            Ok(Value::Bool(value)) => cel::Value::Bool(*value).try_into().ok().map(CowVal::Owned),
            Ok(Value::Integer(value)) => cel::Value::Int(*value).try_into().ok().map(CowVal::Owned),
            Ok(Value::Number(value)) => {
                cel::Value::Float(*value).try_into().ok().map(CowVal::Owned)
            }
            Err(reason) => {
                let mut slot = self
                    .unanswered
                    .lock()
                    .unwrap_or_else(|poisoned| poisoned.into_inner());
                slot.get_or_insert_with(|| reason.clone());
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    struct Fixed(BTreeMap<&'static str, Value>);

    impl Answers for Fixed {
        fn answer(&self, question: &Question) -> Result<Value, MissingReason> {
            match question {
                Question::Signal(key) => self
                    .0
                    .get(key.key.as_str())
                    .cloned()
                    .ok_or(MissingReason::NotYet),
                _ => Ok(Value::Integer(3)),
            }
        }
    }

    fn answers() -> Fixed {
        Fixed(BTreeMap::from([
            ("yes", Value::Bool(true)),
            ("no", Value::Bool(false)),
            ("seven", Value::Integer(7)),
            ("half", Value::Number(0.5)),
            ("word", Value::Text("running".into())),
        ]))
    }

    fn holds(text: &str) -> Result<bool, MissingReason> {
        Expression::compile(text)
            .expect("compiles")
            .holds(&answers())
    }

    #[test]
    fn expressions_hold_as_written() {
        for (text, expected) in [
            ("signal(\"yes\") && !signal(\"no\")", true),
            ("signal(\"seven\") > 5 && signal(\"half\") < 0.6", true),
            ("signal(\"half\") < 1", true),
            ("signal(\"seven\") >= 7.0", true),
            ("signal(\"word\") == \"running\"", true),
            ("signal(\"word\") in [\"degraded\", \"running\"]", true),
            ("signal(\"word\").startsWith(\"run\")", true),
            ("count(\"no\", false) == 3", true),
            ("signal(\"half\") > seconds(\"5m\")", false),
            ("signal(\"half\") * 10.0 == 5.0", true),
        ] {
            assert_eq!(holds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_question_without_an_answer_makes_the_whole_unknown() {
        for text in [
            "signal(\"gone\")",
            "signal(\"gone\") || signal(\"yes\")",
            "!signal(\"gone\")",
            "signal(\"yes\") && signal(\"gone\")",
            "signal(\"gone\") == signal(\"gone\")",
            "signal(\"gone\") > 5 ? true : false",
        ] {
            assert_eq!(holds(text), Err(MissingReason::NotYet), "{text}");
        }
        assert_eq!(
            holds("signal(\"no\") && signal(\"gone\")"),
            Ok(false),
            "never asked"
        );
        assert_eq!(
            holds("signal(\"yes\") || signal(\"gone\")"),
            Ok(true),
            "never asked"
        );
    }

    #[test]
    fn an_expression_that_fails_is_unknown_and_never_true() {
        for text in [
            "signal(\"word\") > 5",
            "signal(\"seven\")",
            "signal(\"half\") * 2 == 1.0",
            "1 / 0 == 1",
        ] {
            assert!(matches!(holds(text), Err(MissingReason::Rule(_))), "{text}");
        }
    }

    #[test]
    fn mistakes_are_refused_with_what_would_be_right() {
        for (text, part) in [
            ("signal(", "not CEL"),
            ("signal(yes)", "signal(\"key\")"),
            ("sginal(\"yes\")", "did you mean `signal`"),
            ("systemd.bus.answers", "signal("),
            ("load > 5", "signal(\"load\")"),
            ("max(\"a\", \"soon\") > 1", "span of time"),
            ("[1,2].all(x, x > 0)", "loops"),
            ("count(\"a\")", "count(\"key\", value)"),
            ("seconds(5)", "seconds(\"5m\")"),
        ] {
            let mistakes = Expression::compile(text).expect_err(text).join("; ");
            assert!(mistakes.contains(part), "{text}: {mistakes}");
        }
    }
}
