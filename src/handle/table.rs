//! The table of handles: slots that are reused, serial numbers that are not.
//!
//! Counts are kept as states change, never recounted: `alive` answers "is the loop alive?" at once.

use std::{collections::BTreeMap, num::NonZeroU64, panic::Location};

use slab::Slab;

use super::{Handle, Key, flags::Flags};
use crate::error::{Error, Result};

/// Below so many slots the table doubles when it grows.
const GROWTH_DOUBLES_BELOW: usize = 4096;

/// One handle. `B` is what its kind keeps.
#[derive(Debug)]
pub(crate) struct Slot<B> {
    pub(crate) serial: NonZeroU64,
    pub(crate) started: &'static Location<'static>,
    /// Requests that are not answered yet. The end of a closing handle waits for them.
    pub(crate) requests: u32,
    flags: Flags,
    pub(crate) body: B,
}

impl<B> Slot<B> {
    pub(crate) fn flags(&self) -> Flags {
        self.flags
    }
}

/// Every handle of one loop.
///
/// 1. `alive` slots have a state that holds the loop; `closing` slots are closing.
/// 2. A serial number is given once.
/// 3. `names` are of present slots.
#[derive(Debug)]
pub(crate) struct Table<B> {
    lp: u32,
    slots: Slab<Slot<B>>,
    serials: u64,
    alive: usize,
    closing: usize,
    names: BTreeMap<u32, String>,
}

impl<B> Table<B> {
    pub(crate) fn new(lp: u32) -> Table<B> {
        Table { lp, slots: Slab::new(), serials: 0, alive: 0, closing: 0, names: BTreeMap::new() }
    }

    /// A new handle; `body` is made for its id.
    pub(crate) fn insert_with(
        &mut self,
        started: &'static Location<'static>,
        body: impl FnOnce(Handle) -> B,
    ) -> Handle {
        self.serials += 1;
        let serial = NonZeroU64::new(self.serials).expect("serials start at one");
        make_room(&mut self.slots);
        let entry = self.slots.vacant_entry();
        let index = u32::try_from(entry.key())
            .ok()
            .filter(|&index| index < u32::MAX)
            .expect("fewer handles than 2³²");
        let handle = Handle { lp: self.lp, serial, index };
        entry.insert(Slot { serial, started, requests: 0, flags: Flags::default(), body: body(handle) });
        handle
    }

    /// The slot of a handle that is open.
    pub(crate) fn require(&mut self, handle: Handle, op: &'static str) -> Result<&mut Slot<B>> {
        if handle.lp != self.lp {
            return Err(Error::WrongLoop { op });
        }
        // Made only if it is needed: an error is dropped as dearly as it is made.
        self.get_open(handle).ok_or_else(|| Error::Closed { op })
    }

    /// The same for those who pass over one that is gone.
    pub(crate) fn get_open(&mut self, handle: Handle) -> Option<&mut Slot<B>> {
        self.get_mut(handle).filter(|slot| !slot.flags.closing)
    }

    /// The slot of a handle, closing or not.
    pub(crate) fn get(&self, handle: Handle) -> Option<&Slot<B>> {
        let slot = self.slots.get(handle.index as usize)?;
        (slot.serial == handle.serial && handle.lp == self.lp).then_some(slot)
    }

    /// The slot of a handle, closing or not.
    pub(crate) fn get_mut(&mut self, handle: Handle) -> Option<&mut Slot<B>> {
        let slot = self.slots.get_mut(handle.index as usize)?;
        (slot.serial == handle.serial && handle.lp == self.lp).then_some(slot)
    }

    /// The handle that a key was made from, if it is still open.
    pub(crate) fn resolve(&self, key: Key) -> Option<Handle> {
        let slot = self.slots.get(key.index() as usize)?;
        (key.is_of(slot.serial) && !slot.flags.closing).then_some(Handle {
            lp: self.lp,
            serial: slot.serial,
            index: key.index(),
        })
    }

    /// The handle in a slot.
    pub(crate) fn at(&self, index: u32) -> Option<Handle> {
        let slot = self.slots.get(index as usize)?;
        Some(Handle { lp: self.lp, serial: slot.serial, index })
    }

    /// Changes the state of a handle and keeps the counts. Does nothing for one that is gone.
    pub(crate) fn update(&mut self, handle: Handle, change: impl FnOnce(&mut Flags)) {
        let Some(slot) = self.get_mut(handle) else { return };
        let before = slot.flags;
        change(&mut slot.flags);
        let after = slot.flags;
        self.alive = self.alive + usize::from(after.keeps_alive()) - usize::from(before.keeps_alive());
        self.closing = self.closing + usize::from(after.closing) - usize::from(before.closing);
    }

    pub(crate) fn remove(&mut self, handle: Handle) -> Option<Slot<B>> {
        self.get(handle)?;
        self.names.remove(&handle.index);
        let slot = self.slots.remove(handle.index as usize);
        self.alive -= usize::from(slot.flags.keeps_alive());
        self.closing -= usize::from(slot.flags.closing);
        Some(slot)
    }

    /// After a crowd has left, gives its room back: the free slots at the end, for those in use keep
    /// their place. Says how many slots there are now, if there were more.
    pub(crate) fn shrink(&mut self) -> Option<usize> {
        shrink(&mut self.slots)
    }

    /// How many slots there is room for.
    pub(crate) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    /// How many handles keep the loop alive.
    pub(crate) fn alive(&self) -> usize {
        self.alive
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Handle, &Slot<B>)> {
        let lp = self.lp;
        self.slots
            .iter()
            .map(move |(index, slot)| (Handle { lp, serial: slot.serial, index: index as u32 }, slot))
    }

    pub(crate) fn set_name(&mut self, handle: Handle, name: String) {
        self.names.insert(handle.index, name);
    }

    pub(crate) fn name(&self, handle: Handle) -> Option<&str> {
        self.get(handle)?;
        self.names.get(&handle.index).map(String::as_str)
    }

    /// Panics unless the invariants hold.
    pub(crate) fn verify(&self) {
        let alive = self.slots.iter().filter(|(_, slot)| slot.flags.keeps_alive()).count();
        assert_eq!(alive, self.alive, "the count of handles that hold the loop is kept");
        let closing = self.slots.iter().filter(|(_, slot)| slot.flags.closing).count();
        assert_eq!(closing, self.closing, "the count of closing handles is kept");
        for (_, slot) in &self.slots {
            assert!(slot.serial.get() <= self.serials, "serials are given in order");
        }
        for &index in self.names.keys() {
            assert!(self.slots.contains(index as usize), "a name has a handle");
        }
    }
}

/// Makes room in a slab that is full. A large one grows by a quarter, not to twice its size: what it grows by is
/// empty most of the time.
fn make_room<T>(slots: &mut Slab<T>) {
    let capacity = slots.capacity();
    if slots.len() == capacity && capacity >= GROWTH_DOUBLES_BELOW {
        slots.reserve_exact(capacity / 4);
    }
}

/// Shrinks a slab that is nearly empty. It takes time in proportion to the room, so only at lengths
/// that are a power of two: a few times in all while a crowd leaves.
pub(super) fn shrink<T>(slots: &mut Slab<T>) -> Option<usize> {
    let len = slots.len();
    if slots.capacity() <= 1024 || len * 8 > slots.capacity() || !(len == 0 || len.is_power_of_two()) {
        return None;
    }
    slots.shrink_to_fit();
    Some(slots.capacity())
}
