//! Random numbers from a seed, the same on every machine, and the count of injected faults.

use std::collections::BTreeMap;

/// SplitMix64 (Steele, Lea and Flood, 2014): one word of state; every seed is as good as another.
#[derive(Debug)]
pub(crate) struct Random {
    state: u64,
    faults: BTreeMap<&'static str, u64>,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random { state: seed, faults: BTreeMap::new() }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Returns a number below `limit`, or zero if `limit` is zero. Integers only: floating point would not
    /// replay on every machine.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// Returns a number below `limit`. Draws nothing if there is no choice.
    pub(crate) fn below_if(&mut self, limit: u64) -> u64 {
        if limit > 1 { self.below(limit) } else { 0 }
    }

    /// Returns true once in `times` draws on average. Zero means never, and draws nothing.
    pub(crate) fn one_in(&mut self, times: u32) -> bool {
        times > 0 && self.below(u64::from(times)) == 0
    }

    /// Returns whether a fault strikes, one time in `times`, and counts it under `name` if so.
    pub(crate) fn fault(&mut self, name: &'static str, times: u32) -> bool {
        let strikes = self.one_in(times);
        if strikes {
            self.count_fault(name);
        }
        strikes
    }

    /// Counts a fault that the test requested.
    pub(crate) fn count_fault(&mut self, name: &'static str) {
        *self.faults.entry(name).or_default() += 1;
    }

    pub(crate) fn faults(&self) -> &BTreeMap<&'static str, u64> {
        &self.faults
    }

    /// Fisher-Yates.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.below(index as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_numbers() {
        let mut random = Random::new(1);
        let numbers = [random.next(), random.next(), random.below(10)];
        assert_eq!(numbers, [0x910a_2dec_8902_5cc1, 0xbeeb_8da1_658e_ec67, 9]);
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..100).collect();
        Random::new(7).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
