//! Turns of the loop, and the cost to make and close each kind of handle.

use std::time::Duration;

use ringback::{Check, Idle, Loop, Prepare, Result, Timer, Wake};
use ringback_peers::{Arguments, Meter, missing};

pub fn loop_count(arguments: &Arguments) -> Result {
    let count: u64 = arguments.get("count");
    let mut lp = Loop::new()?;
    let idle = Idle::new(&mut lp)?;
    idle.start(&mut lp, move |lp, turns: &mut u64| {
        *turns += 1;
        if *turns == count { idle.stop(lp) } else { Ok(()) }
    })?;
    arguments.ready();
    let meter = Meter::start();
    let mut turns = 0;
    lp.run(&mut turns)?;
    meter.report(turns);
    Ok(())
}

#[derive(Default)]
struct Counts {
    turns: u64,
    calls: u64,
}

pub fn hooks(arguments: &Arguments) -> Result {
    let handles: usize = arguments.get("handles");
    let turns: u64 = arguments.get("turns");
    let mut lp = Loop::new()?;
    for _ in 0..handles {
        let count = |_: &mut Loop<Counts>, counts: &mut Counts| {
            counts.calls += 1;
            Ok(())
        };
        Idle::every_turn(&mut lp, count)?;
        Prepare::every_turn(&mut lp, count)?;
        Check::every_turn(&mut lp, count)?;
    }
    Check::every_turn(&mut lp, move |lp, counts: &mut Counts| {
        counts.turns += 1;
        if counts.turns == turns {
            lp.stop();
        }
        Ok(())
    })?;
    arguments.ready();
    let meter = Meter::start();
    let mut counts = Counts::default();
    lp.run(&mut counts)?;
    meter.report(counts.calls);
    Ok(())
}

pub fn handles(arguments: &Arguments) -> Result {
    let count: u64 = arguments.get("count");
    let kind: String = arguments.get("kind");
    let mut lp = Loop::<()>::new()?;
    arguments.ready();
    let meter = Meter::start();
    let mut handles = Vec::new();
    for _ in 0..count {
        handles.push(match kind.as_str() {
            "timer" => Timer::after(&mut lp, Duration::from_secs(3600), |_, _| Ok(()))?.into(),
            "idle" => Idle::every_turn(&mut lp, |_, _| Ok(()))?.into(),
            "prepare" => Prepare::every_turn(&mut lp, |_, _| Ok(()))?.into(),
            "check" => Check::every_turn(&mut lp, |_, _| Ok(()))?.into(),
            "wake" => Wake::new(&mut lp, |_, _| Ok(()))?.into(),
            other => missing(other),
        });
    }
    for handle in handles {
        let handle: ringback::Handle = handle;
        lp.close(handle);
    }
    lp.run(&mut ())?;
    meter.report(count);
    Ok(())
}
