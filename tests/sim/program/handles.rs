//! Timers, hooks, and what can be done to any handle.

use std::{cell::Cell, rc::Rc, time::Duration};

use ringback::{Check, Handle, Idle, Loop, Prepare, Result, Timer};

use super::{App, Random, after_callback};

/// A timer that was made with `Timer::new`, to be stopped and started again.
pub(super) struct StartedTimer {
    pub(super) timer: Timer,
    delay: Duration,
    not_before: Rc<Cell<Duration>>,
}

pub(super) fn on_timers(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    let delay = random.delay(app.site.speedup);
    match random.below(6) {
        0 => one_shot(lp, app, delay),
        1 => repeating(lp, app, delay + Duration::from_micros(1), random.below(5)),
        2 => {
            let timer = Timer::new(lp).ok()?;
            let not_before = Rc::new(Cell::new(Duration::ZERO));
            app.handles.push(timer.into());
            app.timers.push(StartedTimer { timer, delay, not_before: not_before.clone() });
            let started = not_before.clone();
            timer
                .start(lp, delay, move |lp, app: &mut App| {
                    app.contract.event(timer.into(), "timer");
                    app.contract.not_early(lp.now(), not_before.get());
                    after_callback(lp, app, Some(timer.into()))
                })
                .ok()?;
            started.set(lp.now() + delay);
            Some("timer start")
        }
        3 => {
            let timer = any_timer(app, random)?.timer;
            timer.stop(lp).ok()?;
            app.contract.stopped(timer);
            Some("timer stop")
        }
        4 => {
            let StartedTimer { timer, delay, not_before } = any_timer(app, random)?;
            timer.again(lp).ok()?;
            not_before.set(lp.now() + *delay);
            let timer = *timer;
            app.contract.started(timer);
            Some("timer again")
        }
        _ => {
            let _ = any_timer(app, random)?.timer.due_in(lp);
            Some("timer due in")
        }
    }
}

fn any_timer<'a>(app: &'a App, random: &mut Random) -> Option<&'a StartedTimer> {
    app.timers.get(random.below(app.timers.len() as u64) as usize)
}

fn one_shot(lp: &mut Loop<App>, app: &mut App, delay: Duration) -> Option<&'static str> {
    let number = app.contract.next_number();
    let due = Rc::new(Cell::new(Duration::ZERO));
    let deadline = due.clone();
    let timer = Timer::after(lp, delay, move |lp, app: &mut App| {
        app.contract.completed(number, "timer");
        app.contract.fired(lp.now(), deadline.get(), number);
        after_callback(lp, app, None)
    });
    due.set(lp.now() + delay);
    let timer = timer.ok()?;
    app.contract.submitted(number, "timer after");
    app.contract.armed(timer.into(), due.get(), number);
    app.handles.push(timer.into());
    Some("timer after")
}

fn repeating(lp: &mut Loop<App>, app: &mut App, period: Duration, mut left: u64) -> Option<&'static str> {
    let me = Rc::new(Cell::new(None));
    let not_before = Rc::new(Cell::new(Duration::ZERO));
    let (timer, due) = (me.clone(), not_before.clone());
    let made = Timer::every(lp, period, move |lp, app: &mut App| {
        let Some(timer): Option<Timer> = timer.get() else { return Ok(()) };
        app.contract.event(timer.into(), "tick");
        app.contract.not_early(lp.now(), due.replace(lp.now() + period));
        left = left.saturating_sub(1);
        if left == 0 {
            app.contract.closing(lp, timer);
            timer.close(lp);
            return Ok(());
        }
        after_callback(lp, app, Some(timer.into()))
    });
    not_before.set(lp.now() + period);
    me.set(made.as_ref().ok().copied());
    app.handles.push(made.ok()?.into());
    Some("timer every")
}

// ---- hooks

/// A hook, and how to start it again.
#[derive(Clone, Copy)]
pub(super) enum Hook {
    Idle(Idle),
    Prepare(Prepare),
    Check(Check),
}

impl Hook {
    fn handle(self) -> Handle {
        match self {
            Hook::Idle(hook) => hook.into(),
            Hook::Prepare(hook) => hook.into(),
            Hook::Check(hook) => hook.into(),
        }
    }

    /// Starts the hook. It closes itself after `left` turns.
    fn start(self, lp: &mut Loop<App>, mut left: u64) -> Result {
        let me = self.handle();
        let is_idle = matches!(self, Hook::Idle(_));
        let callback = move |lp: &mut Loop<App>, app: &mut App| {
            app.contract.event(me, "hook");
            left = left.saturating_sub(1);
            if left == 0 {
                app.contract.closing(lp, me);
                lp.close(me);
            }
            // The others are called so often that they would use up the plan's ops.
            if is_idle || left % 8 == 0 { after_callback(lp, app, Some(me)) } else { Ok(()) }
        };
        match self {
            Hook::Idle(hook) => hook.start(lp, callback),
            Hook::Prepare(hook) => hook.start(lp, callback),
            Hook::Check(hook) => hook.start(lp, callback),
        }
    }

    fn stop(self, lp: &mut Loop<App>) -> Result {
        match self {
            Hook::Idle(hook) => hook.stop(lp),
            Hook::Prepare(hook) => hook.stop(lp),
            Hook::Check(hook) => hook.stop(lp),
        }
    }
}

pub(super) fn on_hooks(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    let turns = random.below(20);
    let (hook, what) = match random.below(6) {
        0 => return defer(lp, app),
        1 => (Hook::Idle(Idle::new(lp).ok()?), "idle"),
        2 => (Hook::Prepare(Prepare::new(lp).ok()?), "prepare"),
        3 => (Hook::Check(Check::new(lp).ok()?), "check"),
        4 => {
            let hook = random.pick(&app.hooks)?;
            hook.stop(lp).ok()?;
            app.contract.stopped(hook.handle());
            return Some("hook stop");
        }
        _ => {
            let hook = random.pick(&app.hooks)?;
            hook.start(lp, turns).ok()?;
            app.contract.started(hook.handle());
            return Some("hook start");
        }
    };
    app.hooks.push(hook);
    app.handles.push(hook.handle());
    hook.start(lp, turns).ok()?;
    Some(what)
}

fn defer(lp: &mut Loop<App>, app: &mut App) -> Option<&'static str> {
    let number = app.contract.next_number();
    let request = lp.defer(move |lp, app: &mut App| {
        app.contract.completed(number, "deferred");
        after_callback(lp, app, None)
    });
    app.contract.submitted(number, "defer");
    app.contract.deferred(request, number);
    app.requests.push(request);
    Some("defer")
}

// ---- any handle

pub(super) fn on_handles(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    let handle = random.pick(&app.handles)?;
    match random.below(7) {
        0 | 1 => {
            app.contract.closing(lp, handle);
            app.contract.forget_timer(handle);
            lp.close(handle);
            Some("close")
        }
        2 => {
            let number = app.contract.next_number();
            app.contract.closing(lp, handle);
            app.contract.forget_timer(handle);
            lp.close_then(handle, move |lp, app: &mut App| {
                app.contract.completed(number, "close");
                app.contract.expect(!lp.is_open(handle), || "open in its close callback".into());
                after_callback(lp, app, None)
            });
            app.contract.submitted(number, "close then");
            Some("close then")
        }
        3 => {
            let request = random.pick(&app.requests)?;
            request.cancel(lp).ok()?;
            app.contract.cancelled(request);
            Some("cancel")
        }
        4 => {
            app.any_stream(lp, random)?.set_name(lp, "named").ok()?;
            Some("name")
        }
        which => {
            let on_timer = random.one_in(2);
            let timer = any_timer(app, random).map(|timer| timer.timer).filter(|_| on_timer);
            let stream = app.any_stream(lp, random);
            let done = match (timer, stream) {
                (Some(timer), _) if which == 5 => timer.unref(lp),
                (Some(timer), _) => timer.re_ref(lp),
                (None, Some(stream)) if which == 5 => stream.unref(lp),
                (None, Some(stream)) => stream.re_ref(lp),
                (None, None) => return None,
            };
            done.ok()?;
            Some(if which == 5 { "unref" } else { "re ref" })
        }
    }
}
