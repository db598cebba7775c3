//! The table of handles.
//!
//! Its counts are updated as flags change, never recounted, so whether the loop is alive is known at once.

use std::{collections::BTreeMap, num::NonZeroU64, panic::Location};

use super::{Handle, Key, flags::Flags};
use crate::queue::slots::{Numbered, Slots};

/// One handle. `B` is the state of its kind.
#[derive(Debug)]
pub(crate) struct Slot<B> {
    serial: NonZeroU64,
    pub(crate) started_at: &'static Location<'static>,
    /// Requests in flight. A closing handle waits for them.
    pub(crate) requests: u32,
    flags: Flags,
    pub(crate) body: B,
}

impl<B> Slot<B> {
    pub(crate) fn flags(&self) -> Flags {
        self.flags
    }
}

impl<B> Numbered for Slot<B> {
    #[inline]
    fn serial(&self) -> NonZeroU64 {
        self.serial
    }
}

/// Why a handle is of no use to an operation. Becomes an [`Error`](crate::Error).
#[derive(Debug)]
pub(crate) enum NotOpen {
    /// The handle is closed, or closing.
    Closed { op: &'static str },
    /// The handle belongs to another loop.
    WrongLoop { op: &'static str },
}

/// Every handle of one loop.
///
/// 1. `alive` is the number of slots whose flags keep the loop alive, `closing` the number of those that are
///    closing.
/// 2. `names` are of slots that are occupied.
#[derive(Debug)]
pub(crate) struct Table<B> {
    slots: Slots<Slot<B>>,
    alive: usize,
    closing: usize,
    names: BTreeMap<u32, String>,
}

impl<B> Table<B> {
    pub(crate) fn new(lp: u32) -> Table<B> {
        Table { slots: Slots::new(lp), alive: 0, closing: 0, names: BTreeMap::new() }
    }

    /// Inserts a handle. `body` builds its state from its id.
    pub(crate) fn insert_with(
        &mut self,
        started_at: &'static Location<'static>,
        body: impl FnOnce(Handle) -> B,
    ) -> Handle {
        let id = self.slots.insert_with(|id| Slot {
            serial: id.serial,
            started_at,
            requests: 0,
            flags: Flags::default(),
            body: body(id.into()),
        });
        id.into()
    }

    /// Returns the slot of an open handle, or why there is none.
    pub(crate) fn require(&mut self, handle: Handle, op: &'static str) -> Result<&mut Slot<B>, NotOpen> {
        if handle.lp != self.slots.container() {
            return Err(NotOpen::WrongLoop { op });
        }
        self.get_open(handle).ok_or(NotOpen::Closed { op })
    }

    /// Returns the slot of an open handle.
    pub(crate) fn get_open(&mut self, handle: Handle) -> Option<&mut Slot<B>> {
        self.get_mut(handle).filter(|slot| !slot.flags.closing)
    }

    /// Returns the slot of a handle that is open or closing.
    #[inline]
    pub(crate) fn get(&self, handle: Handle) -> Option<&Slot<B>> {
        self.slots.get(handle.into())
    }

    /// Returns the slot of a handle that is open or closing.
    #[inline]
    pub(crate) fn get_mut(&mut self, handle: Handle) -> Option<&mut Slot<B>> {
        self.slots.get_mut(handle.into())
    }

    /// Returns the open handle that a key was made from, and its slot.
    #[inline]
    pub(crate) fn resolve(&self, key: Key) -> Option<(Handle, &Slot<B>)> {
        let (id, slot) = self.slots.at(key.index())?;
        (key.is_of(id.serial) && !slot.flags.closing).then_some((id.into(), slot))
    }

    /// Returns the handle in a slot, open or closing, and the slot.
    #[inline]
    pub(crate) fn slot_at(&self, index: u32) -> Option<(Handle, &Slot<B>)> {
        self.slots.at(index).map(|(id, slot)| (id.into(), slot))
    }

    /// Returns the handle in a slot, open or closing.
    #[inline]
    pub(crate) fn at(&self, index: u32) -> Option<Handle> {
        self.slots.at(index).map(|(id, _)| id.into())
    }

    /// Changes the flags of a handle and updates the counts. Does nothing if the handle is gone.
    pub(crate) fn update(&mut self, handle: Handle, change: impl FnOnce(&mut Flags)) {
        let Some(slot) = self.get_mut(handle) else { return };
        let before = slot.flags;
        change(&mut slot.flags);
        let after = slot.flags;
        self.alive = self.alive + usize::from(after.keeps_alive()) - usize::from(before.keeps_alive());
        self.closing = self.closing + usize::from(after.closing) - usize::from(before.closing);
    }

    pub(crate) fn remove(&mut self, handle: Handle) -> Option<Slot<B>> {
        let slot = self.slots.remove(handle.into())?;
        self.names.remove(&handle.index);
        self.alive -= usize::from(slot.flags.keeps_alive());
        self.closing -= usize::from(slot.flags.closing);
        Some(slot)
    }

    /// Releases unused slots at the end after a burst. Returns the new capacity if it shrank.
    pub(crate) fn shrink(&mut self) -> Option<usize> {
        self.slots.shrink()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    /// Returns the number of handles that keep the loop alive.
    pub(crate) fn alive(&self) -> usize {
        self.alive
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Handle, &Slot<B>)> {
        self.slots.iter().map(|(id, slot)| (id.into(), slot))
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
        self.slots.verify();
        let count = |test: fn(Flags) -> bool| self.iter().filter(|(_, slot)| test(slot.flags)).count();
        assert_eq!(count(Flags::keeps_alive), self.alive, "handles that keep the loop alive are counted");
        assert_eq!(count(|flags| flags.closing), self.closing, "closing handles are counted");
        for &index in self.names.keys() {
            assert!(self.at(index).is_some(), "a name belongs to an occupied slot");
        }
    }
}
