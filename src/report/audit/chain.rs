//! The chain of a log: numbers and links records. Pure; whoever keeps the lines says when one is kept.

use super::error::AuditError;
use super::files::Head;
use super::record::{Author, Entry, GENESIS, Record};
use crate::signal::Timestamp;
use std::sync::Arc;

/// A record that is to be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// The record.
    pub record: Record,
    /// Its line, with the end of line.
    pub line: String,
    /// The chain's head once it is kept.
    pub head: Head,
}

/// A chain that ends somewhere and goes on.
#[derive(Debug, Clone)]
pub struct Chain {
    node: Arc<str>,
    boot_id: Arc<str>,
    head: Head,
}

impl Chain {
    /// The chain of `node` that goes on after `head`; `None`: it begins.
    pub fn after(head: Option<Head>, node: &str, boot_id: &str) -> Self {
        let genesis = || Head {
            seq: 0,
            hash: GENESIS.to_owned(),
        };
        Self {
            node: node.into(),
            boot_id: boot_id.into(),
            head: head.unwrap_or_else(genesis),
        }
    }

    /// The newest record that is kept: what is anchored in the slot.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The record for `entry` that follows the newest one. The chain stays as it is until [`Chain::keep`].
    ///
    /// # Errors
    /// A record without canonical form, or one that is too long for a line.
    pub fn next(&self, now: Timestamp, entry: &Entry) -> Result<Link, AuditError> {
        let author = Author {
            node: &self.node,
            boot_id: &self.boot_id,
        };
        let seq = self.head.seq.saturating_add(1);
        let record = Record::chain(seq, &self.head.hash, now, &author, entry)?;
        let line = record.to_line()?;
        let head = Head {
            seq,
            hash: record.hash.clone(),
        };
        Ok(Link { record, line, head })
    }

    /// The record with this head is kept.
    pub fn keep(&mut self, head: Head) {
        self.head = head;
    }
}
