//! Gates, their answers, and the proof that all of them said yes.

use super::facts::{Facts, OptIn};
use super::terms::Proposal;
use crate::signal::Wall;

/// What a gate says about a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// Nothing against it.
    Pass {
        /// What the gate saw, for people.
        why: String,
    },
    /// Not now.
    Hold {
        /// Why not.
        why: String,
        /// When it may change by itself, if that is known.
        until: Option<Wall>,
    },
    /// Not at all, until somebody changes something.
    Refuse {
        /// Why not, and what to do.
        why: String,
    },
}

impl Ruling {
    /// Whether it says yes.
    pub fn is_pass(&self) -> bool {
        matches!(self, Ruling::Pass { .. })
    }

    /// What it says, for people.
    pub fn why(&self) -> &str {
        match self {
            Ruling::Pass { why } | Ruling::Hold { why, .. } | Ruling::Refuse { why } => why,
        }
    }

    /// The word in tables and JSON: `pass`, `wait` or `refuse`.
    pub fn word(&self) -> &'static str {
        match self {
            Ruling::Pass { .. } => "pass",
            Ruling::Hold { .. } => "wait",
            Ruling::Refuse { .. } => "refuse",
        }
    }
}

/// One condition for acting. Pure: everything it may look at is in the proposal and the facts.
pub trait Gate: Send + Sync {
    /// Its word in tables, metrics and JSON.
    fn name(&self) -> &'static str;

    /// Its answer. Anything missing, malformed or newer than known is never a pass.
    fn check(&self, proposal: &Proposal, facts: &Facts) -> Ruling;
}

/// A gate's name with its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The gate.
    pub gate: &'static str,
    /// What it said.
    pub ruling: Ruling,
}

/// The proof that every gate was asked and passed. Only [`Gates::decide`] makes one, and it cannot be copied.
#[derive(Debug, PartialEq)]
pub struct Cleared {
    proposal: Proposal,
    opt_in: OptIn,
    answers: Vec<Answer>,
}

impl Cleared {
    /// What may be done.
    pub fn proposal(&self) -> &Proposal {
        &self.proposal
    }

    /// Who allowed it: the settings as read, with their version (safety.md, I12).
    pub fn opt_in(&self) -> &OptIn {
        &self.opt_in
    }

    /// All gates' answers, for the audit log.
    pub fn answers(&self) -> &[Answer] {
        &self.answers
    }
}

/// A proposal that may not be carried out now, with all the gates' answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Blocked {
    /// What was proposed.
    pub proposal: Proposal,
    /// All answers, in the order of the gates.
    pub answers: Vec<Answer>,
}

impl Blocked {
    /// The answers that are no pass, in the order of the gates.
    pub fn refusals(&self) -> impl Iterator<Item = &Answer> {
        self.answers
            .iter()
            .filter(|answer| !answer.ruling.is_pass())
    }
}

/// The full set of gates, built in one place.
pub struct Gates(Vec<Box<dyn Gate>>);

impl Gates {
    /// Every gate there is. There is no other way to make a set, so none can be forgotten.
    pub fn standard() -> Self {
        Self(super::gates::standard())
    }

    /// Asks every gate, also after a refusal, so that an operator sees all reasons at once.
    ///
    /// # Errors
    /// [`Blocked`] unless every gate passes.
    pub fn decide(&self, proposal: Proposal, facts: &Facts) -> Result<Cleared, Box<Blocked>> {
        let answers: Vec<Answer> = self
            .0
            .iter()
            .map(|gate| Answer {
                gate: gate.name(),
                ruling: gate.check(&proposal, facts),
            })
            .collect();
        // An empty set is never read as "everything passed" (safety.md, section 1).
        if !answers.is_empty() && answers.iter().all(|answer| answer.ruling.is_pass()) {
            Ok(Cleared {
                proposal,
                opt_in: facts.opt_in.clone(),
                answers,
            })
        } else {
            Err(Box::new(Blocked { proposal, answers }))
        }
    }
}
