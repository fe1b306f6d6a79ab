//! Chance from a seed: the same seed gives the same life, on every machine and in every version of Rust.

use std::time::Duration;

/// A generator of numbers (SplitMix64). Not for secrets.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// All numbers follow from the seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        // Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014), the constants of SplittableRandom.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 for 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias is below 2^-40 for every bound used here.
        self.number().checked_rem(bound).unwrap_or(0)
    }

    /// True once in `times`; never for 0.
    pub fn one_in(&mut self, times: u64) -> bool {
        times > 0 && self.below(times) == 0
    }

    /// A span from `least` to `most`, in milliseconds.
    pub fn span(&mut self, least: Duration, most: Duration) -> Duration {
        let width = most.saturating_sub(least).as_millis();
        let width = u64::try_from(width).unwrap_or(u64::MAX);
        least.saturating_add(Duration::from_millis(self.below(width.saturating_add(1))))
    }

    /// A span around `mean`, from an eighth of it to twice as much less that: events that come at irregular times.
    pub fn around(&mut self, mean: Duration) -> Duration {
        let least = mean / 8;
        self.span(least, mean.saturating_mul(2).saturating_sub(least))
    }

    /// One of them; `None` if there are none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let length = u64::try_from(from.len()).ok()?;
        from.get(usize::try_from(self.below(length)).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_everywhere() {
        // First numbers of SplitMix64 from seed 0, as the reference implementation prints them.
        let mut chance = Chance::new(0);
        assert_eq!(chance.number(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(chance.number(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn numbers_stay_within_their_bounds() {
        let mut chance = Chance::new(7);
        let (least, most) = (Duration::from_secs(3), Duration::from_secs(5));
        for _ in 0..1_000 {
            assert!(chance.below(10) < 10);
            assert!((least..=most).contains(&chance.span(least, most)));
        }
        assert_eq!(chance.below(0), 0);
        assert!(!chance.one_in(0));
        assert_eq!(chance.pick::<u8>(&[]), None);
    }
}
