//! Lease objects and the server's answers, as the slot protocol reads them.

use super::error::LeaseError;
use super::exchange::{Answer, Found};
use super::name::SlotName;
use crate::host::cluster::{ApiError, BadObject, Fields};
use serde_json::Value;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// A slot's Lease, as far as it matters.
pub(super) struct SlotLease {
    pub(super) name: SlotName,
    uid: String,
    version: String,
    pub(super) holder: String,
    pub(super) owner: String,
    pub(super) run: String,
    pub(super) inherited: bool,
}

impl SlotLease {
    pub(super) fn read(object: &Value) -> Result<Self, BadObject> {
        let fields = Fields::of(object, "Lease");
        let name = fields
            .text("/metadata/name")?
            .parse()
            .map_err(|error| fields.bad("/metadata/name", format!("is no slot: {error}")))?;
        let run = fields.maybe_text("/metadata/annotations/nodemend.io~1run")?;
        let inherited = fields.maybe_text("/metadata/annotations/nodemend.io~1inherited")?;
        Ok(Self {
            name,
            // Not understood counts as inherited: such a slot is kept.
            inherited: !matches!(inherited, None | Some("false")),
            uid: fields.text("/metadata/uid")?.to_owned(),
            version: fields.text("/metadata/resourceVersion")?.to_owned(),
            holder: fields
                .maybe_text("/spec/holderIdentity")?
                .unwrap_or_default()
                .to_owned(),
            owner: fields
                .maybe_text("/metadata/ownerReferences/0/uid")?
                .unwrap_or_default()
                .to_owned(),
            run: run.unwrap_or_default().to_owned(),
        })
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
    match (
        fields.text("/metadata/uid"),
        fields.text("/metadata/resourceVersion"),
    ) {
        (Ok(uid), Ok(version)) => Answer::Written {
            uid: Arc::from(uid),
            version: Arc::from(version),
        },
        // The write may have been made, but nothing proves it.
        (Err(error), _) | (_, Err(error)) => Answer::Silent(error.to_string()),
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
