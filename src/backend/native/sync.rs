//! The primitives of everything that crosses threads: the standard library's, under one name.
//!
//! Under loom `tests/loom/sync.rs` takes the place of this file, with the same names. There each access is a
//! step of the model checker's, and blocks and ring buffers are so small that a model reaches their ends.

pub(crate) use std::sync::Arc;
pub(super) use std::{
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence},
    },
    thread,
};

/// Indices that a block of an `MpscQueue` takes. A power of two.
pub(super) const LAP: u64 = 64;
/// Slots in the ring of a `JobQueue`. More jobs are in flight only in a burst. 2 KiB.
pub(super) const RING_CAP: u64 = 256;

/// A cell that many threads can reach and one at a time accesses: which one is decided elsewhere.
///
/// The standard library's, with the interface of loom's.
#[derive(Debug)]
pub(super) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub(super) const fn new(value: T) -> UnsafeCell<T> {
        UnsafeCell(std::cell::UnsafeCell::new(value))
    }

    /// Calls `op` with a pointer to read through.
    #[inline]
    pub(super) fn with<R>(&self, op: impl FnOnce(*const T) -> R) -> R {
        op(self.0.get())
    }

    /// Calls `op` with a pointer to write through.
    #[inline]
    pub(super) fn with_mut<R>(&self, op: impl FnOnce(*mut T) -> R) -> R {
        op(self.0.get())
    }
}

/// Executes so many spin-loop hints, while another thread is about to be done.
#[inline]
pub(super) fn pause(spins: u32) {
    (0..spins).for_each(|_| std::hint::spin_loop());
}
