//! `async_pummel`: threads wake the loop.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use mio::{Events, Poll, Token, Waker};
use ringback_peers::{Arguments, Meter, result};

use crate::Result;

pub fn async_pummel(arguments: &Arguments) -> Result {
    let count: u64 = arguments.get("count");
    let threads: usize = arguments.get("threads");
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let waker = Waker::new(poll.registry(), Token(0))?;
    let (over, sends) = (AtomicBool::new(false), AtomicU64::new(0));
    let wake_until_over = || {
        let mut sent = 0;
        while !over.load(Ordering::Relaxed) && waker.wake().is_ok() {
            sent += 1;
        }
        sends.fetch_add(sent, Ordering::Relaxed);
    };
    arguments.ready();
    let meter = Meter::start();
    thread::scope(|scope| -> Result {
        for _ in 0..threads {
            scope.spawn(wake_until_over);
        }
        let mut calls = 0;
        while calls < count {
            poll.poll(&mut events, None)?;
            calls += events.iter().count() as u64;
        }
        over.store(true, Ordering::Relaxed);
        meter.report(calls);
        Ok(())
    })?;
    result("sends", sends.into_inner());
    Ok(())
}
