//! What test binaries share: verified loops and their log, connected pairs, an echo server, random numbers,
//! waits.

pub(crate) mod echo;
pub(crate) mod peer;
pub(crate) mod random;
pub(crate) mod wait;

use std::time::{Duration, Instant};

use ringback::{Error, Loop, Result, net::Event};

pub(crate) use self::{echo::*, peer::*, wait::GUARD};

/// What happened, one line each. Most tests lend it to the loop as the application's state.
pub(crate) type Log = Vec<String>;

pub(crate) const MS: Duration = Duration::from_millis(1);

/// A delay that no test waits for.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

pub(crate) fn new_loop() -> Loop<Log> {
    Loop::new().unwrap()
}

/// Appends a line. Returns `Ok`, so that a callback can end with it.
pub(crate) fn note(log: &mut Log, line: impl Into<String>) -> Result {
    log.push(line.into());
    Ok(())
}

/// Runs until the loop is no longer alive, and verifies it after every turn. No handle may be left.
pub(crate) fn run(lp: &mut Loop<Log>) -> Log {
    let log = run_while_alive(lp).unwrap();
    assert!(lp.handles().is_empty(), "handles are left:\n{}", lp.why_alive());
    log
}

/// Runs until the loop is no longer alive or fails. Handles that do not keep it alive may be left.
pub(crate) fn run_while_alive(lp: &mut Loop<Log>) -> Result<Log> {
    let mut log = Log::new();
    lp.verify();
    while turn(lp, &mut log)? {}
    Ok(log)
}

/// Runs one turn, and verifies the loop.
pub(crate) fn turn(lp: &mut Loop<Log>, log: &mut Log) -> Result<bool> {
    let alive = lp.run_once(log);
    lp.verify();
    alive
}

/// Runs until `condition` holds, and panics if it does not within the guard time.
pub(crate) fn run_until(
    lp: &mut Loop<Log>,
    log: &mut Log,
    mut condition: impl FnMut(&Loop<Log>, &Log) -> bool,
) {
    let started = Instant::now();
    while !condition(lp, log) {
        lp.run_for(log, 5 * MS).unwrap();
        lp.verify();
        assert!(
            started.elapsed() < GUARD,
            "condition not met within {GUARD:?}; log: {log:?}\n{}",
            lp.why_alive()
        );
    }
}

/// Keeps the thread busy for this long: the loop's cached time falls behind.
pub(crate) fn spin(duration: Duration) {
    let started = Instant::now();
    while started.elapsed() < duration {}
}

/// One line for an event of a stream.
pub(crate) fn describe_event(event: &Result<Event<'_>>) -> String {
    match event {
        Ok(Event::Data(bytes)) => format!("data {:?}", String::from_utf8_lossy(bytes)),
        Ok(Event::End) => "end".into(),
        Ok(Event::Drained) => "drained".into(),
        Ok(Event::Closed) => "closed".into(),
        Ok(_) => "unknown event".into(),
        Err(error) => format!("error {}", describe_error(error)),
    }
}

/// A few words for an error: its variant, and for some the operation and the cause.
pub(crate) fn describe_error(error: &Error) -> String {
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
        Error::Disconnected { .. } => "disconnected".into(),
        Error::WrongLoop { .. } => "wrong loop".into(),
        other => other.to_string(),
    }
}

/// A callback that fails the test.
pub(crate) fn must_not_run<S>(_: &mut Loop<S>, _: &mut S) -> Result {
    panic!("this callback must not run")
}
