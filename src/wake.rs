//! Waking the loop from another thread: many wakes, one callback.

use std::panic::Location;

use crate::{
    Loop,
    backend::{Arc, Notifier},
    error::{Error, Result},
    event_loop::kinds::Body,
    handle::{Handle, typed_handle},
};

typed_handle! {
    /// Calls back when another thread asks for it.
    ///
    /// Active from the start until it is closed, so it holds the loop unless it is
    /// [`unref`](Self::unref)ed. For sending something along, see [`channel`](crate::channel); for
    /// running a closure on the loop, see [`Remote`](crate::Remote).
    ///
    /// ```
    /// use ringback::{Loop, Wake};
    ///
    /// let mut lp = Loop::<()>::new()?;
    /// let wake = Wake::new(&mut lp, |lp, _| { lp.stop(); Ok(()) })?;
    /// let waker = wake.waker(&lp)?;
    /// let thread = std::thread::spawn(move || waker.wake());
    /// lp.run(&mut ())?;
    /// thread.join().unwrap()?;
    /// # Ok::<(), ringback::Error>(())
    /// ```
    Wake
}

/// What other threads hold of a [`Wake`]. Clones wake the same one.
#[derive(Clone, Debug)]
pub struct Waker {
    bell: Arc<Notifier>,
}

#[derive(Debug)]
pub(crate) struct State {
    bell: Arc<Notifier>,
}

impl State {
    pub(crate) fn release(&self) {
        self.bell.close();
    }
}

impl Wake {
    /// Calls `callback` on the loop's thread after each [`Waker::wake`], in the poll phase. Wakes that
    /// come before it runs are one; a wake that comes while it runs, or later, makes another call.
    ///
    /// An error that the callback returns closes the handle.
    #[track_caller]
    pub fn new<S>(
        lp: &mut Loop<S>,
        callback: impl FnMut(&mut Loop<S>, &mut S) -> Result + 'static,
    ) -> Result<Wake> {
        let core = &mut lp.core;
        let bell = |handle: Handle| Body::Wake(State { bell: Arc::new(core.backend.notifier(handle.key())) });
        let handle = core.table.insert_with(Location::caller(), bell);
        core.set_active(handle, true);
        lp.set_callback_no_arg(handle, callback);
        Ok(Wake(handle))
    }

    /// What another thread needs to wake this.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub fn waker<S>(self, lp: &Loop<S>) -> Result<Waker> {
        match lp.core.table.get(self.0) {
            Some(slot) if !slot.flags().closing => match &slot.body {
                Body::Wake(state) => Ok(Waker { bell: state.bell.clone() }),
                _ => Err(Error::Closed { op: "waker" }),
            },
            _ => Err(Error::Closed { op: "waker" }),
        }
    }
}

impl Waker {
    /// Wakes the loop: its callback runs at least once after this. From any thread, the loop's own
    /// included; never blocks for longer than another thread's wake takes.
    ///
    /// # Errors
    ///
    /// [`Error::Disconnected`] if the handle or its loop is gone.
    pub fn wake(&self) -> Result {
        if self.bell.ring() { Ok(()) } else { Err(Error::Disconnected { op: "wake" }) }
    }
}

pub(crate) fn rung<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle) -> Result {
    if let Some(Body::Wake(wake)) = lp.core.table.get(handle).map(|slot| &slot.body) {
        wake.bell.hear();
    }
    lp.call_plainly(state, handle.index)
}
