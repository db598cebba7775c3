//! Readiness of descriptors that the application owns.
//!
//! For descriptors that no other kind covers: another library's socket, a device, another event loop.
//! Level-triggered: readiness is reported every turn as long as it lasts.

use std::{
    fmt,
    ops::BitOr,
    os::fd::{AsFd, OwnedFd},
    panic::Location,
};

use crate::{
    Loop,
    backend::{Interest as Wish, Readiness},
    error::{Error, Result},
    event_loop::{CallbackArg, Core, HandleKind, typed_handle},
    handle::{Handle, Kind},
};

typed_handle! {
    /// Watches a descriptor of the application, and calls back when it is ready.
    ///
    /// Calls on a closed handle return [`Error::Closed`].
    ///
    /// ```
    /// use std::{io::{Read, Write}, os::unix::net::UnixStream};
    /// use ringback::{Loop, Poll, poll::Interest};
    ///
    /// let mut lp = Loop::<String>::new()?;
    /// let (mut ours, mut theirs) = UnixStream::pair()?;
    /// let poll = Poll::new(&mut lp, &ours)?;
    /// poll.start(&mut lp, Interest::READABLE, move |lp, text, ready| {
    ///     assert!(ready?.is_readable());
    ///     let mut bytes = [0; 16];
    ///     let count = ours.read(&mut bytes)?;
    ///     text.push_str(std::str::from_utf8(&bytes[..count])?);
    ///     poll.close(lp);
    ///     Ok(())
    /// })?;
    /// theirs.write_all(b"hello")?;
    /// let mut text = String::new();
    /// lp.run(&mut text)?;
    /// assert_eq!(text, "hello");
    /// # Ok::<(), ringback::Error>(())
    /// ```
    Poll
}

/// What a [`Poll`] waits for. Combine them with `|`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest(Wish);

impl Interest {
    /// A read will not block: there are bytes, or EOF.
    pub const READABLE: Interest = Interest(Wish::READ);
    /// A write will not block.
    pub const WRITABLE: Interest = Interest(Wish::WRITE);
    /// The peer has closed the connection or shut down its write side.
    pub const DISCONNECT: Interest = Interest(Wish::HANGUP);
    /// Urgent data: out-of-band bytes, or a change of a file in `/proc` or `/sys`.
    pub const PRIORITY: Interest = Interest(Wish::PRIORITY);
}

impl BitOr for Interest {
    type Output = Interest;

    fn bitor(self, other: Interest) -> Interest {
        Interest(self.0.with(other.0, true))
    }
}

/// What a descriptor is ready for.
///
/// After an error or a hang-up, a descriptor also counts as ready for whatever it was watched for: the next
/// read or write returns the error.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ready(Readiness);

impl Ready {
    /// Returns whether a read will not block.
    pub fn is_readable(self) -> bool {
        self.0.has(Readiness::READ)
    }

    /// Returns whether a write will not block.
    pub fn is_writable(self) -> bool {
        self.0.has(Readiness::WRITE)
    }

    /// Returns whether the peer has closed the connection or shut down its write side.
    pub fn is_disconnected(self) -> bool {
        self.0.has(Readiness::HANGUP)
    }

    /// Returns whether there is urgent data.
    pub fn is_priority(self) -> bool {
        self.0.has(Readiness::PRIORITY)
    }

    /// Returns whether the descriptor is in an error state.
    pub fn is_error(self) -> bool {
        self.0.has(Readiness::ERROR)
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Ready")
            .field("readable", &self.is_readable())
            .field("writable", &self.is_writable())
            .field("disconnected", &self.is_disconnected())
            .field("priority", &self.is_priority())
            .field("error", &self.is_error())
            .finish()
    }
}

/// The state of a poll handle.
#[derive(Debug)]
pub(crate) struct State {
    /// `None` once the handle is closed.
    source: Option<OwnedFd>,
    wish: Wish,
}

impl Poll {
    /// Creates a handle that watches `source` once it is started.
    ///
    /// The handle watches a duplicate of the descriptor. So the application may close its own at any time,
    /// and the open file stays open until this handle is closed, too. The descriptor should be non-blocking;
    /// it is not made so.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the process is out of descriptors.
    #[track_caller]
    pub fn new<S>(lp: &mut Loop<S>, source: impl AsFd) -> Result<Poll> {
        let source = lp
            .core
            .backend()
            .duplicate(source.as_fd())
            .map_err(|error| Error::system("duplicate a descriptor", error))?;
        let state = State { source: Some(source), wish: Wish::NONE };
        Ok(Poll(lp.core.insert(state, Location::caller())))
    }

    /// Starts watching: `callback` is called in each turn in which the descriptor is ready for something in
    /// `interest`.
    ///
    /// Replaces the interest and callback of an earlier start, also from within that callback.
    ///
    /// # Errors
    ///
    /// [`Error::System`] for a descriptor that cannot be polled, such as a regular file, which is always
    /// ready.
    #[track_caller]
    pub fn start<S>(
        self,
        lp: &mut Loop<S>,
        interest: Interest,
        mut callback: impl FnMut(&mut Loop<S>, &mut S, Result<Ready>) -> Result + 'static,
    ) -> Result {
        let op = "start a poll";
        lp.core.set_started_at(self.0, op, Location::caller())?;
        let parts = lp.core.parts::<State>(self.0).ok_or(Error::Closed { op })?;
        let source = parts.state.source.as_ref().ok_or(Error::Closed { op })?;
        let watched = parts.backend.watch_descriptor_now(source.as_fd(), self.0.key(), interest.0);
        watched.map_err(|error| Error::system("watch a descriptor", error))?;
        parts.state.wish = interest.0;
        lp.core.set_active(self.0, true);
        lp.set_callback(self.0, move |lp, state, arg| match arg {
            CallbackArg::Ready(ready) => callback(lp, state, Ok(ready)),
            _ => unreachable!("a poll's callback gets readiness"),
        });
        Ok(())
    }

    /// Stops watching. The callback is not called again, not even for readiness of the current turn.
    /// Idempotent.
    pub fn stop<S>(self, lp: &mut Loop<S>) -> Result {
        lp.core.require::<State>(self.0, "stop a poll")?.wish = Wish::NONE;
        if let Some(parts) = lp.core.parts::<State>(self.0) {
            if let Some(source) = &parts.state.source {
                parts.backend.watch_descriptor(source.as_fd(), self.0.key(), Wish::NONE);
            }
        }
        lp.core.set_active(self.0, false);
        Ok(())
    }
}

impl HandleKind for State {
    type Slot = Box<State>;

    fn kind(&self) -> Kind {
        Kind::Poll
    }

    fn status(&self, _: &Core, _: Handle) -> String {
        if self.wish == Wish::NONE { "stopped".into() } else { "waits for its descriptor".into() }
    }

    fn release(core: &mut Core, handle: Handle) {
        let Some(parts) = core.parts::<State>(handle) else { return };
        if let Some(source) = parts.state.source.take() {
            parts.backend.forget_descriptor(source.as_fd());
        }
    }

    fn on_ready<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle, readiness: Readiness) -> Result {
        let Some(&mut State { wish, .. }) = lp.core.get::<State>(handle) else { return Ok(()) };
        // Beyond its interest a descriptor reports only that it failed or was hung up. Then whatever was
        // waited for will not block, either.
        let broken =
            readiness.has(Readiness::ERROR) || (readiness.has(Readiness::HANGUP) && !wish.has(Wish::HANGUP));
        let everything = if broken { Readiness::READ.0 | Readiness::WRITE.0 } else { 0 };
        let asked = Readiness((readiness.0 | everything) & wish.0);
        let reported = Readiness(asked.0 | (readiness.0 & (Readiness::ERROR.0 | Readiness::HANGUP.0)));
        // Stopped by an earlier callback of this batch.
        if wish == Wish::NONE || (asked.0 == 0 && !broken) {
            return Ok(());
        }
        lp.call(state, handle, CallbackArg::Ready(Ready(reported)))
    }
}
