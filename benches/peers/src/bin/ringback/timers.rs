//! Timers: many, restarted and cancelled, and the shortest life of a loop.

use std::time::Duration;

use ringback::{Idle, Loop, Result, Timer};
use ringback_peers::{Arguments, Meter, Random, heap_bytes, result};

pub fn timers(arguments: &Arguments) -> Result {
    let count: u64 = arguments.get("count");
    let spread: u64 = arguments.get_or("spread", 1);
    let mut lp = Loop::new()?;
    arguments.ready();
    let meter = Meter::start();
    for number in 0..count {
        let delay = Duration::from_millis(if spread == 0 { 1 } else { number / 1000 + 1 });
        Timer::after(&mut lp, delay, |_, fired: &mut u64| {
            *fired += 1;
            Ok(())
        })?;
    }
    let started = meter.cpu_ns();
    let mut fired = 0;
    lp.run(&mut fired)?;
    let ran = meter.cpu_ns();
    assert_eq!(fired, count);
    drop(lp);
    meter.report(count);
    result("start_cpu_ns", started);
    result("run_cpu_ns", ran - started);
    result("free_cpu_ns", meter.cpu_ns() - ran);
    Ok(())
}

fn half_a_minute_or_more(random: &mut Random) -> Duration {
    Duration::from_millis(30_000 + random.below(30_000))
}

pub fn churn(arguments: &Arguments) -> Result {
    let count: u64 = arguments.get("count");
    let ops: u64 = arguments.get("ops");
    let mut random = Random::new(1);
    let mut lp = Loop::<()>::new()?;
    let start =
        |lp: &mut Loop, random: &mut Random| Timer::after(lp, half_a_minute_or_more(random), |_, _| Ok(()));
    let mut timers = Vec::new();
    for _ in 0..count {
        timers.push(start(&mut lp, &mut random)?);
    }
    let mut done = 0;
    let idle = Idle::new(&mut lp)?;
    idle.start(&mut lp, move |lp, _| {
        for _ in 0..1000 {
            let place = random.below(count) as usize;
            if random.below(10) < 9 {
                timers[place].restart_in(lp, half_a_minute_or_more(&mut random))?;
            } else {
                timers[place].close(lp);
                timers[place] = start(lp, &mut random)?;
            }
            done += 1;
        }
        if done >= ops {
            lp.stop();
        }
        Ok(())
    })?;
    let before = heap_bytes();
    arguments.ready();
    let meter = Meter::start();
    lp.run(&mut ())?;
    meter.report(ops);
    result("heap_bytes_before", before);
    result("heap_bytes_after", heap_bytes());
    Ok(())
}

pub fn start_up(arguments: &Arguments) -> Result {
    let count: u64 = arguments.get("count");
    arguments.ready();
    let meter = Meter::start();
    for _ in 0..count {
        let mut lp = Loop::new()?;
        Timer::after(&mut lp, Duration::ZERO, |_, _| Ok(()))?;
        lp.run(&mut ())?;
    }
    meter.report(count);
    Ok(())
}
