//! How long a waiting node rests between two looks, and what it looks at first. Pure: the calls per minute of a whole cluster
//! are arithmetic, and the tests below do it.
//!
//! A look costs one call while nothing can change for this node: what stood in its way last is looked at first, and if it
//! still does, that was all. The first look is random over a span that grows with the cluster, so that nodes that fall sick
//! together do not all ask at once; later ones are as frequent as the place in the queue deserves (safety.md, section 2).
//!
//! | what stands in the way | looked at | longest rest |
//! |---|---|---|
//! | a breaker, cap 0, agents away | ConfigMaps | 0.12 s x agents, from 30 s; beyond 2,500 agents more, up to 16 min 40 s |
//! | slots full, others first | slots, every sixth time ConfigMaps | 30 s + 2 s x place in the queue, at most 4.5 min |
//! | far down the queue | claims and slots in turn, every sixth time ConfigMaps | the same, at most 10 min x waiting / 5,000, from 4.5 min |
//! | nothing could be read | ConfigMaps | as for a breaker; 1 min where the number of agents is not known |

use std::time::Duration;

/// How often a run under way looks for a breaker while it waits and soaks. Before each step it looks, too.
pub const CORD_PERIOD: Duration = Duration::from_secs(60);
/// How often a waiting node asks its own gates, which costs no call: a case that went away leaves the queue.
pub const GATES_PERIOD: Duration = Duration::from_secs(30);
/// The size of cluster that the figures are made for.
const LARGE: u64 = 5_000;
/// What it assumes after a look that failed: a slot may be free, and the next look that does not fail counts the agents.
const UNTOLD: u64 = 500;
/// First looks in a cluster of [`LARGE`] come between these two rests: 5,000 in 7 min are 714 a minute. They begin when the
/// conditions are told, of which 5,000 at once are all that the first two minutes have room for, and what breakers and
/// heartbeats ask for begins when they are over. A slot that is free is so taken within 5 min of the case in clusters of up to
/// 3,400 nodes, and within 5 min of the first look in larger ones.
const FIRST_FROM: Duration = Duration::from_secs(60);
/// See [`FIRST_FROM`].
const FIRST_SPREAD: Duration = Duration::from_secs(480);
/// A cluster of this size tells its conditions and looks within two minutes whatever the spread...
const MEDIUM: u64 = 1_000;
/// ...so that its nodes need not wait for long.
const MEDIUM_FIRST_SPREAD: Duration = Duration::from_secs(29);
/// First looks of nodes that could not count the agents come within this time, and count them: were it all of [`LARGE`] they
/// would be 2,500 a minute, and in a small cluster a free slot is taken within 5 min all the same (I19).
const UNTOLD_FIRST_SPREAD: Duration = Duration::from_secs(120);
/// The shortest spread: two nodes that fall sick together.
const MIN_FIRST_SPREAD: Duration = Duration::from_secs(2);
/// The longest rest in the queue in a cluster of [`LARGE`]: 5,000 nodes then look 500 to 560 times a minute.
const LONGEST: Duration = Duration::from_secs(600);
/// The longest rest while nobody gets a slot, in the largest cluster in which each node then looks within 5 min (I19)...
const STOPPED: (u64, Duration) = (2_500, Duration::from_secs(300));
/// ...and in a cluster of [`LARGE`]: 5,000 nodes that are sick together look 300 to 330 times a minute, and have their events
/// and heartbeats to send besides. Of many that wait, one looks every few milliseconds.
const STOPPED_LARGE: Duration = Duration::from_secs(1_000);
/// The shortest of the longest rests.
const SHORTEST: Duration = Duration::from_secs(30);
/// The longest rest of a node whose turn may come: a free slot is taken within 5 min (I19).
const NEAR: Duration = Duration::from_secs(270);
/// As much more for each node before it.
const PER_PLACE: Duration = Duration::from_secs(2);
/// The first rest after something new is seen is anywhere from this share of the longest; so phases drift apart.
const NEWS_FROM: f64 = 0.2;
/// The same where nobody gets a slot: second looks begin when the first are over.
const STOPPED_FROM: f64 = 0.3;
/// Later ones are close to the longest.
const LATER_FROM: f64 = 0.9;
/// Every so many looks a node that waits for its turn sees whether people changed the limits.
const LIMITS_EVERY: u32 = 6;

/// What a waiting node saw last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Standing {
    /// Nothing yet.
    #[default]
    Fresh,
    /// Nobody gets a slot: a breaker, a cap of 0, agents that are away.
    Stopped {
        /// Why.
        why: String,
    },
    /// All slots are in use, others are first, or kept slots stop everybody.
    Full {
        /// Why.
        why: String,
        /// How many nodes are before this one.
        before: u64,
    },
    /// So far down the queue that free slots do not matter.
    Far {
        /// Why.
        why: String,
        /// How many nodes are before this one.
        before: u64,
        /// How many wait in all.
        waiting: u64,
    },
    /// It could not be seen.
    Unread {
        /// Why.
        why: String,
    },
    /// Nothing is in the way: it may try.
    Clear,
}

/// What is looked at: one list each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The ConfigMaps: limits and breakers.
    Limits,
    /// The claims.
    Queue,
    /// The slots.
    Slots,
}

impl Standing {
    /// Why the node waits; empty where it does not.
    pub fn why(&self) -> &str {
        match self {
            Standing::Fresh | Standing::Clear => "",
            Standing::Stopped { why }
            | Standing::Full { why, .. }
            | Standing::Far { why, .. }
            | Standing::Unread { why } => why,
        }
    }

    /// What a node in this standing waits for: a short stable word, the metric label. `None` where it does not wait.
    pub fn kind(&self) -> Option<&'static str> {
        match self {
            Standing::Fresh | Standing::Clear => None,
            Standing::Stopped { .. } => Some("stopped"),
            Standing::Full { .. } | Standing::Far { .. } => Some("queue"),
            Standing::Unread { .. } => Some("unread"),
        }
    }

    fn is_like(&self, other: &Standing) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// In which order a node in this standing looks, at its `look`th look (from 0).
    pub fn order(&self, look: u32) -> [Part; 3] {
        use Part::{Limits, Queue, Slots};
        let is_limits_turn = look % LIMITS_EVERY == LIMITS_EVERY - 1;
        match self {
            Standing::Full { .. } if !is_limits_turn => [Slots, Limits, Queue],
            // Those before may all be dead: then a slot lies free, which only the slots show.
            Standing::Far { .. } if !is_limits_turn && look % 2 == 1 => [Slots, Limits, Queue],
            Standing::Far { .. } if !is_limits_turn => [Queue, Slots, Limits],
            _ => [Limits, Queue, Slots],
        }
    }
}

/// The rest before the first look in a cluster of `agents`. `draw`: from 0 up to 1, another one for each node.
pub fn first_rest(agents: Option<u64>, draw: f64) -> Duration {
    let Some(agents) = agents else {
        return UNTOLD_FIRST_SPREAD.mul_f64(draw.clamp(0.0, 1.0));
    };
    let from = between((MEDIUM, Duration::ZERO), FIRST_FROM, agents);
    let to = between((MEDIUM, MEDIUM_FIRST_SPREAD), FIRST_SPREAD, agents).max(MIN_FIRST_SPREAD);
    from + (to - from).mul_f64(draw.clamp(0.0, 1.0))
}

/// The rest after a look that saw `now`, when the one before saw `before`.
pub fn next_rest(now: &Standing, before: &Standing, agents: Option<u64>, draw: f64) -> Duration {
    let from = match now {
        _ if now.is_like(before) => LATER_FROM,
        Standing::Stopped { .. } => STOPPED_FROM,
        _ => NEWS_FROM,
    };
    longest_rest(now, agents).mul_f64(from + (1.0 - from) * draw.clamp(0.0, 1.0))
}

/// The longest rest in a standing.
pub fn longest_rest(now: &Standing, agents: Option<u64>) -> Duration {
    let by_place = |before: u64| {
        let places = u32::try_from(before).unwrap_or(u32::MAX);
        SHORTEST.saturating_add(PER_PLACE.saturating_mul(places))
    };
    match now {
        Standing::Fresh | Standing::Stopped { .. } => {
            between(STOPPED, STOPPED_LARGE, agents.unwrap_or(LARGE)).max(SHORTEST)
        }
        Standing::Unread { .. } => {
            scaled(LONGEST, agents.unwrap_or(UNTOLD)).clamp(SHORTEST, LONGEST)
        }
        Standing::Full { before, .. } => by_place(*before).min(NEAR),
        Standing::Far {
            before, waiting, ..
        } => by_place(*before).min(scaled(LONGEST, *waiting).clamp(NEAR, LONGEST)),
        Standing::Clear => SHORTEST,
    }
}

/// A span that grows with `nodes`: from nothing to that of the knee, and from there to that of [`LARGE`].
fn between(knee: (u64, Duration), large: Duration, nodes: u64) -> Duration {
    let (at, span) = knee;
    if nodes <= at {
        return span.mul_f64(nodes as f64 / at as f64);
    }
    let share = (nodes.min(LARGE) - at) as f64 / (LARGE - at) as f64;
    span + large.saturating_sub(span).mul_f64(share)
}

/// A span for [`LARGE`] nodes, for `nodes` of them.
fn scaled(span: Duration, nodes: u64) -> Duration {
    span.mul_f64(nodes.min(LARGE) as f64 / LARGE as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stopped() -> Standing {
        Standing::Stopped { why: String::new() }
    }

    fn full(before: u64) -> Standing {
        Standing::Full {
            why: String::new(),
            before,
        }
    }

    fn far(before: u64, waiting: u64) -> Standing {
        Standing::Far {
            why: String::new(),
            before,
            waiting,
        }
    }

    #[test]
    fn rests_grow_with_the_cluster_and_with_the_place() {
        for (now, agents, seconds) in [
            (stopped(), Some(3), 30.0),
            (stopped(), Some(1_000), 120.0),
            (stopped(), Some(2_500), 300.0),
            (stopped(), Some(3_750), 650.0),
            (stopped(), Some(5_000), 1_000.0),
            (stopped(), Some(u64::MAX), 1_000.0),
            (stopped(), None, 1_000.0),
            (Standing::Unread { why: String::new() }, None, 60.0),
            (Standing::Unread { why: String::new() }, Some(5_000), 600.0),
            (full(0), None, 30.0),
            (full(19), Some(5_000), 68.0),
            (full(u64::MAX), Some(5_000), 270.0),
            (far(20, 60), Some(5_000), 70.0),
            (far(900, 1_000), Some(5_000), 270.0),
            (far(4_900, 5_000), Some(5_000), 600.0),
            (far(u64::MAX, u64::MAX), None, 600.0),
        ] {
            let longest = longest_rest(&now, agents);
            assert!(
                (longest.as_secs_f64() - seconds).abs() < 0.001,
                "{now:?} {agents:?}: {longest:?}"
            );
        }
        for (agents, seconds) in [
            (Some(0), 2.0),
            (Some(3), 2.0),
            (Some(100), 2.9),
            (Some(1_000), 29.0),
            (Some(3_000), 254.5),
            (Some(5_000), 480.0),
            (Some(u64::MAX), 480.0),
            (None, 120.0),
        ] {
            assert!((first_rest(agents, 1.0).as_secs_f64() - seconds).abs() < 0.001);
            let from = if agents.is_none_or(|agents| agents <= 1_000) {
                0.0..0.1
            } else {
                29.0..60.1
            };
            assert!(
                from.contains(&first_rest(agents, 0.0).as_secs_f64()),
                "{agents:?}"
            );
        }
    }

    #[test]
    fn what_stood_in_the_way_is_looked_at_first_and_the_rest_now_and_then() {
        use Part::{Limits, Queue, Slots};
        let firsts = |standing: &Standing| (0..8).map(|n| standing.order(n)[0]).collect::<Vec<_>>();
        assert_eq!(firsts(&stopped()), [Limits; 8]);
        assert_eq!(firsts(&Standing::Fresh), [Limits; 8]);
        assert_eq!(
            firsts(&full(3))[..6],
            [Slots, Slots, Slots, Slots, Slots, Limits]
        );
        assert_eq!(
            firsts(&far(3, 9))[..6],
            [Queue, Slots, Queue, Slots, Queue, Limits]
        );
        for standing in [Standing::Fresh, stopped(), full(1), far(9, 9)] {
            for look in 0..6 {
                let order = standing.order(look);
                assert!(
                    [Limits, Queue, Slots]
                        .iter()
                        .all(|part| order.contains(part))
                );
            }
        }
    }

    /// Draws as evenly spread as those of real nodes, and the same on every machine.
    fn draw(node: u64, look: u64) -> f64 {
        let mut x = (node << 20) ^ look ^ 0x9e37_79b9_7f4a_7c15;
        for _ in 0..3 {
            x ^= x >> 33;
            x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
        }
        (x >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Calls in each minute of an hour, when `sick` of 5,000 nodes fall sick within `span`. A first look costs `first`
    /// calls, each later one a single call. `standing(node)` is what each of them sees at every look.
    fn calls_per_minute(
        sick: u64,
        span: Duration,
        first: u64,
        standing: impl Fn(u64) -> Standing,
    ) -> Vec<u64> {
        let mut minutes = vec![0_u64; 60];
        for node in 0..sick {
            let mut at = span.mul_f64(draw(node, LARGE)) + first_rest(Some(LARGE), draw(node, 0));
            let mut before = Standing::Fresh;
            for look in 1.. {
                let Some(minute) = minutes.get_mut((at.as_secs() / 60) as usize) else {
                    break;
                };
                *minute += if look == 1 { first } else { 1 };
                let now = standing(node);
                at += next_rest(&now, &before, Some(LARGE), draw(node, look));
                before = now;
            }
        }
        minutes
    }

    /// What the nodes pay on top that see no breaker yet: 101 claims reach the storm line of 5,000 nodes, a few are on their
    /// way meanwhile; each makes its claim, lists the claims and may read the DaemonSet.
    const BEFORE_THE_STORM_IS_SEEN: u64 = 120 * 3;

    #[test]
    fn five_thousand_sick_nodes_stay_within_the_figures() {
        // A breaker, or cap 0, or a storm that opens one.
        let closed = calls_per_minute(LARGE, Duration::ZERO, 1, |_| stopped());
        // The most that may wait at once with the highest storm lines (999): limits, claim, claims and slots at first.
        let waiting = calls_per_minute(999, Duration::ZERO, 4, |node| match node {
            0..20 => full(node),
            _ => far(node, 999),
        });
        for (name, minutes, more) in [
            ("closed", closed, BEFORE_THE_STORM_IS_SEEN),
            ("waiting", waiting, 0),
        ] {
            let later = minutes[1..].iter().max().expect("an hour");
            println!("{name}: {}, then at most {later}", minutes[0] + more);
            assert!(minutes[0] + more <= 2_500, "{name}: {minutes:?}");
            assert!(*later <= 1_000, "{name}: {minutes:?}");
        }
    }

    #[test]
    fn however_long_the_queue_grew_it_stays_within_the_figures() {
        // Old claims are no storm, so that 5,000 that fell sick over half an hour may wait at last, whatever the caps.
        for cap in [1_u64, 10, 100, 999] {
            let minutes = calls_per_minute(LARGE, Duration::from_secs(1800), 1, |node| {
                if node < cap * 2 {
                    full(node)
                } else {
                    far(node, LARGE)
                }
            });
            let most = minutes[33..].iter().max().expect("an hour");
            println!("cap {cap}: at most {most}");
            assert!(*most <= 1_000, "cap {cap}: {minutes:?}");
        }
    }

    #[test]
    fn the_first_in_the_queue_look_often_enough_to_take_a_free_slot_within_five_minutes() {
        const I19: Duration = Duration::from_secs(300);
        for cap in [1_u64, 3, 10, 100, 999] {
            for before in 0..cap * 2 {
                // Every sixth look is at the limits, so the slots may be seen one look later; more look beside it.
                assert!(longest_rest(&full(before), None) < I19);
            }
            assert!(longest_rest(&full(0), None) * 2 < I19, "the very first");
        }
        // Behind them everybody looks in time, too, while no more wait than the storm lines let wait (999 at most).
        for before in 0..2_000 {
            assert!(longest_rest(&far(before, 2_000), None) < I19);
        }
        // After a breaker: every node on its own in clusters of up to 2,500; in larger ones the first of many.
        assert!(longest_rest(&stopped(), Some(2_499)) < I19);
    }
}
