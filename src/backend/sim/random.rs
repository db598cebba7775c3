//! Chance from a seed: the same on every machine. And what went wrong by it, or on request, counted.

use std::collections::BTreeMap;

/// SplitMix64 (Steele, Lea and Flood, 2014): one word of state, and any seed is as good as another.
#[derive(Debug)]
pub(crate) struct Random {
    word: u64,
    faults: BTreeMap<&'static str, u64>,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random { word: seed, faults: BTreeMap::new() }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.word = self.word.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.word;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number less than `limit`; zero if that is zero. No floating point anywhere: it would not be the same on
    /// every machine.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// A number less than `limit`. Nothing is drawn where there is no choice.
    pub(crate) fn below_if(&mut self, limit: u64) -> u64 {
        if limit > 1 { self.below(limit) } else { 0 }
    }

    /// True once in so many times; never for zero, and then nothing is drawn.
    pub(crate) fn one_in(&mut self, times: u32) -> bool {
        times > 0 && self.below(u64::from(times)) == 0
    }

    /// The same for what is a fault.
    pub(crate) fn spoils(&mut self, what: &'static str, times: u32) -> bool {
        let spoilt = self.one_in(times);
        if spoilt {
            self.count_fault(what);
        }
        spoilt
    }

    /// A fault that was asked for.
    pub(crate) fn count_fault(&mut self, what: &'static str) {
        *self.faults.entry(what).or_default() += 1;
    }

    pub(crate) fn faults(&self) -> &BTreeMap<&'static str, u64> {
        &self.faults
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for place in (1..items.len()).rev() {
            items.swap(place, self.below(place as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_for_ever() {
        let mut random = Random::new(1);
        let numbers = [random.next(), random.next(), random.below(10)];
        assert_eq!(numbers, [0x910a_2dec_8902_5cc1, 0xbeeb_8da1_658e_ec67, 9]);
    }

    #[test]
    fn a_shuffle_loses_nothing() {
        let mut items: Vec<u32> = (0..100).collect();
        Random::new(7).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
