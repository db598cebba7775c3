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
    event_loop::{CallbackArg, Core, HandleKind, typed_handle},
    handle::{Handle, Kind},
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
    /// It has arrived, and is listed to be delivered.
    arrived: bool,
}

/// The handles of one loop that watch each signal, in the order of starting.
#[derive(Debug, Default)]
pub(crate) struct Watchers(BTreeMap<i32, Vec<Handle>>);

impl Signal {
    /// Creates a watcher, to be started later.
    #[track_caller]
    pub fn new<S>(lp: &mut Loop<S>) -> Result<Signal> {
        Ok(Signal(lp.core.insert(State::default(), Location::caller())))
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

    /// Stops watching. The callback is not called for a signal that has already arrived. Idempotent.
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
