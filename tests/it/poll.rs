//! Readiness of the application's own descriptors.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
};

use ringback::{Poll, poll::Interest};

use crate::common::*;

#[test]
fn readiness_is_reported_as_long_as_it_lasts() {
    let mut lp = new_loop();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"abc").unwrap();
    let poll = Poll::new(&mut lp, &ours).unwrap();
    poll.start(&mut lp, Interest::READABLE, move |lp, log, ready| {
        assert!(ready?.is_readable());
        let mut byte = [0];
        (&ours).read_exact(&mut byte)?;
        if log.len() == 2 {
            poll.close(lp);
        }
        note(log, (byte[0] as char).to_string())
    })
    .unwrap();
    assert_eq!(run(&mut lp), ["a", "b", "c"]);
}

#[test]
fn a_callback_can_change_its_own_interest() {
    let mut lp = new_loop();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let poll = Poll::new(&mut lp, &ours).unwrap();
    poll.start(&mut lp, Interest::WRITABLE, move |lp, log, ready| {
        assert!(ready?.is_writable());
        theirs.write_all(b"x")?;
        poll.start(lp, Interest::READABLE, move |lp, log, ready| {
            let ready = ready?;
            poll.close(lp);
            note(log, format!("readable {} writable {}", ready.is_readable(), ready.is_writable()))
        })?;
        note(log, "writable")
    })
    .unwrap();
    assert_eq!(run(&mut lp), ["writable", "readable true writable false"]);
}

#[test]
fn a_closed_peer_is_reported_as_a_disconnect() {
    let mut lp = new_loop();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let poll = Poll::new(&mut lp, &ours).unwrap();
    poll.start(&mut lp, Interest::READABLE | Interest::DISCONNECT, move |lp, log, ready| {
        let ready = ready?;
        poll.close(lp);
        note(log, format!("{} {}", ready.is_readable(), ready.is_disconnected()))
    })
    .unwrap();
    drop(theirs);
    assert_eq!(run(&mut lp), ["true true"]);
}

#[test]
fn a_pipe_without_a_reader_is_writable_and_in_error() {
    let mut lp = new_loop();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let poll = Poll::new(&mut lp, &writer).unwrap();
    drop(reader);
    poll.start(&mut lp, Interest::WRITABLE, move |lp, log, ready| {
        let ready = ready?;
        poll.close(lp);
        note(log, format!("{} {}", ready.is_writable(), ready.is_error()))
    })
    .unwrap();
    assert_eq!(run(&mut lp), ["true true"]);
}

#[test]
fn a_regular_file_cannot_be_polled() {
    let mut lp = new_loop();
    let file = std::fs::File::open("Cargo.toml").unwrap();
    let poll = Poll::new(&mut lp, &file).unwrap();
    let error = poll.start(&mut lp, Interest::READABLE, |_, _, _| Ok(())).unwrap_err();
    assert!(error.to_string().starts_with("watch a descriptor: "), "{error}");
    assert!(!poll.is_active(&lp));
    lp.verify();
    poll.close(&mut lp);
    run(&mut lp);
}

#[test]
fn the_application_may_close_its_descriptor_at_any_time() {
    let mut lp = new_loop();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let poll = Poll::new(&mut lp, &ours).unwrap();
    drop(ours);
    theirs.write_all(b"x").unwrap();
    poll.start(&mut lp, Interest::READABLE, move |lp, log, ready| {
        poll.close(lp);
        note(log, format!("{}", ready?.is_readable()))
    })
    .unwrap();
    assert_eq!(run(&mut lp), ["true"]);
}

#[test]
fn several_polls_may_watch_one_descriptor() {
    let mut lp = new_loop();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    for name in ["one", "two"] {
        let poll = Poll::new(&mut lp, &ours).unwrap();
        poll.start(&mut lp, Interest::READABLE, move |lp, log, _| {
            poll.close(lp);
            note(log, name)
        })
        .unwrap();
    }
    theirs.write_all(b"x").unwrap();
    let mut log = run(&mut lp);
    log.sort();
    assert_eq!(log, ["one", "two"]);
}

#[test]
fn a_stopped_poll_with_a_closed_peer_does_not_spin() {
    let mut lp = new_loop();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let poll = Poll::new(&mut lp, &ours).unwrap();
    poll.start(&mut lp, Interest::READABLE, |_, _, _| panic!()).unwrap();
    poll.stop(&mut lp).unwrap();
    drop(theirs);
    let timer = ringback::Timer::after(&mut lp, LONG, must_not_run).unwrap();
    lp.run_for(&mut Log::new(), 10 * MS).unwrap();
    assert!(lp.metrics().turns < 50);
    timer.close(&mut lp);
    poll.close(&mut lp);
    run(&mut lp);
}
