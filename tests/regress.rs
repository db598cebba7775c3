//! One test for each bug that was found: its name states what must hold, its comment what went wrong.

#[allow(dead_code, unused_imports, reason = "shared with other test binaries, which need more of it")]
mod common;

use std::{
    cell::Cell,
    io::{Read, Write},
    net,
    os::unix::net::UnixStream,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    thread,
    time::Duration,
};

use ringback::{
    Check, Error, Idle, Kind, Loop, Options, Poll, Timer, Wake, channel,
    net::{Event, ListenOptions, TcpListener, TcpStream, broadcast},
};

use crate::common::{
    GUARD, Log, MS, new_loop, note, orphan, pair, read_to_eof, run_until, std_pair, succeeds_in_five_attempts,
};

/// Borrowed bytes that `write` sends before it returns.
const DIRECT: usize = 20_000;

fn outcome<T>(result: &Result<T, Error>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(error) if error.is_canceled() => "canceled",
        Err(_) => "failed",
    }
}

/// Runs until the loop is no longer alive, and verifies it now and then. Handles may be left.
fn run(lp: &mut Loop<Log>) -> Log {
    let mut log = Log::new();
    run_until(lp, &mut log, |lp, _| !lp.is_alive());
    log
}

/// The second of two large writes broke the connection and closed the stream, because the first one waited.
/// It then waited itself, on a stream that had completed all its writes: it never completed, and the loop ran
/// on.
#[test]
fn every_write_completes_when_the_second_one_breaks_the_connection() {
    let mut lp = new_loop();
    lp.on_failure(|_, _, _| Ok(()));
    let stream = orphan(&mut lp);
    lp.defer(move |lp, _| {
        for number in 0..4 {
            // The small ones are queued, so that a write waits when the connection breaks.
            let payload = vec![0; if number % 2 == 0 { 10 } else { DIRECT }];
            stream.write_then(lp, &payload, move |_, log: &mut Log, result| {
                note(log, format!("{number} {}", outcome(&result)))
            })?;
        }
        Ok(())
    });
    let log = run(&mut lp);
    assert_eq!(log.len(), 4, "{log:?}");
}

/// The first of two large writes had been sent, and completed with the error of the second.
#[test]
fn a_sent_write_does_not_fail_with_the_next_one() {
    let mut lp = new_loop();
    lp.on_failure(|_, _, _| Ok(()));
    let stream = orphan(&mut lp);
    lp.defer(move |lp, _| {
        for number in 0..2 {
            stream.write_then(lp, &[0; DIRECT], move |_, log, result| {
                note(log, format!("{number} {}", outcome(&result)))
            })?;
        }
        Ok(())
    });
    let log = run(&mut lp);
    assert!(log == ["0 ok", "1 failed"] || log == ["0 ok", "1 canceled"], "{log:?}");
}

/// A write on a connection that was known to be broken counted as one with nothing left to send.
#[test]
fn a_write_lost_with_its_connection_is_canceled() {
    let mut lp = new_loop();
    lp.on_failure(|_, log: &mut Log, failure| note(log, format!("failure {}", failure.origin.kind)));
    let stream = orphan(&mut lp);
    lp.defer(move |lp, _| {
        stream.write(lp, &[0; DIRECT])?;
        stream.write(lp, &[0; DIRECT])?;
        for payload in ["lost", ""] {
            stream.write_then(lp, payload, |_, log, result| note(log, outcome(&result)))?;
        }
        Ok(())
    });
    let mut log = run(&mut lp);
    log.sort();
    assert_eq!(log, ["canceled", "canceled", "failure tcp stream"]);
}

/// A broadcast found the queue full. What was written before the callback got that error was dropped, what
/// the callback itself wrote was sent: the peer got a text with a hole.
#[test]
fn a_write_after_queue_full_must_not_follow_a_gap() {
    let mut lp = new_loop();
    let (full, mut peer) = pair(&mut lp);
    full.set_queue_limit(&mut lp, 1).unwrap();
    full.start(&mut lp, move |lp, log, event| {
        if let Err(error) = event {
            log.push(error.to_string());
            full.set_queue_limit(lp, 1 << 30)?;
            full.write(lp, "two")?;
            full.flush(lp)?;
        }
        Ok(())
    })
    .unwrap();
    // Just more than the system takes.
    while full.queued(&lp) == 0 {
        full.write(&mut lp, vec![0; 10_000]).unwrap();
        full.flush(&mut lp).unwrap();
    }
    let (other, mut trigger) = pair(&mut lp);
    other
        .start(&mut lp, move |lp, _, _| {
            broadcast(lp, [full], "one");
            Ok(())
        })
        .unwrap();
    let mut log = Log::new();
    lp.poll_once(&mut log).unwrap();
    assert!(full.queued(&lp) > 0, "the test needs a queue");
    // Ready in one batch: the trigger, whose callback finds the queue full, and the room to empty it.
    trigger.write_all(b"x").unwrap();
    let mut sent = vec![0; lp.metrics().bytes_sent as usize];
    peer.read_exact(&mut sent).unwrap();
    run_until(&mut lp, &mut log, |_, log| !log.is_empty());
    lp.close(other);
    drop(trigger);
    log.extend(run(&mut lp));
    assert_eq!(log.len(), 1, "{log:?}");
    let rest = read_to_eof(&mut peer).unwrap_or_default();
    let last = String::from_utf8_lossy(&rest[rest.len().saturating_sub(3)..]);
    assert!(rest.iter().all(|&byte| byte == 0), "the last bytes: {last:?}");
}

/// Its bytes had reached the peer, and it completed as canceled.
#[test]
fn a_large_sent_write_survives_close_in_the_same_callback() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    stream.write_then(&mut lp, &[7; DIRECT], |_, log, result| note(log, outcome(&result))).unwrap();
    stream.close(&mut lp);
    assert_eq!(run(&mut lp), ["ok"]);
    assert_eq!(read_to_eof(&mut peer).unwrap(), [7; DIRECT]);
}

/// A large write sent a small one with it, and was itself stuck behind a full socket: the small one completed
/// only when the peer read.
#[test]
fn a_sent_write_completes_while_the_next_one_is_stuck() {
    let mut lp = new_loop();
    let (stream, _peer) = pair(&mut lp);
    lp.defer(move |lp, _| {
        stream.write_then(lp, "small", |_, log, result| note(log, outcome(&result)))?;
        stream.write(lp, vec![0; 12 << 20].as_slice())
    });
    let mut log = Log::new();
    run_until(&mut lp, &mut log, |_, log| !log.is_empty());
    assert!(stream.queued(&lp) > 0, "the test needs a queue");
    assert_eq!(log, ["ok"]);
}

/// Shutting down a socket while it connects ends the connection.
#[test]
fn set_watermarks_does_not_shut_down_a_connecting_stream() {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    for finish in [false, true] {
        let mut lp = new_loop();
        let stream =
            TcpStream::connect(&mut lp, addr, |_, log: &mut Log, result| note(log, outcome(&result)));
        let stream = stream.unwrap();
        if finish {
            stream.finish(&mut lp).unwrap()
        } else {
            stream.shutdown(&mut lp).unwrap()
        }
        stream.set_watermarks(&mut lp, 10, 20).unwrap();
        assert_eq!(run(&mut lp), ["ok"]);
        let (mut peer, _) = listener.accept().unwrap();
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    }
}

/// Nothing was watched any more, nothing kept the loop alive, and `Closed` never came.
#[test]
fn a_stream_stopped_after_finish_is_closed() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    stream.start(&mut lp, |_, log, event| note(log, format!("{:?}", event?))).unwrap();
    stream.finish(&mut lp).unwrap();
    Timer::after(&mut lp, 5 * MS, move |lp, _| stream.stop(lp)).unwrap();
    assert_eq!(run(&mut lp), ["Closed"]);
    assert!(lp.handles().is_empty());
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

/// By then the stream's state had no outstanding work, and its slot still had.
#[test]
fn verify_inside_an_error_callback_does_not_panic() {
    let mut lp = new_loop();
    let stream = orphan(&mut lp);
    stream
        .start(&mut lp, |lp, log, event| {
            lp.verify();
            note(log, if event.is_ok() { "closed" } else { "error" })
        })
        .unwrap();
    stream.stop(&mut lp).unwrap();
    lp.defer(move |lp, _| {
        stream.write(lp, &[0; DIRECT])?;
        stream.write(lp, &[0; DIRECT])
    });
    assert_eq!(run(&mut lp), ["error", "closed"]);
}

/// The descriptor was closed with the slot, a turn later.
#[test]
fn a_closed_listener_frees_its_address_at_once() {
    let rebound = succeeds_in_five_attempts(|| {
        let mut lp = new_loop();
        let listener = TcpListener::bind(&mut lp, "127.0.0.1:0").unwrap();
        let addr = listener.local_addr(&mut lp).unwrap();
        listener.close(&mut lp);
        TcpListener::bind(&mut lp, addr).is_ok()
    });
    assert!(rebound);
}

/// The duplicate that a `Poll` watches kept the open file open for another turn.
#[test]
fn a_closed_poll_closes_its_duplicate_at_once() {
    let mut lp = new_loop();
    let (ours, mut peer) = UnixStream::pair().unwrap();
    peer.set_read_timeout(Some(GUARD)).unwrap();
    let poll = Poll::new(&mut lp, &ours).unwrap();
    drop(ours);
    poll.close(&mut lp);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

/// The hook runs after the poll phase and stopped the loop: its bytes waited for a turn that never came.
#[test]
fn bytes_written_by_a_check_hook_before_stop_are_sent() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    Idle::every_turn(&mut lp, |_, _| Ok(())).unwrap();
    Check::every_turn(&mut lp, move |lp, _| {
        lp.stop();
        stream.write(lp, "bye")
    })
    .unwrap();
    lp.run(&mut Log::new()).unwrap();
    drop(lp);
    assert_eq!(read_to_eof(&mut peer).unwrap(), b"bye");
}

/// One error hid the other, and the handle whose callback had failed stayed open.
#[test]
fn a_failed_callback_is_reported_when_on_slow_fails_too() {
    let mut lp = new_loop();
    lp.on_failure(|_, log: &mut Log, failure| note(log, failure.error.to_string()));
    lp.on_slow(Duration::ZERO, |_, _, _| Err(Error::other("slow")));
    let timer = Timer::every(&mut lp, MS, |_, _| Err(Error::other("repeats"))).unwrap();
    lp.defer(|_, _| Err(Error::other("once")));
    let mut log = Log::new();
    for _ in 0..2 {
        assert_eq!(lp.run(&mut log).unwrap_err().to_string(), "slow");
    }
    assert_eq!(log, ["once", "repeats"]);
    assert!(!timer.is_open(&lp));
    lp.run(&mut log).unwrap();
}

/// Connections that it was not to accept were reported to it on every turn, and the loop never slept.
#[test]
fn a_full_listener_does_not_spin_after_on_slow_failed() {
    let mut lp = new_loop();
    lp.on_slow(Duration::ZERO, |_, _, slow| match slow.origin.kind {
        Kind::TcpListener => Err(Error::other("slow")),
        _ => Ok(()),
    });
    let listener = ListenOptions::new().max_connections(1).bind(&mut lp, "127.0.0.1:0").unwrap();
    listener.start(&mut lp, |_, _, _| Ok(())).unwrap();
    let addr = listener.local_addr(&mut lp).unwrap();
    let _peers = [net::TcpStream::connect(addr).unwrap(), net::TcpStream::connect(addr).unwrap()];
    let mut log = Log::new();
    assert_eq!(lp.run(&mut log).unwrap_err().to_string(), "slow");
    lp.run_for(&mut log, 50 * MS).unwrap();
    assert!(lp.metrics().turns < 10, "{} turns", lp.metrics().turns);
}

/// Runs a loop whose callbacks replace it. `run` ends with an error each time.
fn run_replaced(lp: &mut Loop<Log>) -> Log {
    let mut log = Log::new();
    for _ in 0..10 {
        match lp.run(&mut log) {
            Ok(()) => return log,
            Err(Error::Invalid { .. }) => lp.verify(),
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the loop is replaced again and again; log: {log:?}")
}

/// The list of notified handles was the other loop's by then, and shorter.
#[test]
fn replacing_the_loop_in_a_callback_does_not_panic() {
    let mut lp = new_loop();
    let wake = Wake::new(&mut lp, |lp, _| {
        *lp = Loop::new()?;
        let (stream, _) = pair(lp);
        stream.start(lp, |lp, _, event| {
            if let Event::Closed = event? {
                *lp = Loop::new()?;
                // A handle of the new loop is closing, and must stay listed.
                Timer::new(lp)?.close_then(lp, |_, log: &mut Log| note(log, "closed"));
            }
            Ok(())
        })?;
        stream.close(lp);
        Ok(())
    })
    .unwrap();
    wake.waker(&lp).unwrap().wake().unwrap();
    let ran = catch_unwind(AssertUnwindSafe(|| run_replaced(&mut lp)));
    assert_eq!(ran.unwrap(), ["closed"]);
}

/// The limit held within one poll batch, before anything was sent: a peer that read as fast as it could was
/// dropped.
#[test]
fn one_batch_of_broadcasts_does_not_drop_a_reading_peer() {
    // The peer reads afterwards: its system takes this much without it.
    const TOTAL: usize = 48 << 10;
    // Eight reads a turn, three of which are over the limit.
    let mut lp: Loop<Log> = Options::new().read_buffer(4 << 10).build().unwrap();
    let (from, mut sender) = pair(&mut lp);
    let (to, mut reader) = pair(&mut lp);
    to.set_queue_limit(&mut lp, 6 << 10).unwrap();
    from.start(&mut lp, move |lp, log, event| {
        match event? {
            Event::Data(bytes) if broadcast(lp, [to], &*bytes) == 0 => log.push("refused".into()),
            Event::End => {
                from.finish(lp)?;
                to.finish(lp)?;
            }
            _ => {}
        }
        Ok(())
    })
    .unwrap();
    sender.write_all(&vec![7; TOTAL]).unwrap();
    drop(sender);
    let log = run(&mut lp);
    let read = read_to_eof(&mut reader).unwrap().len();
    assert!(log.is_empty() && read == TOTAL, "{log:?}, {read} bytes");
}

/// What `main` printed for an error was its fields.
#[test]
fn the_debug_form_of_an_error_is_readable() {
    let mut lp = new_loop();
    let error = TcpListener::bind(&mut lp, "localhost:80").unwrap_err();
    assert_eq!(format!("{error:?}"), error.to_string());
}

/// There was no callback to give them to.
#[test]
fn resume_before_start_does_not_lose_the_first_bytes() {
    let mut lp = new_loop();
    let listener = TcpListener::bind(&mut lp, "127.0.0.1:0").unwrap();
    assert!(matches!(listener.resume(&mut lp), Err(Error::Invalid { .. })));
    listener.close(&mut lp);
    let (stream, mut peer) = pair(&mut lp);
    peer.write_all(b"first").unwrap();
    drop(peer);
    assert!(matches!(stream.resume(&mut lp), Err(Error::Invalid { .. })));
    run(&mut lp);
    let mut received = Vec::new();
    stream
        .start(&mut lp, move |lp, log, event| {
            match event? {
                Event::Data(bytes) => received.extend_from_slice(bytes),
                Event::End => {
                    log.push(String::from_utf8_lossy(&received).into());
                    stream.close(lp);
                }
                _ => {}
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(run(&mut lp), ["first"]);
}

/// The channel's callback had gone with the old loop. When that came back, the channel was notified on every
/// turn.
#[test]
fn a_channel_does_not_spin_after_its_loop_is_swapped_back() {
    let mut lp = new_loop();
    let (channel, sender) = channel::unbounded(&mut lp, |lp, log: &mut Log, number: u32| {
        log.push(number.to_string());
        let old = Rc::new(Cell::new(None));
        let kept = old.clone();
        let mut new = Loop::new()?;
        new.defer(move |lp, _| {
            *lp = kept.take().expect("the old loop was kept");
            Ok(())
        });
        old.set(Some(std::mem::replace(lp, new)));
        Ok(())
    })
    .unwrap();
    (0..3).for_each(|number| sender.send(number).unwrap());
    assert_eq!(run_replaced(&mut lp), ["0"]);
    assert!(!channel.is_open(&lp));
    assert!(sender.send(3).is_err());
}

/// The system reports a reset once, and `try_write` got it. The next read found nothing, which was reported
/// as the peer's EOF: what was cut off looked complete. Found by random programs, seed 39117.
#[test]
fn a_reset_seen_by_try_write_is_not_reported_as_end() {
    let mut lp = new_loop();
    let (ours, peer) = std_pair();
    let stream = TcpStream::from_std(&mut lp, ours).unwrap();
    stream
        .start(&mut lp, |_, log: &mut Log, event| {
            note(
                log,
                match event {
                    Ok(Event::Data(bytes)) => format!("{} bytes", bytes.len()),
                    other => format!("{other:?}"),
                },
            )
        })
        .unwrap();
    stream.stop(&mut lp).unwrap();
    common::reset(peer);
    let mut tries = 0;
    let error = loop {
        match stream.try_write(&mut lp, b"are you there?") {
            Ok(_) => thread::yield_now(),
            Err(error) => break error,
        }
        tries += 1;
        assert!(tries < 1_000_000, "the reset was not reported");
    };
    assert_eq!(error.io_kind(), Some(std::io::ErrorKind::ConnectionReset), "{error}");
    assert!(stream.resume(&mut lp).is_err_and(|error| error.is_closed()));
    assert_eq!(run(&mut lp), ["Ok(Closed)"]);
}
