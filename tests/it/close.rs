//! Closing: every kind, and from every callback.

use std::{any::Any, os::unix::net::UnixStream, rc::Rc, time::Duration};

use ringback::{
    Check, Error, Handle, Idle, Kind, Loop, Poll, Prepare, Signal, Timer, Wake, channel, fs,
    net::{Event, TcpListener, TcpStream},
    poll::Interest,
    signal, work,
};

use crate::common::*;

/// One handle of every kind, started, with its kind's name.
struct OneOfEach {
    handles: Vec<(Handle, Kind, &'static str)>,
    /// Peers, descriptors and senders that the handles need.
    _others: Box<dyn Any>,
}

impl OneOfEach {
    fn new(lp: &mut Loop<Log>) -> OneOfEach {
        let listener = TcpListener::bind(lp, "127.0.0.1:0").unwrap();
        listener.start(lp, |_, _, _| Ok(())).unwrap();
        let (stream, peer) = pair(lp);
        stream.start(lp, |_, _, _| Ok(())).unwrap();
        let (watched, other_end) = UnixStream::pair().unwrap();
        let poll = Poll::new(lp, &watched).unwrap();
        poll.start(lp, Interest::READABLE, |_, _, _| Ok(())).unwrap();
        let (channel, sender) = channel::bounded(lp, 1, |_, _, ()| Ok(())).unwrap();
        let file = fs::File::from_std(lp, std::fs::File::open("Cargo.toml").unwrap()).unwrap();
        let signal = Signal::on(lp, signal::WINCH, |_, _, _| Ok(())).unwrap();
        let handles = vec![
            (Timer::after(lp, LONG, must_not_run).unwrap().into(), Kind::Timer, "timer"),
            (Idle::every_turn(lp, |_, _| Ok(())).unwrap().into(), Kind::Idle, "idle"),
            (Prepare::every_turn(lp, |_, _| Ok(())).unwrap().into(), Kind::Prepare, "prepare"),
            (Check::every_turn(lp, |_, _| Ok(())).unwrap().into(), Kind::Check, "check"),
            (Wake::new(lp, |_, _| Ok(())).unwrap().into(), Kind::Wake, "wake"),
            (channel.into(), Kind::Channel, "channel"),
            (signal.into(), Kind::Signal, "signal"),
            (poll.into(), Kind::Poll, "poll"),
            (listener.into(), Kind::TcpListener, "tcp listener"),
            (stream.into(), Kind::TcpStream, "tcp stream"),
            (file.into(), Kind::File, "file"),
        ];
        OneOfEach { handles, _others: Box::new((peer, watched, other_end, sender)) }
    }
}

#[test]
fn every_kind_closes_once_however_often_it_is_closed() {
    let mut lp = new_loop();
    let all = OneOfEach::new(&mut lp);
    lp.poll_once(&mut Log::new()).unwrap();
    lp.verify();
    for (handle, ..) in &all.handles {
        lp.close(*handle);
        lp.close(*handle);
        lp.close_then(*handle, |_, log| note(log, "closed"));
    }
    lp.verify();
    assert_eq!(run(&mut lp), vec!["closed"; all.handles.len()]);
    for (handle, ..) in all.handles {
        assert!(!lp.is_open(handle));
        lp.close(handle);
    }
    run(&mut lp);
}

#[test]
fn every_handle_has_the_kind_and_name_of_its_type() {
    let mut lp = new_loop();
    let all = OneOfEach::new(&mut lp);
    let entries = lp.handles();
    assert_eq!(entries.len(), all.handles.len());
    for (handle, kind, name) in all.handles {
        let entry = entries.iter().find(|entry| entry.origin.handle == Some(handle)).unwrap();
        assert_eq!((entry.origin.kind, entry.origin.kind.to_string().as_str()), (kind, name));
    }
}

#[test]
fn dropping_the_loop_drops_every_handle_and_callback() {
    let mut lp = new_loop();
    let _all = OneOfEach::new(&mut lp);
    lp.poll_once(&mut Log::new()).unwrap();
    let captured = Rc::new(());
    let kept = captured.clone();
    Timer::after(&mut lp, LONG, move |_, _| {
        drop(kept);
        Ok(())
    })
    .unwrap();
    fs::read(&mut lp, "Cargo.toml", |_, _, _| panic!("must not run")).unwrap();
    work::run(&mut lp, || (), |_, _, _| panic!("must not run")).unwrap();
    let (stream, _peer) = pair(&mut lp);
    stream.write(&mut lp, vec![7; 8 << 20]).unwrap();
    let (addr, _socket) = refusing_addr();
    TcpStream::connect(&mut lp, addr, |_, _, _| panic!("must not run")).unwrap();
    drop(lp);
    assert_eq!(Rc::strong_count(&captured), 1, "the timer's callback was not dropped");
}

#[test]
fn a_handle_of_another_loop_is_refused() {
    let mut here = new_loop();
    let mut there = new_loop();
    let mine = Timer::after(&mut here, LONG, must_not_run).unwrap();
    let theirs = Timer::after(&mut there, LONG, must_not_run).unwrap();
    assert_eq!(describe_error(&theirs.stop(&mut here).unwrap_err()), "wrong loop");
    assert_eq!(describe_error(&theirs.start(&mut here, MS, must_not_run).unwrap_err()), "wrong loop");
    theirs.close(&mut here);
    assert!(!theirs.is_open(&here) && !theirs.is_active(&here) && theirs.due_in(&here).is_none());
    // The handle in the same slot of this loop is untouched.
    assert!(mine.is_active(&here) && theirs.is_active(&there));
    here.verify();
}

#[test]
fn a_stale_id_never_reaches_the_next_handle_in_its_slot() {
    let mut lp = new_loop();
    let old = Timer::after(&mut lp, LONG, must_not_run).unwrap();
    old.close(&mut lp);
    run(&mut lp);
    let new = Timer::after(&mut lp, LONG, must_not_run).unwrap();
    assert!(old.stop(&mut lp).unwrap_err().is_closed());
    old.close(&mut lp);
    assert!(new.is_active(&lp) && old != new && old < new);
    new.close(&mut lp);
    run(&mut lp);
}

#[test]
fn after_close_in_a_callback_only_closed_comes() {
    for at in ["data", "end", "drained"] {
        let mut lp = new_loop();
        let (stream, mut peer) = pair(&mut lp);
        stream.set_watermarks(&mut lp, 10, 20).unwrap();
        stream
            .start(&mut lp, move |lp, log, event| {
                let seen = match event? {
                    Event::Data(_) => "data",
                    Event::End => "end",
                    Event::Drained => "drained",
                    Event::Closed => return note(log, "closed"),
                    _ => "another event",
                };
                if seen == at {
                    stream.close(lp);
                }
                note(log, seen)
            })
            .unwrap();
        match at {
            "drained" => stream.write(&mut lp, vec![7; 100]).unwrap(),
            _ => send(&mut peer, "x"),
        }
        if at == "end" {
            peer.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let log = run(&mut lp);
        assert_eq!(log[log.len() - 2..], [at, "closed"], "{log:?}");
    }
}

#[test]
fn close_inside_the_close_callback_does_nothing() {
    let mut lp = new_loop();
    let timer = Timer::new(&mut lp).unwrap();
    timer.close_then(&mut lp, move |lp, log| {
        timer.close(lp);
        assert!(timer.start(lp, MS, must_not_run).unwrap_err().is_closed());
        note(log, "closed")
    });
    assert_eq!(run(&mut lp), ["closed"]);
}

#[test]
fn close_and_write_inside_the_closed_event_are_refused() {
    let mut lp = new_loop();
    let (stream, _peer) = pair(&mut lp);
    stream
        .start(&mut lp, move |lp, log, event| {
            if let Event::Closed = event? {
                stream.close(lp);
                assert!(stream.write(lp, "x").unwrap_err().is_closed());
                note(log, "closed")?;
            }
            Ok(())
        })
        .unwrap();
    stream.close(&mut lp);
    assert_eq!(run(&mut lp), ["closed"]);
}

/// Exchanges the loop for another one, which has a timer.
fn exchange(lp: &mut Loop<Log>, log: &mut Log) -> ringback::Result {
    let mut other = new_loop();
    Timer::after(&mut other, MS, |_, log| note(log, "the other loop's timer"))?;
    std::mem::swap(lp, &mut other);
    note(log, "exchanged")
}

fn assert_exchange_ends_run(mut lp: Loop<Log>) {
    let mut log = Log::new();
    // Not `run`, which would never return if the other loop took up this turn.
    let error = lp.run_for(&mut log, Duration::from_secs(1)).unwrap_err();
    assert!(matches!(error, Error::Invalid { op: "run", .. }), "{error}");
    assert_eq!(log, ["exchanged"]);
    lp.run(&mut log).unwrap();
    assert_eq!(log, ["exchanged", "the other loop's timer"]);
    lp.verify();
    assert!(lp.handles().is_empty() && !lp.is_alive());
}

#[test]
fn a_loop_exchanged_in_a_callback_ends_run_with_an_error() {
    let mut lp = new_loop();
    Timer::after(&mut lp, MS, exchange).unwrap();
    assert_exchange_ends_run(lp);
    let mut lp = new_loop();
    Timer::every(&mut lp, MS, exchange).unwrap();
    assert_exchange_ends_run(lp);
}

#[test]
fn a_loop_exchanged_in_on_failure_ends_run_with_an_error() {
    let mut lp = new_loop();
    lp.on_failure(|lp, log, _| exchange(lp, log));
    lp.defer(|_, _| Err(Error::other("oops")));
    assert_exchange_ends_run(lp);
}

#[test]
fn a_loop_exchanged_in_on_slow_ends_run_with_an_error() {
    let mut lp = new_loop();
    lp.on_slow(Duration::ZERO, |lp, log, _| exchange(lp, log));
    lp.defer(|_, _| Ok(()));
    assert_exchange_ends_run(lp);
}
