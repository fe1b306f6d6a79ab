//! What the slot machine and a store say to each other.

use super::name::SlotName;
use crate::signal::Uptime;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long a successful write proves the slot. Four missed renewals; safety.md, section 2.
pub const HOLD: Duration = Duration::from_secs(60);
/// How often a held slot is renewed.
pub const RENEW_EVERY: Duration = Duration::from_secs(15);
/// How long one call to the store may take. Three calls fit between two renewals.
pub const CALL_LIMIT: Duration = Duration::from_secs(5);

/// One domain in which a slot is needed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Want {
    /// The domain.
    pub domain: Arc<str>,
    /// How many slots it has. 0 means none, also where nobody set a limit.
    pub cap: u32,
    /// The number to try first; callers spread it, so that nodes do not all try slot 0.
    pub first: u32,
}

/// A slot of this node, as a read showed it. A read proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Found {
    /// Its name.
    pub name: SlotName,
    /// Its uid: the fencing token.
    pub uid: Arc<str>,
    /// Its version, for the next write.
    pub version: Arc<str>,
}

/// A slot of this node with its last proof.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Its name.
    pub name: SlotName,
    /// Its uid: the fencing token.
    pub uid: Arc<str>,
    /// Its version, for the next write.
    pub version: Arc<str>,
    /// When the last successful write was sent. `None`: only read so far.
    pub proved_at: Option<Uptime>,
    /// Created by this machine, so freed again if the rest cannot be had.
    pub(super) created: bool,
}

/// What to ask the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Request {
    /// Say that this node is sick and waits.
    CreateClaim,
    /// Ask whether it is this node's turn (rank among the claims, breaker).
    AskTurn,
    /// Create a slot. Never replaces one.
    CreateSlot(SlotName),
    /// Read a slot, to learn whether an unanswered or refused write arrived.
    ReadSlot(SlotName),
    /// Write a slot of ours, with its version as the condition.
    RenewSlot(Found),
    /// Delete a slot of ours, with uid and version as the condition.
    DeleteSlot(Found),
    /// Take the claim back.
    DeleteClaim,
}

/// What the store answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Answer {
    /// A create or renewal was written.
    Written {
        /// The object's uid.
        uid: Arc<str>,
        /// Its new version.
        version: Arc<str>,
    },
    /// A delete was done.
    Deleted,
    /// To a create: the name is taken.
    Taken,
    /// To a conditional write: the version is another one.
    Changed,
    /// The object is not there, or it is not ours.
    Gone,
    /// To a read: it is there and ours.
    Ours(Found),
    /// To [`Request::AskTurn`]: whether it is this node's turn, and if not, why.
    Turn(Result<(), String>),
    /// The store said no.
    Denied(String),
    /// No answer within [`CALL_LIMIT`], or none that tells whether the write was made.
    Silent(String),
}

/// Why there is no slot now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// All slots of a domain are in use.
    Full {
        /// The domain.
        domain: Arc<str>,
        /// How many it has.
        cap: u32,
    },
    /// Others are first, or a breaker is open.
    NotYourTurn(String),
    /// The store said no.
    Denied(String),
    /// The store did not answer.
    Silent(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Full { domain, cap: 0 } => {
                write!(f, "domain {domain} has no slots; its limit is 0 or not set")
            }
            Refusal::Full { domain, cap } => {
                write!(
                    f,
                    "all {cap} slots of domain {domain} are in use (nodemend slot list)"
                )
            }
            Refusal::NotYourTurn(why) => f.write_str(why),
            Refusal::Denied(why) => write!(f, "refused: {why}"),
            Refusal::Silent(why) => write!(f, "the store did not answer: {why}"),
        }
    }
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// Send this; the moment given to `next` counts as its sending.
    Send(Request),
    /// A request is under way.
    Await,
    /// All slots are held and were written by this machine.
    Held,
    /// No slot; nothing of ours was left that this machine created, unless the store went silent.
    Refused(Refusal),
    /// A write to slots that we own failed; they stay as they are and nothing is proved.
    Unproved(String),
    /// Everything was freed.
    Freed,
    /// A slot that was held is not ours any more. Final.
    Lost(String),
}

impl Slot {
    pub(super) fn found(&self) -> Found {
        Found {
            name: self.name.clone(),
            uid: Arc::clone(&self.uid),
            version: Arc::clone(&self.version),
        }
    }
}

impl Answer {
    pub(super) fn why(self) -> String {
        match self {
            Answer::Denied(why) | Answer::Silent(why) | Answer::Turn(Err(why)) => why,
            Answer::Changed => "somebody else keeps writing it".into(),
            other => format!("unexpected answer {other:?}"),
        }
    }
}
