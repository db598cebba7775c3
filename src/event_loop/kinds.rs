//! Every kind of handle, and how the loop reaches it: the one file that knows them all.
//!
//! A new kind is a file with a state that implements [`HandleKind`], and one line in [`kinds!`]. Everything
//! that dispatches by kind is generated from that list, so no kind can be forgotten.

use std::io;

use super::{Loop, core::Core};
use crate::{
    backend::Readiness,
    channel,
    error::{Error, Result},
    fs::file,
    handle::{Handle, Key, Kind},
    hook,
    net::listener,
    poll, signal, stream, timer, wake,
};

/// What the loop asks of a kind. The required methods are what every kind has; the defaults do nothing.
pub(crate) trait HandleKind: Stored {
    /// What the slot holds: the state or, if it is large, a box of it, so that ten million timers stay small.
    type Slot;

    fn kind(&self) -> Kind;

    /// Returns one line for [`Loop::handles`]: what the handle is doing or waiting for.
    fn status(&self, core: &Core, handle: Handle) -> String;

    /// Closes descriptors and cancels requests. The handle is open until this returns. The loop clears its
    /// deadline.
    fn release(core: &mut Core, handle: Handle);

    /// Panics unless the kind's own invariants hold.
    fn verify(&self, _: &Core, _: Handle) {}

    /// The system reports that its source is ready.
    fn on_ready<S>(_: &mut Loop<S>, _: &mut S, _: Handle, _: Readiness) -> Result {
        Ok(())
    }

    /// The system refused to register its source.
    fn on_registration_error<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle, error: io::Error) -> Result {
        lp.fail(state, handle, Error::system("watch", error))
    }

    /// Its deadline has passed, and is cleared.
    fn on_deadline<S>(_: &mut Loop<S>, _: &mut S, _: Handle) -> Result {
        Ok(())
    }

    /// Another thread has notified it, or it called [`Core::notify_again`].
    fn on_notify<S>(_: &mut Loop<S>, _: &mut S, _: Handle) -> Result {
        Ok(())
    }

    /// The deferred phase, after it called [`Core::defer_to`].
    fn on_deferred<S>(_: &mut Loop<S>, _: &mut S, _: Handle) -> Result {
        Ok(())
    }

    /// The end of the poll phase, after it called [`Core::deliver_last`].
    fn on_last<S>(_: &mut Loop<S>, _: &mut S, _: Handle) -> Result {
        Ok(())
    }

    /// The callback of one of its requests has returned.
    fn on_request_done(_: &mut Core, _: Handle) {}

    /// The end of the poll batch, after it called [`Core::flush_later`]. Calls no callback.
    fn flush(_: &mut Core, _: Handle) {}

    /// The loop is dropped. Unblocks the threads that wait for this handle.
    fn disconnect(&self) {}

    /// It is closing and has no request left. Returns whether it is done. If not, it has made another
    /// request, and this is called again when that is complete.
    fn finish_close(_: &mut Core, _: Handle) -> bool {
        true
    }

    /// Returns the last event of the handle's own callback, if it gets one.
    fn final_event(&self) -> Option<CallbackArg<'static>> {
        None
    }
}

/// How a kind's state is found in a slot.
pub(crate) trait Stored: Sized {
    fn of(body: &Body) -> Option<&Self>;
    fn of_mut(body: &mut Body) -> Option<&mut Self>;
    fn into_body(self) -> Body;
}

/// Generates everything that dispatches by kind, from the list of kinds.
macro_rules! kinds {
    ($($name:ident: $state:ty;)*) => {
        /// What a slot holds.
        #[derive(Debug)]
        pub(crate) enum Body {
            $($name(<$state as HandleKind>::Slot),)*
        }

        $(impl Stored for $state {
            #[inline(always)]
            fn of(body: &Body) -> Option<&Self> {
                if let Body::$name(state) = body { Some(state) } else { None }
            }

            #[inline(always)]
            fn of_mut(body: &mut Body) -> Option<&mut Self> {
                if let Body::$name(state) = body { Some(state) } else { None }
            }

            fn into_body(self) -> Body {
                Body::$name(self.into())
            }
        })*

        impl Body {
            pub(crate) fn kind(&self) -> Kind {
                match self { $(Body::$name(state) => state.kind(),)* }
            }

            pub(super) fn status(&self, core: &Core, handle: Handle) -> String {
                match self { $(Body::$name(state) => state.status(core, handle),)* }
            }

            pub(super) fn verify(&self, core: &Core, handle: Handle) {
                match self { $(Body::$name(state) => state.verify(core, handle),)* }
            }

            pub(super) fn disconnect(&self) {
                match self { $(Body::$name(state) => state.disconnect(),)* }
            }

            pub(super) fn final_event(&self) -> Option<CallbackArg<'static>> {
                match self { $(Body::$name(state) => state.final_event(),)* }
            }
        }

        #[inline(never)]
        pub(super) fn on_ready<S>(lp: &mut Loop<S>, state: &mut S, key: Key, readiness: Readiness) -> Result {
            match lp.core.resolve(key) {
                $(Some((handle, Body::$name(_))) => <$state>::on_ready(lp, state, handle, readiness),)*
                // The handle is gone; another may have its slot.
                None => Ok(()),
            }
        }

        pub(super) fn on_registration_error<S>(
            lp: &mut Loop<S>,
            state: &mut S,
            key: Key,
            error: std::io::Error,
        ) -> Result {
            match lp.core.resolve(key) {
                $(Some((handle, Body::$name(_))) => {
                    <$state>::on_registration_error(lp, state, handle, error)
                })*
                None => Ok(()),
            }
        }

        #[inline(never)]
        pub(super) fn on_deadline<S>(lp: &mut Loop<S>, state: &mut S, index: u32) -> Result {
            match lp.core.body_at(index) {
                $(Some((handle, Body::$name(_))) => <$state>::on_deadline(lp, state, handle),)*
                None => Ok(()),
            }
        }

        #[inline(never)]
        pub(super) fn on_notify<S>(lp: &mut Loop<S>, state: &mut S, key: Key) -> Result {
            match lp.core.resolve(key) {
                $(Some((handle, Body::$name(_))) => <$state>::on_notify(lp, state, handle),)*
                None => Ok(()),
            }
        }

        pub(super) fn on_deferred<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle) -> Result {
            match lp.core.body(handle) {
                $(Some(Body::$name(_)) => <$state>::on_deferred(lp, state, handle),)*
                None => Ok(()),
            }
        }

        pub(super) fn on_last<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle) -> Result {
            match lp.core.body(handle) {
                $(Some(Body::$name(_)) => <$state>::on_last(lp, state, handle),)*
                None => Ok(()),
            }
        }

        pub(super) fn on_request_done(core: &mut Core, handle: Handle) {
            match core.body(handle) {
                $(Some(Body::$name(_)) => <$state>::on_request_done(core, handle),)*
                None => {}
            }
        }

        pub(super) fn flush(core: &mut Core, handle: Handle) {
            match core.body(handle) {
                $(Some(Body::$name(_)) => <$state as HandleKind>::flush(core, handle),)*
                None => {}
            }
        }

        pub(super) fn release(core: &mut Core, handle: Handle) {
            match core.body(handle) {
                $(Some(Body::$name(_)) => <$state as HandleKind>::release(core, handle),)*
                None => {}
            }
        }

        pub(super) fn finish_close(core: &mut Core, handle: Handle) -> bool {
            match core.body(handle) {
                $(Some(Body::$name(_)) => <$state>::finish_close(core, handle),)*
                None => true,
            }
        }
    };
}

kinds! {
    Timer: timer::State;
    Hook: hook::State;
    Wake: wake::State;
    Channel: channel::State;
    Signal: signal::State;
    Poll: poll::State;
    Listener: listener::State;
    Stream: stream::State;
    File: file::State;
}

/// What a callback is called with.
pub(crate) enum CallbackArg<'a> {
    /// A timer is due, a hook's phase has come, a notification or a message has arrived.
    NoArg,
    /// The error is boxed, because the argument is moved three times a call and must be small.
    Stream(Result<stream::Event<'a>, Box<Error>>),
    Accepted(Handle),
    Ready(poll::Ready),
    Signal(i32),
}

/// What all handles of a kind share in one loop.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) signals: signal::Watchers,
    pub(crate) streams: stream::Shared,
}

impl Shared {
    /// `read_buffer` is the number of bytes read from a stream at once.
    pub(super) fn new(read_buffer: usize) -> Shared {
        Shared { signals: signal::Watchers::default(), streams: stream::Shared::new(read_buffer) }
    }

    /// Panics unless the invariants hold.
    pub(super) fn verify(&self) {
        self.signals.verify();
    }
}

/// Takes the signals that arrived, when their source is ready.
pub(super) fn signals_arrived(core: &mut Core) {
    signal::collect(core);
}
