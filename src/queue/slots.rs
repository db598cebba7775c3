//! A slab that numbers its values: slots are reused, serial numbers never.
//!
//! An id names a slot and the serial number of the value in it. So the id of a removed value finds nothing,
//! even when its slot holds another value.

use std::num::NonZeroU64;

use slab::Slab;

/// Below this capacity the slab doubles when it grows. From there on it grows by a quarter, because most of
/// what it grows by is empty most of the time.
const DOUBLES_BELOW: usize = 4096;
/// Capacity that is never released.
const CAPACITY_KEPT: usize = 1024;

/// The id of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotId {
    /// The number of the container: every other container refuses the id.
    pub(crate) container: u32,
    pub(crate) serial: NonZeroU64,
    pub(crate) index: u32,
}

/// A value that stores the serial number it was inserted with.
///
/// Stored by the value, not beside it, so that the value decides where it lies.
pub(crate) trait Numbered {
    fn serial(&self) -> NonZeroU64;
}

/// The slab.
///
/// 1. A serial number is given once. Those present are at most `serials`.
/// 2. No value has an index of `u32::MAX`.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    container: u32,
    slab: Slab<T>,
    serials: u64,
}

impl<T: Numbered> Slots<T> {
    /// Creates an empty slab, whose ids carry the number `container`.
    pub(crate) fn new(container: u32) -> Slots<T> {
        Slots { container, slab: Slab::new(), serials: 0 }
    }

    /// Inserts the value that `make` builds. It must keep the serial number of the id it gets.
    #[inline]
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(SlotId) -> T) -> SlotId {
        self.serials += 1;
        let serial = NonZeroU64::new(self.serials).expect("serials start at one");
        self.reserve_one();
        let entry = self.slab.vacant_entry();
        let index = u32::try_from(entry.key())
            .ok()
            .filter(|&index| index < u32::MAX)
            .expect("fewer than 2³² - 1 values");
        let id = SlotId { container: self.container, serial, index };
        entry.insert(make(id));
        id
    }

    #[inline]
    pub(crate) fn get(&self, id: SlotId) -> Option<&T> {
        let value = self.slab.get(id.index as usize)?;
        (value.serial() == id.serial && id.container == self.container).then_some(value)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: SlotId) -> Option<&mut T> {
        let value = self.slab.get_mut(id.index as usize)?;
        (value.serial() == id.serial && id.container == self.container).then_some(value)
    }

    /// Returns whatever value is in the slot `index`.
    #[inline]
    pub(crate) fn at(&self, index: u32) -> Option<(SlotId, &T)> {
        let value = self.slab.get(index as usize)?;
        Some((SlotId { container: self.container, serial: value.serial(), index }, value))
    }

    /// Returns whatever value is in the slot `index`.
    #[inline]
    pub(crate) fn at_mut(&mut self, index: u32) -> Option<(SlotId, &mut T)> {
        let value = self.slab.get_mut(index as usize)?;
        Some((SlotId { container: self.container, serial: value.serial(), index }, value))
    }

    #[inline]
    pub(crate) fn remove(&mut self, id: SlotId) -> Option<T> {
        self.get(id)?;
        Some(self.slab.remove(id.index as usize))
    }

    /// Releases unused slots at the end after a burst. Returns the new capacity if there was something to
    /// release.
    ///
    /// It takes time in proportion to the capacity, so it is done only at lengths that are a power of two: a
    /// few times in all while a burst drains.
    pub(crate) fn shrink(&mut self) -> Option<usize> {
        let (len, capacity) = (self.slab.len(), self.slab.capacity());
        if capacity <= CAPACITY_KEPT || len * 8 > capacity || !(len == 0 || len.is_power_of_two()) {
            return None;
        }
        self.slab.shrink_to_fit();
        Some(self.slab.capacity())
    }

    pub(crate) fn container(&self) -> u32 {
        self.container
    }

    pub(crate) fn capacity(&self) -> usize {
        self.slab.capacity()
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    /// Every value, in the order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SlotId, &T)> {
        let container = self.container;
        self.slab.iter().map(move |(index, value)| {
            (SlotId { container, serial: value.serial(), index: index as u32 }, value)
        })
    }

    /// Panics unless the invariants hold.
    pub(crate) fn verify(&self) {
        for (index, value) in &self.slab {
            assert!(value.serial().get() <= self.serials, "a serial number was given by this slab");
            assert!(index < u32::MAX as usize, "an index is less than 2³² - 1");
        }
    }

    #[inline]
    fn reserve_one(&mut self) {
        let capacity = self.slab.capacity();
        if self.slab.len() == capacity && capacity >= DOUBLES_BELOW {
            self.slab.reserve_exact(capacity / 4);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Numbered for NonZeroU64 {
        fn serial(&self) -> NonZeroU64 {
            *self
        }
    }

    fn filled(count: usize) -> (Slots<NonZeroU64>, Vec<SlotId>) {
        let mut slots = Slots::new(7);
        let ids = (0..count).map(|_| slots.insert_with(|id| id.serial)).collect();
        slots.verify();
        (slots, ids)
    }

    #[test]
    fn a_stale_id_does_not_find_the_value_that_reused_its_slot() {
        let (mut slots, ids) = filled(1);
        assert_eq!(slots.remove(ids[0]), Some(ids[0].serial));
        let id = slots.insert_with(|id| id.serial);
        assert_eq!((id.index, id.serial.get()), (ids[0].index, ids[0].serial.get() + 1));
        assert_eq!(slots.get(ids[0]), None);
        assert_eq!(slots.get_mut(ids[0]), None);
        assert_eq!(slots.remove(ids[0]), None);
        assert_eq!(slots.at(id.index), Some((id, &id.serial)));
    }

    #[test]
    fn an_id_of_another_container_finds_nothing() {
        let (mut slots, ids) = filled(1);
        let foreign = SlotId { container: 8, ..ids[0] };
        assert_eq!(slots.get(foreign), None);
        assert_eq!(slots.remove(foreign), None);
        assert_eq!(slots.len(), 1);
    }

    #[test]
    fn a_large_slab_grows_by_a_quarter() {
        let (slots, _) = filled(DOUBLES_BELOW + 1);
        assert_eq!(slots.capacity(), DOUBLES_BELOW / 4 * 5);
    }

    #[test]
    fn capacity_is_released_after_a_burst() {
        let (mut slots, ids) = filled(10_000);
        for &id in ids[1..].iter().rev() {
            slots.remove(id);
            slots.shrink();
        }
        assert!(slots.capacity() <= CAPACITY_KEPT, "{}", slots.capacity());
        assert_eq!(slots.get(ids[0]), Some(&ids[0].serial));
    }
}
