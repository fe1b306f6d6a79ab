//! What is counted.

use std::collections::BTreeMap;
use std::time::Duration;

/// Counters of one play.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter {
    /// API requests by minute of virtual time.
    pub(super) minutes: Vec<u64>,
    /// API requests by verb and resource.
    pub(super) calls: BTreeMap<(&'static str, &'static str), u64>,
    /// How long machines were ill that are well again, by signature.
    pub(super) healed: BTreeMap<&'static str, Vec<Duration>>,
    /// When the first machine fell ill.
    pub(super) first_ill: Option<Duration>,
    /// When the last machine was well again, or the last run ended.
    pub(super) last_mended: Duration,
    /// How many machines fell ill, by signature.
    pub(super) fell_ill: BTreeMap<&'static str, u64>,
    /// Runs by outcome.
    pub(super) runs: BTreeMap<&'static str, u64>,
    /// Refusals by reason: gates, slots, the server.
    pub(super) refusals: BTreeMap<String, u64>,
    /// How often a node found every slot of a domain in use.
    pub(super) full: BTreeMap<String, u64>,
    /// Faults by word.
    pub(super) faults: BTreeMap<&'static str, u64>,
    /// The longest wait of a node for a slot that was free.
    pub(super) longest_free_wait: Duration,
}

impl Meter {
    /// A request was sent.
    pub(super) fn request(&mut self, now: Duration, verb: &'static str, resource: &'static str) {
        let minute = usize::try_from(now.as_secs() / 60).unwrap_or(0);
        if self.minutes.len() <= minute {
            self.minutes.resize(minute + 1, 0);
        }
        if let Some(count) = self.minutes.get_mut(minute) {
            *count += 1;
        }
        *self.calls.entry((verb, resource)).or_default() += 1;
    }

    /// Something was refused. Numbers and names are taken out, so that equal reasons are one.
    pub(super) fn refused(&mut self, why: &str) {
        if let Some((_, rest)) = why.split_once("slots of domain ")
            && let Some((domain, _)) = rest.split_once(' ')
        {
            *self.full.entry(domain.to_owned()).or_default() += 1;
        }
        *self.refusals.entry(plain(why)).or_default() += 1;
    }
}

/// The sentence with every number as N and every node as NODE. Zones and pools keep their names.
pub(super) fn plain(why: &str) -> String {
    let words: Vec<String> = why.split(' ').map(plain_word).collect();
    words.join(" ")
}

fn plain_word(word: &str) -> String {
    if word.starts_with("zone-") || word.starts_with("pool-") {
        return word.to_owned();
    }
    let mut text = String::with_capacity(word.len());
    let mut in_number = false;
    for character in word.chars() {
        let is_digit = character.is_ascii_digit();
        if is_digit && !in_number {
            text.push('N');
        } else if !is_digit {
            text.push(character);
        }
        in_number = is_digit;
    }
    text.replace("node-N", "NODE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_reasons_are_one() {
        let (a, b) = (
            "12 of 40 waiting nodes are first",
            "1 of 2 waiting nodes are first",
        );
        assert_eq!(plain(a), plain(b));
        assert_eq!(plain("Lease nodemend/node-17"), "Lease nodemend/NODE");
        let zone = "all 2 slots of domain zone-eu-1a are in use";
        assert_eq!(plain(zone), "all N slots of domain zone-eu-1a are in use");
    }
}
