//! Other threads, while the loop runs, closes what they use, and is dropped.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ringback::{Error, Idle, Loop, Remote, Signal, Timer, Wake, Waker, channel, signal, work};
use rustix::process::{getpid, kill_process};

use crate::{
    random::{Random, seed},
    wait::{GUARD, eventually},
};

const THREADS: usize = 4;

/// Counts the values of its kind that exist.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Counted {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the wakes of one thread came to.
#[derive(Default)]
struct Wakes {
    delivered: AtomicU64,
    /// Their loop, or their handle, was gone.
    refused: AtomicU64,
}

/// Wakes whatever is in the list until it is over.
fn wake_all(wakers: &Mutex<Vec<Waker>>, over: &AtomicBool, wakes: &Wakes, mut random: Random) {
    while !over.load(Ordering::Relaxed) {
        let waker = random.pick(&wakers.lock().unwrap()).cloned();
        for _ in 0..random.below(50) {
            let counter = match waker.as_ref().map(Waker::wake) {
                Some(Ok(())) => &wakes.delivered,
                Some(Err(Error::Disconnected { .. })) => &wakes.refused,
                Some(Err(error)) => panic!("{error}"),
                None => continue,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Several threads wake handles that are closed and replaced all the time, and then a loop that was dropped.
#[test]
fn a_storm_of_wakes_races_with_closing_handles() {
    const ROUNDS: u64 = 1000;
    const WAKES_MIN: u64 = 1000;
    let seed = seed("a_storm_of_wakes_races_with_closing_handles");
    let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
    let over = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..THREADS as u64)
        .map(|number| {
            let (wakers, over) = (wakers.clone(), over.clone());
            let wakes = Arc::new(Wakes::default());
            let counted = wakes.clone();
            let thread =
                thread::spawn(move || wake_all(&wakers, &over, &counted, Random::new(seed + number)));
            (thread, wakes)
        })
        .collect();
    let each = |counter: fn(&Wakes) -> &AtomicU64, least| {
        threads.iter().all(|(_, wakes)| counter(wakes).load(Ordering::Relaxed) >= least)
    };

    let mut lp = Loop::<u64>::new().unwrap();
    replace_wakes_every_turn(&mut lp, wakers, Random::new(seed));
    let (mut rounds, mut calls) = (0, 0);
    let started = Instant::now();
    // Each round is a turn, with all threads at work.
    while rounds < ROUNDS || calls == 0 || !each(|wakes| &wakes.delivered, WAKES_MIN) {
        lp.run_once(&mut calls).unwrap();
        lp.verify();
        rounds += 1;
        assert!(started.elapsed() < GUARD, "{calls} calls after {rounds} rounds");
    }
    drop(lp);
    eventually("every thread finds the loop gone", || each(|wakes| &wakes.refused, WAKES_MIN).then_some(()));
    over.store(true, Ordering::Relaxed);
    for (thread, _) in threads {
        thread.join().unwrap();
    }
    println!("{rounds} rounds, {calls} calls");
}

/// Keeps eight wakes, and now and then closes one of them.
fn replace_wakes_every_turn(lp: &mut Loop<u64>, wakers: Arc<Mutex<Vec<Waker>>>, mut random: Random) {
    let mut own: Vec<Wake> = Vec::new();
    let replace = move |lp: &mut Loop<u64>, _: &mut u64| {
        let mut wakers = wakers.lock().unwrap();
        if own.len() < 8 {
            let wake = Wake::new(lp, |_, calls| {
                *calls += 1;
                Ok(())
            })?;
            wakers.push(wake.waker(lp)?);
            own.push(wake);
        }
        if random.one_in(3) {
            let closed = random.below(own.len());
            own.swap_remove(closed).close(lp);
            // Half of the time its waker stays in the list.
            if random.one_in(2) {
                wakers.swap_remove(closed);
            }
        }
        if wakers.len() > 16 {
            let surplus = wakers.len() - 8;
            wakers.drain(..surplus);
        }
        Ok(())
    };
    Idle::every_turn(lp, replace).unwrap();
}

/// A wake that comes after the loop's last check ends its wait: a lost one would leave it blocked.
#[test]
fn no_wake_is_lost_between_the_last_check_and_blocking() {
    const ROUNDS: u64 = 20_000;
    let mut lp = Loop::<u64>::new().unwrap();
    let round = Arc::new(AtomicU64::new(0));
    let latest = round.clone();
    let wake = Wake::new(&mut lp, move |lp, seen: &mut u64| {
        *seen = latest.load(Ordering::Acquire);
        if *seen == ROUNDS {
            lp.stop();
        }
        Ok(())
    })
    .unwrap();
    let waker = wake.waker(&lp).unwrap();
    let thread = thread::spawn(move || {
        for number in 1..=ROUNDS {
            round.store(number, Ordering::Release);
            waker.wake().unwrap();
            if number % 64 == 0 {
                thread::yield_now();
            }
        }
    });
    // A lost wake is found when the timer ends the wait.
    Timer::after(&mut lp, GUARD, |_, seen| panic!("a wake was lost after {seen}")).unwrap();
    let started = Instant::now();
    let mut seen = 0;
    lp.run(&mut seen).unwrap();
    assert_eq!(seen, ROUNDS);
    assert!(started.elapsed() < GUARD, "the last wake was lost");
    thread.join().unwrap();
}

/// Threads block on a full channel, send and post while the loop is dropped. No thread stays blocked and no
/// value leaks. A send that succeeded need not have been delivered.
#[test]
fn dropping_the_loop_releases_every_blocked_thread() {
    let seed = seed("dropping_the_loop_releases_every_blocked_thread");
    let mut random = Random::new(seed);
    for _ in 0..60 {
        let count = Arc::new(AtomicUsize::new(0));
        let delivered = Arc::new(AtomicU64::new(0));
        let mut lp = Loop::<()>::new().unwrap();
        let seen = delivered.clone();
        let (_channel, sender) =
            channel::bounded(&mut lp, 1 + random.below(3), move |_, _, value: Counted| {
                drop(value);
                seen.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })
            .unwrap();
        let remote: Remote<()> = lp.remote();
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (sender, remote, count) = (sender.clone(), remote.clone(), count.clone());
                thread::spawn(move || {
                    let mut sent = 0;
                    loop {
                        if thread % 2 == 0 {
                            match sender.send(Counted::new(&count)) {
                                Ok(()) => sent += 1,
                                Err(refused) => {
                                    assert!(matches!(refused.error, Error::Disconnected { .. }));
                                    return sent;
                                }
                            }
                        } else {
                            let value = Counted::new(&count);
                            // A post that was dropped with the loop does not post again.
                            let again = remote.clone();
                            let posted = remote.post(move |_, _| {
                                drop(value);
                                let _ = again.post(|_, _| Ok(()));
                                Ok(())
                            });
                            if posted.is_err() {
                                return sent;
                            }
                            if sent % 8 == 0 {
                                thread::yield_now();
                            }
                        }
                    }
                })
            })
            .collect();
        drop((sender, remote));
        // Work in flight, some of it not started.
        for _ in 0..6 {
            let value = Counted::new(&count);
            work::run(
                &mut lp,
                move || {
                    thread::sleep(Duration::from_micros(100));
                    value
                },
                |_, _, value| value.map(drop),
            )
            .unwrap();
        }
        lp.run_for(&mut (), Duration::from_micros(random.below(3000) as u64)).unwrap();
        drop(lp);
        let sent: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert!(delivered.load(Ordering::Relaxed) <= sent);
        // Workers finish what they have started.
        eventually("every value is dropped", || (count.load(Ordering::Relaxed) == 0).then_some(()));
    }
}

/// Every message and every post of many threads arrives once, and those of one thread in order.
#[test]
fn each_threads_messages_and_posts_arrive_once_and_in_order() {
    const EACH: u64 = 5_000;
    #[derive(Default)]
    struct Received {
        sent: [u64; THREADS],
        posted: [u64; THREADS],
    }
    let mut lp = Loop::<Received>::new().unwrap();
    let (_channel, sender) =
        channel::bounded(&mut lp, 7, |_, received: &mut Received, (thread, number): (usize, u64)| {
            received.sent[thread] += 1;
            assert_eq!(received.sent[thread], number);
            Ok(())
        })
        .unwrap();
    let remote = lp.remote();
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (sender, remote) = (sender.clone(), remote.clone());
            thread::spawn(move || {
                for number in 1..=EACH {
                    sender.send((thread, number)).unwrap();
                    remote
                        .post(move |_, received| {
                            received.posted[thread] += 1;
                            assert_eq!(received.posted[thread], number);
                            Ok(())
                        })
                        .unwrap();
                }
            })
        })
        .collect();
    drop((sender, remote));
    let mut received = Received::default();
    lp.run(&mut received).unwrap();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!((received.sent, received.posted), ([EACH; THREADS], [EACH; THREADS]));
    assert!(lp.handles().is_empty());
}

/// Signals come as fast as they can be sent, while loops in several threads start and close watchers.
#[test]
fn a_storm_of_signals_races_with_closing_watchers() {
    const ROUNDS: u64 = 20;
    let seed = seed("a_storm_of_signals_races_with_closing_watchers");
    let mut guard = Loop::<u64>::new().unwrap();
    Signal::on(&mut guard, signal::WINCH, |_, delivered, _| {
        *delivered += 1;
        Ok(())
    })
    .unwrap();
    let loops: Vec<_> = (0..3)
        .map(|number| {
            let mut random = Random::new(seed + number);
            thread::spawn(move || {
                let (mut rounds, mut delivered) = (0, 0);
                while rounds < ROUNDS || delivered == 0 {
                    watch_and_close(&mut random, &mut delivered);
                    rounds += 1;
                }
                delivered
            })
        })
        .collect();
    let started = Instant::now();
    let (mut raised, mut guarded) = (0, 0);
    while !loops.iter().all(thread::JoinHandle::is_finished) {
        kill_process(getpid(), rustix::process::Signal::WINCH).unwrap();
        raised += 1;
        if raised % 32 == 0 {
            guard.poll_once(&mut guarded).unwrap();
            assert!(started.elapsed() < GUARD, "the loops do not finish; {raised} signals");
        }
    }
    let delivered: u64 = loops.into_iter().map(|thread| thread.join().unwrap()).sum();
    println!("{raised} signals, delivered {delivered} times");

    // The handler is still there for the last watcher.
    while guard.poll_once(&mut guarded).is_ok() && std::mem::take(&mut guarded) > 0 {}
    kill_process(getpid(), rustix::process::Signal::WINCH).unwrap();
    eventually("the last watcher is called", || {
        guard.poll_once(&mut guarded).unwrap();
        (guarded > 0).then_some(())
    });
}

/// A loop with three watchers, which it closes one after another.
fn watch_and_close(random: &mut Random, delivered: &mut u64) {
    let mut lp = Loop::<u64>::new().unwrap();
    let mut watchers = [(); 3].map(|()| {
        let count = |_: &mut Loop<u64>, delivered: &mut u64, _| {
            *delivered += 1;
            Ok(())
        };
        Signal::on(&mut lp, signal::WINCH, count).unwrap()
    });
    let mut open = &mut watchers[..];
    while !open.is_empty() {
        lp.run_for(delivered, Duration::from_micros(random.below(2000) as u64)).unwrap();
        lp.verify();
        if random.one_in(3) {
            let chosen = random.below(open.len());
            let before = *delivered;
            open.swap(chosen, 0);
            open[0].close(&mut lp);
            assert_eq!(*delivered, before, "a callback ran inside close");
            open = &mut open[1..];
        }
    }
}
