//! What the run machine has to know of a plan.

/// How a step can be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UndoWay {
    /// From its receipt.
    Receipt,
    /// It leaves nothing that could be undone: a restarted daemon stays restarted.
    NothingToUndo,
    /// Not by us: after a failure a person decides.
    Impossible,
}

/// One step, as far as the machine is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepShape {
    /// Doing it twice is the same as doing it once.
    pub repeatable: bool,
    /// It takes the machine down; only another boot id proves it.
    pub reboots: bool,
    /// How it can be undone.
    pub undo: UndoWay,
}

/// A plan, as far as the machine is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// The plan's digest.
    pub plan: String,
    /// Its steps.
    pub steps: Vec<StepShape>,
    /// Whether a failure goes to a person instead of to an escalation.
    pub needs_human_on_failure: bool,
}
