//! A loop inside another loop, and running for a limited time.

use std::{os::fd::AsFd, time::Duration};

use ringback::{Loop, Timer, net::Event};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::common::*;

/// Waits as another loop would: on the descriptor, for the poll timeout. Returns whether it was ready.
fn wait(lp: &mut Loop<Log>) -> bool {
    let timeout = lp.poll_timeout().map(|timeout| Timespec::try_from(timeout).unwrap());
    let mut fds = [PollFd::new(lp, PollFlags::IN)];
    poll(&mut fds, timeout.as_ref()).unwrap() > 0
}

#[test]
fn another_loop_can_drive_this_one() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    stream
        .start(&mut lp, move |lp, log, event| {
            if let Event::Data(_) = event? {
                stream.close(lp);
                note(log, "data")?;
            }
            Ok(())
        })
        .unwrap();
    Timer::after(&mut lp, MS, move |_, log| {
        send(&mut peer, "x");
        note(log, "timer")
    })
    .unwrap();
    let mut log = Log::new();
    let mut waits = 0;
    while lp.is_alive() {
        wait(&mut lp);
        lp.poll_once(&mut log).unwrap();
        lp.verify();
        waits += 1;
    }
    assert_eq!(log, ["timer", "data"]);
    assert!(waits < 50, "{waits} waits");
}

#[test]
fn a_stream_started_between_turns_is_watched_at_once() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    lp.poll_once(&mut Log::new()).unwrap();
    send(&mut peer, "x");
    record(&mut lp, stream, "stream");
    assert!(wait(&mut lp));
    let mut log = Log::new();
    lp.poll_once(&mut log).unwrap();
    assert_eq!(log, ["stream data \"x\""]);
    stream.close(&mut lp);
    run(&mut lp);
}

#[test]
fn bytes_written_between_turns_are_sent_in_the_next_one() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    record(&mut lp, stream, "stream");
    lp.poll_once(&mut Log::new()).unwrap();
    stream.write(&mut lp, "hello").unwrap();
    assert_eq!(lp.poll_timeout(), Some(Duration::ZERO));
    lp.poll_once(&mut Log::new()).unwrap();
    assert_eq!(read_exact(&mut peer, 5), b"hello");
    stream.close(&mut lp);
    run(&mut lp);
}

#[test]
fn a_loop_can_be_watched_by_another_ringback_loop() {
    let mut inner = new_loop();
    let (stream, mut peer) = pair(&mut inner);
    record(&mut inner, stream, "inner");
    assert!(inner.poll_timeout().is_none());
    let mut outer: Loop<(Loop<Log>, Log)> = Loop::new().unwrap();
    let poll = ringback::Poll::new(&mut outer, inner.as_fd()).unwrap();
    poll.start(&mut outer, ringback::poll::Interest::READABLE, move |lp, (inner, log), _| {
        inner.poll_once(log)?;
        if !log.is_empty() {
            poll.close(lp);
        }
        Ok(())
    })
    .unwrap();
    send(&mut peer, "x");
    let mut state = (inner, Log::new());
    outer.run(&mut state).unwrap();
    assert_eq!(state.1, ["inner data \"x\""]);
}

#[test]
fn poll_once_never_waits() {
    let mut lp = new_loop();
    Timer::after(&mut lp, LONG, must_not_run).unwrap();
    for _ in 0..3 {
        assert!(lp.poll_once(&mut Log::new()).unwrap());
    }
}

#[test]
fn run_for_ends_after_its_time_or_when_not_alive() {
    let mut lp = new_loop();
    assert!(!lp.run_for(&mut Log::new(), LONG).unwrap(), "nothing to wait for");
    Timer::after(&mut lp, MS, |_, log| note(log, "timer")).unwrap();
    let mut log = Log::new();
    assert!(!lp.run_for(&mut log, LONG).unwrap());
    assert_eq!(log, ["timer"]);
    let timer = Timer::after(&mut lp, LONG, must_not_run).unwrap();
    let before = std::time::Instant::now();
    assert!(lp.run_for(&mut log, 5 * MS).unwrap());
    assert!(before.elapsed() >= 5 * MS);
    assert!(lp.run_for(&mut log, Duration::ZERO).unwrap());
    timer.close(&mut lp);
    run(&mut lp);
}

#[test]
fn an_application_may_have_many_loops() {
    let mut loops: Vec<_> = (0..50).map(|_| new_loop()).collect();
    for lp in &mut loops {
        Timer::after(lp, MS, |_, log| note(log, "timer")).unwrap();
    }
    for lp in &mut loops {
        assert_eq!(run(lp), ["timer"]);
    }
}

#[test]
fn a_wake_makes_the_descriptor_readable_whenever_it_comes() {
    let mut lp = new_loop();
    let wake = ringback::Wake::new(&mut lp, |_, log| note(log, "woken")).unwrap();
    let waker = wake.waker(&lp).unwrap();
    let mut log = Log::new();
    // While the loop does not run.
    waker.wake().unwrap();
    assert!(readable(&lp));
    lp.poll_once(&mut log).unwrap();
    assert_eq!(log, ["woken"]);
    assert!(!readable(&lp), "the wake fd was not drained");

    // While it runs, after its last check.
    let within = waker.clone();
    let check = ringback::Check::every_turn(&mut lp, move |_, _| within.wake()).unwrap();
    lp.poll_once(&mut log).unwrap();
    check.close(&mut lp);
    assert!(readable(&lp));
    while log.len() < 2 {
        assert!(wait(&mut lp) || lp.poll_timeout() == Some(Duration::ZERO));
        lp.poll_once(&mut log).unwrap();
    }

    // In a turn that fails before it dispatches what has arrived.
    let within = waker.clone();
    ringback::Prepare::every_turn(&mut lp, move |_, _| {
        within.wake()?;
        Err(ringback::Error::other("interrupted"))
    })
    .unwrap();
    lp.poll_once(&mut log).unwrap_err();
    assert!(readable(&lp));
    lp.poll_once(&mut log).unwrap();
    assert_eq!(log, ["woken"; 3]);
    wake.close(&mut lp);
    run(&mut lp);
}

fn readable(lp: &Loop<Log>) -> bool {
    poll(&mut [PollFd::new(lp, PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
}

#[test]
fn a_loop_with_busy_poll_sees_the_same_events() {
    let mut lp: Loop<Log> = ringback::Options::new().busy_poll(20 * MS).build().unwrap();
    let (stream, peer) = pair(&mut lp);
    let mut peer = Some(peer);
    let wake = ringback::Wake::new(&mut lp, move |lp, log| {
        // After the end of the polling.
        let mut peer = peer.take().unwrap();
        Timer::after(lp, 60 * MS, move |_, log| {
            send(&mut peer, "x");
            note(log, "late")
        })?;
        note(log, "woken")
    })
    .unwrap();
    let waker = wake.waker(&lp).unwrap();
    stream
        .start(&mut lp, move |lp, log, event| {
            if let Event::Data(_) = event? {
                note(log, "data")?;
                stream.close(lp);
                wake.close(lp);
            }
            Ok(())
        })
        .unwrap();
    // Before the end of the polling.
    Timer::after(&mut lp, MS, move |_, log| {
        std::thread::spawn(move || waker.wake());
        note(log, "soon")
    })
    .unwrap();
    assert_eq!(run(&mut lp), ["soon", "woken", "late", "data"]);
}
