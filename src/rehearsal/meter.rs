//! What is counted.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
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
    /// Which machines fell ill.
    pub(super) ill_nodes: BTreeSet<usize>,
    /// How many times a machine fell ill, by signature.
    pub(super) fell_ill: BTreeMap<&'static str, u64>,
    /// Runs by outcome.
    pub(super) runs: BTreeMap<&'static str, u64>,
    /// Refusals by reason: gates, slots, the server.
    pub(super) refusals: Reasons,
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

    /// Something was refused.
    pub(super) fn refused(&mut self, why: &str) {
        if let Some((_, rest)) = why.split_once("slots of domain ")
            && let Some((domain, _)) = rest.split_once(' ')
        {
            *self.full.entry(domain.to_owned()).or_default() += 1;
        }
        self.refusals.note(why, 1);
    }
}

/// Reasons, and how often each was given. Those that differ in numbers and nodes only are one: what differs in it is shown as
/// N and NODE, and what does not as it is. Zones and pools keep their names.
#[derive(Debug, Clone, Default)]
pub struct Reasons(BTreeMap<String, (String, u64)>);

impl Reasons {
    /// A reason was given so many times.
    pub(super) fn note(&mut self, why: &str, times: u64) {
        let new = || (why.to_owned(), 0);
        let (shown, count) = self.0.entry(plain(why)).or_insert_with(new);
        *count += times;
        if shown != why {
            *shown = common(shown, why);
        }
    }

    /// Each reason as it is shown, and how often it was given.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.values().map(|(shown, count)| (&**shown, *count))
    }

    /// How many reasons were given in all.
    pub fn total(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let pairs = self.iter();
        Value::Object(
            pairs
                .map(|(shown, count)| (shown.to_owned(), count.into()))
                .collect(),
        )
    }
}

fn plain(why: &str) -> String {
    let words: Vec<String> = why.split(' ').map(plain_word).collect();
    words.join(" ")
}

/// Two sentences that are equal but for numbers and nodes, as one.
fn common(first: &str, second: &str) -> String {
    let pairs = first.split(' ').zip(second.split(' '));
    let words: Vec<String> = pairs
        .map(|(one, other)| match one == other {
            true => one.to_owned(),
            false => plain_word(one),
        })
        .collect();
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

    #[test]
    fn what_differs_between_equal_reasons_is_n_and_the_rest_stays_as_it_was_said() {
        let mut reasons = Reasons::default();
        for (why, times) in [
            ("slot.cluster.0 (node-7) keeps 2 of 9", 1),
            ("domain b has no slots; its limit is 0 or not set", 3),
            ("slot.cluster.0 (node-8) keeps 3 of 9", 1),
            ("slot.cluster.0 (node-7) keeps 2 of 9", 2),
        ] {
            reasons.note(why, times);
        }
        let told: Vec<_> = reasons.iter().collect();
        assert_eq!(
            told,
            [
                ("domain b has no slots; its limit is 0 or not set", 3),
                ("slot.cluster.0 (NODE) keeps N of 9", 4)
            ]
        );
        assert_eq!(reasons.total(), 7);
    }
}
