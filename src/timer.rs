//! Timers: callbacks after a delay, once or repeatedly.
//!
//! Never early, to the nanosecond of the loop's clock. Timers with equal deadlines fire in starting order. A
//! timer that a timer's callback starts waits for the next turn, even without a delay. The queue that orders
//! deadlines knows nothing of callbacks: see `queue/deadlines.rs`.

use std::{panic::Location, time::Duration};

use crate::{
    Loop,
    error::{Error, Result},
    event_loop::{CallbackArg, Core, HandleKind, typed_handle},
    handle::{Handle, Kind},
    time::{Nanos, nanos},
};

typed_handle! {
    /// Calls back after a delay, once or repeatedly.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ringback::{Loop, Timer};
    ///
    /// let mut lp = Loop::new()?;
    /// Timer::after(&mut lp, Duration::from_millis(5), |lp, count: &mut u32| {
    ///     *count += 1;
    ///     let tick = Timer::every(lp, Duration::from_millis(1), |_, count| {
    ///         *count += 1;
    ///         Ok(())
    ///     })?;
    ///     Timer::after(lp, Duration::from_millis(10), move |lp, _| {
    ///         tick.close(lp);
    ///         Ok(())
    ///     })?;
    ///     Ok(())
    /// })?;
    /// let mut count = 0;
    /// lp.run(&mut count)?;
    /// assert!(count >= 2);
    /// # Ok::<(), ringback::Error>(())
    /// ```
    ///
    /// Delays count from the loop's time: see [`Loop::now`]. A timer never fires early. A delay beyond
    /// 584 years never passes.
    ///
    /// An error that the callback returns closes the timer.
    ///
    /// # Errors
    ///
    /// Every method that returns a `Result` returns [`Error::Closed`] if the timer is closed or closing, and
    /// [`Error::WrongLoop`] if it belongs to another loop.
    Timer
}

/// What a timer keeps in its slot.
///
/// 1. A timer is active if and only if it has a deadline.
#[derive(Debug)]
pub(crate) struct State {
    /// The delay of the last start.
    delay: Nanos,
    /// Zero if it does not repeat.
    period: Nanos,
    /// Made by [`Timer::after`]: it closes itself when it fires.
    once: bool,
    was_started: bool,
}

impl Timer {
    /// Calls `callback` once after `delay`, and closes the timer.
    ///
    /// With a delay of zero it fires in the next turn. The timer is closing when `callback` runs.
    #[track_caller]
    pub fn after<S>(
        lp: &mut Loop<S>,
        delay: Duration,
        callback: impl FnOnce(&mut Loop<S>, &mut S) -> Result + 'static,
    ) -> Result<Timer> {
        let state = State { delay: 0, period: 0, once: true, was_started: false };
        let timer = make(lp, state, Location::caller());
        lp.set_callback_once(timer.0, callback);
        arm(&mut lp.core, timer.0, delay);
        Ok(timer)
    }

    /// Calls `callback` repeatedly, the first time after one `period`.
    ///
    /// Each expiry sets the next one a period after the loop's time. So a delayed loop does not catch up in a
    /// burst. The callback may stop or close the timer.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the period is zero. For a callback every turn, use [`Idle`](crate::Idle).
    #[track_caller]
    pub fn every<S>(
        lp: &mut Loop<S>,
        period: Duration,
        callback: impl FnMut(&mut Loop<S>, &mut S) -> Result + 'static,
    ) -> Result<Timer> {
        let state =
            State { delay: 0, period: checked_period("every", period)?, once: false, was_started: false };
        let timer = make(lp, state, Location::caller());
        lp.set_callback_no_arg(timer.0, callback);
        arm(&mut lp.core, timer.0, period);
        Ok(timer)
    }

    /// Makes a timer that is not started. It can be started and stopped any number of times.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ringback::{Loop, Timer};
    ///
    /// let mut lp = Loop::<()>::new()?;
    /// let timer = Timer::new(&mut lp)?;
    /// timer.start(&mut lp, Duration::from_millis(1), |_, _| Ok(()))?;
    /// timer.stop(&mut lp)?;
    /// timer.again(&mut lp)?; // the same delay, from now
    /// lp.run(&mut ())?;
    /// # Ok::<(), ringback::Error>(())
    /// ```
    #[track_caller]
    pub fn new<S>(lp: &mut Loop<S>) -> Result<Timer> {
        let state = State { delay: 0, period: 0, once: false, was_started: false };
        Ok(make(lp, state, Location::caller()))
    }

    /// Starts or restarts the timer. `callback` runs after `delay`, and then every
    /// [`period`](Self::set_period) if one is set.
    ///
    /// Inside its own callback, this replaces the callback when that returns.
    #[track_caller]
    pub fn start<S>(
        self,
        lp: &mut Loop<S>,
        delay: Duration,
        callback: impl FnMut(&mut Loop<S>, &mut S) -> Result + 'static,
    ) -> Result {
        lp.core.set_started_at(self.0, "start a timer", Location::caller())?;
        lp.set_callback_no_arg(self.0, callback);
        arm(&mut lp.core, self.0, delay);
        Ok(())
    }

    /// Stops the timer: it does not fire, not even if it is due in this turn. Idempotent.
    ///
    /// It keeps its callback, for [`again`](Self::again).
    pub fn stop<S>(self, lp: &mut Loop<S>) -> Result {
        lp.core.require::<State>(self.0, "stop a timer")?;
        lp.core.clear_deadline(self.0);
        lp.core.set_active(self.0, false);
        Ok(())
    }

    /// Restarts the timer from now, with the callback that it has.
    ///
    /// It fires after its period if it repeats, otherwise after the delay of the last start. Use it to
    /// postpone a timeout whenever something happens.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if it was never started.
    pub fn again<S>(self, lp: &mut Loop<S>) -> Result {
        let op = "start a timer again";
        let state = started_before(&mut lp.core, self.0, op)?;
        let delay = Duration::from_nanos(if state.period > 0 { state.period } else { state.delay });
        arm(&mut lp.core, self.0, delay);
        Ok(())
    }

    /// Restarts the timer from now, with the callback that it has and a new delay.
    ///
    /// [`again`](Self::again) uses this delay from now on, unless the timer repeats.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ringback::{Loop, Timer};
    ///
    /// let mut lp = Loop::<()>::new()?;
    /// let limit = Timer::after(&mut lp, Duration::from_secs(60), |_, _| Ok(()))?;
    /// limit.restart_in(&mut lp, Duration::from_millis(1))?; // instead of 60 s
    /// lp.run(&mut ())?;
    /// # Ok::<(), ringback::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if it was never started.
    pub fn restart_in<S>(self, lp: &mut Loop<S>, delay: Duration) -> Result {
        let op = "start a timer again";
        started_before(&mut lp.core, self.0, op)?;
        arm(&mut lp.core, self.0, delay);
        Ok(())
    }

    /// Sets the period of the timer. With `None` it does not repeat.
    ///
    /// Takes effect when it next fires or is started. Inside its own callback, the next expiry is set
    /// already.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the period is zero.
    pub fn set_period<S>(self, lp: &mut Loop<S>, period: Option<Duration>) -> Result {
        let op = "set a timer's period";
        let period = period.map_or(Ok(0), |period| checked_period(op, period))?;
        lp.core.require::<State>(self.0, op)?.period = period;
        Ok(())
    }

    /// Returns the period of the timer, if it repeats.
    pub fn period<S>(self, lp: &mut Loop<S>) -> Result<Option<Duration>> {
        let period = lp.core.require::<State>(self.0, "read a timer's period")?.period;
        Ok((period > 0).then_some(Duration::from_nanos(period)))
    }

    /// Returns how long until the timer is due, by the loop's time. Zero if it is overdue, `None` if it is
    /// not started, or is closed.
    pub fn due_in<S>(self, lp: &Loop<S>) -> Option<Duration> {
        let due = lp.core.deadline_of(self.0)?;
        Some(Duration::from_nanos(due.saturating_sub(lp.core.now())))
    }
}

fn make<S>(lp: &mut Loop<S>, state: State, started_at: &'static Location<'static>) -> Timer {
    Timer(lp.core.insert(state, started_at))
}

/// Starts a timer that is open.
fn arm(core: &mut Core, handle: Handle, delay: Duration) {
    let deadline = core.deadline_after(delay);
    let Some(parts) = core.parts::<State>(handle) else { return };
    let was_active = parts.flags.active;
    (parts.state.delay, parts.state.was_started) = (nanos(delay), true);
    core.set_deadline(handle, deadline);
    if !was_active {
        core.set_active(handle, true);
    }
}

fn checked_period(op: &'static str, period: Duration) -> Result<Nanos> {
    match nanos(period) {
        0 => Err(Error::invalid(op, "a period of zero would never let the loop wait")),
        period => Ok(period),
    }
}

fn started_before<'a>(core: &'a mut Core, handle: Handle, op: &'static str) -> Result<&'a mut State> {
    let state = core.require::<State>(handle, op)?;
    if state.was_started { Ok(state) } else { Err(Error::invalid(op, "it was never started")) }
}

impl HandleKind for State {
    type Slot = State;

    fn kind(&self) -> Kind {
        Kind::Timer
    }

    fn status(&self, core: &Core, handle: Handle) -> String {
        let due = core.deadline_of(handle);
        let due = due.map(|due| Duration::from_nanos(due.saturating_sub(core.now())));
        let repeats = match self.period {
            0 => String::new(),
            period => format!(", every {:?}", Duration::from_nanos(period)),
        };
        due.map_or_else(|| "stopped".into(), |due| format!("due in {due:?}")) + &repeats
    }

    /// It holds nothing but its deadline, which the loop clears.
    fn release(_: &mut Core, _: Handle) {}

    fn verify(&self, core: &Core, handle: Handle) {
        let active = core.flags(handle).is_some_and(|flags| flags.active);
        assert_eq!(active, core.deadline_of(handle).is_some(), "an active timer has a deadline: {handle:?}");
    }

    fn on_deadline<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle) -> Result {
        let core = &mut lp.core;
        let Some(&mut State { period, once, .. }) = core.get::<State>(handle) else { return Ok(()) };
        if once {
            core.begin_closing(handle);
            return lp.call_final(state, handle, CallbackArg::NoArg);
        }
        if period > 0 {
            // Before the callback, which may stop or close it.
            core.set_deadline(handle, core.now().saturating_add(period));
        } else {
            core.set_active(handle, false);
        }
        lp.call_no_arg(state, handle.index)
    }
}
