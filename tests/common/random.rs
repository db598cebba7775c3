//! Random numbers from a seed, which is printed and can be set with `SEED`.

use std::time::{SystemTime, UNIX_EPOCH};

use words::Words;

#[path = "../sim/random.rs"]
mod words;

/// SplitMix64 (Steele, Lea and Flood, 2014): one word of state.
#[derive(Clone, Debug)]
pub(crate) struct Random(Words);

/// The seed of this run: `SEED`, or one from the time. Prints it with the name of the test.
pub(crate) fn seed(test: &str) -> u64 {
    let seed = match std::env::var("SEED") {
        Ok(seed) => seed.parse().expect("SEED is a number"),
        Err(_) => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos() as u64 % 1_000_000_000),
    };
    println!("{test}: SEED={seed}");
    seed
}

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(Words::new(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.next()
    }

    /// A number less than `limit`, which is not zero.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// Returns true once in `many` calls on average.
    pub(crate) fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    /// A number from 1 to `most`. Every order of magnitude is equally likely.
    pub(crate) fn size(&mut self, most: usize) -> usize {
        let bits = usize::BITS - most.leading_zeros();
        let shift = self.below(bits as usize);
        self.between(1, (most >> shift).max(1))
    }

    /// One of the items, if there are any.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { Some(&from[self.below(from.len())]) }
    }
}

/// An endless sequence of known bytes for each stream: one side sends them, the other checks them.
///
/// The period is a prime, so that it is not a multiple of any buffer's size.
pub(crate) struct Bytes {
    table: Vec<u8>,
}

const PERIOD: usize = 65_521;
const SPARE: usize = 1 << 20;

impl Bytes {
    pub(crate) fn new() -> Bytes {
        let mut random = Random::new(42);
        let mut table: Vec<u8> = (0..PERIOD).map(|_| random.next() as u8).collect();
        while table.len() < PERIOD + SPARE {
            table.extend_from_within(..PERIOD.min(PERIOD + SPARE - table.len()));
        }
        Bytes { table }
    }

    /// The bytes at a position of a stream: `len` of them, or a mebibyte if that is less.
    pub(crate) fn at(&self, stream: u64, position: u64, len: usize) -> &[u8] {
        let start = ((position % PERIOD as u64 + stream % PERIOD as u64 * 7919) % PERIOD as u64) as usize;
        &self.table[start..start + len.min(SPARE)]
    }

    /// Returns whether a stream has these bytes at this position.
    pub(crate) fn check(&self, stream: u64, mut position: u64, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let expected = self.at(stream, position, bytes.len());
            let (head, rest) = bytes.split_at(expected.len());
            if head != expected {
                return false;
            }
            position += head.len() as u64;
            bytes = rest;
        }
        true
    }
}
