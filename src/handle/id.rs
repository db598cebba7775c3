//! Ids: small copies that stand for a handle, and go stale without harm.
//!
//! A serial number is given once in the life of a loop, never again, so an id cannot reach another
//! handle that took its slot. 64 bits, because 32 would wrap within minutes of starting ten million
//! timers a second.

use std::{fmt, num::NonZeroU64};

/// The id of a handle of any kind: where it is, and which it is.
///
/// Every typed handle ([`Timer`](crate::Timer), [`TcpStream`](crate::net::TcpStream), …) is one of
/// these with a type around it and converts into it. Ids are plain copies: they can be stored,
/// compared, sent to other threads and kept after the handle is gone. Their order is that of
/// creation, so programs that keep them in ordered maps replay exactly.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle {
    pub(crate) lp: u32,
    // Before the index: ids of one loop order by creation.
    pub(crate) serial: NonZeroU64,
    pub(crate) index: u32,
}

impl Handle {
    /// This id as the backend sees it.
    pub(crate) fn key(self) -> Key {
        Key::new(self.index, self.serial)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Handle({}.{}@{})", self.lp, self.serial, self.index)
    }
}

/// A handle's id in 64 bits: its index, and as much of its serial number as fits.
///
/// Keys travel through the kernel and come back with events. The 32 bits of the serial tell a
/// stale event from a fresh one: to be mistaken, an event would have to stay in one batch while
/// four thousand million handles are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) u64);

impl Key {
    /// The backend's own doorbell. Not a handle's key: no table has an index of `u32::MAX`.
    pub(crate) const WAKE_FD: Key = Key(u64::MAX);
    /// The backend's own signal descriptor.
    pub(crate) const SIGNALS: Key = Key(u64::MAX - (1 << 32));
    /// Closures posted from other threads.
    pub(crate) const POSTS: Key = Key(u64::MAX - (2 << 32));
    /// Jobs done by the worker pool.
    pub(crate) const JOBS: Key = Key(u64::MAX - (3 << 32));

    fn new(index: u32, serial: NonZeroU64) -> Key {
        Key(u64::from(index) | serial.get() << 32)
    }

    pub(crate) fn index(self) -> u32 {
        self.0 as u32
    }

    /// Whether this key was made from that serial number.
    pub(crate) fn is_of(self, serial: NonZeroU64) -> bool {
        (self.0 >> 32) as u32 == serial.get() as u32
    }
}

/// Declares the typed id of a kind, with what every handle can do.
macro_rules! typed_handle {
    ($(#[$attribute:meta])* $name:ident) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(crate) $crate::handle::Handle);

        impl $name {
            /// Closes the handle. None of its events arrive after this returns, not even one that is
            /// in the batch being dispatched; what it holds of the system is released now.
            ///
            /// Pending requests are answered with [`Error::Canceled`](crate::Error::Canceled), then
            /// the closing phase of this turn drops the callback. May be called from any callback,
            /// its own included. Does nothing if the handle is closed, or of another loop.
            pub fn close<S>(self, lp: &mut $crate::Loop<S>) {
                lp.close(self);
            }

            /// Closes the handle and calls `callback` when that is done: in the closing phase, after
            /// the answers to its requests and the last event of the handle's own callback. If it is
            /// closed already, the callback runs in the next deferred phase.
            #[track_caller]
            pub fn close_then<S>(
                self,
                lp: &mut $crate::Loop<S>,
                callback: impl FnOnce(&mut $crate::Loop<S>, &mut S) -> $crate::Result + 'static,
            ) {
                lp.close_then(self, callback);
            }

            /// Lets the loop end although this handle is active. A request in flight still holds it.
            ///
            /// Idempotent. Answers [`Error::Closed`](crate::Error::Closed) if the handle is closed.
            pub fn unref<S>(self, lp: &mut $crate::Loop<S>) -> $crate::Result {
                lp.set_referenced(self, false)
            }

            /// Undoes [`unref`](Self::unref): while the handle is active, the loop runs on.
            ///
            /// Every handle starts like this. Idempotent. Answers
            /// [`Error::Closed`](crate::Error::Closed) if the handle is closed.
            pub fn re_ref<S>(self, lp: &mut $crate::Loop<S>) -> $crate::Result {
                lp.set_referenced(self, true)
            }

            /// Whether the handle keeps the loop running while it is active.
            pub fn has_ref<S>(self, lp: &$crate::Loop<S>) -> bool {
                lp.is_referenced(self)
            }

            /// Whether the handle is started: something may still happen to it by itself.
            pub fn is_active<S>(self, lp: &$crate::Loop<S>) -> bool {
                lp.is_active(self)
            }

            /// Whether the handle exists and is not being closed.
            pub fn is_open<S>(self, lp: &$crate::Loop<S>) -> bool {
                lp.is_open(self)
            }

            /// Names the handle, for failures and for [`Loop::why_alive`](crate::Loop::why_alive).
            ///
            /// Answers [`Error::Closed`](crate::Error::Closed) if the handle is closed.
            pub fn set_name<S>(self, lp: &mut $crate::Loop<S>, name: impl Into<String>) -> $crate::Result {
                lp.set_name(self, name)
            }
        }

        impl From<$name> for $crate::handle::Handle {
            fn from(handle: $name) -> $crate::handle::Handle {
                handle.0
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(out, concat!(stringify!($name), "({}.{}@{})"), self.0.lp, self.0.serial, self.0.index)
            }
        }
    };
}

pub(crate) use typed_handle;
