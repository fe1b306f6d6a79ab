//! What can go wrong with a slot.

use super::exchange::Refusal;
use super::name::SlotName;
use std::path::PathBuf;
use std::time::Duration;

/// A slot could not be had, proved or freed.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// There is none for us now; nothing was left behind.
    #[error("no slot: {0}")]
    Refused(Refusal),
    /// A write did not go through, so nothing is proved. The slot itself stays as it is.
    #[error("the slot could not be written, so nothing disruptive may start: {why}")]
    Unproved {
        /// What the store said.
        why: String,
    },
    /// The slot is no longer ours.
    #[error("the slot is lost: {why}; the run stops and a person has to look at this node")]
    Lost {
        /// What was seen.
        why: String,
    },
    /// Another agent works for this Node, with another state directory: its slots and claims are not ours.
    #[error(
        "Lease {object}: {} (annotation nodemend.io/instance; this agent is {ours}), so it is neither used nor freed; see that one agent runs on this node, then {}",
        maker(theirs),
        cure(object)
    )]
    OtherInstance {
        /// Namespace and name of the slot or claim.
        object: String,
        /// Whose it is; empty where it does not say.
        theirs: String,
        /// Who asks.
        ours: String,
    },
    /// Another process on this machine holds the lock.
    #[error(
        "another nodemend works on this machine (it holds {path}); stop it or give this one another --state-dir"
    )]
    OtherAgent {
        /// The lock file.
        path: PathBuf,
    },
    /// The store could not be read or written.
    #[error("{tried} {path} failed")]
    Store {
        /// What was tried, as a verb: `reading`.
        tried: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A slot file says what this build does not understand.
    #[error(
        "slot file {path} cannot be understood ({why}); if no run is under way, remove it by hand and start again"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

fn maker(instance: &str) -> String {
    if instance.is_empty() {
        "it does not say which agent of this node made it".to_owned()
    } else {
        let shown: String = instance.chars().take(40).collect();
        format!("agent {shown} of this node made it")
    }
}

fn cure(object: &str) -> String {
    let (namespace, name) = object.split_once('/').unwrap_or(("", object));
    if name.parse::<SlotName>().is_ok() {
        format!("nodemend slot release {name}")
    } else {
        format!("kubectl -n {namespace} delete lease {name}")
    }
}

impl LeaseError {
    /// A short stable word: the metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            LeaseError::Refused(_) => "refused",
            LeaseError::Unproved { .. } => "unproved",
            LeaseError::Lost { .. } => "lost",
            LeaseError::OtherInstance { .. } => "other-instance",
            LeaseError::OtherAgent { .. } => "other-agent",
            LeaseError::Store { .. } => "store",
            LeaseError::Unreadable { .. } => "unreadable",
        }
    }
}

/// The last proof of the slot is too old.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the slot was last proved {age:?} ago and a proof holds for {hold:?}; renew it first")]
pub struct PermitExpired {
    /// How old the proof is. Longest where there is none.
    pub age: Duration,
    /// How long a proof holds.
    pub hold: Duration,
}
