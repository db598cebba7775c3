//! A loop that runs out of descriptors: whatever needs one reports the error, and the loop continues once
//! there are some again. In a subprocess, because the limit is the process's.

use std::{
    fs::File,
    io::{Read, Write},
    net,
    time::{Duration, Instant},
};

use ringback::{
    Error, Kind, Loop, Poll, Result,
    fs::File as LoopFile,
    net::{Event, TcpListener, TcpStream},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    server::GUARD,
    subprocess::{self, report, subprocess},
};

/// Descriptors that the process may have.
const LIMIT: u64 = 200;

type Log = Vec<String>;

fn limit_to(count: u64) {
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum: hard }).unwrap();
}

/// Takes every descriptor that is left.
fn take_all() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

/// Runs the loop until the log shows what is waited for.
fn run_until(lp: &mut Loop<Log>, log: &mut Log, what: &str, mut done: impl FnMut(&Log) -> bool) {
    let begun = Instant::now();
    while !done(log) {
        assert!(begun.elapsed() < GUARD, "{what}: not within {GUARD:?}: {log:?}\n{}", lp.why_alive());
        lp.run_for(log, Duration::from_millis(10)).unwrap();
        lp.verify();
    }
}

fn fails_with_op<T>(result: Result<T>, op: &str) {
    let Err(error) = result else { panic!("{op} succeeded without a descriptor") };
    assert!(matches!(error, Error::System { .. }), "{error}");
    assert!(error.to_string().starts_with(op), "{error}");
}

/// An echo server that logs each connection, and each failure of the listener.
fn start_server(lp: &mut Loop<Log>) -> TcpListener {
    lp.on_failure(|lp, log, failure| {
        assert_eq!(failure.origin.kind, Kind::TcpListener);
        assert!(lp.is_open(failure.origin.handle.unwrap()), "the listener stays open");
        log.push(failure.error.to_string());
        Ok(())
    });
    let listener = TcpListener::bind(lp, "127.0.0.1:0").unwrap();
    listener
        .start(lp, |lp, log: &mut Log, conn| {
            log.push("accepted".into());
            conn.start(lp, move |lp, _, event| match event? {
                Event::Data(bytes) => conn.write(lp, bytes),
                Event::End => conn.finish(lp),
                _ => Ok(()),
            })
        })
        .unwrap();
    listener
}

/// Accepting pauses for longer each time instead of spinning: few turns, and few errors.
fn accepting_backs_off(lp: &mut Loop<Log>, log: &mut Log) {
    let before = lp.metrics().turns;
    for _ in 0..20 {
        lp.run_for(log, Duration::from_millis(5)).unwrap();
    }
    let turns = lp.metrics().turns - before;
    assert!(turns < 60, "{turns} turns");
    assert!(log.iter().all(|line| line.starts_with("accept: ")) && log.len() < 12, "{log:?}");
}

/// A connection that was accepted before continues to be served.
fn serves(lp: &mut Loop<Log>, log: &mut Log, conn: &mut net::TcpStream) {
    conn.write_all(b"hello").unwrap();
    let sent = lp.metrics().bytes_sent;
    while lp.metrics().bytes_sent < sent + 5 {
        lp.run_for(log, Duration::from_millis(5)).unwrap();
    }
    let mut echo = [0; 5];
    conn.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"hello");
}

/// Every operation that needs a descriptor names itself in its error.
fn whatever_needs_one_fails(lp: &mut Loop<Log>, log: &mut Log, conn: &net::TcpStream) {
    let addr = conn.peer_addr().unwrap();
    fails_with_op(Loop::<()>::new(), "make a loop: ");
    fails_with_op(TcpListener::bind(lp, "127.0.0.1:0"), "listen on 127.0.0.1:0: ");
    fails_with_op(TcpStream::connect(lp, addr, |_, _, _| panic!()), &format!("connect to {addr}: "));
    fails_with_op(Poll::new(lp, conn), "duplicate a descriptor: ");
    LoopFile::open(lp, "/dev/null", |_, log, file| {
        log.push(format!("opened: {}", file.unwrap_err()));
        Ok(())
    })
    .unwrap();
    let failed = |log: &Log| log.iter().any(|line| line.starts_with("opened: open /dev/null: "));
    run_until(lp, log, "opening a file fails", failed);
}

pub(crate) fn out_of_descriptors() {
    limit_to(LIMIT);
    let (mut lp, mut log) = (Loop::<Log>::new().unwrap(), Log::new());
    let listener = start_server(&mut lp);
    let addr = listener.local_addr(&mut lp).unwrap();
    let mut served = net::TcpStream::connect(addr).unwrap();
    run_until(&mut lp, &mut log, "the first connection is accepted", |log| !log.is_empty());

    // A second connection waits to be accepted, and then no descriptor is left to accept it with.
    let waiting = net::TcpStream::connect(addr).unwrap();
    let hoard = take_all();
    log.clear();
    run_until(&mut lp, &mut log, "accepting fails", |log| !log.is_empty());
    assert!(log[0].starts_with("accept: "), "{log:?}");
    accepting_backs_off(&mut lp, &mut log);
    serves(&mut lp, &mut log, &mut served);
    whatever_needs_one_fails(&mut lp, &mut log, &served);

    let taken = hoard.len();
    drop(hoard);
    log.clear();
    let accepted = |log: &Log| log.iter().any(|line| line == "accepted");
    run_until(&mut lp, &mut log, "the waiting connection is accepted", accepted);
    drop((served, waiting));
    listener.close(&mut lp);
    while lp.run_for(&mut log, Duration::from_millis(10)).unwrap() {
        lp.verify();
    }
    assert!(lp.handles().is_empty());
    println!("done: a loop with {LIMIT} descriptors, {taken} of them taken away: errors, service, recovery");
}

#[test]
fn a_loop_without_descriptors_reports_errors_and_recovers() {
    report("fd exhaustion", subprocess::run(&mut subprocess("fd exhaustion")));
}
