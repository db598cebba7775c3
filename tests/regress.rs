//! What once went wrong: one test each, named for what happened.

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
    Check, Error, Idle, Kind, Loop, Poll, Timer, Wake,
    net::{Event, ListenOptions, TcpListener, TcpStream, broadcast},
};

type Log = Vec<String>;

/// Enough that a borrowed write leaves within the call.
const DIRECT: usize = 20_000;

/// Both ends of a connection: one of the loop's, one of the standard library's.
fn pair<S>(lp: &mut Loop<S>) -> (TcpStream, net::TcpStream) {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    (TcpStream::from_std(lp, listener.accept().unwrap().0).unwrap(), peer)
}

/// The end of a peer that is gone, and has said so to our side of the system.
fn orphan<S>(lp: &mut Loop<S>) -> TcpStream {
    let (ours, peer) = pair(lp);
    drop(peer);
    thread::sleep(Duration::from_millis(20));
    ours
}

fn outcome<T>(result: &Result<T, Error>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(error) if error.is_canceled() => "canceled",
        Err(_) => "failed",
    }
}

/// Turns, verified, until nothing is left or too much time has passed.
fn run(lp: &mut Loop<Log>) -> Log {
    let mut log = Log::new();
    for _ in 0..200 {
        if !lp.run_for(&mut log, Duration::from_millis(10)).unwrap() {
            return log;
        }
        lp.verify();
    }
    panic!("still alive; log: {log:?}\n{}", lp.why_alive());
}

/// The second of two large writes found the peer gone, ended the stream because the first one waited, and
/// then waited itself, on a stream that had answered everybody: nobody ever told it, and the loop ran on
/// for ever.
#[test]
fn a_write_that_broke_the_connection_while_another_waited_was_never_answered() {
    let mut lp = Loop::<Log>::new().unwrap();
    lp.on_failure(|_, _, _| Ok(()));
    let ours = orphan(&mut lp);
    lp.defer(move |lp, _| {
        for n in 0..4 {
            let told = move |_: &mut Loop<Log>, log: &mut Log, result| {
                log.push(format!("{n} {}", outcome(&result)));
                Ok(())
            };
            // A small one first, which waits to be gathered, so that somebody waits when it breaks.
            let payload = vec![0; if n % 2 == 0 { 10 } else { DIRECT }];
            ours.write_then(lp, &payload, told)?;
        }
        Ok(())
    });
    let log = run(&mut lp);
    assert_eq!(log.len(), 4, "{log:?}");
}

/// The first of two large writes had left, and was told the error of the second.
#[test]
fn a_write_that_had_left_was_told_the_error_of_the_next() {
    let mut lp = Loop::<Log>::new().unwrap();
    lp.on_failure(|_, _, _| Ok(()));
    let ours = orphan(&mut lp);
    lp.defer(move |lp, _| {
        for n in 0..2 {
            ours.write_then(lp, &[0; DIRECT], move |_, log, result| {
                log.push(format!("{n} {}", outcome(&result)));
                Ok(())
            })?;
        }
        Ok(())
    });
    let log = run(&mut lp);
    assert!(log == ["0 ok", "1 failed"] || log == ["0 ok", "1 canceled"], "{log:?}");
}

/// A write on a connection that was known to be broken counted as one with nothing left to send.
#[test]
fn a_write_that_was_lost_with_its_connection_is_not_told_that_it_left() {
    let mut lp = Loop::<Log>::new().unwrap();
    lp.on_failure(|_, log: &mut Log, failure| {
        log.push(format!("failure {}", failure.origin.kind));
        Ok(())
    });
    let ours = orphan(&mut lp);
    lp.defer(move |lp, _| {
        ours.write(lp, &[0; DIRECT])?;
        ours.write(lp, &[0; DIRECT])?;
        for payload in ["lost", ""] {
            ours.write_then(lp, payload, |_, log, result| {
                log.push(outcome(&result).into());
                Ok(())
            })?;
        }
        Ok(())
    });
    let mut log = run(&mut lp);
    log.sort();
    assert_eq!(log, ["canceled", "canceled", "failure tcp stream"]);
}

/// A broadcast found the queue full. What was written until the callback was told of that was swallowed,
/// what the callback itself wrote was sent: the peer got a text with a hole.
#[test]
fn what_was_written_when_told_of_a_full_queue_followed_upon_a_gap() {
    let mut lp = Loop::<Log>::new().unwrap();
    let (ours, mut peer) = pair(&mut lp);
    ours.set_queue_limit(&mut lp, 1).unwrap();
    ours.start(&mut lp, move |lp, log, event| {
        if let Err(error) = event {
            log.push(error.to_string());
            ours.set_queue_limit(lp, 1 << 30)?;
            ours.write(lp, "two")?;
            ours.flush(lp)?;
        }
        Ok(())
    })
    .unwrap();
    // Just more than the system takes.
    while ours.queued(&lp) == 0 {
        ours.write(&mut lp, vec![0; 10_000]).unwrap();
        ours.flush(&mut lp).unwrap();
    }
    let (other, mut trigger) = pair(&mut lp);
    other
        .start(&mut lp, move |lp, _, _| {
            broadcast(lp, [ours], "one");
            Ok(())
        })
        .unwrap();
    let mut log = Log::new();
    lp.run_for(&mut log, Duration::from_millis(20)).unwrap();
    assert!(ours.queued(&lp) > 0, "the test needs a queue");
    // In one batch: first somebody finds the queue full, then there is room.
    trigger.write_all(b"x").unwrap();
    let mut read = vec![0; 1 << 20];
    peer.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    while peer.read(&mut read).is_ok() {}
    lp.run_for(&mut log, Duration::from_millis(20)).unwrap();
    assert_eq!(log.len(), 1, "{log:?}");
    lp.close(other);
    drop(trigger);
    run(&mut lp);
    let mut rest = Vec::new();
    let _ = peer.read_to_end(&mut rest);
    assert!(
        rest.iter().all(|&byte| byte == 0),
        "the end: {:?}",
        String::from_utf8_lossy(&rest[rest.len() - 3..])
    );
}

/// Its bytes were with the peer, and it was told that it was cancelled.
#[test]
fn a_large_write_that_had_left_was_cancelled_by_a_close_in_the_same_callback() {
    let mut lp = Loop::<Log>::new().unwrap();
    let (ours, mut peer) = pair(&mut lp);
    ours.write_then(&mut lp, &[7; DIRECT], |_, log, result| {
        log.push(outcome(&result).into());
        Ok(())
    })
    .unwrap();
    ours.close(&mut lp);
    assert_eq!(run(&mut lp), ["ok"]);
    let mut bytes = Vec::new();
    peer.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, [7; DIRECT]);
}

/// A large write took a small one along, and then more than the peer took was left: whoever waited for
/// the small one heard of it only when the peer read on.
#[test]
fn a_write_that_had_left_was_not_told_while_the_next_one_was_stuck() {
    let mut lp = Loop::<Log>::new().unwrap();
    let (ours, peer) = pair(&mut lp);
    lp.defer(move |lp, _| {
        ours.write_then(lp, "small", |_, log, result| {
            log.push(outcome(&result).into());
            Ok(())
        })?;
        ours.write(lp, vec![0; 12 << 20].as_slice())
    });
    let mut log = Log::new();
    lp.run_for(&mut log, Duration::from_millis(20)).unwrap();
    lp.verify();
    assert!(ours.queued(&lp) > 0, "the test needs a queue");
    assert_eq!(log, ["ok"]);
    drop(peer);
}

/// To shut down a socket that is still connecting ends the connection.
#[test]
fn setting_watermarks_of_a_stream_that_was_connecting_and_to_be_shut_down_ended_it() {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    for finish in [false, true] {
        let mut lp = Loop::<Log>::new().unwrap();
        let ours = TcpStream::connect(&mut lp, addr, |_, log: &mut Log, result| {
            log.push(outcome(&result).into());
            Ok(())
        })
        .unwrap();
        if finish {
            ours.finish(&mut lp).unwrap()
        } else {
            ours.shutdown(&mut lp).unwrap()
        }
        ours.set_watermarks(&mut lp, 10, 20).unwrap();
        assert_eq!(run(&mut lp), ["ok"]);
        let (mut peer, _) = listener.accept().unwrap();
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    }
}

/// Nothing was watched any more, nothing held the loop, and nobody was told the end.
#[test]
fn a_stream_that_was_stopped_after_finish_was_never_closed() {
    let mut lp = Loop::<Log>::new().unwrap();
    let (ours, mut peer) = pair(&mut lp);
    ours.start(&mut lp, |_, log, event| {
        log.push(format!("{:?}", event?));
        Ok(())
    })
    .unwrap();
    ours.finish(&mut lp).unwrap();
    Timer::after(&mut lp, Duration::from_millis(5), move |lp, _| ours.stop(lp)).unwrap();
    assert_eq!(run(&mut lp), ["Closed"]);
    assert!(lp.handles().is_empty());
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

/// The state said by then that nothing was owed, the slot still did.
#[test]
fn verify_inside_the_callback_that_was_told_an_error_panicked() {
    let mut lp = Loop::<Log>::new().unwrap();
    let ours = orphan(&mut lp);
    ours.start(&mut lp, |lp, log, event| {
        lp.verify();
        log.push(if event.is_ok() { "closed" } else { "error" }.into());
        Ok(())
    })
    .unwrap();
    ours.stop(&mut lp).unwrap();
    lp.defer(move |lp, _| {
        ours.write(lp, &[0; DIRECT])?;
        ours.write(lp, &[0; DIRECT])
    });
    assert_eq!(run(&mut lp), ["error", "closed"]);
}

/// The descriptor was closed with the slot, a turn later.
#[test]
fn the_address_of_a_listener_that_was_just_closed_was_still_in_use() {
    let mut lp = Loop::<Log>::new().unwrap();
    let listener = TcpListener::bind(&mut lp, "127.0.0.1:0").unwrap();
    let addr = listener.local_addr(&mut lp).unwrap();
    listener.close(&mut lp);
    TcpListener::bind(&mut lp, addr).unwrap();
}

/// The same of a duplicate, which kept the open file open.
#[test]
fn what_a_poll_watched_stayed_open_for_a_turn_after_its_close() {
    let mut lp = Loop::<Log>::new().unwrap();
    let (ours, mut peer) = UnixStream::pair().unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let poll = Poll::new(&mut lp, &ours).unwrap();
    drop(ours);
    poll.close(&mut lp);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

/// A hook after the poll wrote, and stopped the loop: the bytes waited for a turn that never was.
#[test]
fn what_a_check_hook_wrote_before_it_stopped_the_loop_did_not_leave() {
    let mut lp = Loop::<Log>::new().unwrap();
    let (ours, mut peer) = pair(&mut lp);
    Idle::every_turn(&mut lp, |_, _| Ok(())).unwrap();
    Check::every_turn(&mut lp, move |lp, _| {
        lp.stop();
        ours.write(lp, "bye")
    })
    .unwrap();
    lp.run(&mut Log::new()).unwrap();
    drop(lp);
    let mut bytes = Vec::new();
    peer.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"bye");
}

/// One error hid the other, and the handle whose callback had failed stayed open.
#[test]
fn a_callback_that_failed_was_forgotten_when_on_slow_failed_too() {
    let mut lp = Loop::<Log>::new().unwrap();
    lp.on_failure(|_, log: &mut Log, failure| {
        log.push(failure.error.to_string());
        Ok(())
    });
    lp.on_slow(Duration::ZERO, |_, _, _| Err(Error::other("slow")));
    let timer = Timer::every(&mut lp, Duration::from_millis(1), |_, _| Err(Error::other("repeats"))).unwrap();
    lp.defer(|_, _| Err(Error::other("once")));
    let mut log = Log::new();
    for _ in 0..2 {
        assert_eq!(lp.run(&mut log).unwrap_err().to_string(), "slow");
    }
    assert_eq!(log, ["once", "repeats"]);
    assert!(!timer.is_open(&lp));
    lp.run(&mut log).unwrap();
}

/// It went on being told of connections that it was not to accept, as fast as the loop could turn.
#[test]
fn a_listener_at_its_limit_spun_after_on_slow_had_failed() {
    let mut lp = Loop::<Log>::new().unwrap();
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
    lp.run_for(&mut log, Duration::from_millis(50)).unwrap();
    assert!(lp.metrics().turns < 10, "{} turns", lp.metrics().turns);
}

/// The list of bells was the other loop's by then, and shorter.
#[test]
fn a_loop_that_was_replaced_inside_a_wake_or_a_closed_event_panicked() {
    let mut lp = Loop::<Log>::new().unwrap();
    let wake = Wake::new(&mut lp, |lp, _| {
        *lp = Loop::new()?;
        let (ours, _) = pair(lp);
        ours.start(lp, |lp, _, event| {
            if let Event::Closed = event? {
                *lp = Loop::new()?;
                // Something of this one's is on the list of those to be told, and must stay there.
                let timer = Timer::new(lp)?;
                timer.close_then(lp, |_, log: &mut Log| {
                    log.push("closed".into());
                    Ok(())
                });
            }
            Ok(())
        })?;
        ours.close(lp);
        Ok(())
    })
    .unwrap();
    wake.waker(&lp).unwrap().wake().unwrap();
    let ran = catch_unwind(AssertUnwindSafe(|| run(&mut lp)));
    assert_eq!(ran.unwrap(), ["closed"]);
}

/// A limit that held within one poll batch, before anything had been sent, dropped a peer who read as fast
/// as he could.
#[test]
fn a_broadcast_of_much_in_one_batch_dropped_a_peer_who_reads() {
    let mut lp = Loop::<Log>::new().unwrap();
    let (from, mut sender) = pair(&mut lp);
    let (to, mut reader) = pair(&mut lp);
    to.set_queue_limit(&mut lp, 100_000).unwrap();
    from.start(&mut lp, move |lp, log, event| {
        match event? {
            Event::Data(bytes) if ringback::net::broadcast(lp, [to], &*bytes) == 0 => {
                log.push("refused".into())
            }
            Event::End => {
                from.finish(lp)?;
                to.finish(lp)?;
            }
            _ => {}
        }
        Ok(())
    })
    .unwrap();
    let bytes = vec![7; 1 << 20];
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        bytes.len()
    });
    std::io::Write::write_all(&mut sender, &bytes).unwrap();
    drop(sender);
    let log = run(&mut lp);
    let read = reader.join().unwrap();
    // What the system itself does not take may be refused; what it takes must not be.
    assert!(log.is_empty() && read == bytes.len(), "{log:?}, {read} bytes");
}

/// What `main` printed was made for machines.
#[test]
fn the_debug_form_of_an_error_was_unreadable() {
    let mut lp = Loop::<Log>::new().unwrap();
    let error = TcpListener::bind(&mut lp, "localhost:80").unwrap_err();
    assert_eq!(format!("{error:?}"), error.to_string());
}

/// There was no callback to give them to.
#[test]
fn a_stream_that_was_resumed_before_it_was_started_threw_its_first_bytes_away() {
    let mut lp = Loop::<Log>::new().unwrap();
    let listener = TcpListener::bind(&mut lp, "127.0.0.1:0").unwrap();
    assert!(matches!(listener.resume(&mut lp), Err(Error::Invalid { .. })));
    listener.close(&mut lp);
    let (ours, mut peer) = pair(&mut lp);
    peer.write_all(b"first").unwrap();
    drop(peer);
    assert!(matches!(ours.resume(&mut lp), Err(Error::Invalid { .. })));
    run(&mut lp);
    ours.start(&mut lp, move |lp, log, event| {
        match event? {
            Event::Data(bytes) => log.push(String::from_utf8_lossy(bytes).into()),
            Event::End => ours.close(lp),
            _ => {}
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(run(&mut lp), ["first"]);
}

#[test]
fn a_channel_whose_callback_went_with_a_replaced_loop_spun_when_that_came_back() {
    let mut lp = Loop::<Log>::new().unwrap();
    let (channel, sender) = ringback::channel::unbounded(&mut lp, |lp, log: &mut Log, number: u32| {
        log.push(number.to_string());
        let old = Rc::new(Cell::new(None));
        let kept = old.clone();
        let mut new = Loop::new()?;
        new.defer(move |lp, _| {
            *lp = kept.take().expect("it was put there");
            Ok(())
        });
        old.set(Some(std::mem::replace(lp, new)));
        Ok(())
    })
    .unwrap();
    (0..3).for_each(|number| sender.send(number).unwrap());
    assert_eq!(run(&mut lp), ["0"]);
    assert!(!channel.is_open(&lp));
    assert!(sender.send(3).is_err());
}

/// `try_write` was told of a reset, which the system says once. The next read then found nothing, which was told as the
/// peer's end: what was cut off looked whole. Found by random programs, seed 39117.
#[test]
fn a_reset_that_try_write_was_told_of_looked_like_the_peers_end() {
    let mut lp = Loop::<Log>::new().unwrap();
    let (ours, peer) = pair(&mut lp);
    ours.start(&mut lp, |_, log: &mut Log, event| {
        log.push(match event {
            Ok(Event::Data(bytes)) => format!("{} bytes", bytes.len()),
            other => format!("{other:?}"),
        });
        Ok(())
    })
    .unwrap();
    ours.stop(&mut lp).unwrap();
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    let mut tries = 0;
    let error = loop {
        match ours.try_write(&mut lp, b"are you there?") {
            Ok(_) => thread::yield_now(),
            Err(error) => break error,
        }
        tries += 1;
        assert!(tries < 1_000_000, "nobody was told of the reset");
    };
    assert_eq!(error.io_kind(), Some(std::io::ErrorKind::ConnectionReset), "{error}");
    assert!(ours.resume(&mut lp).is_err_and(|error| error.is_closed()));
    assert_eq!(run(&mut lp), ["Ok(Closed)"]);
}
