//! Chance, from a seed that is printed and can be given again as `SEED`.

use std::time::{SystemTime, UNIX_EPOCH};

/// SplitMix64: small, and good enough for this.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

/// The seed of this run: `SEED`, or the time.
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
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `limit`, which is not zero.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    pub(crate) fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    /// Between 1 and `most`, every order of magnitude as often as the others.
    pub(crate) fn size(&mut self, most: usize) -> usize {
        let bits = usize::BITS - most.leading_zeros();
        let shift = self.below(bits as usize);
        self.between(1, (most >> shift).max(1))
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { Some(&from[self.below(from.len())]) }
    }
}

/// Bytes without end, of which each place is known: to be sent here and checked there.
///
/// The period is a prime, so no buffer's size is in step with it.
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

    /// What comes at this place of this stream, up to a mebibyte.
    pub(crate) fn at(&self, stream: u64, place: u64, len: usize) -> &[u8] {
        let start = ((place % PERIOD as u64 + stream % PERIOD as u64 * 7919) % PERIOD as u64) as usize;
        &self.table[start..start + len.min(SPARE)]
    }

    /// Whether this is what comes there.
    pub(crate) fn check(&self, stream: u64, mut place: u64, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let expected = self.at(stream, place, bytes.len());
            let (now, later) = bytes.split_at(expected.len());
            if now != expected {
                return false;
            }
            place += now.len() as u64;
            bytes = later;
        }
        true
    }
}
