//! What crosses threads is made of this: the standard library's, under one name.
//!
//! `interleavings/` puts a file of its own in the place of this one, with the same names. There each access is a step,
//! which a model checker puts before and after those of other threads, and blocks and rings are so small that their
//! ends are met at once.

pub(crate) use std::sync::Arc;
pub(super) use std::{
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence},
    },
    thread,
};

/// Numbers that a block of a mailbox has, a power of two.
pub(super) const SPAN: u64 = 64;
/// Jobs in the ring of a pool. More than are ever in flight but in a flood; two kilobytes.
pub(super) const ROOM: u64 = 256;

/// Memory that many threads reach and one at a time may use: which one, they have agreed on by other means.
#[derive(Debug)]
pub(super) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub(super) const fn new(value: T) -> UnsafeCell<T> {
        UnsafeCell(std::cell::UnsafeCell::new(value))
    }

    /// For who reads.
    #[inline]
    pub(super) fn with<R>(&self, op: impl FnOnce(*const T) -> R) -> R {
        op(self.0.get())
    }

    /// For who writes.
    #[inline]
    pub(super) fn with_mut<R>(&self, op: impl FnOnce(*mut T) -> R) -> R {
        op(self.0.get())
    }
}

/// Waits for so long as it takes to say so, because another thread is at something.
#[inline]
pub(super) fn pause(spins: u32) {
    (0..spins).for_each(|_| std::hint::spin_loop());
}
