//! What a random program does: a seed, and the ops that are left out.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::random::Words;

/// The ops that all programs of a plan carry out together, and those of a large plan.
const OPS_MAX: u32 = 400;
const OPS_MAX_LARGE: u32 = 2000;
/// One plan in so many is large.
const LARGE_ONE_IN: u64 = 128;

/// Random numbers as programs need them.
pub(crate) struct Random(Words);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(Words::new(seed))
    }

    /// Returns a number below `limit`, or zero if `limit` is zero.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0.next() % limit.max(1)
    }

    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        items.get(self.below(items.len() as u64) as usize).copied()
    }

    pub(super) fn delay(&mut self, speedup: u32) -> Duration {
        let max = [1, 1_000, 20_000, 2_000_000][self.below(4) as usize];
        Duration::from_micros(self.below(max)) / speedup
    }
}

/// A seed, and which ops are left out.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) skipped: BTreeSet<u32>,
    next_ordinal: Cell<u32>,
    log: RefCell<Vec<(u32, &'static str)>>,
}

impl Plan {
    pub(crate) fn new(seed: u64, skipped: BTreeSet<u32>) -> Plan {
        Plan { seed, skipped, next_ordinal: Cell::new(0), log: RefCell::default() }
    }

    /// Returns the number of ops before everything is closed. Callbacks may then carry out as many again.
    pub(crate) fn ops_max(&self) -> u32 {
        if self.is_large() { OPS_MAX_LARGE } else { OPS_MAX }
    }

    fn is_large(&self) -> bool {
        self.seed % LARGE_ONE_IN == LARGE_ONE_IN - 1
    }

    /// Returns the number of ops that a program starts with.
    pub(super) fn ops_at_start(&self) -> u32 {
        if self.is_large() { OPS_MAX_LARGE / 6 } else { 4 }
    }

    pub(crate) fn rewind(&self) {
        self.next_ordinal.set(0);
        self.log.borrow_mut().clear();
    }

    /// Returns the number of ordinals that were drawn.
    pub(crate) fn count(&self) -> u32 {
        self.next_ordinal.get()
    }

    /// Draws the ordinal of the next op.
    pub(crate) fn next(&self) -> u32 {
        self.next_ordinal.replace(self.next_ordinal.get() + 1)
    }

    pub(crate) fn allows(&self, ordinal: u32) -> bool {
        ordinal < 2 * self.ops_max() && !self.skipped.contains(&ordinal)
    }

    /// Returns the random numbers of one op. They depend on nothing but the seed and the ordinal.
    pub(super) fn random_of(&self, ordinal: u32, factor: u64, shift: u32) -> Random {
        Random::new(self.seed.wrapping_mul(factor) ^ u64::from(ordinal) << shift)
    }

    pub(crate) fn record(&self, ordinal: u32, op: &'static str) {
        self.log.borrow_mut().push((ordinal, op));
    }

    /// Returns the ops that were carried out, a line each.
    pub(crate) fn carried_out(&self) -> Vec<String> {
        self.log.borrow().iter().map(|(ordinal, op)| format!("{ordinal:>5} {op}")).collect()
    }

    /// Returns how often each op was carried out.
    pub(crate) fn tally(&self) -> BTreeMap<&'static str, u32> {
        let mut tally = BTreeMap::new();
        self.log.borrow().iter().for_each(|(_, op)| *tally.entry(*op).or_default() += 1);
        tally
    }
}
