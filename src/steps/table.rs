//! The table of kinds.

use super::{Step, reexec_systemd, restart_unit, upgrade_package, wait_until, write_sysctl};
use crate::playbook::{ArgError, Args, StepKinds, StepSummary};

/// A step ready to run, and what it says of itself.
type Read = Result<(Box<dyn Step>, StepSummary), ArgError>;

/// One kind of step.
struct Kind {
    name: &'static str,
    read: fn(&Args) -> Read,
}

fn boxed<S: Step + 'static>(read: Result<(S, StepSummary), ArgError>) -> Read {
    read.map(|(step, summary)| {
        let step: Box<dyn Step> = Box::new(step);
        (step, summary)
    })
}

/// Every kind of this build.
const KINDS: &[Kind] = &[
    Kind {
        name: reexec_systemd::KIND,
        read: |args| boxed(reexec_systemd::read(args)),
    },
    Kind {
        name: restart_unit::KIND,
        read: |args| boxed(restart_unit::read(args)),
    },
    Kind {
        name: upgrade_package::KIND,
        read: |args| boxed(upgrade_package::read(args)),
    },
    Kind {
        name: write_sysctl::KIND,
        read: |args| boxed(write_sysctl::read(args)),
    },
    Kind {
        name: wait_until::KIND,
        read: |args| boxed(wait_until::read(args)),
    },
];

fn read(kind: &str, args: &Args) -> Read {
    match KINDS.iter().find(|known| known.name == kind) {
        Some(known) => (known.read)(args),
        None => Err(ArgError::whole(format!(
            "there is no kind of step `{}`; known are {}",
            kind.chars().take(40).collect::<String>(),
            KINDS
                .iter()
                .map(|known| known.name)
                .collect::<Vec<_>>()
                .join(", ")
        ))),
    }
}

/// The kinds of this build, as playbooks see them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kinds;

impl StepKinds for Kinds {
    fn check(&self, kind: &str, args: &Args) -> Result<StepSummary, ArgError> {
        read(kind, args).map(|(_, summary)| summary)
    }

    fn known(&self) -> Vec<&'static str> {
        KINDS.iter().map(|known| known.name).collect()
    }
}

/// The step of this kind with these arguments, ready to run.
///
/// # Errors
/// Everything that is wrong with the arguments, at once.
pub fn build(kind: &str, args: &Args) -> Result<Box<dyn Step>, ArgError> {
    read(kind, args).map(|(step, _)| step)
}
