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
    event_loop::{CallbackArg, Core, HandleKind, typed_handle},
    handle::{Handle, Kind},
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
    /// It has arrived, and is listed to be delivered.
    arrived: bool,
}

/// Who watches which signal in one loop, in the order of starting.
#[derive(Debug, Default)]
pub(crate) struct Watchers(BTreeMap<i32, Vec<Handle>>);

impl Signal {
    /// A watcher that is not started yet.
    #[track_caller]
    pub fn new<S>(lp: &mut Loop<S>) -> Result<Signal> {
        Ok(Signal(lp.core.insert(State::default(), Location::caller())))
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
        core.set_started_at(self.0, "start a signal", Location::caller())?;
        let watched = core.backend().watch_signal(signum);
        watched.map_err(|error| Error::system_on("watch signal", signum, error))?;
        // After the new one is watched: if it is the same, it was never without a watcher.
        let state = core.require::<State>(self.0, "start a signal")?;
        if state.signum == Some(signum) {
            state.once = once;
        } else {
            leave(core, self.0);
            core.shared().signals.0.entry(signum).or_default().push(self.0);
            *core.require::<State>(self.0, "start a signal")? =
                State { signum: Some(signum), once, arrived: false };
        }
        core.set_active(self.0, true);
        lp.set_callback(self.0, move |lp, state, arg| match arg {
            CallbackArg::Signal(signum) => callback(lp, state, signum),
            _ => unreachable!("a signal's callback gets signals"),
        });
        Ok(())
    }

    /// Stops watching. A delivery that was not told yet is not told. Idempotent.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub fn stop<S>(self, lp: &mut Loop<S>) -> Result {
        lp.core.require::<State>(self.0, "stop a signal")?;
        leave(&mut lp.core, self.0);
        Ok(())
    }
}

fn leave(core: &mut Core, handle: Handle) {
    let Some(state) = core.get::<State>(handle) else { return };
    state.arrived = false;
    let Some(signum) = state.signum.take() else { return };
    let watchers = &mut core.shared().signals.0;
    if let Some(handles) = watchers.get_mut(&signum) {
        handles.retain(|&other| other != handle);
        if handles.is_empty() {
            watchers.remove(&signum);
            core.backend().forget_signal(signum);
        }
    }
    core.set_active(handle, false);
}

/// Signals have arrived: lists the watchers, to be called after everything else of the poll phase.
pub(crate) fn collect(core: &mut Core) {
    let mut arrived = Vec::new();
    core.backend().take_signals(|signum| arrived.push(signum));
    for signum in arrived {
        let watchers = core.shared().signals.0.get(&signum).cloned().unwrap_or_default();
        for handle in watchers {
            let listed = core.get::<State>(handle).map(|state| std::mem::replace(&mut state.arrived, true));
            if listed == Some(false) {
                core.deliver_last(handle);
            }
        }
    }
}

impl Watchers {
    /// Panics unless the invariants hold.
    pub(crate) fn verify(&self) {
        for (signum, watchers) in &self.0 {
            assert!(!watchers.is_empty(), "signal {signum} has a watcher");
        }
    }
}

impl HandleKind for State {
    type Slot = State;

    fn kind(&self) -> Kind {
        Kind::Signal
    }

    fn status(&self, _: &Core, _: Handle) -> String {
        self.signum.map_or_else(|| "stopped".into(), |signum| format!("waits for signal {signum}"))
    }

    fn release(core: &mut Core, handle: Handle) {
        leave(core, handle);
    }

    fn verify(&self, core: &Core, handle: Handle) {
        let active = core.flags(handle).is_some_and(|flags| flags.active);
        assert_eq!(active, self.signum.is_some(), "an active signal has a number: {handle:?}");
        if let Some(signum) = self.signum {
            let watchers = core.shared_ref().signals.0.get(&signum);
            assert!(watchers.is_some_and(|watchers| watchers.contains(&handle)), "and is listed");
        }
    }

    fn on_last<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle) -> Result {
        // It may have been stopped, or started for another signal, since it was listed.
        let Some(&mut State { signum: Some(signum), once, ref mut arrived }) = lp.core.get::<State>(handle)
        else {
            return Ok(());
        };
        if !std::mem::take(arrived) {
            return Ok(());
        }
        if once {
            leave(&mut lp.core, handle);
        }
        lp.call(state, handle, CallbackArg::Signal(signum))
    }
}
