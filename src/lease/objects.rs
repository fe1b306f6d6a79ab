//! Lease objects and the server's answers, as the slot protocol reads them.

use super::breakers::SlotFacts;
use super::error::LeaseError;
use super::exchange::{Answer, Found};
use super::name::SlotName;
use crate::host::cluster::{ApiError, BadObject, Fields};
use crate::policy::RunId;
use serde_json::Value;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// The label that says what a Lease of ours is: a slot or a claim.
pub(super) const KIND_LABEL: &str = "nodemend.io/kind";
/// Where slots and claims say which agent of the node made them.
pub(super) const INSTANCE: &str = "/metadata/annotations/nodemend.io~1instance";
const RUN: &str = "/metadata/annotations/nodemend.io~1run";
const PHASE: &str = "/metadata/annotations/nodemend.io~1phase";
const INHERITED: &str = "/metadata/annotations/nodemend.io~1inherited";
const FAILED: &str = "/metadata/annotations/nodemend.io~1failed";
/// How many failed runs a slot remembers; a node has at most 3 runs of a signature in a day (I10).
const MAX_FAILED: usize = 8;

/// A slot's Lease, as far as it matters. Its times are not read: nobody's clock is compared with another's.
pub(super) struct SlotLease {
    pub(super) name: SlotName,
    uid: String,
    version: String,
    pub(super) holder: String,
    pub(super) owner: String,
    run: String,
    pub(super) instance: String,
    pub(super) inherited: bool,
    pub(super) is_casualty: bool,
    pub(super) failed: Vec<String>,
}

impl SlotLease {
    pub(super) fn read(object: &Value) -> Result<Self, BadObject> {
        let fields = Fields::of(object, "Lease");
        fields.ensure_kind()?;
        let name = fields
            .text("/metadata/name")?
            .parse()
            .map_err(|error| fields.bad("/metadata/name", format!("is no slot: {error}")))?;
        let text = |pointer| {
            let text = fields.maybe_text(pointer)?;
            Ok::<_, BadObject>(text.unwrap_or_default().to_owned())
        };
        // The newest: with the oldest eight a version that fails for the first time would never be among them.
        let mut failed: Vec<String> = text(FAILED)?
            .rsplit(',')
            .filter(|digest| !digest.is_empty())
            .take(MAX_FAILED)
            .map(str::to_owned)
            .collect();
        failed.reverse();
        Ok(Self {
            name,
            // Not understood counts as inherited: such a slot is kept.
            inherited: !matches!(fields.maybe_text(INHERITED)?, None | Some("false")),
            // Likewise: only what surely is no failure is none.
            is_casualty: !failed.is_empty()
                || !matches!(fields.maybe_text(PHASE)?, Some("mending" | "stopped")),
            failed,
            uid: fields.text("/metadata/uid")?.to_owned(),
            version: fields.text("/metadata/resourceVersion")?.to_owned(),
            holder: text("/spec/holderIdentity")?,
            owner: text("/metadata/ownerReferences/0/uid")?,
            run: text(RUN)?,
            instance: text(INSTANCE)?,
        })
    }

    /// The number of the run that wrote it last; `None` where that is not understood.
    pub(super) fn run(&self) -> Option<u64> {
        self.run.parse().ok().map(|run: RunId| run.0)
    }

    pub(super) fn facts(&self) -> SlotFacts {
        SlotFacts {
            name: self.name.clone(),
            holder: self.holder.clone(),
            is_casualty: self.is_casualty,
            failed: self.failed.clone(),
        }
    }

    pub(super) fn found(&self) -> Found {
        Found {
            name: self.name.clone(),
            uid: Arc::from(self.uid.as_str()),
            version: Arc::from(self.version.as_str()),
        }
    }
}

pub(super) fn written(object: &Value) -> Answer {
    let fields = Fields::of(object, "Lease");
    // A person deleted it and a finalizer held it: this very write took the finalizer off, and with that the object.
    if !matches!(fields.maybe_text("/metadata/deletionTimestamp"), Ok(None)) {
        return Answer::Gone;
    }
    let read = || {
        fields.ensure_kind()?;
        let uid = fields.text("/metadata/uid")?;
        Ok::<_, BadObject>((uid, fields.text("/metadata/resourceVersion")?))
    };
    match read() {
        Ok((uid, version)) => Answer::Written {
            uid: Arc::from(uid),
            version: Arc::from(version),
        },
        // The write may have been made, but nothing proves it.
        Err(error) => Answer::Silent(error.to_string()),
    }
}

/// What a refusal of a write or read of our own slot means.
pub(super) fn no(error: &ApiError) -> Answer {
    match error.code() {
        Some(404) => Answer::Gone,
        Some(409) => Answer::Changed,
        _ if error.is_final() => Answer::Denied(error.to_string()),
        _ => Answer::Silent(error.to_string()),
    }
}

pub(super) fn unproved(error: impl std::fmt::Display) -> LeaseError {
    LeaseError::Unproved {
        why: error.to_string(),
    }
}

/// The form of Lease times: microseconds, always.
pub(super) fn micro_time(microseconds: i64) -> Option<String> {
    let time = jiff::Timestamp::from_microsecond(microseconds).ok()?;
    Some(format!("{time:.6}"))
}

/// A number that spreads nodes over slots.
pub(super) fn number_of(node: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    node.hash(&mut hasher);
    (hasher.finish() >> 33) as u32
}
