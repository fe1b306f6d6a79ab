//! Names of slots: `slot.<domain>.<k>`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A slot's name. The API server bounds `k` by the domain's cap, so a name beyond it cannot exist (safety.md, I1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotName {
    domain: Arc<str>,
    index: u32,
}

/// A text that is not a slot's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a slot; slots are called slot.DOMAIN.NUMBER, for example slot.cluster.0")]
pub struct NotASlotName(String);

impl SlotName {
    /// Slot number `index` of `domain`.
    pub fn of(domain: &Arc<str>, index: u32) -> Self {
        Self {
            domain: Arc::clone(domain),
            index,
        }
    }

    /// The domain: `cluster`, `zone-a`, `pool-x`, `control-plane`, `drain`, `local`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The number within the domain.
    pub fn index(&self) -> u32 {
        self.index
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot.{}.{}", self.domain, self.index)
    }
}

impl FromStr for SlotName {
    type Err = NotASlotName;

    fn from_str(text: &str) -> Result<Self, NotASlotName> {
        let wrong = || NotASlotName(text.chars().take(80).collect());
        let (domain, index) = text
            .strip_prefix("slot.")
            .and_then(|rest| rest.rsplit_once('.'))
            .ok_or_else(wrong)?;
        let allowed =
            |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'.';
        // 253 is the longest name of an object; a number has one spelling only, so that a name has one meaning.
        let canonical = index == "0" || !index.starts_with('0');
        if domain.is_empty()
            || text.len() > 253
            || !domain.bytes().all(allowed)
            || !index.bytes().all(|c| c.is_ascii_digit())
            || !canonical
        {
            return Err(wrong());
        }
        let index = index.parse().map_err(|_| wrong())?;
        Ok(Self {
            domain: Arc::from(domain),
            index,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for text in [
            "slot.cluster.0",
            "slot.zone-a.12",
            "slot.pool-a.b.3",
            "slot.local.4294967295",
        ] {
            assert_eq!(text.parse::<SlotName>().expect("a name").to_string(), text);
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            "slot",
            "slot.",
            "slot.cluster",
            "slot..0",
            "slot.cluster.",
            "slot.cluster.x",
            "slot.cluster.-1",
            "slot.cluster.01",
            "slot.cluster.4294967296",
            "Slot.cluster.0",
            "slot.Cluster.0",
            "slot.a/b.0",
            "slot.cluster.0 ",
            "slots.cluster.0",
            "slot.cluster.+1",
        ] {
            assert!(text.parse::<SlotName>().is_err(), "{text}");
        }
        assert!(
            format!("slot.{}.0", "a".repeat(260))
                .parse::<SlotName>()
                .is_err()
        );
    }
}
