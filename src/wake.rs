//! Waking the loop from another thread: many wakes, one callback.

use std::{panic::Location, sync::Arc};

use crate::{
    Loop,
    backend::Notifier,
    error::{Error, Result},
    event_loop::{Core, HandleKind, typed_handle},
    handle::{Handle, Kind},
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
    notifier: Arc<Notifier>,
}

#[derive(Debug)]
pub(crate) struct State {
    notifier: Arc<Notifier>,
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
        let state = |_, notifier| State { notifier: Arc::new(notifier) };
        let handle = lp.core.insert_notified(state, Location::caller());
        lp.core.set_active(handle, true);
        lp.set_callback_no_arg(handle, callback);
        Ok(Wake(handle))
    }

    /// What another thread needs to wake this.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub fn waker<S>(self, lp: &Loop<S>) -> Result<Waker> {
        let open = lp.core.peek::<State>(self.0).filter(|_| lp.is_open(self.0));
        let state = open.ok_or(Error::Closed { op: "waker" })?;
        Ok(Waker { notifier: state.notifier.clone() })
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
        if self.notifier.ring() { Ok(()) } else { Err(Error::Disconnected { op: "wake" }) }
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
            wake.notifier.hear();
        }
        lp.call_no_arg(state, handle.index)
    }

    fn disconnect(&self) {
        self.notifier.close();
    }
}
