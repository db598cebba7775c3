//! Signals as events, for any number of watchers in any number of loops and threads.
//!
//! Deliveries coalesce until the loop polls, as they do in the kernel. Signal callbacks run last in the poll
//! phase, so that bytes which arrived before the signal are read before its callback closes anything. The
//! first watcher of a signal in the process installs a handler, and the last one restores the previous
//! action.

use std::{collections::BTreeMap, panic::Location};

use crate::{
    Loop,
    backend::signal_numbers,
    error::{Error, Result},
    event_loop::{
        core::Core,
        kinds::{Body, CallbackArg},
    },
    handle::{Handle, typed_handle},
};

/// SIGINT: an interrupt from the terminal (Ctrl-C).
pub const INT: i32 = signal_numbers::SIGINT;
/// SIGTERM: a request to terminate.
pub const TERM: i32 = signal_numbers::SIGTERM;
/// SIGHUP: the terminal is gone. By convention also a request to reload the configuration.
pub const HUP: i32 = signal_numbers::SIGHUP;
/// SIGQUIT: a request from the terminal to quit with a core dump (Ctrl-\).
pub const QUIT: i32 = signal_numbers::SIGQUIT;
/// SIGUSR1: free for the application's use.
pub const USR1: i32 = signal_numbers::SIGUSR1;
/// SIGUSR2: free for the application's use.
pub const USR2: i32 = signal_numbers::SIGUSR2;
/// SIGCHLD: a child process has exited, stopped or continued.
pub const CHLD: i32 = signal_numbers::SIGCHLD;
/// SIGWINCH: the terminal's window has changed its size.
pub const WINCH: i32 = signal_numbers::SIGWINCH;
/// SIGCONT: the process continues after it was stopped.
pub const CONT: i32 = signal_numbers::SIGCONT;
/// SIGPIPE: a write to a pipe or socket without a reader.
pub const PIPE: i32 = signal_numbers::SIGPIPE;

typed_handle! {
    /// Watches a signal, and calls back when the process receives it.
    ///
    /// Signals that arrive before the loop polls coalesce: one call, however many they were. While a loop
    /// watches a signal, its default action does not happen. Calls on a closed handle return
    /// [`Error::Closed`].
    ///
    /// ```no_run
    /// use ringback::{Loop, Signal, signal};
    ///
    /// let mut lp = Loop::<()>::new()?;
    /// Signal::on(&mut lp, signal::INT, |lp, _, _| { lp.stop(); Ok(()) })?;
    /// lp.run(&mut ())?; // until Ctrl-C
    /// # Ok::<(), ringback::Error>(())
    /// ```
    Signal
}

/// The state of a signal handle.
///
/// 1. The handle is active if and only if `signum` is set, and then it is among the watchers of that signal.
#[derive(Debug, Default)]
pub(crate) struct State {
    signum: Option<i32>,
    once: bool,
}

impl State {
    pub(crate) fn describe(&self) -> String {
        self.signum.map_or_else(|| "stopped".into(), |signum| format!("waits for signal {signum}"))
    }
}

/// The handles of one loop that watch each signal, in the order of starting.
#[derive(Debug, Default)]
pub(crate) struct Watchers(BTreeMap<i32, Vec<Handle>>);

impl Signal {
    /// Creates a watcher, to be started later.
    #[track_caller]
    pub fn new<S>(lp: &mut Loop<S>) -> Result<Signal> {
        Ok(Signal(lp.core.insert(Body::Signal(State::default()), Location::caller())))
    }

    /// Creates a watcher and starts it: `callback` gets the signal's number each time the signal arrives.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if there is no such signal, or if it cannot be caught.
    #[track_caller]
    pub fn on<S>(
        lp: &mut Loop<S>,
        signum: i32,
        callback: impl FnMut(&mut Loop<S>, &mut S, i32) -> Result + 'static,
    ) -> Result<Signal> {
        let signal = Signal::new(lp)?;
        signal.start(lp, signum, callback).inspect_err(|_| signal.close(lp))?;
        Ok(signal)
    }

    /// Starts watching a signal: `callback` gets the signal's number each time the signal arrives.
    ///
    /// Replaces the signal and callback of an earlier start. The handle keeps the loop alive until it is
    /// stopped, unless it is [`unref`](Self::unref)ed.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if there is no such signal, or if it cannot be caught.
    #[track_caller]
    pub fn start<S>(
        self,
        lp: &mut Loop<S>,
        signum: i32,
        callback: impl FnMut(&mut Loop<S>, &mut S, i32) -> Result + 'static,
    ) -> Result {
        self.begin(lp, signum, false, callback)
    }

    /// Starts watching for one arrival of a signal: the watcher is stopped before `callback` is called.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if there is no such signal, or if it cannot be caught.
    #[track_caller]
    pub fn start_once<S>(
        self,
        lp: &mut Loop<S>,
        signum: i32,
        callback: impl FnMut(&mut Loop<S>, &mut S, i32) -> Result + 'static,
    ) -> Result {
        self.begin(lp, signum, true, callback)
    }

    #[track_caller]
    fn begin<S>(
        self,
        lp: &mut Loop<S>,
        signum: i32,
        once: bool,
        mut callback: impl FnMut(&mut Loop<S>, &mut S, i32) -> Result + 'static,
    ) -> Result {
        let core = &mut lp.core;
        core.require(self.0, "start a signal")?.started = Location::caller();
        core.backend.watch_signal(signum).map_err(|error| Error::system_on("watch signal", signum, error))?;
        // Only now: were the signal the same, leaving it first would leave it without a handler for a moment.
        let before = state_mut(core, self.0)?.signum;
        if before != Some(signum) {
            leave(core, self.0);
            core.signals.0.entry(signum).or_default().push(self.0);
        }
        *state_mut(core, self.0)? = State { signum: Some(signum), once };
        core.set_active(self.0, true);
        lp.set_callback(self.0, move |lp, state, occurrence| match occurrence {
            CallbackArg::Signal(signum) => callback(lp, state, signum),
            _ => Ok(()),
        });
        Ok(())
    }

    /// Stops watching. The callback is not called for a signal that has already arrived. Idempotent.
    pub fn stop<S>(self, lp: &mut Loop<S>) -> Result {
        lp.core.require(self.0, "stop a signal")?;
        leave(&mut lp.core, self.0);
        Ok(())
    }
}

fn state_mut(core: &mut Core, handle: Handle) -> Result<&mut State> {
    match &mut core.require(handle, "signal")?.body {
        Body::Signal(state) => Ok(state),
        _ => Err(Error::Closed { op: "signal" }),
    }
}

fn leave(core: &mut Core, handle: Handle) {
    let Ok(Some(signum)) = state_mut(core, handle).map(|state| state.signum.take()) else { return };
    if let Some(watchers) = core.signals.0.get_mut(&signum) {
        watchers.retain(|&other| other != handle);
        if watchers.is_empty() {
            core.signals.0.remove(&signum);
            core.backend.forget_signal(signum);
        }
    }
    core.set_active(handle, false);
}

/// Takes the signals that arrived, and queues a delivery for each of their watchers.
pub(crate) fn collect(core: &mut Core) {
    let Core { backend, signals, delivered, .. } = core;
    backend.take_signals(|signum| {
        let watchers = signals.0.get(&signum).into_iter().flatten();
        delivered.extend(watchers.map(|&handle| (signum, handle)));
    });
}

pub(crate) fn deliver<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle, signum: i32) -> Result {
    // An earlier callback may have stopped or closed the watcher, or started it for another signal.
    let Ok(&mut State { signum: Some(watched), once }) = state_mut(&mut lp.core, handle) else {
        return Ok(());
    };
    if watched != signum {
        return Ok(());
    }
    if once {
        leave(&mut lp.core, handle);
    }
    lp.call(state, handle, CallbackArg::Signal(signum))
}

pub(crate) fn release(core: &mut Core, handle: Handle) {
    leave(core, handle);
}

pub(crate) fn verify(state: &State, core: &Core, handle: Handle) {
    let active = core.table.get(handle).is_some_and(|slot| slot.flags().active);
    assert_eq!(active, state.signum.is_some(), "an active signal handle has a signal: {handle:?}");
    if let Some(signum) = state.signum {
        assert!(
            core.signals.0.get(&signum).is_some_and(|watchers| watchers.contains(&handle)),
            "an active signal handle is a watcher: {handle:?}"
        );
    }
}

pub(crate) fn verify_watchers(core: &Core) {
    for (signum, watchers) in &core.signals.0 {
        assert!(!watchers.is_empty(), "signal {signum} has a watcher");
    }
}
