//! Waking the loop from other threads. Wakes coalesce: any number of them makes one callback.

use std::panic::Location;

use crate::{
    Loop,
    backend::{Arc, Notifier},
    error::{Error, Result},
    event_loop::kinds::Body,
    handle::{Handle, typed_handle},
};

typed_handle! {
    /// Runs a callback when another thread wakes it.
    ///
    /// Active until it is closed, so it keeps the loop alive unless it is [`unref`](Self::unref)ed. To send a
    /// value with the wake-up, use a [`channel`](crate::channel); to run a closure on the loop, a
    /// [`Remote`](crate::Remote). Once it is closed, its methods return [`Error::Closed`].
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

/// Wakes the loop of a [`Wake`], from any thread. Clones wake the same one.
#[derive(Clone, Debug)]
pub struct Waker {
    notifier: Arc<Notifier>,
}

#[derive(Debug)]
pub(crate) struct State {
    notifier: Arc<Notifier>,
}

impl State {
    pub(crate) fn release(&self) {
        self.notifier.close();
    }
}

impl Wake {
    /// Starts a handle whose `callback` runs on the loop's thread after each [`Waker::wake`].
    ///
    /// It runs in the poll phase. Wakes that arrive before the callback runs make one call. A wake that
    /// arrives while it runs, or later, makes another. An error that the callback returns closes the handle.
    #[track_caller]
    pub fn new<S>(
        lp: &mut Loop<S>,
        callback: impl FnMut(&mut Loop<S>, &mut S) -> Result + 'static,
    ) -> Result<Wake> {
        let core = &mut lp.core;
        let body =
            |handle: Handle| Body::Wake(State { notifier: Arc::new(core.backend.notifier(handle.key())) });
        let handle = core.table.insert_with(Location::caller(), body);
        core.set_active(handle, true);
        lp.set_callback_no_arg(handle, callback);
        Ok(Wake(handle))
    }

    /// Returns what another thread needs to wake this handle.
    pub fn waker<S>(self, lp: &Loop<S>) -> Result<Waker> {
        match lp.core.table.get(self.0) {
            Some(slot) if !slot.flags().closing => match &slot.body {
                Body::Wake(state) => Ok(Waker { notifier: state.notifier.clone() }),
                _ => Err(Error::Closed { op: "waker" }),
            },
            _ => Err(Error::Closed { op: "waker" }),
        }
    }
}

impl Waker {
    /// Wakes the loop. The callback runs at least once after this call.
    ///
    /// May be called from any thread, also from the loop's own. May wait for another thread that wakes the
    /// loop, which takes some instructions; never waits for a callback.
    ///
    /// # Errors
    ///
    /// [`Error::Disconnected`] if the handle or its loop is gone.
    pub fn wake(&self) -> Result {
        if self.notifier.notify() { Ok(()) } else { Err(Error::Disconnected { op: "wake" }) }
    }
}

pub(crate) fn on_notify<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle) -> Result {
    if let Some(Body::Wake(wake)) = lp.core.table.get(handle).map(|slot| &slot.body) {
        wake.notifier.acknowledge();
    }
    lp.call_plainly(state, handle.index)
}
