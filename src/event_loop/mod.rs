//! The loop: knows phases, not what handles do.

mod closing;
mod core;
mod dispatch;
mod inspect;
mod kinds;
mod metrics;
mod options;
mod requests;
mod turn;
mod typed;
mod verify;

use std::{
    cell::Cell,
    os::fd::{AsFd, BorrowedFd},
    panic::Location,
    rc::Rc,
    time::Duration,
};

pub use inspect::{HandleInfo, SlowCallback, WhyAlive};
pub use metrics::{Histogram, Metrics};
pub use options::Options;
pub(crate) use {
    self::core::{Core, Parts},
    kinds::{CallbackArg, HandleKind},
    turn::Phase,
    typed::typed_handle,
};

use self::{
    dispatch::{Callback, Completion, OnFailure, OnSlow},
    turn::PollMode,
};
use crate::{
    backend::Inbox,
    error::{Error, Failure, Result},
    handle::{Handle, Key, Kind, Request},
    remote::{Post, Remote},
    time::nanos,
};

/// A callback event loop: one thread, any number of handles, callbacks that are called one at a time.
///
/// The application owns its state `S` and lends it to [`run`](Loop::run). Every callback gets
/// `(&mut Loop<S>, &mut S, …)`, so nothing needs to be shared. The [front page](crate#a-turn) lists what
/// happens in one turn, in order.
///
/// Dropping the loop closes everything. Callbacks that have not run by then are dropped. A job already
/// running on a worker finishes, and its result is discarded.
pub struct Loop<S = ()> {
    pub(crate) core: Core,
    /// By slot. `None` while the callback runs.
    callbacks: Vec<Option<Callback<S>>>,
    /// By request.
    completions: Vec<Option<Completion<S>>>,
    on_failure: Option<OnFailure<S>>,
    on_slow: Option<(u64, OnSlow<S>)>,
    posts: Inbox<Post<S>>,
}

/// Marks the loop as running until `run` ends, also by an error or a panic.
struct RunGuard<'a, S> {
    lp: &'a mut Loop<S>,
    /// The mark of the loop that runs. A callback may exchange that loop for another one, and the application
    /// may run it again elsewhere.
    running: Rc<Cell<bool>>,
}

impl<'a, S> RunGuard<'a, S> {
    fn begin(lp: &'a mut Loop<S>, op: &'static str) -> Result<RunGuard<'a, S>> {
        let running = lp.core.running.clone();
        if running.replace(true) {
            return Err(Error::Reentrant { op });
        }
        Ok(RunGuard { lp, running })
    }
}

impl<S> Drop for RunGuard<'_, S> {
    fn drop(&mut self) {
        self.running.set(false);
        let core = &mut self.lp.core;
        // Bytes written after the poll phase must not wait for a turn that may never come.
        core.flush_listed();
        core.stopping = false;
        core.read_clock();
        core.counters.rest(core.now);
        core.backend.detach();
    }
}

impl<S> Loop<S> {
    /// Makes a loop with the default [`Options`].
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the process has no descriptors left.
    pub fn new() -> Result<Loop<S>> {
        Options::new().build()
    }

    // ---- running

    /// Runs until nothing is left to wait for, or [`stop`](Self::stop) is called.
    ///
    /// These keep the loop alive: an active handle that is referenced, a request in flight, a handle that
    /// is being closed, a [`Remote`] that may post. The loop can be run again afterwards.
    ///
    /// A panic in a callback unwinds out of `run`. The handle is closed, and the loop can be run again.
    ///
    /// # Errors
    ///
    /// * The first [`Failure`], at once, if no [`on_failure`](Self::on_failure) is set.
    /// * An error that `on_failure` returned.
    /// * [`Error::Reentrant`] inside a callback.
    /// * [`Error::Invalid`] if a callback exchanged the loop for another one, by `mem::swap`.
    ///
    /// Events not dispatched yet stay queued for the next `run`.
    pub fn run(&mut self, state: &mut S) -> Result {
        let running = RunGuard::begin(self, "run")?;
        while !running.lp.core.stopping && running.lp.is_alive() {
            running.lp.turn(state, PollMode::Forever)?;
        }
        Ok(())
    }

    /// Runs one turn, and waits for an event unless a callback has run before. Returns
    /// [`is_alive`](Self::is_alive).
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_once(&mut self, state: &mut S) -> Result<bool> {
        self.run_turn(state, PollMode::Once, "run_once")
    }

    /// Runs one turn without waiting. Returns [`is_alive`](Self::is_alive).
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn poll_once(&mut self, state: &mut S) -> Result<bool> {
        self.run_turn(state, PollMode::NoWait, "poll_once")
    }

    /// Runs one turn of a simulated program. Returns whether it has called [`stop`](Self::stop).
    #[cfg(feature = "sim")]
    pub(crate) fn step(&mut self, state: &mut S) -> Result<bool> {
        let running = RunGuard::begin(self, "step")?;
        running.lp.turn_unless_stopping(state, PollMode::NoWait)?;
        Ok(running.lp.core.stopping)
    }

    fn run_turn(&mut self, state: &mut S, mode: PollMode, op: &'static str) -> Result<bool> {
        let running = RunGuard::begin(self, op)?;
        running.lp.turn_unless_stopping(state, mode)?;
        Ok(running.lp.is_alive())
    }

    fn turn_unless_stopping(&mut self, state: &mut S, mode: PollMode) -> Result {
        if self.core.stopping { Ok(()) } else { self.turn(state, mode) }
    }

    /// Runs for `duration`, or until nothing is left to wait for, or [`stop`](Self::stop) is called. Returns
    /// [`is_alive`](Self::is_alive).
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_for(&mut self, state: &mut S, duration: Duration) -> Result<bool> {
        let running = RunGuard::begin(self, "run_for")?;
        let end = running.lp.core.backend.now().saturating_add(nanos(duration));
        while !running.lp.core.stopping && running.lp.is_alive() {
            running.lp.turn(state, PollMode::Until(end))?;
            if running.lp.core.backend.now() >= end {
                break;
            }
        }
        Ok(running.lp.is_alive())
    }

    /// Ends `run` after this turn. Called before `run`, it makes that return at once, without waiting or
    /// calling anything.
    ///
    /// The flag is cleared when `run` returns.
    pub fn stop(&mut self) {
        self.core.stopping = true;
    }

    /// Returns whether anything is left to wait for, so that [`run`](Self::run) would continue.
    pub fn is_alive(&self) -> bool {
        self.core.is_alive() || self.posts.senders() > 0 || self.posts.len() > 0
    }

    // ---- time

    /// Returns the loop's time, counted from when it was made.
    ///
    /// It stands still during a callback: the clock is read at the start of a turn and after waiting.
    /// Timers count from it. So a timer that a callback starts after long work is due that much sooner,
    /// unless [`update_time`](Self::update_time) is called. Outside of `run`, starting a timer updates it.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.core.now)
    }

    /// Reads the clock. For timers that a callback starts after long work.
    pub fn update_time(&mut self) {
        self.core.read_clock();
    }

    // ---- embedding

    /// Returns how long another loop that drives this one may wait before it must run a turn of this one.
    ///
    /// Zero if there is something to do already, `None` if only an event can bring something.
    ///
    /// Also applies to the system every registration that changed since the last turn. So call this just
    /// before waiting until the descriptor that [`AsFd`] returns is readable. Then call
    /// [`poll_once`](Self::poll_once).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ringback::{Loop, Timer};
    /// let mut lp = Loop::<()>::new()?;
    /// assert_eq!(lp.poll_timeout(), Some(Duration::ZERO)); // nothing to wait for
    /// Timer::after(&mut lp, Duration::from_secs(1), |_, _| Ok(()))?;
    /// assert!(lp.poll_timeout().unwrap() <= Duration::from_secs(1));
    /// # Ok::<(), ringback::Error>(())
    /// ```
    pub fn poll_timeout(&mut self) -> Option<Duration> {
        self.core.backend.apply_registrations();
        if self.core.backend.has_failed_registrations() {
            return Some(Duration::ZERO);
        }
        self.poll_timeout_for(PollMode::Forever, false).map(Duration::from_nanos)
    }

    // ---- callbacks of the loop itself

    /// Calls `callback` in the next deferred phase: after the timers or after polling, whichever comes first.
    ///
    /// Deferred callbacks run in the order of these calls, also if a deferred callback defers another. Each
    /// keeps the loop alive until it has run. An error that it returns becomes a [`Failure`] without a
    /// handle. [`Request::cancel`] drops the callback instead.
    #[track_caller]
    pub fn defer(&mut self, callback: impl FnOnce(&mut Loop<S>, &mut S) -> Result + 'static) -> Request {
        let request = self.core.request(None, Kind::Deferred, "defer", Location::caller());
        self.set_completion(request, Box::new(move |lp, state, _| callback(lp, state)));
        self.core.complete(request, Ok(()));
        request
    }

    /// Sets the handler for errors that a callback returned, and for errors with no callback to receive
    /// them.
    ///
    /// The handle is already closing, except a listener whose accept failed. `callback` is called between
    /// other callbacks. An error that it returns ends `run`. Without a handler, the first failure ends `run`.
    /// Replaces the previous handler.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ringback::{Error, Loop, Timer};
    /// let mut lp = Loop::new()?;
    /// lp.on_failure(|_, seen: &mut Vec<String>, failure| {
    ///     seen.push(failure.error.to_string());
    ///     Ok(())
    /// });
    /// Timer::after(&mut lp, Duration::ZERO, |_, _| Err(Error::other("out of tea")))?;
    /// let mut seen = Vec::new();
    /// lp.run(&mut seen)?;
    /// assert_eq!(seen, ["out of tea"]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn on_failure(&mut self, callback: impl FnMut(&mut Loop<S>, &mut S, Failure) -> Result + 'static) {
        self.on_failure = Some(Box::new(callback));
    }

    /// Calls `callback` after every callback that took `limit` or longer.
    ///
    /// While it is set, each callback costs two readings of the clock; otherwise nothing. An error that
    /// `callback` returns ends `run`. Replaces the previous handler.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut lp = ringback::Loop::<()>::new()?;
    /// lp.on_slow(Duration::from_millis(10), |_, _, slow| {
    ///     eprintln!("{slow}"); // slow callback: timer started at src/main.rs:12 took 25ms
    ///     Ok(())
    /// });
    /// # Ok::<(), ringback::Error>(())
    /// ```
    pub fn on_slow(
        &mut self,
        limit: Duration,
        callback: impl FnMut(&mut Loop<S>, &mut S, SlowCallback) -> Result + 'static,
    ) {
        self.on_slow = Some((nanos(limit), Box::new(callback)));
    }

    /// Returns what the loop has done so far.
    pub fn metrics(&self) -> Metrics {
        self.core.counters.snapshot()
    }

    /// Sets the maximum number of worker threads, at least one. Threads above a lower maximum keep running.
    pub fn set_workers(&mut self, most: usize) {
        self.core.backend.set_workers(most.max(1));
    }

    /// Returns a sender of closures, for any thread.
    ///
    /// It and its clones keep the loop alive until they are dropped, unless they are
    /// [`unref`](Remote::unref)ed.
    pub fn remote(&self) -> Remote<S> {
        Remote::new(self.posts.mailbox().clone())
    }

    // ---- what every handle can do; the typed handles have these as methods

    /// Closes any handle, as its own `close` does.
    pub fn close(&mut self, handle: impl Into<Handle>) {
        self.core.close(handle.into());
    }

    /// Closes any handle and calls `callback` when it is closed, as its own `close_then` does.
    #[track_caller]
    pub fn close_then(
        &mut self,
        handle: impl Into<Handle>,
        callback: impl FnOnce(&mut Loop<S>, &mut S) -> Result + 'static,
    ) {
        self.close_with(handle.into(), Location::caller(), Box::new(move |lp, state, _| callback(lp, state)));
    }

    /// Returns whether the handle exists in this loop and is not being closed.
    pub fn is_open(&self, handle: impl Into<Handle>) -> bool {
        self.core.table.get(handle.into()).is_some_and(|slot| !slot.flags().closing)
    }

    /// Returns whether the handle is started.
    pub fn is_active(&self, handle: impl Into<Handle>) -> bool {
        self.core.table.get(handle.into()).is_some_and(|slot| slot.flags().active)
    }

    pub(crate) fn is_referenced(&self, handle: impl Into<Handle>) -> bool {
        self.core.table.get(handle.into()).is_some_and(|slot| !slot.flags().unreferenced)
    }

    pub(crate) fn set_referenced(&mut self, handle: impl Into<Handle>, referenced: bool) -> Result {
        let handle = handle.into();
        self.core.table.require(handle, if referenced { "re_ref" } else { "unref" })?;
        self.core.table.update(handle, |state| state.unreferenced = !referenced);
        Ok(())
    }

    pub(crate) fn set_name(&mut self, handle: impl Into<Handle>, name: impl Into<String>) -> Result {
        let handle = handle.into();
        self.core.table.require(handle, "set_name")?;
        self.core.table.set_name(handle, name.into());
        Ok(())
    }

    pub(crate) fn cancel(&mut self, request: Request) -> Result {
        self.core.cancel(request)
    }

    fn collect_posts(&mut self) {
        self.posts.claim(usize::MAX);
        // Before they run: one of them may interrupt the turn.
        if !self.posts.go_idle() {
            self.core.notified.push(Key::POSTS);
        }
    }
}

impl<S> AsFd for Loop<S> {
    /// Readable when the loop has an event to dispatch. See [`Loop::poll_timeout`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.core.backend.as_fd()
    }
}

impl<S> Drop for Loop<S> {
    fn drop(&mut self) {
        self.posts.close();
    }
}

impl<S> std::fmt::Debug for Loop<S> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Loop")
            .field("handles", &self.core.table.len())
            .field("requests", &self.core.requests.len())
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}
