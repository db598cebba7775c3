//! What the tests share: loops that are verified after every turn, a log, connected pairs.

use std::{
    io::{Read, Write},
    net,
    time::{Duration, Instant},
};

use ringback::{
    Error, Loop, Result,
    net::{Event, TcpStream},
};

/// What happened, line by line: the state that most tests lend to the loop.
pub(crate) type Log = Vec<String>;

pub(crate) const MS: Duration = Duration::from_millis(1);

/// Long enough to say that it would never have happened.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

pub(crate) fn world() -> Loop<Log> {
    Loop::new().unwrap()
}

pub(crate) fn note(log: &mut Log, line: impl Into<String>) -> Result {
    log.push(line.into());
    Ok(())
}

/// Runs until nothing is left, verifying the loop after every turn, and nothing may be left.
pub(crate) fn run(lp: &mut Loop<Log>) -> Log {
    let log = run_through(lp).unwrap();
    assert!(lp.handles().is_empty(), "left over:\n{}", lp.why_alive());
    log
}

/// The same, but handles that do not hold the loop may be left, and it may fail.
pub(crate) fn run_through(lp: &mut Loop<Log>) -> Result<Log> {
    let mut log = Log::new();
    lp.verify();
    while turn(lp, &mut log)? {}
    Ok(log)
}

/// One turn, verified.
pub(crate) fn turn(lp: &mut Loop<Log>, log: &mut Log) -> Result<bool> {
    let alive = lp.run_once(log);
    lp.verify();
    alive
}

/// Runs turns until `done`, which must come to be.
pub(crate) fn run_until(lp: &mut Loop<Log>, log: &mut Log, mut done: impl FnMut(&Loop<Log>, &Log) -> bool) {
    let patience = Instant::now();
    while !done(lp, log) {
        lp.run_for(log, 5 * MS).unwrap();
        lp.verify();
        assert!(
            patience.elapsed() < Duration::from_secs(30),
            "it never came to be; log: {log:?}\n{}",
            lp.why_alive()
        );
    }
}

/// Both ends of a connection: one of the loop's, one of the standard library's, which blocks.
#[track_caller]
pub(crate) fn pair<S>(lp: &mut Loop<S>) -> (TcpStream, net::TcpStream) {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    peer.set_nodelay(true).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    (TcpStream::from_std(lp, ours).unwrap(), peer)
}

/// Starts a stream that writes down what happens to it, under a name.
#[track_caller]
pub(crate) fn record(lp: &mut Loop<Log>, stream: TcpStream, name: &'static str) {
    stream.start(lp, move |_, log, event| note(log, format!("{name} {}", describe(&event)))).unwrap();
}

pub(crate) fn describe(event: &Result<Event<'_>>) -> String {
    match event {
        Ok(Event::Data(bytes)) => format!("data {:?}", String::from_utf8_lossy(bytes)),
        Ok(Event::End) => "end".into(),
        Ok(Event::Drained) => "drained".into(),
        Ok(Event::Closed) => "closed".into(),
        Ok(_) => "something else".into(),
        Err(error) => format!("error {}", kind(error)),
    }
}

/// An error in a word.
pub(crate) fn kind(error: &Error) -> String {
    match error {
        Error::Closed { .. } => "closed".into(),
        Error::Canceled { .. } => "canceled".into(),
        Error::TimedOut { op, .. } => format!("timed out {op}"),
        Error::AlreadyStarted { .. } => "already started".into(),
        Error::InUse { .. } => "in use".into(),
        Error::QueueFull { .. } => "queue full".into(),
        Error::Reentrant { .. } => "reentrant".into(),
        Error::Invalid { .. } => "invalid".into(),
        Error::System { op, source, .. } => format!("{op} {:?}", source.kind()),
        Error::Panicked { message, .. } => format!("panicked {message}"),
        Error::Disconnected { .. } => "loop gone".into(),
        Error::WrongLoop { .. } => "foreign".into(),
        other => other.to_string(),
    }
}

pub(crate) fn send(peer: &mut net::TcpStream, text: &str) {
    peer.write_all(text.as_bytes()).unwrap();
}

/// Everything that a peer is sent until its end, or what broke it.
pub(crate) fn drain(peer: &mut net::TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    peer.read_to_end(&mut bytes).map(|_| bytes)
}

/// Reads exactly so many bytes.
pub(crate) fn take(peer: &mut net::TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    peer.read_exact(&mut bytes).unwrap();
    bytes
}

/// Makes the peer's close a reset.
pub(crate) fn reset(peer: net::TcpStream) {
    rustix::net::sockopt::set_socket_linger(&peer, Some(Duration::ZERO)).unwrap();
}

/// A callback that must not run.
pub(crate) fn never<S>(_: &mut Loop<S>, _: &mut S) -> Result {
    panic!("this callback must not run")
}
