//! Typed ids, and what they can do with a loop.

use super::Loop;
use crate::{error::Result, handle::Request};

/// Declares the typed id of a kind, with the methods that every handle has.
macro_rules! typed_handle {
    ($(#[$attribute:meta])* $name:ident) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(crate) $crate::handle::Handle);

        impl $name {
            /// Closes the handle. Its descriptors are released now, and none of its events arrive after this
            /// returns, not even one in the batch that is being dispatched.
            ///
            /// Pending requests complete with [`Error::Canceled`](crate::Error::Canceled). Then the closing
            /// phase of this turn drops the callback. May be called from any callback, including its own.
            /// Does nothing if the handle is closed, or belongs to another loop.
            pub fn close<S>(self, lp: &mut $crate::Loop<S>) {
                lp.close(self);
            }

            /// Closes the handle and calls `callback` when it is closed.
            ///
            /// `callback` runs in the closing phase, after the callbacks of the handle's requests and after
            /// the last event of its own callback. If the handle is closed already, `callback` runs in the
            /// next deferred phase.
            #[track_caller]
            pub fn close_then<S>(
                self,
                lp: &mut $crate::Loop<S>,
                callback: impl FnOnce(&mut $crate::Loop<S>, &mut S) -> $crate::Result + 'static,
            ) {
                lp.close_then(self, callback);
            }

            /// Lets the loop return while this handle is active. A request in flight still keeps it alive.
            ///
            /// Idempotent. Returns [`Error::Closed`](crate::Error::Closed) if the handle is closed.
            pub fn unref<S>(self, lp: &mut $crate::Loop<S>) -> $crate::Result {
                lp.set_referenced(self, false)
            }

            /// Undoes [`unref`](Self::unref): the handle keeps the loop alive while it is active.
            ///
            /// This is the initial state of a handle. Idempotent. Returns
            /// [`Error::Closed`](crate::Error::Closed) if the handle is closed.
            pub fn re_ref<S>(self, lp: &mut $crate::Loop<S>) -> $crate::Result {
                lp.set_referenced(self, true)
            }

            /// Returns whether the handle keeps the loop alive while it is active.
            pub fn has_ref<S>(self, lp: &$crate::Loop<S>) -> bool {
                lp.is_referenced(self)
            }

            /// Returns whether the handle is started, so that events may arrive.
            pub fn is_active<S>(self, lp: &$crate::Loop<S>) -> bool {
                lp.is_active(self)
            }

            /// Returns whether the handle exists and is not being closed.
            pub fn is_open<S>(self, lp: &$crate::Loop<S>) -> bool {
                lp.is_open(self)
            }

            /// Names the handle, for failures and for [`Loop::why_alive`](crate::Loop::why_alive).
            ///
            /// Returns [`Error::Closed`](crate::Error::Closed) if the handle is closed.
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

impl Request {
    /// Cancels the request if it has not started. Its callback then gets
    /// [`Error::Canceled`](crate::Error::Canceled), in the next deferred phase.
    ///
    /// May be called from any callback.
    ///
    /// # Errors
    ///
    /// * [`Error::AlreadyStarted`](crate::Error::AlreadyStarted): it is running, or its result is on the way.
    ///   The callback gets that result.
    /// * [`Error::Closed`](crate::Error::Closed): its callback was called already.
    pub fn cancel<S>(self, lp: &mut Loop<S>) -> Result {
        lp.cancel(self)
    }
}
