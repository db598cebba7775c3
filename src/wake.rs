//! Waking the loop from other threads. Wakes coalesce: any number of them makes one callback.

use std::panic::Location;

use crate::{
    Loop,
    backend::{Arc, Notifier},
    error::{Error, Result},
    event_loop::{Core, HandleKind, typed_handle},
    handle::{Handle, Kind},
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
        let state = |_, notifier| State { notifier: Arc::new(notifier) };
        let handle = lp.core.insert_notified(state, Location::caller());
        lp.core.set_active(handle, true);
        lp.set_callback_no_arg(handle, callback);
        Ok(Wake(handle))
    }

    /// Returns what another thread needs to wake this handle.
    pub fn waker<S>(self, lp: &Loop<S>) -> Result<Waker> {
        let open = lp.core.peek::<State>(self.0).filter(|_| lp.is_open(self.0));
        let state = open.ok_or(Error::Closed { op: "waker" })?;
        Ok(Waker { notifier: state.notifier.clone() })
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

impl HandleKind for State {
    type Slot = State;

    fn kind(&self) -> Kind {
        Kind::Wake
    }

    fn status(&self, _: &Core, _: Handle) -> String {
        "may be woken by another thread".into()
    }

    fn release(core: &mut Core, handle: Handle) {
        if let Some(state) = core.peek::<State>(handle) {
            state.disconnect();
        }
    }

    fn on_notify<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle) -> Result {
        if let Some(wake) = lp.core.peek::<State>(handle) {
            wake.notifier.acknowledge();
        }
        lp.call_no_arg(state, handle.index)
    }

    fn disconnect(&self) {
        self.notifier.close();
    }
}
