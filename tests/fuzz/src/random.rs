//! Random words for the programs of `tests/sim/`: from the fuzzer's bytes while there are some, then from a
//! seed.

use std::{cell::RefCell, collections::VecDeque};

#[path = "../../sim/random.rs"]
mod seeded;

thread_local! {
    static BYTES: RefCell<VecDeque<u8>> = RefCell::default();
}

/// Makes the next words that this thread draws come from `bytes`.
pub(crate) fn feed(bytes: &[u8]) {
    BYTES.set(bytes.iter().copied().collect());
}

pub(crate) struct Words(seeded::Words);

impl Words {
    pub(crate) fn new(seed: u64) -> Words {
        Words(seeded::Words::new(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        let fed = BYTES.with_borrow_mut(|bytes| {
            Some(u64::from(bytes.pop_front()?) | u64::from(bytes.pop_front()?) << 8)
        });
        // Twice, so that it is larger than any limit that programs draw below.
        fed.map_or_else(|| self.0.next(), |word| word << 16 | word)
    }
}
