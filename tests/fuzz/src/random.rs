//! Chance for the programs of `tests/sim/`: from the fuzzer's bytes as long as there are some, and then from a seed.

use std::{cell::RefCell, collections::VecDeque};

thread_local! {
    static BYTES: RefCell<VecDeque<u8>> = RefCell::default();
}

/// Whatever is drawn in this thread from now on comes from these bytes.
pub(crate) fn feed(bytes: &[u8]) {
    BYTES.set(bytes.iter().copied().collect());
}

pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        let fed = BYTES.with_borrow_mut(|bytes| {
            Some(u64::from(bytes.pop_front()?) | u64::from(bytes.pop_front()?) << 8)
        });
        // Twice, so that it is as large as anybody asks for.
        if let Some(word) = fed {
            return word << 16 | word;
        }
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
