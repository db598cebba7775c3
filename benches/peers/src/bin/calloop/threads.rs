//! What crosses threads: `async_pummel` through a ping, `post` through a channel.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use calloop::{
    EventLoop,
    channel::{Event, sync_channel},
    ping::make_ping,
};
use ringback_peers::{Arguments, Meter, result};

use crate::Result;

const QUEUED_MAX: usize = 100_000;

pub fn async_pummel(arguments: &Arguments) -> Result {
    let threads: usize = arguments.get("threads");
    let count: u64 = arguments.get("count");
    let mut event_loop = EventLoop::<u64>::try_new()?;
    let (ping, source) = make_ping()?;
    let signal = event_loop.get_signal();
    event_loop.handle().insert_source(source, move |(), (), calls| {
        *calls += 1;
        if *calls == count {
            signal.stop();
        }
    })?;
    arguments.ready();
    let meter = Meter::start();
    let over = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..threads)
        .map(|_| {
            let (ping, over) = (ping.clone(), over.clone());
            thread::spawn(move || {
                let mut sends = 0_u64;
                while !over.load(Ordering::Relaxed) {
                    ping.ping();
                    sends += 1;
                }
                sends
            })
        })
        .collect();
    let mut calls = 0;
    event_loop.run(None, &mut calls, |_| {})?;
    over.store(true, Ordering::Relaxed);
    meter.report(calls);
    result("sends", threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum::<u64>());
    Ok(())
}

pub fn post(arguments: &Arguments) -> Result {
    let threads: u64 = arguments.get("threads");
    let count: u64 = arguments.get("count");
    let mut event_loop = EventLoop::<u64>::try_new()?;
    let (sender, channel) = sync_channel::<u64>(QUEUED_MAX);
    let signal = event_loop.get_signal();
    event_loop.handle().insert_source(channel, move |event, (), sum| match event {
        Event::Msg(value) => *sum += value,
        Event::Closed => signal.stop(),
    })?;
    arguments.ready();
    let meter = Meter::start();
    for number in 0..threads {
        let sender = sender.clone();
        thread::spawn(move || {
            for value in (number..count).step_by(threads as usize) {
                while sender.try_send(value).is_err() {
                    thread::yield_now();
                }
            }
        });
    }
    drop(sender);
    let mut sum = 0;
    event_loop.run(None, &mut sum, |_| {})?;
    meter.report(count);
    assert_eq!(sum, count * (count - 1) / 2);
    Ok(())
}
