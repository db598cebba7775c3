//! Closing: every kind, from everywhere.

use std::{cell::Cell, os::unix::net::UnixStream, rc::Rc};

use ringback::{
    Check, Handle, Idle, Kind, Loop, Poll, Prepare, Signal, Timer, Wake, channel, fs,
    net::{Event, TcpListener, TcpStream},
    poll::Interest,
    signal, work,
};

use crate::common::*;

/// One handle of every kind, started, and what has to stay alive for it.
fn one_of_each(lp: &mut Loop<Log>) -> (Vec<Handle>, Vec<Box<dyn std::any::Any>>) {
    let listener = TcpListener::bind(lp, "127.0.0.1:0").unwrap();
    listener.start(lp, |_, _, _| Ok(())).unwrap();
    let (stream, peer) = pair(lp);
    stream.start(lp, |_, _, _| Ok(())).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let poll = Poll::new(lp, &ours).unwrap();
    poll.start(lp, Interest::READABLE, |_, _, _| Ok(())).unwrap();
    let (channel, sender) = channel::bounded(lp, 1, |_, _, ()| Ok(())).unwrap();
    let file = fs::File::from_std(lp, std::fs::File::open("Cargo.toml").unwrap()).unwrap();
    let handles = vec![
        Timer::after(lp, LONG, must_not_run).unwrap().into(),
        Idle::every_turn(lp, |_, _| Ok(())).unwrap().into(),
        Prepare::every_turn(lp, |_, _| Ok(())).unwrap().into(),
        Check::every_turn(lp, |_, _| Ok(())).unwrap().into(),
        Wake::new(lp, |_, _| Ok(())).unwrap().into(),
        channel.into(),
        Signal::on(lp, signal::WINCH, |_, _, _| Ok(())).unwrap().into(),
        poll.into(),
        listener.into(),
        stream.into(),
        file.into(),
    ];
    (handles, vec![Box::new(peer), Box::new(ours), Box::new(theirs), Box::new(sender)])
}

#[test]
fn every_kind_tells_that_it_is_closed_exactly_once_however_often_it_is_closed() {
    let mut lp = new_loop();
    let (handles, _alive) = one_of_each(&mut lp);
    lp.poll_once(&mut Log::new()).unwrap();
    lp.verify();
    let count = handles.len();
    for handle in &handles {
        lp.close(*handle);
        lp.close(*handle);
        lp.close_then(*handle, |_, log| note(log, "closed"));
    }
    lp.verify();
    assert_eq!(run(&mut lp), vec!["closed"; count]);
    for handle in handles {
        assert!(!lp.is_open(handle));
        lp.close(handle);
    }
    run(&mut lp);
}

#[test]
fn every_kind_can_be_dropped_with_the_loop() {
    let dropped = Rc::new(Cell::new(false));
    struct Witness(Rc<Cell<bool>>);
    impl Drop for Witness {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let mut lp = new_loop();
    let (_handles, _alive) = one_of_each(&mut lp);
    lp.poll_once(&mut Log::new()).unwrap();
    let witness = Witness(dropped.clone());
    Timer::after(&mut lp, LONG, move |_, _| {
        drop(witness);
        Ok(())
    })
    .unwrap();
    fs::read(&mut lp, "/proc/self/status", |_, _, _| panic!("must not run")).unwrap();
    work::run(&mut lp, || (), |_, _, _| panic!("must not run")).unwrap();
    let (stream, _peer) = pair(&mut lp);
    stream.write(&mut lp, vec![7; 8 << 20]).unwrap();
    TcpStream::connect(&mut lp, "127.0.0.1:1", |_, _, _| panic!("must not run")).unwrap();
    drop(lp);
    assert!(dropped.get(), "callbacks are dropped with the loop");
}

#[test]
fn a_handle_of_another_loop_is_refused_and_nothing_happens_to_its_likeness_here() {
    let mut here = new_loop();
    let mut there = new_loop();
    let mine = Timer::after(&mut here, LONG, must_not_run).unwrap();
    let theirs = Timer::after(&mut there, LONG, must_not_run).unwrap();
    assert_eq!(describe_error(&theirs.stop(&mut here).unwrap_err()), "wrong loop");
    assert_eq!(describe_error(&theirs.start(&mut here, MS, must_not_run).unwrap_err()), "wrong loop");
    theirs.close(&mut here);
    assert!(!theirs.is_open(&here) && !theirs.is_active(&here) && theirs.due_in(&here).is_none());
    assert!(mine.is_active(&here) && theirs.is_active(&there));
    here.verify();
}

#[test]
fn a_stale_id_never_reaches_the_handle_that_has_its_slot() {
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
fn a_handle_that_is_closed_in_each_of_its_callbacks_tells_only_the_end() {
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
                    _ => "else",
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
fn close_inside_the_close_callback_is_nothing() {
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
fn a_stream_that_closes_in_its_closed_event_or_writes_there_harms_nobody() {
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

#[test]
fn loops_that_are_exchanged_inside_a_callback_do_no_harm() {
    let mut lp = new_loop();
    Timer::after(&mut lp, MS, |lp, log| {
        let mut other = new_loop();
        Timer::after(&mut other, MS, |_, log| note(log, "the other's"))?;
        std::mem::swap(lp, &mut other);
        note(log, "exchanged")
    })
    .unwrap();
    let mut log = Log::new();
    // Whatever comes of it, it is no panic and no corruption.
    let _ = lp.run(&mut log);
    lp.verify();
    assert_eq!(log[0], "exchanged");
}

#[test]
fn kinds_have_names() {
    let mut lp = new_loop();
    let (handles, _alive) = one_of_each(&mut lp);
    let kinds: Vec<Kind> = lp.handles().iter().map(|entry| entry.origin.kind).collect();
    assert_eq!(kinds.len(), handles.len());
    assert!(kinds.iter().all(|kind| !kind.to_string().is_empty()));
}
