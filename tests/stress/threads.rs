//! Other threads, while the loop works, closes what they use, and goes away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ringback::{Error, Idle, Loop, Remote, Signal, Timer, Wake, Waker, channel, signal, work};
use rustix::process::{getpid, kill_process};

use crate::random::{Random, seed};

const THREADS: usize = 4;

/// Counts how often it was made and dropped, wherever that happens.
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

/// Wakes come from all sides while the handles that they are for are closed and made anew.
#[test]
fn a_storm_of_wakes_against_handles_that_are_closed() {
    let seed = seed("a_storm_of_wakes_against_handles_that_are_closed");
    let mut lp = Loop::<u64>::new().unwrap();
    let wakers: Arc<std::sync::Mutex<Vec<Waker>>> = Arc::default();
    let over = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (wakers, over, mut random) =
                (wakers.clone(), over.clone(), Random::new(seed + thread as u64));
            thread::spawn(move || {
                let (mut heard, mut gone) = (0_u64, 0_u64);
                while !over.load(Ordering::Relaxed) {
                    let waker = random.pick(&wakers.lock().unwrap()).cloned();
                    for _ in 0..random.below(50) {
                        match waker.as_ref().map(Waker::wake) {
                            Some(Ok(())) => heard += 1,
                            Some(Err(Error::Disconnected { .. })) => gone += 1,
                            Some(Err(error)) => panic!("{error}"),
                            None => {}
                        }
                    }
                }
                (heard, gone)
            })
        })
        .collect();
    let mut random = Random::new(seed);
    let mut own: Vec<Wake> = Vec::new();
    let shared = wakers.clone();
    Idle::every_turn(&mut lp, move |lp, _| {
        if own.len() < 8 {
            let wake = Wake::new(lp, |_, calls| {
                *calls += 1;
                Ok(())
            })?;
            shared.lock().unwrap().push(wake.waker(lp)?);
            own.push(wake);
        }
        if random.one_in(3) {
            let gone = random.below(own.len());
            own.swap_remove(gone).close(lp);
            // Some of those who wake it do not know yet.
            if random.one_in(2) {
                shared.lock().unwrap().swap_remove(gone);
            }
        }
        let many = shared.lock().unwrap().len();
        if many > 16 {
            shared.lock().unwrap().drain(..many - 8);
        }
        Ok(())
    })
    .unwrap();
    let mut calls = 0;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(500) {
        lp.run_for(&mut calls, Duration::from_millis(10)).unwrap();
        lp.verify();
    }
    drop(lp);
    // Against a loop that is gone, too.
    thread::sleep(Duration::from_millis(5));
    over.store(true, Ordering::Relaxed);
    let (mut heard, mut gone) = (0, 0);
    for thread in threads {
        let (some, others) = thread.join().unwrap();
        heard += some;
        gone += others;
    }
    println!("{heard} wakes, {gone} too late, {calls} calls");
    assert!(calls > 0 && heard > 0 && gone > 0);
}

/// A wake after the last look of the loop makes another call: a lost one would be waited for in vain.
#[test]
fn no_wake_is_lost_when_the_loop_has_just_looked() {
    const ROUNDS: u64 = 20_000;
    let mut lp = Loop::<u64>::new().unwrap();
    let turn = Arc::new(AtomicU64::new(0));
    let told = turn.clone();
    let wake = Wake::new(&mut lp, move |lp, seen: &mut u64| {
        *seen = told.load(Ordering::Acquire);
        if *seen == ROUNDS {
            lp.stop();
        }
        Ok(())
    })
    .unwrap();
    let waker = wake.waker(&lp).unwrap();
    let thread = thread::spawn(move || {
        for round in 1..=ROUNDS {
            turn.store(round, Ordering::Release);
            waker.wake().unwrap();
            if round % 64 == 0 {
                thread::yield_now();
            }
        }
    });
    let mut seen = 0;
    Timer::after(&mut lp, Duration::from_secs(30), |_, seen| panic!("a wake was lost after {seen}")).unwrap();
    lp.run(&mut seen).unwrap();
    assert_eq!(seen, ROUNDS);
    thread.join().unwrap();
}

/// Threads wait for room in a channel, send, and post, when the loop is dropped in their midst. Nobody
/// waits for ever, whoever was told `Ok` need not have been heard, and nothing leaks.
#[test]
fn a_loop_that_is_dropped_lets_everybody_go() {
    let seed = seed("a_loop_that_is_dropped_lets_everybody_go");
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
                            // A post that posts, and is dropped with the loop, posts no more.
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
        // Work in flight, some of it not begun.
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
        // Workers finish what they have begun.
        let patience = Instant::now();
        while count.load(Ordering::Relaxed) > 0 {
            assert!(
                patience.elapsed() < Duration::from_secs(10),
                "{} values leak",
                count.load(Ordering::Relaxed)
            );
            thread::yield_now();
        }
    }
}

/// What was sent and posted by many threads arrives once each, and each thread's in order.
#[test]
fn messages_and_posts_of_many_threads_arrive_once_and_in_order() {
    const EACH: u64 = 5_000;
    #[derive(Default)]
    struct Heard {
        sent: [u64; THREADS],
        posted: [u64; THREADS],
    }
    let mut lp = Loop::<Heard>::new().unwrap();
    let (_channel, sender) =
        channel::bounded(&mut lp, 7, |_, heard: &mut Heard, (thread, number): (usize, u64)| {
            heard.sent[thread] += 1;
            assert_eq!(heard.sent[thread], number);
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
                        .post(move |_, heard| {
                            heard.posted[thread] += 1;
                            assert_eq!(heard.posted[thread], number);
                            Ok(())
                        })
                        .unwrap();
                }
            })
        })
        .collect();
    drop((sender, remote));
    let mut heard = Heard::default();
    lp.run(&mut heard).unwrap();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!((heard.sent, heard.posted), ([EACH; THREADS], [EACH; THREADS]));
    assert!(lp.handles().is_empty());
}

/// Signals come as fast as they can be sent, while loops in several threads start and stop watching.
#[test]
fn a_storm_of_signals_against_watchers_that_come_and_go() {
    let seed = seed("a_storm_of_signals_against_watchers_that_come_and_go");
    // It would end the process if nobody watched it for a moment.
    let mut guard = Loop::<()>::new().unwrap();
    Signal::on(&mut guard, signal::WINCH, |_, _, _| Ok(())).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let loops: Vec<_> = (0..3)
        .map(|thread| {
            let (over, mut random) = (over.clone(), Random::new(seed + thread));
            thread::spawn(move || {
                let mut told = 0;
                while !over.load(Ordering::Relaxed) {
                    let mut lp = Loop::<u64>::new().unwrap();
                    let mut watchers: Vec<Signal> = (0..3)
                        .map(|_| {
                            Signal::on(&mut lp, signal::WINCH, |_, told, _| {
                                *told += 1;
                                Ok(())
                            })
                            .unwrap()
                        })
                        .collect();
                    while !watchers.is_empty() && !over.load(Ordering::Relaxed) {
                        lp.run_for(&mut told, Duration::from_micros(random.below(2000) as u64)).unwrap();
                        lp.verify();
                        if random.one_in(3) {
                            let gone = watchers.swap_remove(random.below(watchers.len()));
                            let before = told;
                            gone.close(&mut lp);
                            assert_eq!(told, before);
                        }
                    }
                }
                told
            })
        })
        .collect();
    let begun = Instant::now();
    let mut raised = 0;
    while begun.elapsed() < Duration::from_millis(400) {
        kill_process(getpid(), rustix::process::Signal::WINCH).unwrap();
        raised += 1;
        if raised % 32 == 0 {
            guard.poll_once(&mut ()).unwrap();
        }
    }
    over.store(true, Ordering::Relaxed);
    let told: u64 = loops.into_iter().map(|thread| thread.join().unwrap()).sum();
    println!("{raised} signals, told {told} times");
    assert!(told > 0);
}
