//! Wakes, values and jobs: what crosses threads.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use ringback::{Loop, Result, Timer, Wake, channel, work};
use ringback_peers::{Arguments, Meter, Random, result};

pub fn async_pummel(arguments: &Arguments) -> Result {
    let threads: usize = arguments.get("threads");
    let count: u64 = arguments.get("count");
    let mut lp = Loop::new()?;
    let wake = Wake::new(&mut lp, move |lp, calls: &mut u64| {
        *calls += 1;
        if *calls == count {
            lp.stop();
        }
        Ok(())
    })?;
    arguments.ready();
    let meter = Meter::start();
    let over = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..threads)
        .map(|_| {
            let (waker, over) = (wake.waker(&lp).expect("it is open"), over.clone());
            thread::spawn(move || {
                let mut sends = 0_u64;
                while !over.load(Ordering::Relaxed) && waker.wake().is_ok() {
                    sends += 1;
                }
                sends
            })
        })
        .collect();
    let mut calls = 0;
    lp.run(&mut calls)?;
    over.store(true, Ordering::Relaxed);
    meter.report(calls);
    result("sends", threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum::<u64>());
    Ok(())
}

pub fn million_async(arguments: &Arguments) -> Result {
    let handles: usize = arguments.get("handles");
    let seconds: f64 = arguments.get("seconds");
    let mut lp = Loop::new()?;
    let mut wakers = Vec::new();
    for _ in 0..handles {
        let wake = Wake::new(&mut lp, |_, calls: &mut u64| {
            *calls += 1;
            Ok(())
        })?;
        wakers.push(wake.waker(&lp)?);
    }
    arguments.ready();
    let meter = Meter::start();
    Timer::after(&mut lp, Duration::from_secs_f64(seconds), |lp, _| {
        lp.stop();
        Ok(())
    })?;
    let over = Arc::new(AtomicBool::new(false));
    let thread = thread::spawn({
        let over = over.clone();
        move || {
            let mut random = Random::new(1);
            while !over.load(Ordering::Relaxed) {
                let waker = &wakers[random.below(wakers.len() as u64) as usize];
                if waker.wake().is_err() {
                    break;
                }
            }
        }
    });
    let mut calls = 0;
    lp.run(&mut calls)?;
    over.store(true, Ordering::Relaxed);
    meter.report(calls);
    let _ = thread.join();
    Ok(())
}

pub fn post(arguments: &Arguments) -> Result {
    let threads: u64 = arguments.get("threads");
    let count: u64 = arguments.get("count");
    let mut lp = Loop::new()?;
    let (_, sender) = channel::bounded(&mut lp, 100_000, |_, sum: &mut u64, value: u64| {
        *sum = sum.wrapping_add(value);
        Ok(())
    })?;
    arguments.ready();
    let meter = Meter::start();
    let threads: Vec<_> = (0..threads)
        .map(|number| {
            let sender = sender.clone();
            thread::spawn(move || {
                for value in (number..count).step_by(threads as usize) {
                    let mut value = value;
                    while let Err(rejected) = sender.try_send(value) {
                        value = rejected.value;
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    drop(sender);
    let mut sum = 0;
    lp.run(&mut sum)?;
    meter.report(count);
    assert_eq!(sum, count * (count - 1) / 2);
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

#[derive(Default)]
struct Jobs {
    begun: u64,
    done: u64,
    value: u64,
}

pub fn queue_work(arguments: &Arguments) -> Result {
    let depth: u64 = arguments.get("depth");
    let count: u64 = arguments.get("count");
    let mut lp = Loop::new()?;
    let mut jobs = Jobs::default();
    arguments.ready();
    let meter = Meter::start();
    for _ in 0..depth.min(count) {
        submit(&mut lp, &mut jobs, count)?;
    }
    lp.run(&mut jobs)?;
    assert_eq!(jobs.done, count);
    meter.report(count);
    Ok(())
}

fn submit(lp: &mut Loop<Jobs>, jobs: &mut Jobs, count: u64) -> Result {
    jobs.begun += 1;
    let value = jobs.value;
    let step = move || value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    work::run(lp, step, move |lp, jobs: &mut Jobs, value| {
        jobs.value = value?;
        jobs.done += 1;
        if jobs.begun < count { submit(lp, jobs, count) } else { Ok(()) }
    })?;
    Ok(())
}
