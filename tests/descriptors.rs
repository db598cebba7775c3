//! When descriptors run out: told, survived, and over when there are some again.
//!
//! One test in a process of its own, because the limit is the process's.

use std::{fs::File, net, time::Duration};

use ringback::{
    Error, Kind, Loop, Poll, Result,
    fs::File as LoopFile,
    net::{Event, TcpListener, TcpStream},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

type Log = Vec<String>;

/// Lets the process have so many descriptors, and no more.
fn limit_to(count: u64) {
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum: hard }).unwrap();
}

/// Takes every descriptor that is left.
fn take_all() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

fn turns(lp: &mut Loop<Log>, log: &mut Log, mut done: impl FnMut(&Log) -> bool) {
    for _ in 0..3000 {
        if done(log) {
            return;
        }
        lp.run_for(log, Duration::from_millis(10)).unwrap();
        lp.verify();
    }
    panic!("it never came to be: {log:?}\n{}", lp.why_alive());
}

fn names_the_act<T>(result: Result<T>, op: &str) {
    let Err(error) = result else { panic!("{op} succeeded without a descriptor") };
    assert!(matches!(error, Error::System { .. }), "{error}");
    assert!(error.to_string().starts_with(op), "{error}");
}

#[test]
fn running_out_of_descriptors_is_told_survived_and_over_when_there_are_some() {
    limit_to(200);
    let mut lp = Loop::<Log>::new().unwrap();
    let mut log = Log::new();
    lp.on_failure(|lp, log, failure| {
        assert_eq!(failure.origin.kind, Kind::TcpListener);
        assert!(lp.is_open(failure.origin.handle.unwrap()), "the listener goes on");
        log.push(failure.error.to_string());
        Ok(())
    });
    let listener = TcpListener::bind(&mut lp, "127.0.0.1:0").unwrap();
    let addr = listener.local_addr(&mut lp).unwrap();
    listener
        .start(&mut lp, |lp, log, conn| {
            log.push("accepted".into());
            conn.start(lp, move |lp, _, event| match event? {
                Event::Data(bytes) => conn.write(lp, bytes),
                Event::End => conn.finish(lp),
                _ => Ok(()),
            })
        })
        .unwrap();
    let mut served = net::TcpStream::connect(addr).unwrap();
    turns(&mut lp, &mut log, |log| !log.is_empty());

    // One that waits to be accepted, and then nothing is left to accept it with.
    let waiting = net::TcpStream::connect(addr).unwrap();
    let hoard = take_all();
    log.clear();
    turns(&mut lp, &mut log, |log| !log.is_empty());
    assert!(log[0].starts_with("accept: "), "{log:?}");

    // It does not spin: it looks away, for longer each time.
    let before = lp.metrics().turns;
    for _ in 0..20 {
        lp.run_for(&mut log, Duration::from_millis(5)).unwrap();
    }
    assert!(lp.metrics().turns - before < 60, "{} turns", lp.metrics().turns - before);
    assert!(log.iter().all(|line| line.starts_with("accept: ")) && log.len() < 12, "{log:?}");

    // Others are served on.
    use std::io::{Read, Write};
    served.write_all(b"hello").unwrap();
    let sent = lp.metrics().bytes_sent;
    while lp.metrics().bytes_sent == sent {
        lp.run_for(&mut log, Duration::from_millis(5)).unwrap();
    }
    let mut answer = [0; 5];
    served.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hello");

    // Whatever needs a descriptor says what it could not do.
    names_the_act(Loop::<()>::new(), "make a loop: ");
    names_the_act(TcpListener::bind(&mut lp, "127.0.0.1:0"), "listen on 127.0.0.1:0: ");
    names_the_act(TcpStream::connect(&mut lp, addr, |_, _, _| panic!()), &format!("connect to {addr}: "));
    names_the_act(Poll::new(&mut lp, &served), "duplicate a descriptor: ");
    log.clear();
    LoopFile::open(&mut lp, "/dev/null", |_, log, file| {
        log.push(format!("told: {}", file.unwrap_err()));
        Ok(())
    })
    .unwrap();
    turns(&mut lp, &mut log, |log| log.iter().any(|line| line.starts_with("told: open /dev/null: ")));

    // There are some again: who has waited is accepted.
    drop(hoard);
    log.clear();
    turns(&mut lp, &mut log, |log| log.iter().any(|line| line == "accepted"));
    drop((served, waiting));
    listener.close(&mut lp);
    while lp.run_for(&mut log, Duration::from_millis(10)).unwrap() {
        lp.verify();
    }
    assert!(lp.handles().is_empty());
}
