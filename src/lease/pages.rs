//! Lists of the agents' namespace, page by page.
//!
//! Of each object only what is needed is kept. A claim is 1.6 KB as text and 11 KB as a JSON value, half of it managedFields:
//! 5,000 of them were 55 MiB, and the container may have 64.

use super::api::ApiSlots;
use super::error::LeaseError;
use super::objects::unproved;
use crate::host::cluster::{ApiError, BadObject, Call};
use serde_json::Value;

/// How many objects one page holds.
const PAGE: &str = "500";
/// How many pages are read: 10,000 claims. More means that nobody should start anything.
const MAX_PAGES: usize = 20;

impl ApiSlots {
    /// Gives every object of a list to `take`.
    ///
    /// # Errors
    /// The server refused or did not answer, the list is none or has too many objects, or the first complaint of `take`.
    pub(super) async fn each(
        &self,
        call: Call,
        mut take: impl FnMut(&Value) -> Result<(), BadObject> + Send,
    ) -> Result<(), LeaseError> {
        let garbled = |why: String| {
            let what = call.what();
            unproved(ApiError::Garbled { what, why })
        };
        let kind = format!("{}List", call.resource.kind());
        let mut count = 0;
        let mut next = call.clone().with("limit", PAGE);
        for _ in 0..MAX_PAGES {
            let page = self.send(next).await.map_err(unproved)?;
            if let Some(other) = page.get("kind").filter(|one| **one != *kind) {
                let shown: String = other.to_string().chars().take(60).collect();
                return Err(garbled(format!("kind is {shown}, not {kind}")));
            }
            let Some(Value::Array(items)) = page.get("items") else {
                return Err(garbled("items is missing or no list".to_owned()));
            };
            for item in items {
                take(item).map_err(unproved)?;
            }
            count += items.len();
            let rest = page.pointer("/metadata/continue").and_then(Value::as_str);
            match rest {
                None | Some("") => return Ok(()),
                Some(rest) => next = call.clone().with("limit", PAGE).with("continue", rest),
            }
        }
        Err(garbled(format!("more than {count} objects")))
    }
}
