//! What a run's journal may say, and what the machine asks for next.

use crate::policy::{CaseId, PlaybookRef};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The longest receipt. Prior states are a few hundred bytes; more is a defect of the step.
pub const MAX_RECEIPT_BYTES: usize = 16 * 1024;
/// The longest message of a fault. A package manager's last lines fit.
pub const MAX_FAULT_BYTES: usize = 2 * 1024;

/// A step's number in its plan, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepIx(pub u16);

impl StepIx {
    /// As an index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for StepIx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}", self.0)
    }
}

/// One boot of the machine: `/proc/sys/kernel/random/boot_id`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(Arc<str>);

impl BootId {
    /// The boot id as the kernel writes it.
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text.trim()))
    }

    /// As the kernel writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a step needs to know to be undone: prior state, written to the journal before the step is applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Receipt(pub serde_json::Value);

/// What went wrong with a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// A short stable word: metric label.
    pub kind: String,
    /// What happened and what to do, for people.
    pub message: String,
}

impl Fault {
    /// A fault, its message cut to [`MAX_FAULT_BYTES`].
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        let mut message: String = message.into();
        if message.len() > MAX_FAULT_BYTES {
            let end = (0..=MAX_FAULT_BYTES)
                .rev()
                .find(|at| message.is_char_boundary(*at))
                .unwrap_or(0);
            message.truncate(end);
        }
        Self {
            kind: kind.into(),
            message,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outcome {
    /// Every step was done or not needed, and the verification held for the whole soak.
    Mended,
    /// It ended before any step began.
    Untouched {
        /// Why.
        why: String,
    },
    /// It failed; what can be undone was undone. The playbook's escalation, if it has one, is proposed next.
    Failed {
        /// What went wrong.
        fault: Fault,
    },
    /// It failed and nothing may go on by itself: the playbook says so, or undoing is impossible or failed.
    NeedsHuman {
        /// What went wrong.
        fault: Fault,
    },
    /// It was stopped at a boundary after some steps were done; they stay done.
    Stopped {
        /// Who or what stopped it.
        why: String,
    },
}

impl Outcome {
    /// A short stable word: metric label and JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Outcome::Mended => "mended",
            Outcome::Untouched { .. } => "untouched",
            Outcome::Failed { .. } => "failed",
            Outcome::NeedsHuman { .. } => "needs-human",
            Outcome::Stopped { .. } => "stopped",
        }
    }
}

/// What is needed to find the plan again after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// The case, by number.
    pub case: u64,
    /// The signature that opened it.
    pub signature: String,
    /// What it is about; empty for the node.
    pub subject: String,
    /// The playbook's id.
    pub playbook: String,
    /// Its version.
    pub version: String,
    /// Its digest.
    pub digest: String,
    /// The digest of the plan: playbook, subject and concrete steps.
    pub plan: String,
    /// What was read when the run began and must be the same after a restart: the plan's values by signal, and
    /// [`FAILED_UNITS_BEFORE`].
    pub values: BTreeMap<String, String>,
}

/// The name in [`Opening::values`] of how many units had failed before the run: `new_failed_units()` counts from there.
pub const FAILED_UNITS_BEFORE: &str = "failed-units-before";

impl Opening {
    /// The case.
    pub fn case(&self) -> CaseId {
        CaseId(self.case)
    }

    /// Which playbook, exactly.
    pub fn reference(&self) -> PlaybookRef {
        PlaybookRef {
            id: Arc::from(self.playbook.as_str()),
            version: Arc::from(self.version.as_str()),
            digest: Arc::from(self.digest.as_str()),
        }
    }
}

/// One entry of a run's journal: an intent, an outcome, or a mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Entry {
    /// The run begins, with this plan, in this boot.
    Opened {
        /// What is needed to find the plan again.
        opening: Opening,
        /// The boot.
        boot: BootId,
    },
    /// The process started again and found the run open, in this boot.
    Resumed {
        /// The boot.
        boot: BootId,
    },
    /// The process ends on request and leaves the run open, at a boundary.
    Paused {
        /// Why.
        why: String,
    },
    /// A step is not needed.
    Skipped {
        /// The step.
        step: StepIx,
        /// Why not.
        why: String,
    },
    /// Intent: the step is about to be applied. Durable before its effect (I8).
    Began {
        /// The step.
        step: StepIx,
        /// What undo needs.
        receipt: Receipt,
    },
    /// The step was not applied after all: the slot or the condition did not hold any more. Known, not guessed.
    Withheld {
        /// The step.
        step: StepIx,
        /// Why not.
        why: String,
    },
    /// The step was applied.
    Applied {
        /// The step.
        step: StepIx,
    },
    /// After a restart: the step that had begun left no trace, and may be begun again.
    NotApplied {
        /// The step.
        step: StepIx,
    },
    /// The step's effect was seen.
    Verified {
        /// The step.
        step: StepIx,
    },
    /// The step failed, or its effect was not seen.
    Failed {
        /// The step.
        step: StepIx,
        /// What went wrong.
        fault: Fault,
    },
    /// The verification held for the whole soak.
    Soaked,
    /// The verification did not come true or did not hold.
    SoakFailed {
        /// What was seen.
        fault: Fault,
    },
    /// Intent: the step is about to be undone.
    UndoBegan {
        /// The step.
        step: StepIx,
    },
    /// The step was undone.
    Undone {
        /// The step.
        step: StepIx,
    },
    /// The step could not be undone.
    UndoFailed {
        /// The step.
        step: StepIx,
        /// What went wrong.
        fault: Fault,
    },
    /// The run ended. Final.
    Closed {
        /// How.
        result: Outcome,
    },
}

impl Entry {
    /// A short stable word: the audit log's `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Entry::Opened { .. } => "run-opened",
            Entry::Resumed { .. } => "run-resumed",
            Entry::Paused { .. } => "run-paused",
            Entry::Skipped { .. } => "step-skipped",
            Entry::Began { .. } => "step-began",
            Entry::Withheld { .. } => "step-withheld",
            Entry::Applied { .. } => "step-applied",
            Entry::NotApplied { .. } => "step-not-applied",
            Entry::Verified { .. } => "step-verified",
            Entry::Failed { .. } => "step-failed",
            Entry::Soaked => "run-soaked",
            Entry::SoakFailed { .. } => "run-soak-failed",
            Entry::UndoBegan { .. } => "undo-began",
            Entry::Undone { .. } => "undo-done",
            Entry::UndoFailed { .. } => "undo-failed",
            Entry::Closed { .. } => "run-closed",
        }
    }

    /// The step it is about, if it is about one.
    pub fn step(&self) -> Option<StepIx> {
        match self {
            Entry::Skipped { step, .. }
            | Entry::Began { step, .. }
            | Entry::Withheld { step, .. }
            | Entry::Applied { step }
            | Entry::NotApplied { step }
            | Entry::Verified { step }
            | Entry::Failed { step, .. }
            | Entry::UndoBegan { step }
            | Entry::Undone { step }
            | Entry::UndoFailed { step, .. } => Some(*step),
            Entry::Opened { .. }
            | Entry::Resumed { .. }
            | Entry::Paused { .. }
            | Entry::Soaked
            | Entry::SoakFailed { .. }
            | Entry::Closed { .. } => None,
        }
    }
}

/// What the runner has to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Begin and apply this step, after everything that must be asked before it.
    Apply(StepIx),
    /// Look whether this step's effect is there. `applied` is false where only its intent is known: the process died.
    Verify {
        /// The step.
        step: StepIx,
        /// Whether the step is known to have been applied.
        applied: bool,
    },
    /// Wait for the machine to go down: only another boot proves this step.
    AwaitBoot(StepIx),
    /// Watch the playbook's condition for its soak.
    Soak,
    /// Undo this step from its receipt.
    Undo(StepIx, Receipt),
    /// End the run like this.
    Close(Outcome),
    /// Nothing: the run has ended.
    Ended,
}
