//! A loop that only an eventfd wakes: `loop_count`, `async_pummel`, `post`, `queue_work`, `start_up`.

use std::{
    hint::black_box,
    mem::{self, MaybeUninit},
    os::fd::OwnedFd,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use ringback_peers::{Arguments, Meter, result};
use rustix::{
    event::{EventfdFlags, Timespec, epoll, eventfd},
    io::{Errno, write},
};

use crate::Result;

/// Worker threads, when more than one job is in flight.
const WORKERS: usize = 4;
const QUEUED_MAX: usize = 100_000;

/// What a loop waits for. The eventfd is never read: each write to it is an edge, and it counts to 2⁶⁴.
struct WakeFd {
    epoll: OwnedFd,
    eventfd: OwnedFd,
}

impl WakeFd {
    fn new() -> Result<WakeFd> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let eventfd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            &eventfd,
            epoll::EventData::new_u64(0),
            epoll::EventFlags::IN | epoll::EventFlags::ET,
        )?;
        Ok(WakeFd { epoll, eventfd })
    }

    fn wake(&self) {
        // Fails only when the counter is full.
        let _ = write(&self.eventfd, &1_u64.to_ne_bytes());
    }

    /// Returns whether it was woken.
    fn wait(&self, timeout: Option<&Timespec>) -> Result<bool> {
        let mut events = [const { MaybeUninit::<epoll::Event>::uninit() }; 8];
        match epoll::wait(&self.epoll, &mut events, timeout) {
            Ok((ready, _)) => Ok(!ready.is_empty()),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

const AT_ONCE: Option<&Timespec> = Some(&Timespec { tv_sec: 0, tv_nsec: 0 });

pub fn loop_count(arguments: &Arguments) -> Result {
    let count: u64 = arguments.get("count");
    let wake_fd = WakeFd::new()?;
    arguments.ready();
    let meter = Meter::start();
    let mut turns = 0;
    while turns < count {
        wake_fd.wait(AT_ONCE)?;
        turns = black_box(turns + 1);
    }
    meter.report(turns);
    Ok(())
}

/// Makes a loop, waits once without blocking, and drops the loop.
pub fn start_up(arguments: &Arguments) -> Result {
    let count: u64 = arguments.get("count");
    arguments.ready();
    let meter = Meter::start();
    for _ in 0..count {
        WakeFd::new()?.wait(AT_ONCE)?;
    }
    meter.report(count);
    Ok(())
}

/// Each wake is a system call. A flag that remembers that the loop was woken would save calls, and gives
/// more wakes and fewer callbacks: the threads then contend with the loop for the flag.
pub fn async_pummel(arguments: &Arguments) -> Result {
    let count: u64 = arguments.get("count");
    let threads: usize = arguments.get("threads");
    let wake_fd = WakeFd::new()?;
    let (over, sends) = (AtomicBool::new(false), AtomicU64::new(0));
    let wake_until_over = || {
        let mut sent = 0;
        while !over.load(Ordering::Relaxed) {
            wake_fd.wake();
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
        let mut callbacks = 0;
        while callbacks < count {
            callbacks += u64::from(wake_fd.wait(None)?);
        }
        over.store(true, Ordering::Relaxed);
        meter.report(callbacks);
        Ok(())
    })?;
    result("sends", sends.into_inner());
    Ok(())
}

pub fn post(arguments: &Arguments) -> Result {
    let count: u64 = arguments.get("count");
    let threads: u64 = arguments.get("threads");
    let (wake_fd, posted) = (WakeFd::new()?, Mutex::new(Vec::new()));
    let post_one = |value: u64| {
        loop {
            let mut queue = posted.lock().expect("no thread panics while it holds the lock");
            if queue.len() < QUEUED_MAX {
                queue.push(value);
                let first = queue.len() == 1;
                drop(queue);
                if first {
                    wake_fd.wake();
                }
                return;
            }
            drop(queue);
            thread::yield_now();
        }
    };
    arguments.ready();
    let meter = Meter::start();
    thread::scope(|scope| -> Result {
        for index in 0..threads {
            scope.spawn(move || (index..count).step_by(threads as usize).for_each(post_one));
        }
        let (mut received, mut sum) = (0, 0_u64);
        let mut batch = Vec::new();
        while received < count {
            wake_fd.wait(None)?;
            mem::swap(&mut batch, &mut posted.lock().expect("no thread panics while it holds the lock"));
            received += batch.len() as u64;
            sum = batch.drain(..).fold(sum, u64::wrapping_add);
        }
        meter.report(received);
        assert_eq!(sum, count * (count - 1) / 2);
        Ok(())
    })
}

pub fn queue_work(arguments: &Arguments) -> Result {
    let (depth, count): (u64, u64) = (arguments.get("depth"), arguments.get("count"));
    let workers = if depth == 1 { 1 } else { WORKERS };
    let (wake_fd, done) = (WakeFd::new()?, Mutex::new(Vec::new()));
    let (jobs, taken) = mpsc::channel::<u64>();
    let taken = Mutex::new(taken);
    let work = || {
        loop {
            let job = taken.lock().expect("no thread panics while it holds the lock").recv();
            let Ok(state) = job else { return };
            let result =
                state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut results = done.lock().expect("no thread panics while it holds the lock");
            results.push(result);
            let first = results.len() == 1;
            drop(results);
            if first {
                wake_fd.wake();
            }
        }
    };
    thread::scope(|scope| -> Result {
        (0..workers).for_each(|_| drop(scope.spawn(work)));
        arguments.ready();
        let meter = Meter::start();
        let mut queued = depth.min(count);
        (0..queued).try_for_each(|seed| jobs.send(seed))?;
        let mut finished = 0;
        let mut batch = Vec::new();
        while finished < count {
            wake_fd.wait(None)?;
            mem::swap(&mut batch, &mut done.lock().expect("no thread panics while it holds the lock"));
            for result in batch.drain(..) {
                finished += 1;
                if queued < count {
                    queued += 1;
                    jobs.send(result)?;
                }
            }
        }
        meter.report(finished);
        // The workers exit when the last sender is dropped.
        drop(jobs);
        Ok(())
    })
}
