//! Signals, as events: any number of watchers, in any number of loops and threads.
//!
//! Deliveries that come before the loop looks are one. Watchers are told last of all that a poll
//! brought, so that what a signal closes has been read before. The first watcher of a signal in the
//! process takes it over, the last one gives it back as it was.

use std::{collections::BTreeMap, panic::Location};

use crate::{
    Loop,
    backend::signal_numbers,
    error::{Error, Result},
    event_loop::{
        core::Core,
        kinds::{Body, CallbackArg},
        typed_handle,
    },
    handle::Handle,
};

/// From the terminal: the user wants the program to end (Ctrl-C).
pub const INT: i32 = signal_numbers::SIGINT;
/// Somebody wants the program to end.
pub const TERM: i32 = signal_numbers::SIGTERM;
/// The terminal is gone; by custom also "read your configuration again".
pub const HUP: i32 = signal_numbers::SIGHUP;
/// From the terminal: end, with a dump (Ctrl-\).
pub const QUIT: i32 = signal_numbers::SIGQUIT;
/// For the application.
pub const USR1: i32 = signal_numbers::SIGUSR1;
/// For the application.
pub const USR2: i32 = signal_numbers::SIGUSR2;
/// A child process has changed its state.
pub const CHLD: i32 = signal_numbers::SIGCHLD;
/// The terminal's window has changed its size.
pub const WINCH: i32 = signal_numbers::SIGWINCH;
/// The process goes on after it was stopped.
pub const CONT: i32 = signal_numbers::SIGCONT;
/// A pipe nobody reads was written to.
pub const PIPE: i32 = signal_numbers::SIGPIPE;

typed_handle! {
    /// Calls back when the process receives a signal.
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

/// What a signal handle keeps in its slot.
///
/// 1. It is active if and only if `signum` is set, and then it is among the watchers of that signal.
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

/// Who watches which signal in one loop, in the order of starting.
#[derive(Debug, Default)]
pub(crate) struct Watchers(BTreeMap<i32, Vec<Handle>>);

impl Signal {
    /// A watcher that is not started yet.
    #[track_caller]
    pub fn new<S>(lp: &mut Loop<S>) -> Result<Signal> {
        Ok(Signal(lp.core.insert(Body::Signal(State::default()), Location::caller())))
    }

    /// A watcher that is started: calls `callback` with the signal's number each time it was delivered.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
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

    /// Calls `callback` with the signal's number each time the signal was delivered, in place of what
    /// was started before. Holds the loop, unless [`unref`](Self::unref)ed, until stopped.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; [`Error::System`] if there is no such signal or it cannot be caught.
    #[track_caller]
    pub fn start<S>(
        self,
        lp: &mut Loop<S>,
        signum: i32,
        callback: impl FnMut(&mut Loop<S>, &mut S, i32) -> Result + 'static,
    ) -> Result {
        self.begin(lp, signum, false, callback)
    }

    /// The same, for the next delivery only: it is stopped before `callback` is called.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
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
        core.require(self.0, "start a signal")?.started_at = Location::caller();
        core.backend.watch_signal(signum).map_err(|error| Error::system_on("watch signal", signum, error))?;
        // After the new one is installed: if it is the same, it was never without a watcher.
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

    /// Stops watching. A delivery that was not told yet is not told. Idempotent.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
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

/// Signals were delivered: lists whom to tell.
pub(crate) fn collect(core: &mut Core) {
    let Core { backend, signals, delivered, .. } = core;
    backend.take_signals(|signum| {
        let watchers = signals.0.get(&signum).into_iter().flatten();
        delivered.extend(watchers.map(|&handle| (signum, handle)));
    });
}

pub(crate) fn deliver<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle, signum: i32) -> Result {
    // It may have been stopped, or closed, or started for another one since it was listed.
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
    assert_eq!(active, state.signum.is_some(), "an active signal has a number: {handle:?}");
    if let Some(signum) = state.signum {
        assert!(
            core.signals.0.get(&signum).is_some_and(|watchers| watchers.contains(&handle)),
            "and is listed"
        );
    }
}

pub(crate) fn verify_watchers(core: &Core) {
    for (signum, watchers) in &core.signals.0 {
        assert!(!watchers.is_empty(), "signal {signum} is watched by somebody");
    }
}
