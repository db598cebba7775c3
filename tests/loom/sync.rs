//! Stands in for the library's `sync`: the same names, but each access is a step of loom's.
//!
//! loom supports `SeqCst` for fences only, and treats a `SeqCst` access as `AcqRel`. So a `SeqCst` access
//! gets a fence: before it if it reads, or after it if it writes. Either gives all that the language promises
//! for such accesses among themselves, and more: the first also orders earlier writes of any ordering, the
//! second also later reads. So each model runs with both, and passes only if it needs neither of the extras.

// Each type has all operations, used or not.
#![allow(dead_code)]

use std::{cell::Cell, ops};

pub(crate) use loom::sync::Arc;
pub(super) use loom::sync::{Condvar, Mutex, MutexGuard, atomic::fence};
pub(super) use std::sync::{PoisonError, atomic::Ordering};

/// Three slots a block: a plain one, one before the last, and the last, whose producer links the next block.
pub(super) const LAP: u64 = 4;
/// The least that wraps around in a model of a few items.
pub(super) const RING_CAP: u64 = 2;

pub(super) use loom::cell::UnsafeCell;

/// Yields, so that loom runs the other threads. Without that it would explore one more poll forever.
pub(super) fn pause(_spins: u32) {
    loom::thread::yield_now();
}

thread_local! {
    static FENCES_FIRST: Cell<bool> = const { Cell::new(true) };
    static REFUSED: Cell<u32> = const { Cell::new(0) };
}

/// Sets where the fences of `SeqCst` accesses are, in this thread.
pub(super) fn put_fences_first(first: bool) {
    FENCES_FIRST.set(first);
}

fn before(order: Ordering, reads: bool) {
    if order == Ordering::SeqCst && reads && FENCES_FIRST.get() {
        fence(Ordering::SeqCst);
    }
}

fn after(order: Ordering, wrote: bool) {
    if order == Ordering::SeqCst && wrote && !FENCES_FIRST.get() {
        fence(Ordering::SeqCst);
    }
}

fn access<R>(order: Ordering, reads: bool, writes: bool, op: impl FnOnce() -> R) -> R {
    before(order, reads);
    let result = op();
    after(order, writes);
    result
}

/// A compare-exchange. One that fails is a read only.
fn exchange<T>(order: Ordering, op: impl FnOnce() -> Result<T, T>) -> Result<T, T> {
    before(order, true);
    let result = op();
    after(order, result.is_ok());
    result
}

macro_rules! atomic {
    ($name:ident [$($of:ident)?] $value:ty, $drop:ident) => {
        pub(super) struct $name$(<$of>)?(loom::sync::atomic::$name$(<$of>)?);

        impl$(<$of>)? $name$(<$of>)? {
            pub(super) fn new(value: $value) -> Self {
                Self(loom::sync::atomic::$name::new(value))
            }

            pub(super) fn load(&self, order: Ordering) -> $value {
                access(order, true, false, || self.0.load(order))
            }

            pub(super) fn store(&self, value: $value, order: Ordering) {
                access(order, false, true, || self.0.store(value, order));
            }

            pub(super) fn swap(&self, value: $value, order: Ordering) -> $value {
                access(order, true, true, || self.0.swap(value, order))
            }

            pub(super) fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                exchange(success, || self.0.compare_exchange(current, new, success, failure))
            }

            pub(super) fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(current, new, success, failure)
            }

            pub(super) fn fetch_update(
                &self,
                set: Ordering,
                fetch: Ordering,
                mut update: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                let mut before = self.load(fetch);
                while let Some(after) = update(before) {
                    match self.compare_exchange(before, after, set, fetch) {
                        Ok(_) => return Ok(before),
                        Err(other) => before = other,
                    }
                }
                Err(before)
            }
        }

        impl$(<$of>)? std::fmt::Debug for $name$(<$of>)? {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(out)
            }
        }

        /// Checks that all accesses of all threads happen before the drop.
        impl$(<$of>)? Drop for $name$(<$of>)? {
            fn drop(&mut self) {
                if !std::thread::panicking() {
                    $drop!(self);
                }
            }
        }
    };
}

macro_rules! last_of_all {
    ($atomic:ident) => {
        $atomic.0.with_mut(|_| ())
    };
}

/// loom's `AtomicBool` has no `with_mut`, so this checks the stores, not the loads.
macro_rules! after_all_stores {
    ($atomic:ident) => {
        // SAFETY: it is being dropped. loom reports a store that does not happen before this.
        _ = unsafe { $atomic.0.unsync_load() }
    };
}

atomic!(AtomicBool [] bool, after_all_stores);
atomic!(AtomicU8 [] u8, last_of_all);
atomic!(AtomicU64 [] u64, last_of_all);
atomic!(AtomicUsize [] usize, last_of_all);
atomic!(AtomicPtr [T] *mut T, last_of_all);

macro_rules! arithmetic {
    ($($name:ident $value:ty),*) => {
        $(impl $name {
            pub(super) fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                access(order, true, true, || self.0.fetch_add(value, order))
            }

            pub(super) fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                access(order, true, true, || self.0.fetch_sub(value, order))
            }

            pub(super) fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                access(order, true, true, || self.0.fetch_or(value, order))
            }
        })*
    };
}

arithmetic!(AtomicU64 u64, AtomicUsize usize);

impl Default for AtomicU64 {
    fn default() -> AtomicU64 {
        AtomicU64::new(0)
    }
}

impl<T> AtomicPtr<T> {
    pub(super) fn get_mut(&mut self) -> Exclusive<'_, T> {
        Exclusive { value: self.0.with_mut(|value| *value), of: self }
    }
}

/// The value, as `get_mut` returns it. Dropping this stores it.
pub(super) struct Exclusive<'a, T> {
    value: *mut T,
    of: &'a mut AtomicPtr<T>,
}

impl<T> ops::Deref for Exclusive<'_, T> {
    type Target = *mut T;

    fn deref(&self) -> &*mut T {
        &self.value
    }
}

impl<T> ops::DerefMut for Exclusive<'_, T> {
    fn deref_mut(&mut self) -> &mut *mut T {
        &mut self.value
    }
}

impl<T> Drop for Exclusive<'_, T> {
    fn drop(&mut self) {
        self.of.0.with_mut(|value| *value = self.value);
    }
}

/// Makes the next `count` spawns fail.
pub(super) fn refuse_threads(count: u32) {
    REFUSED.set(count);
}

pub(super) mod thread {
    use std::{io, num::NonZero};

    pub(in super::super) use loom::thread::{JoinHandle, ThreadId, current, yield_now};

    use super::REFUSED;

    /// One, so that no worker spins before it parks. Spinning would change only the time that a model takes.
    #[expect(clippy::unnecessary_wraps, reason = "as that of the standard library")]
    pub(in super::super) fn available_parallelism() -> io::Result<NonZero<usize>> {
        Ok(NonZero::<usize>::MIN)
    }

    pub(in super::super) struct Builder(loom::thread::Builder);

    impl Builder {
        pub(in super::super) fn new() -> Builder {
            Builder(loom::thread::Builder::new())
        }

        pub(in super::super) fn name(self, name: String) -> Builder {
            Builder(self.0.name(name))
        }

        pub(in super::super) fn spawn(
            self,
            op: impl FnOnce() + Send + 'static,
        ) -> io::Result<JoinHandle<()>> {
            match REFUSED.get() {
                0 => self.0.spawn(op),
                refused => {
                    REFUSED.set(refused - 1);
                    Err(io::ErrorKind::WouldBlock.into())
                }
            }
        }
    }
}
