//! Errors that callbacks return, and panics.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use ringback::{
    Check, Error, Idle, Kind, Loop, Prepare, Timer, Wake,
    net::{Event, TcpListener},
    work,
};

use crate::common::*;

fn oops() -> Error {
    Error::other("oops")
}

#[test]
fn without_on_failure_run_returns_the_first_and_can_resume() {
    let mut lp = new_loop();
    lp.defer(|lp, _| {
        Timer::after(lp, Duration::ZERO, |_, _| Err(oops()))?;
        Timer::after(lp, Duration::ZERO, |_, log| note(log, "second"))?;
        Ok(())
    });
    let mut log = Log::new();
    let error = lp.run(&mut log).unwrap_err();
    let Error::Failure(failure) = &error else { panic!("{error}") };
    assert_eq!(failure.origin.kind, Kind::Timer);
    assert!(failure.origin.started_at.file().ends_with("failure.rs"));
    assert!(error.to_string().starts_with("timer started at ") && error.to_string().ends_with(": oops"));
    assert!(log.is_empty(), "{log:?}");
    lp.verify();
    lp.run(&mut log).unwrap();
    assert_eq!(log, ["second"], "the timer that was due is called by the next run");
}

#[test]
fn with_on_failure_only_the_failed_handle_is_closed() {
    let mut lp = new_loop();
    lp.on_failure(|lp, log, failure| {
        assert!(failure.origin.handle.is_none_or(|handle| !lp.is_open(handle)));
        note(log, failure.to_string().split(" started").next().unwrap())
    });
    let tick = Timer::every(&mut lp, MS, |_, _| Err(oops())).unwrap();
    tick.set_name(&mut lp, "tick").unwrap();
    Idle::every_turn(&mut lp, |_, _| Err(oops())).unwrap();
    Prepare::every_turn(&mut lp, |_, _| Err(oops())).unwrap();
    Check::every_turn(&mut lp, |_, _| Err(oops())).unwrap();
    let wake = Wake::new(&mut lp, |_, _| Err(oops())).unwrap();
    wake.waker(&lp).unwrap().wake().unwrap();
    work::run(&mut lp, || (), |_, _, _| Err(oops())).unwrap();
    lp.defer(|_, _| Err(oops()));
    Timer::after(&mut lp, 5 * MS, |_, log| note(log, "still running")).unwrap();
    let mut log = run(&mut lp);
    log.sort();
    let failed = ["check", "deferred closure", "idle", "prepare", "timer \"tick\"", "wake", "work"];
    assert_eq!(log[..5], [&failed[..4], &["still running"]].concat());
    assert_eq!(log[5..], failed[4..]);
}

#[test]
fn an_error_from_on_failure_ends_run() {
    let mut lp = new_loop();
    lp.on_failure(|_, _, failure| Err(failure.error));
    Timer::after(&mut lp, MS, |_, _| Err(oops())).unwrap();
    assert_eq!(lp.run(&mut Log::new()).unwrap_err().to_string(), "oops");
}

#[test]
fn on_failure_can_replace_itself() {
    let mut lp = new_loop();
    lp.on_failure(|lp, log, _| {
        lp.on_failure(|_, log, _| note(log, "second"));
        note(log, "first")
    });
    for _ in 0..2 {
        lp.defer(|_, _| Err(oops()));
    }
    assert_eq!(run(&mut lp), ["first", "second"]);
}

#[test]
fn a_stream_whose_callback_fails_still_gets_closed() {
    let mut lp = new_loop();
    lp.on_failure(|_, log, failure| note(log, failure.error.to_string()));
    let (stream, mut peer) = pair(&mut lp);
    stream
        .start(&mut lp, |_, log, event| match event? {
            Event::Data(bytes) => {
                std::str::from_utf8(bytes)?;
                Ok(())
            }
            Event::Closed => note(log, "closed"),
            _ => Ok(()),
        })
        .unwrap();
    std::io::Write::write_all(&mut peer, b"\xff").unwrap();
    let log = run(&mut lp);
    assert!(log[0].contains("utf-8"), "{log:?}");
    assert_eq!(log[1..], ["closed"]);
}

#[test]
fn a_failing_accept_callback_closes_the_stream_not_the_listener() {
    let mut lp = new_loop();
    lp.on_failure(|_, log, failure| note(log, failure.origin.kind.to_string()));
    let listener = TcpListener::bind(&mut lp, "127.0.0.1:0").unwrap();
    let addr = listener.local_addr(&mut lp).unwrap();
    listener
        .start(&mut lp, move |lp, log, _| {
            if log.len() == 1 {
                listener.close(lp);
            }
            Err(oops())
        })
        .unwrap();
    let mut peers = [(); 2].map(|()| std::net::TcpStream::connect(addr).unwrap());
    assert_eq!(run(&mut lp), ["tcp stream"; 2]);
    for peer in &mut peers {
        assert_eq!(read_to_eof(peer).unwrap(), b"");
    }
}

#[test]
fn a_broken_connection_without_a_callback_is_a_failure() {
    let mut lp = new_loop();
    lp.on_failure(|_, log, failure| note(log, describe_error(&failure.error)));
    let stream = broken(&mut lp);
    stream.write(&mut lp, "x").unwrap();
    let log = run(&mut lp);
    assert!(log == ["write ConnectionReset"] || log == ["write BrokenPipe"], "{log:?}");
}

/// Runs until a panic unwinds out of `run`, and verifies the loop.
fn run_into_panic(lp: &mut Loop<Log>, log: &mut Log) {
    let panicked = catch_unwind(AssertUnwindSafe(|| lp.run(log)));
    assert!(panicked.is_err(), "no panic unwound out of run");
    lp.verify();
}

#[test]
fn a_panic_unwinds_out_of_run_and_the_loop_survives() {
    let mut lp = new_loop();
    let tick = Timer::every(&mut lp, MS, |_, _| panic!("in a timer")).unwrap();
    let mut log = Log::new();
    run_into_panic(&mut lp, &mut log);
    assert!(!tick.is_open(&lp), "the handle of a callback that panicked is open");
    Timer::after(&mut lp, MS, |_, log| note(log, "still running")).unwrap();
    lp.run(&mut log).unwrap();
    assert_eq!(log, ["still running"]);
}

#[test]
fn a_panic_in_any_callback_loses_no_other_callback() {
    let mut lp = new_loop();
    let mut log = Log::new();
    let (one, mut peer_one) = pair(&mut lp);
    let (two, mut peer_two) = pair(&mut lp);
    for stream in [one, two] {
        stream
            .start(&mut lp, move |lp, log, event| match event? {
                Event::Data(_) if log.is_empty() => {
                    log.push("about to panic".into());
                    panic!("in a stream")
                }
                Event::Data(bytes) => {
                    stream.close(lp);
                    note(log, format!("data {}", bytes.len()))
                }
                Event::Closed => note(log, "closed"),
                _ => Ok(()),
            })
            .unwrap();
    }
    send(&mut peer_one, "x");
    send(&mut peer_two, "x");
    run_into_panic(&mut lp, &mut log);
    lp.run(&mut log).unwrap();
    log[1..].sort();
    assert_eq!(log, ["about to panic", "closed", "closed", "data 1"]);

    // Deferred closures, close callbacks, posts, wakes: the next run calls the one after the panic.
    let mut log = Log::new();
    lp.defer(|_, _| panic!("deferred"));
    lp.defer(|_, log| note(log, "deferred"));
    run_into_panic(&mut lp, &mut log);
    lp.run(&mut log).unwrap();

    let [first, second] = [(); 2].map(|()| Timer::new(&mut lp).unwrap());
    first.close_then(&mut lp, |_, _| panic!("close"));
    second.close_then(&mut lp, |_, log| note(log, "close"));
    run_into_panic(&mut lp, &mut log);
    lp.run(&mut log).unwrap();

    let remote = lp.remote();
    remote.post(|_, _| panic!("post")).unwrap();
    remote.post(|_, log| note(log, "post")).unwrap();
    drop(remote);
    run_into_panic(&mut lp, &mut log);
    lp.run(&mut log).unwrap();

    let wakes = [(); 2].map(|()| Wake::new(&mut lp, |_, _| Ok(())).unwrap());
    for wake in wakes {
        wake.waker(&lp).unwrap().wake().unwrap();
        wake.close(&mut lp);
    }
    let wakes = [0, 1].map(|number| {
        Wake::new(&mut lp, move |_, log| if number == 0 { panic!("wake") } else { note(log, "wake") })
            .unwrap()
    });
    for wake in wakes {
        wake.waker(&lp).unwrap().wake().unwrap();
        wake.unref(&mut lp).unwrap();
    }
    Timer::after(&mut lp, MS, |_, _| Ok(())).unwrap();
    run_into_panic(&mut lp, &mut log);
    run_until(&mut lp, &mut log, |_, log| log.len() == 4);
    assert_eq!(log, ["deferred", "close", "post", "wake"]);
}

#[test]
fn a_panic_in_the_closed_event_still_closes_the_stream() {
    let mut lp = new_loop();
    let (stream, _peer) = pair(&mut lp);
    stream
        .start(&mut lp, |_, _, event| match event? {
            Event::Closed => panic!("in the closed event"),
            _ => Ok(()),
        })
        .unwrap();
    stream.close_then(&mut lp, |_, log| note(log, "closed"));
    let mut log = Log::new();
    run_into_panic(&mut lp, &mut log);
    lp.run(&mut log).unwrap();
    assert_eq!(log, ["closed"]);
    assert!(lp.handles().is_empty());
}

#[test]
fn a_panic_in_on_failure_keeps_the_callback() {
    let mut lp = new_loop();
    lp.on_failure(|_, log, _| {
        if log.is_empty() {
            log.push("panic".into());
            panic!("in on_failure");
        }
        note(log, "handled")
    });
    for _ in 0..2 {
        lp.defer(|_, _| Err(oops()));
    }
    let mut log = Log::new();
    run_into_panic(&mut lp, &mut log);
    lp.run(&mut log).unwrap();
    assert_eq!(log, ["panic", "handled"]);
}

#[test]
fn a_panicking_accept_callback_closes_the_stream_not_the_listener() {
    let mut lp = new_loop();
    let listener = TcpListener::bind(&mut lp, "127.0.0.1:0").unwrap();
    let addr = listener.local_addr(&mut lp).unwrap();
    listener
        .start(&mut lp, move |lp, log, _| {
            if log.is_empty() {
                log.push("panic".into());
                panic!("accepting");
            }
            listener.close(lp);
            note(log, "accepted")
        })
        .unwrap();
    let mut peers = [(); 2].map(|()| std::net::TcpStream::connect(addr).unwrap());
    let mut log = Log::new();
    run_into_panic(&mut lp, &mut log);
    assert!(listener.is_open(&lp));
    lp.run(&mut log).unwrap();
    assert_eq!(log, ["panic", "accepted"]);
    assert_eq!(read_to_eof(&mut peers[0]).unwrap(), b"");
}
