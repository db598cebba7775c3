//! Ids: copies that name a handle, and that can outlive it.
//!
//! A serial number is given once in the life of a loop, so a stale id cannot reach the handle that reused its
//! slot. Serial numbers have 64 bits: 32 would wrap within minutes in a loop that starts ten million timers a
//! second.

use std::{fmt, num::NonZeroU64};

use crate::queue::slots::SlotId;

/// The id of a handle of any kind.
///
/// Every typed handle ([`Timer`](crate::Timer), [`TcpStream`](crate::net::TcpStream), …) wraps one and
/// converts into it. Ids are plain copies: store them, compare them, send them to other threads, keep them
/// after the handle is closed. The ids of a loop are ordered by creation, so programs that keep them in
/// ordered maps replay exactly.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle {
    pub(crate) lp: u32,
    // Before the index: the derived order is that of creation.
    pub(crate) serial: NonZeroU64,
    pub(crate) index: u32,
}

impl Handle {
    /// Returns the key that stands for this handle in the backend.
    pub(crate) fn key(self) -> Key {
        Key::new(self.index, self.serial)
    }
}

impl From<SlotId> for Handle {
    #[inline]
    fn from(SlotId { container: lp, serial, index }: SlotId) -> Handle {
        Handle { lp, serial, index }
    }
}

impl From<Handle> for SlotId {
    #[inline]
    fn from(Handle { lp: container, serial, index }: Handle) -> SlotId {
        SlotId { container, serial, index }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Handle({}.{}@{})", self.lp, self.serial, self.index)
    }
}

/// A handle's id in 64 bits: its index, and the low half of its serial number.
///
/// Keys pass through the kernel and come back with events. The half of the serial number tells a stale event
/// from a fresh one: to be mistaken, an event would have to stay in one batch while 2³² handles are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) u64);

impl Key {
    /// The wake fd of the backend. Not a handle's key: no handle has an index of `u32::MAX`.
    pub(crate) const WAKE_FD: Key = Key(u64::MAX);
    /// The signal descriptor of the backend.
    pub(crate) const SIGNALS: Key = Key(u64::MAX - (1 << 32));
    /// Closures posted from other threads.
    pub(crate) const POSTS: Key = Key(u64::MAX - (2 << 32));
    /// Jobs completed by the worker pool.
    pub(crate) const JOBS: Key = Key(u64::MAX - (3 << 32));

    fn new(index: u32, serial: NonZeroU64) -> Key {
        Key(u64::from(index) | serial.get() << 32)
    }

    pub(crate) fn index(self) -> u32 {
        self.0 as u32
    }

    /// Returns whether this key was made from that serial number.
    pub(crate) fn is_of(self, serial: NonZeroU64) -> bool {
        (self.0 >> 32) as u32 == serial.get() as u32
    }
}
