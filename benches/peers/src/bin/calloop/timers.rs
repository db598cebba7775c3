//! Timers and turns: `timers`, `start_up`, `loop_count`.

use std::time::{Duration, Instant};

use calloop::{
    EventLoop, LoopHandle,
    timer::{TimeoutAction, Timer},
};
use ringback_peers::{Arguments, Meter, missing, result};

use crate::Result;

/// calloop searches all sources for a free slot when it inserts one: ten times as many timers take a hundred
/// times as long, and a million take minutes.
const TIMERS_MAX: u64 = 100_000;

pub fn timers(arguments: &Arguments) -> Result {
    let count: u64 = arguments.get("count");
    let spread = arguments.get_or("spread", 1) != 0;
    if count > TIMERS_MAX {
        eprintln!("more than {TIMERS_MAX} timers take it minutes");
        missing("timers");
    }
    let mut event_loop = EventLoop::<u64>::try_new()?;
    let handle = event_loop.handle();
    arguments.ready();
    let meter = Meter::start();
    let begun = Instant::now();
    for index in 0..count {
        let due = Duration::from_millis(if spread { index / 1000 + 1 } else { 1 });
        handle.insert_source(Timer::from_deadline(begun + due), |_, (), fired| {
            *fired += 1;
            TimeoutAction::Drop
        })?;
    }
    let started = meter.cpu_ns();
    let mut fired = 0;
    while fired < count {
        event_loop.dispatch(None, &mut fired)?;
    }
    // Each timer was freed when it fired.
    let run = meter.cpu_ns();
    meter.report(fired);
    result("start_cpu_ns", started);
    result("run_cpu_ns", run - started);
    result("free_cpu_ns", 0);
    Ok(())
}

pub fn start_up(arguments: &Arguments) -> Result {
    let count: u64 = arguments.get("count");
    arguments.ready();
    let meter = Meter::start();
    for _ in 0..count {
        let mut event_loop = EventLoop::<bool>::try_new()?;
        event_loop.handle().insert_source(Timer::immediate(), |_, (), fired| {
            *fired = true;
            TimeoutAction::Drop
        })?;
        let mut fired = false;
        while !fired {
            event_loop.dispatch(None, &mut fired)?;
        }
    }
    meter.report(count);
    Ok(())
}

/// calloop calls an idle callback once, and blocks all the same, so the caller must pass a timeout of zero.
pub fn loop_count(arguments: &Arguments) -> Result {
    let count: u64 = arguments.get("count");
    let mut event_loop = EventLoop::<u64>::try_new()?;
    let handle = event_loop.handle();
    arguments.ready();
    let meter = Meter::start();
    again(&handle, count);
    let mut turns = 0;
    while turns < count {
        event_loop.dispatch(Some(Duration::ZERO), &mut turns)?;
    }
    meter.report(turns);
    Ok(())
}

fn again(handle: &LoopHandle<'static, u64>, count: u64) {
    let own = handle.clone();
    handle.insert_idle(move |turns| {
        *turns += 1;
        if *turns < count {
            again(&own, count);
        }
    });
}
