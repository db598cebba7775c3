//! Unix sockets, one operation after the other: each result is logged before the next begins.

use std::{path::Path, time::Duration};

use ringback::{
    Error, Loop, Result,
    net::{Event, UnixListener, UnixStream},
};

pub(super) type Log = Vec<String>;

/// Carried out in a directory that has `file` and `dir`. Returns what happened.
pub(super) type Operations = fn(&mut Loop<Log>, &Path) -> Log;

fn describe<T>(what: &str, result: &Result<T>) -> String {
    match result {
        Ok(_) => format!("{what}: ok"),
        Err(Error::System { op, source, .. }) => format!("{what}: {op}: {:?}", source.kind()),
        Err(Error::Canceled { op }) => format!("{what}: {op} canceled"),
        Err(Error::Closed { op }) => format!("{what}: {op}: closed"),
        Err(error) => format!("{what}: {error}"),
    }
}

fn run(lp: &mut Loop<Log>, log: &mut Log) {
    let begin = log.len();
    // Longer than bytes take in a world.
    lp.run_for(log, Duration::from_millis(3)).unwrap();
    lp.verify();
    // Only the order of each stream's events is known beforehand.
    let actor = |line: &String| line.split(':').next().map(str::to_owned);
    log[begin..].sort_by_key(actor);
}

fn record(lp: &mut Loop<Log>, stream: UnixStream, name: &'static str) {
    let started = stream.start(lp, move |_, log, event| {
        log.push(match &event {
            Ok(Event::Data(bytes)) => format!("{name}: {:?}", String::from_utf8_lossy(bytes)),
            Ok(Event::End) => format!("{name}: end"),
            Ok(Event::Closed) => format!("{name}: closed"),
            Ok(_) => format!("{name}: another event"),
            Err(_) => describe(name, &event),
        });
        Ok(())
    });
    started.unwrap();
}

fn connect(lp: &mut Loop<Log>, log: &mut Log, path: &Path, what: &'static str) -> UnixStream {
    let stream = UnixStream::connect(lp, path, move |_, log: &mut Log, conn| {
        log.push(describe(what, &conn));
        Ok(())
    })
    .unwrap();
    let written = stream.write_then(lp, "early", move |_, log: &mut Log, result| {
        log.push(describe("early write", &result));
        Ok(())
    });
    log.push(describe("write while connecting", &written));
    log.push(describe("credentials", &stream.peer_credentials(lp).map(drop)));
    stream
}

/// What binding and connecting return, by what there is at a path.
pub(super) fn names(lp: &mut Loop<Log>, dir: &Path) -> Log {
    let log = &mut Log::new();
    let path = dir.join("socket");
    lp.on_failure(|_, log, failure| {
        log.push(describe("failure", &Err::<(), _>(failure.error)));
        Ok(())
    });
    for (what, name) in
        [("nothing", "none"), ("a file", "file"), ("a directory", "dir"), ("no directory", "none/socket")]
    {
        log.push(what.into());
        let path = dir.join(name);
        connect(lp, log, &path, "connect");
        run(lp, log);
        let bound = UnixListener::bind(lp, &path);
        log.push(describe("bind", &bound));
        if let Ok(listener) = bound {
            log.push(describe("bind again", &UnixListener::bind(lp, &path)));
            listener.close(lp);
            run(lp, log);
            connect(lp, log, &path, "connect after the close");
            run(lp, log);
        }
    }
    let listener = UnixListener::bind(lp, &path).unwrap();
    let waiting = connect(lp, log, &path, "connect before it is accepted");
    record(lp, waiting, "waiting");
    run(lp, log);
    listener.close(lp);
    run(lp, log);
    log.push(format!("{} handles", lp.handles().len()));
    std::mem::take(log)
}

/// How connections end.
pub(super) fn ends(lp: &mut Loop<Log>, _: &Path) -> Log {
    let log = &mut Log::new();
    lp.on_failure(|_, log, failure| {
        log.push(describe("failure", &Err::<(), _>(failure.error)));
        Ok(())
    });
    for (way, unread, stopped, starts) in
        (0..16).map(|bits| (bits & 1 == 1, bits & 2 == 2, bits & 4 == 4, bits & 8 == 8))
    {
        log.push(format!("finish {way}, unread bytes {unread}, stopped {stopped}, other starts {starts}"));
        let (one, other) = UnixStream::pair(lp).unwrap();
        record(lp, one, "one");
        if stopped {
            one.stop(lp).unwrap();
        }
        if starts {
            record(lp, other, "other");
        }
        if unread {
            one.write(lp, "unread").unwrap();
        }
        run(lp, log);
        other.write(lp, "last words").unwrap();
        if way {
            other.finish(lp).unwrap();
        } else {
            other.flush(lp).unwrap();
            run(lp, log);
            other.close(lp);
        }
        run(lp, log);
        for number in ["first write", "second write"] {
            let written = one.write_then(lp, "x", move |_, log: &mut Log, result| {
                log.push(describe(number, &result));
                Ok(())
            });
            if written.is_err() {
                log.push(describe(number, &written));
            }
            run(lp, log);
        }
        log.push(describe("shutdown", &one.shutdown(lp)));
        one.close(lp);
        other.close(lp);
        run(lp, log);
    }
    std::mem::take(log)
}
