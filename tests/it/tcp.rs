//! TCP, edge by edge.

use std::{cell::RefCell, io::Read, rc::Rc, time::Duration};

use ringback::{
    Error, Loop, Timer,
    net::{self, Event, Keepalive, ListenOptions, Payload, TcpListener, TcpStream},
};

use crate::common::*;

/// A listener that echoes.
fn echo(lp: &mut Loop<Log>) -> (TcpListener, std::net::SocketAddr) {
    let listener = TcpListener::bind(lp, "127.0.0.1:0").unwrap();
    let addr = listener.local_addr(lp).unwrap();
    listener
        .start(lp, |lp, _, conn| {
            conn.start(lp, move |lp, _, event| {
                match event? {
                    Event::Data(bytes) => conn.write(lp, bytes)?,
                    Event::End => conn.finish(lp)?,
                    _ => {}
                }
                Ok(())
            })
        })
        .unwrap();
    (listener, addr)
}

#[test]
fn a_conversation_between_two_streams_of_one_loop() {
    let mut lp = new_loop();
    let (listener, addr) = echo(&mut lp);
    TcpStream::connect(&mut lp, addr, move |lp, log, conn| {
        let conn = conn?;
        log.push("connected".into());
        conn.write(lp, "hello")?;
        conn.start(lp, move |lp, log, event| {
            log.push(describe_event(&event));
            match event? {
                Event::Data(_) => conn.shutdown(lp)?,
                Event::End => conn.close(lp),
                Event::Closed => listener.close(lp),
                _ => {}
            }
            Ok(())
        })
    })
    .unwrap();
    assert_eq!(run(&mut lp), ["connected", "data \"hello\"", "end", "closed"]);
}

#[test]
fn every_sort_of_payload_arrives_in_the_order_of_writing() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    let large: Vec<u8> = (0..100_000).map(|n| n as u8).collect();
    stream.write(&mut lp, "str ").unwrap();
    stream.write(&mut lp, b"array ").unwrap();
    stream.write(&mut lp, &b"slice "[..]).unwrap();
    stream.write(&mut lp, String::from("String ")).unwrap();
    stream.write(&mut lp, Vec::from("Vec ")).unwrap();
    stream.write(&mut lp, Box::<[u8]>::from(&b"Box "[..])).unwrap();
    stream.write(&mut lp, Rc::<[u8]>::from(&b"Rc "[..])).unwrap();
    stream.write(&mut lp, std::sync::Arc::<[u8]>::from(&b"Arc "[..])).unwrap();
    stream.write(&mut lp, std::borrow::Cow::from("Cow ")).unwrap();
    stream.write(&mut lp, "").unwrap();
    for _ in 0..3 {
        stream.write(&mut lp, &large[..]).unwrap();
        stream.write(&mut lp, large.clone()).unwrap();
        stream.write(&mut lp, Rc::<[u8]>::from(&large[..])).unwrap();
    }
    stream.write(&mut lp, Payload::from("end")).unwrap();
    stream.finish(&mut lp).unwrap();
    let reader = std::thread::spawn(move || read_to_eof(&mut peer).unwrap());
    run(&mut lp);
    let mut expected = b"str array slice String Vec Box Rc Arc Cow ".to_vec();
    (0..9).for_each(|_| expected.extend(&large));
    expected.extend(b"end");
    assert!(reader.join().unwrap() == expected);
}

#[test]
fn sixteen_writes_in_a_callback_leave_in_one_packet() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    stream
        .start(&mut lp, move |lp, _, event| {
            if let Event::Data(_) = event? {
                for _ in 0..16 {
                    stream.write(lp, "answer ")?;
                }
                assert_eq!(stream.queued(lp), 16 * 7, "gathered until the callback returns");
            }
            Ok(())
        })
        .unwrap();
    send(&mut peer, "x");
    run_until(&mut lp, &mut Log::new(), |lp, _| lp.metrics().bytes_sent == 16 * 7);
    let mut buffer = [0; 1000];
    assert_eq!(peer.read(&mut buffer).unwrap(), 16 * 7);
    stream.close(&mut lp);
    run(&mut lp);
}

#[test]
fn a_stream_that_had_to_wait_and_has_sent_everything_lets_the_loop_sleep() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    stream.set_watermarks(&mut lp, 1 << 20, 1 << 30).unwrap();
    stream.start(&mut lp, |_, _, _| Ok(())).unwrap();
    stream.write(&mut lp, vec![7; 16 << 20]).unwrap();
    run_until(&mut lp, &mut Log::new(), |lp, _| lp.metrics().bytes_sent > 0);
    assert!(stream.queued(&lp) > 0);
    let reader = std::thread::spawn(move || read_exact(&mut peer, 16 << 20).len());
    run_until(&mut lp, &mut Log::new(), |lp, _| stream.queued(lp) == 0);
    let before = lp.metrics().turns;
    lp.run_for(&mut Log::new(), 10 * MS).unwrap();
    assert!(lp.metrics().turns - before < 50);
    assert_eq!(reader.join().unwrap(), 16 << 20);
    stream.close(&mut lp);
    run(&mut lp);
}

#[test]
fn flush_sends_before_the_callback_returns() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    lp.defer(move |lp, log| {
        stream.write(lp, "now")?;
        stream.flush(lp)?;
        assert_eq!(stream.queued(lp), 0);
        assert_eq!(read_exact(&mut peer, 3), b"now");
        stream.close(lp);
        note(log, "flushed")
    });
    assert_eq!(run(&mut lp), ["flushed"]);
}

#[test]
fn a_broadcast_reaches_every_stream_that_is_open() {
    let mut lp = new_loop();
    let mut pairs: Vec<_> = (0..5).map(|_| pair(&mut lp)).collect();
    pairs[2].0.close(&mut lp);
    let streams: Vec<_> = pairs.iter().map(|(stream, _)| *stream).collect();
    let long = "news ".repeat(1000);
    assert_eq!(net::broadcast(&mut lp, &streams, "short "), 4);
    assert_eq!(net::broadcast(&mut lp, streams.iter().filter(|&&stream| stream != streams[0]), &long), 3);
    for stream in &streams {
        let _ = stream.finish(&mut lp);
    }
    run(&mut lp);
    for (number, (_, peer)) in pairs.iter_mut().enumerate() {
        let expected = match number {
            0 => "short ".to_owned(),
            2 => String::new(),
            _ => format!("short {long}"),
        };
        assert_eq!(read_to_eof(peer).unwrap(), expected.as_bytes());
    }
}

#[test]
fn a_broadcast_to_a_full_queue_ends_that_connection_and_no_other() {
    let mut lp = new_loop();
    lp.on_failure(|_, log, failure| note(log, describe_error(&failure.error)));
    let (slow, _slow_peer) = pair(&mut lp);
    let (quick, mut quick_peer) = pair(&mut lp);
    slow.start(&mut lp, |_, log, event| match event? {
        Event::Closed => note(log, "slow closed"),
        _ => Ok(()),
    })
    .unwrap();
    slow.set_queue_limit(&mut lp, 1000).unwrap();
    slow.write(&mut lp, vec![7; 32 << 20]).unwrap();
    run_until(&mut lp, &mut Log::new(), |lp, _| lp.metrics().turns > 1);
    assert_eq!(net::broadcast(&mut lp, [slow, quick], "news"), 1);
    let mut log = Log::new();
    run_until(&mut lp, &mut log, |_, log| log.len() == 2);
    assert_eq!(log, ["queue full", "slow closed"]);
    assert_eq!(read_exact(&mut quick_peer, 4), b"news");
    quick.close(&mut lp);
    run(&mut lp);
}

#[test]
fn a_write_to_a_queue_over_its_limit_queues_nothing() {
    let mut lp = new_loop();
    let (stream, _peer) = pair(&mut lp);
    stream.set_queue_limit(&mut lp, 100).unwrap();
    stream.write(&mut lp, vec![7; 64 << 20]).unwrap(); // one write may pass it
    stream.flush(&mut lp).unwrap(); // what the system takes has gone
    let queued = stream.queued(&lp);
    let error = stream.write(&mut lp, "x").unwrap_err();
    assert!(matches!(error, Error::QueueFull { limit: 100, .. }), "{error}");
    assert_eq!(stream.queued(&lp), queued);
    assert!(matches!(stream.write_then(&mut lp, "x", |_, _, _| panic!()), Err(Error::QueueFull { .. })));
    stream.close(&mut lp);
    run(&mut lp);
}

#[test]
fn drained_is_told_when_the_queue_has_been_high_and_is_low_again() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    stream.set_watermarks(&mut lp, 1000, 1 << 20).unwrap();
    record(&mut lp, stream, "stream");
    stream.write(&mut lp, "little").unwrap();
    stream.write(&mut lp, vec![7; 8 << 20]).unwrap();
    let reader = std::thread::spawn(move || {
        read_exact(&mut peer, 6 + (8 << 20));
        peer
    });
    let mut log = Log::new();
    run_until(&mut lp, &mut log, |_, log| !log.is_empty());
    assert_eq!(log, ["stream drained"]);
    let _peer = reader.join().unwrap();
    stream.close(&mut lp);
    assert_eq!(run(&mut lp), ["stream closed"]);
}

#[test]
fn watermarks_in_the_wrong_order_are_refused() {
    let mut lp = new_loop();
    let (stream, _peer) = pair(&mut lp);
    assert_eq!(describe_error(&stream.set_watermarks(&mut lp, 5, 5).unwrap_err()), "invalid");
    assert_eq!(describe_error(&stream.set_watermarks(&mut lp, 0, 5 << 30).unwrap_err()), "invalid");
}

#[test]
fn a_stream_does_not_read_while_its_own_queue_is_above_the_high_watermark() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    stream.set_watermarks(&mut lp, 1000, 100_000).unwrap();
    stream
        .start(&mut lp, move |lp, _, event| {
            if let Event::Data(bytes) = event? {
                stream.write(lp, bytes)?;
            }
            Ok(())
        })
        .unwrap();
    // The peer sends and does not read, until it can send no more.
    let total = 64 << 20;
    peer.set_nonblocking(true).unwrap();
    let chunk = vec![7; 1 << 16];
    let (mut sent, mut refused) = (0, 0);
    let mut log = Log::new();
    while sent < total && refused < 100 {
        match std::io::Write::write(&mut peer, &chunk) {
            Ok(count) => sent += count,
            Err(_) => refused += 1,
        }
        lp.run_for(&mut log, MS).unwrap();
        lp.verify();
        assert!(stream.queued(&lp) <= 100_000 + (64 << 10), "{}", stream.queued(&lp));
    }
    assert!(sent < total, "it was held up");
    // And goes on when the peer reads.
    peer.set_nonblocking(false).unwrap();
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    let reader = std::thread::spawn(move || read_exact(&mut peer, sent).len());
    run_until(&mut lp, &mut log, |lp, _| lp.metrics().bytes_sent == sent as u64);
    assert_eq!(reader.join().unwrap(), sent);
    stream.close(&mut lp);
    run(&mut lp);
}

#[test]
fn without_auto_pause_a_stream_reads_on() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    stream.set_auto_pause(&mut lp, false).unwrap();
    stream.write(&mut lp, vec![7; 8 << 20]).unwrap();
    record(&mut lp, stream, "stream");
    send(&mut peer, "x");
    let mut log = Log::new();
    run_until(&mut lp, &mut log, |_, log| !log.is_empty());
    assert_eq!(log, ["stream data \"x\""]);
    stream.close(&mut lp);
    run(&mut lp);
}

#[test]
fn a_stopped_stream_reads_nothing_until_it_is_resumed() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    record(&mut lp, stream, "stream");
    stream.stop(&mut lp).unwrap();
    send(&mut peer, "x");
    let mut log = Log::new();
    for _ in 0..3 {
        lp.poll_once(&mut log).unwrap();
    }
    assert!(log.is_empty());
    stream.resume(&mut lp).unwrap();
    run_until(&mut lp, &mut log, |_, log| !log.is_empty());
    assert_eq!(log, ["stream data \"x\""]);
    stream.close(&mut lp);
    run(&mut lp);
}

#[test]
fn a_stopped_stream_whose_peer_resets_does_not_make_the_loop_spin() {
    let mut lp = new_loop();
    let (stream, peer) = pair(&mut lp);
    record(&mut lp, stream, "stream");
    stream.stop(&mut lp).unwrap();
    let tick = Timer::every(&mut lp, MS, |_, _| Ok(())).unwrap();
    reset(peer);
    let mut log = Log::new();
    let before = lp.metrics().turns;
    lp.run_for(&mut log, 20 * MS).unwrap();
    assert!(lp.metrics().turns - before < 100, "a turn a tick, and no more");
    tick.close(&mut lp);
    stream.resume(&mut lp).unwrap();
    log.extend(run(&mut lp));
    assert_eq!(log, ["stream error read ConnectionReset", "stream closed"]);
}

#[test]
fn a_callback_that_starts_the_stream_anew_hands_it_over() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    stream
        .start(&mut lp, move |lp, log, event| {
            log.push(format!("first {}", describe_event(&event)));
            record(lp, stream, "second");
            Ok(())
        })
        .unwrap();
    send(&mut peer, "a");
    let mut log = Log::new();
    run_until(&mut lp, &mut log, |_, log| log.len() == 1);
    send(&mut peer, "b");
    run_until(&mut lp, &mut log, |_, log| log.len() == 2);
    stream.close(&mut lp);
    log.extend(run(&mut lp));
    assert_eq!(log, ["first data \"a\"", "second data \"b\"", "second closed"]);
}

#[test]
fn data_can_be_changed_in_place() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    stream
        .start(&mut lp, move |lp, _, event| {
            if let Event::Data(bytes) = event? {
                bytes.make_ascii_uppercase();
                stream.write(lp, bytes)?;
            }
            Ok(())
        })
        .unwrap();
    send(&mut peer, "loud");
    run_until(&mut lp, &mut Log::new(), |lp, _| lp.metrics().bytes_sent == 4);
    assert_eq!(read_exact(&mut peer, 4), b"LOUD");
    stream.close(&mut lp);
    run(&mut lp);
}

#[test]
fn ends_that_cross_close_a_finishing_stream_once() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    record(&mut lp, stream, "stream");
    stream.write(&mut lp, "bye").unwrap();
    stream.finish(&mut lp).unwrap();
    stream.finish(&mut lp).unwrap();
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(run(&mut lp), ["stream end", "stream closed"]);
    assert_eq!(read_to_eof(&mut peer).unwrap(), b"bye");
}

#[test]
fn a_finishing_stream_waits_for_the_peers_end_and_hears_what_it_says_until_then() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    record(&mut lp, stream, "stream");
    stream.finish(&mut lp).unwrap();
    let mut log = Log::new();
    lp.poll_once(&mut log).unwrap();
    assert_eq!(read_to_eof(&mut peer).unwrap(), b"");
    send(&mut peer, "last words");
    run_until(&mut lp, &mut log, |_, log| !log.is_empty());
    drop(peer);
    log.extend(run(&mut lp));
    assert_eq!(log, ["stream data \"last words\"", "stream end", "stream closed"]);
}

#[test]
fn a_finishing_stream_that_does_not_read_is_closed_when_everything_is_sent() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    stream.write(&mut lp, vec![7; 4 << 20]).unwrap();
    stream.finish(&mut lp).unwrap();
    let reader = std::thread::spawn(move || read_to_eof(&mut peer).unwrap().len());
    run(&mut lp);
    assert_eq!(reader.join().unwrap(), 4 << 20);
}

#[test]
fn close_reset_resets() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    record(&mut lp, stream, "stream");
    stream.close_reset(&mut lp).unwrap();
    assert_eq!(read_to_eof(&mut peer).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(run(&mut lp), ["stream closed"]);
}

#[test]
fn a_write_to_a_peer_that_is_gone_is_told_to_whoever_waits_for_it() {
    let mut lp = new_loop();
    let (stream, peer) = pair(&mut lp);
    record(&mut lp, stream, "stream");
    stream.stop(&mut lp).unwrap();
    reset(peer);
    stream
        .write_then(&mut lp, "x", |_, log, result| note(log, describe_error(&result.unwrap_err())))
        .unwrap();
    stream
        .write_then(&mut lp, "y", |_, log, result| note(log, describe_error(&result.unwrap_err())))
        .unwrap();
    let log = run(&mut lp);
    assert!(log[0] == "write ConnectionReset" || log[0] == "write BrokenPipe", "{log:?}");
    assert_eq!(log[1..], ["canceled", "stream closed"]);
}

#[test]
fn a_write_callback_that_fails_closes_its_stream() {
    let mut lp = new_loop();
    lp.on_failure(|_, log, failure| note(log, failure.to_string().split(' ').next().unwrap()));
    let (stream, _peer) = pair(&mut lp);
    record(&mut lp, stream, "stream");
    stream.write_then(&mut lp, "x", |_, _, _| Err(Error::other("no"))).unwrap();
    assert_eq!(run(&mut lp), ["write", "stream closed"]);
}

#[test]
fn ten_thousand_queued_writes_arrive_in_order_and_are_answered_in_order() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    let mut expected = String::new();
    for number in 0..10_000 {
        let line = format!("line {number}\n");
        expected.push_str(&line);
        stream
            .write_then(&mut lp, line, move |_, log, result| result.and(note(log, number.to_string())))
            .unwrap();
    }
    stream.finish(&mut lp).unwrap();
    let reader = std::thread::spawn(move || read_to_eof(&mut peer).unwrap());
    let log = run(&mut lp);
    assert_eq!(reader.join().unwrap(), expected.as_bytes());
    assert!(log.iter().enumerate().all(|(number, line)| *line == number.to_string()));
    assert_eq!(log.len(), 10_000);
}

#[test]
fn of_ten_thousand_queued_writes_closed_midway_a_first_part_is_answered_as_sent_and_the_rest_as_canceled() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    let line = "0123456789".repeat(100);
    for number in 0..10_000 {
        let told = move |_: &mut Loop<Log>, log: &mut Log, result: ringback::Result| {
            note(
                log,
                format!(
                    "{number} {}",
                    result.map_or_else(|error| describe_error(&error), |()| "sent".into())
                ),
            )
        };
        stream.write_then(&mut lp, line.as_str(), told).unwrap();
    }
    stream.close_then(&mut lp, |_, log| note(log, "closed"));
    let mut log = Log::new();
    // What the system took is with the peer; nobody reads it before the close.
    log.extend(run(&mut lp));
    assert_eq!(log.pop().unwrap(), "closed");
    let sent = log.iter().filter(|line| line.ends_with(" sent")).count();
    assert!(sent < 10_000, "{sent}");
    for (number, line) in log.iter().enumerate() {
        assert_eq!(*line, format!("{number} {}", if number < sent { "sent" } else { "canceled" }));
    }
    assert_eq!(log.len(), 10_000);
    // Every line that was answered as sent arrives; of the next, a part may.
    let arrived = read_to_eof(&mut peer).unwrap();
    assert!(
        arrived.len() >= sent * line.len() && arrived.len() < (sent + 1) * line.len(),
        "{}",
        arrived.len()
    );
}

#[test]
fn connecting_can_be_given_up() {
    let mut lp = new_loop();
    lp.on_failure(|_, _, _| Ok(()));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let stream =
        TcpStream::connect(&mut lp, addr, |_, log, result| note(log, describe_error(&result.unwrap_err())))
            .unwrap();
    stream.close_then(&mut lp, |_, log| note(log, "closed"));
    let log = run(&mut lp);
    // On loopback it may have been connected by the time it was closed: then the answer was on its way.
    assert_eq!(log.last().unwrap(), "closed");
    assert_eq!(log.len(), 2);
}

/// A listener whose backlog is full: connections to it hang.
fn deaf() -> (std::net::TcpListener, std::net::SocketAddr, Vec<std::net::TcpStream>) {
    use rustix::net::{AddressFamily, SocketAddrV4, SocketType, bind, listen, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    listen(&socket, 0).unwrap();
    let listener = std::net::TcpListener::from(socket);
    let addr = listener.local_addr().unwrap();
    let mut filling = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&addr, 50 * MS) {
        filling.push(stream);
    }
    (listener, addr, filling)
}

#[test]
fn connecting_times_out() {
    let mut lp = new_loop();
    let (_listener, addr, _filling) = deaf();
    let stream = TcpStream::connect_timeout(&mut lp, addr, 5 * MS, |_, log, result| {
        note(log, describe_error(&result.unwrap_err()))
    })
    .unwrap();
    stream
        .write_then(&mut lp, "x", |_, log, result| note(log, describe_error(&result.unwrap_err())))
        .unwrap();
    assert_eq!(run(&mut lp), ["timed out connect", "canceled"]);
}

#[test]
fn a_stream_that_is_closed_while_it_connects_answers_canceled() {
    let mut lp = new_loop();
    let (_listener, addr, _filling) = deaf();
    let stream =
        TcpStream::connect(&mut lp, addr, |_, log, result| note(log, describe_error(&result.unwrap_err())))
            .unwrap();
    record(&mut lp, stream, "stream");
    Timer::after(&mut lp, MS, move |lp, _| {
        stream.close(lp);
        Ok(())
    })
    .unwrap();
    assert_eq!(run(&mut lp), ["canceled", "stream closed"]);
}

#[test]
fn a_connect_callback_that_fails_closes_the_stream() {
    let mut lp = new_loop();
    lp.on_failure(|_, log, failure| note(log, failure.error.to_string()));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    TcpStream::connect(&mut lp, listener.local_addr().unwrap(), |_, _, _| Err(Error::other("no"))).unwrap();
    assert_eq!(run(&mut lp), ["no"]);
    let (mut peer, _) = listener.accept().unwrap();
    assert_eq!(read_to_eof(&mut peer).unwrap(), b"");
}

#[test]
fn a_name_is_no_address() {
    let mut lp = new_loop();
    for wrong in ["localhost:80", "127.0.0.1", "127.0.0.1:99999", ""] {
        assert_eq!(describe_error(&TcpListener::bind(&mut lp, wrong).unwrap_err()), "invalid");
        assert_eq!(
            describe_error(&TcpStream::connect(&mut lp, wrong, |_, _, _| panic!()).unwrap_err()),
            "invalid"
        );
    }
    assert!(lp.handles().is_empty());
}

#[test]
fn an_idle_stream_is_told_and_may_go_on_or_not() {
    let mut lp = new_loop();
    lp.on_failure(|_, log, failure| note(log, describe_error(&failure.error)));
    let (stream, _peer) = pair(&mut lp);
    stream.set_idle_timeout(&mut lp, Some(3 * MS)).unwrap();
    stream
        .start(&mut lp, |_, log, event| {
            log.push(describe_event(&event));
            if log.len() == 2 {
                event?; // That is enough.
            }
            Ok(())
        })
        .unwrap();
    let log = run(&mut lp);
    assert_eq!(log, ["error timed out idle", "error timed out idle", "timed out idle", "closed"]);
    assert!(matches!(stream.set_idle_timeout(&mut lp, None), Err(Error::Closed { .. })));
}

#[test]
fn bytes_that_move_keep_a_stream_from_being_idle() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    stream.set_idle_timeout(&mut lp, Some(500 * MS)).unwrap();
    record(&mut lp, stream, "stream");
    let mut beats = 0;
    let beat = Timer::new(&mut lp).unwrap();
    beat.set_period(&mut lp, Some(20 * MS)).unwrap();
    beat.start(&mut lp, MS, move |lp, _| {
        send(&mut peer, "x");
        beats += 1;
        if beats == 40 {
            beat.close(lp);
            stream.close(lp);
        }
        Ok(())
    })
    .unwrap();
    let log = run(&mut lp);
    assert!(!log.iter().any(|line| line.contains("timed out")), "{log:?}");
}

#[test]
fn an_idle_time_of_zero_is_refused_and_none_turns_it_off() {
    let mut lp = new_loop();
    let (stream, _peer) = pair(&mut lp);
    assert_eq!(
        describe_error(&stream.set_idle_timeout(&mut lp, Some(Duration::ZERO)).unwrap_err()),
        "invalid"
    );
    stream.set_idle_timeout(&mut lp, Some(MS)).unwrap();
    stream.set_idle_timeout(&mut lp, None).unwrap();
    record(&mut lp, stream, "stream");
    let mut log = Log::new();
    lp.run_for(&mut log, 5 * MS).unwrap();
    assert!(log.is_empty());
    stream.close(&mut lp);
    run(&mut lp);
}

#[test]
fn a_listener_at_its_limit_accepts_again_when_a_stream_is_closed() {
    let mut lp = new_loop();
    let listener = ListenOptions::new().max_connections(2).backlog(16).bind(&mut lp, "127.0.0.1:0").unwrap();
    let addr = listener.local_addr(&mut lp).unwrap();
    let accepted: Rc<RefCell<Vec<TcpStream>>> = Rc::default();
    let theirs = accepted.clone();
    listener
        .start(&mut lp, move |_, log, stream| {
            theirs.borrow_mut().push(stream);
            note(log, "accepted")
        })
        .unwrap();
    let _peers = [(); 4].map(|()| std::net::TcpStream::connect(addr).unwrap());
    let mut log = Log::new();
    for _ in 0..5 {
        lp.poll_once(&mut log).unwrap();
        lp.verify();
    }
    assert_eq!(log.len(), 2);
    accepted.borrow()[0].close(&mut lp);
    run_until(&mut lp, &mut log, |_, log| log.len() == 3);
    listener.set_max_connections(&mut lp, None).unwrap();
    run_until(&mut lp, &mut log, |_, log| log.len() == 4);
    for stream in accepted.borrow().iter() {
        stream.close(&mut lp);
    }
    listener.close(&mut lp);
    run(&mut lp);
}

#[test]
fn several_listeners_share_an_address_if_they_ask_for_it() {
    let mut lp = new_loop();
    let options = ListenOptions::new().reuse_port(true);
    let one = options.bind(&mut lp, "127.0.0.1:0").unwrap();
    let addr = one.local_addr(&mut lp).unwrap();
    options.bind(&mut lp, addr).unwrap();
    assert!(TcpListener::bind(&mut lp, addr).is_err());
}

#[test]
fn a_server_can_be_started_again_at_once() {
    let mut lp = new_loop();
    let (listener, addr) = echo(&mut lp);
    let mut peer = std::net::TcpStream::connect(addr).unwrap();
    send(&mut peer, "x");
    run_until(&mut lp, &mut Log::new(), |lp, _| lp.metrics().bytes_sent == 1);
    // The server's side closes first, so that the address would linger.
    for entry in lp.handles() {
        lp.close(entry.origin.handle.unwrap());
    }
    run(&mut lp);
    assert!(!listener.is_open(&lp));
    read_to_eof(&mut peer).unwrap();
    TcpListener::bind(&mut lp, addr).unwrap();
}

#[test]
fn the_sockets_options_can_be_set_and_read() {
    let mut lp = new_loop();
    let (stream, peer) = pair(&mut lp);
    assert_eq!(stream.local_addr(&mut lp).unwrap(), peer.peer_addr().unwrap());
    assert_eq!(stream.peer_addr(&mut lp).unwrap(), peer.local_addr().unwrap());
    stream.set_nodelay(&mut lp, true).unwrap();
    assert!(stream.nodelay(&mut lp).unwrap());
    stream.set_nodelay(&mut lp, false).unwrap();
    assert!(!stream.nodelay(&mut lp).unwrap());
    stream.set_ttl(&mut lp, 17).unwrap();
    assert_eq!(stream.ttl(&mut lp).unwrap(), 17);
    stream.set_send_buffer(&mut lp, 50_000).unwrap();
    assert!(stream.send_buffer(&mut lp).unwrap() >= 50_000);
    stream.set_receive_buffer(&mut lp, 50_000).unwrap();
    assert!(stream.receive_buffer(&mut lp).unwrap() >= 50_000);
    let second = Duration::from_secs(1);
    stream.set_keepalive(&mut lp, Some(Keepalive { idle: 10 * second, interval: second, count: 3 })).unwrap();
    stream.set_keepalive(&mut lp, None).unwrap();
    stream.set_linger(&mut lp, Some(second)).unwrap();
    stream.set_linger(&mut lp, None).unwrap();
    let error = stream.set_ttl(&mut lp, 0).unwrap_err().to_string();
    assert!(error.starts_with("set ttl: "), "{error}");
}

#[test]
fn nodelay_is_on_from_the_start_on_both_sides() {
    let mut lp = new_loop();
    let listener = TcpListener::bind(&mut lp, "127.0.0.1:0").unwrap();
    let addr = listener.local_addr(&mut lp).unwrap();
    listener
        .start(&mut lp, move |lp, log, stream| {
            listener.close(lp);
            log.push(format!("accepted {}", stream.nodelay(lp)?));
            stream.close(lp);
            Ok(())
        })
        .unwrap();
    TcpStream::connect(&mut lp, addr, |lp, log, stream| {
        let stream = stream?;
        log.push(format!("connected {}", stream.nodelay(lp)?));
        stream.close(lp);
        Ok(())
    })
    .unwrap();
    let mut log = run(&mut lp);
    log.sort();
    assert_eq!(log, ["accepted true", "connected true"]);
}

#[test]
fn ipv6_works_where_there_is_any() {
    let mut lp = new_loop();
    let Ok(listener) = TcpListener::bind(&mut lp, "[::1]:0") else { return };
    let addr = listener.local_addr(&mut lp).unwrap();
    listener
        .start(&mut lp, move |lp, log, stream| {
            listener.close(lp);
            stream.set_ttl(lp, 5)?;
            assert_eq!(stream.ttl(lp)?, 5);
            stream.close(lp);
            note(log, "accepted")
        })
        .unwrap();
    let _peer = std::net::TcpStream::connect(addr).unwrap();
    assert_eq!(run(&mut lp), ["accepted"]);
}

#[test]
fn a_stream_can_be_given_back_and_the_peer_notices_nothing() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    record(&mut lp, stream, "stream");
    stream.write(&mut lp, "from the loop ").unwrap();
    let mut std_stream = stream.into_std(&mut lp).unwrap();
    assert_eq!(run(&mut lp), ["stream closed"]);
    send(&mut std_stream, "and after it");
    drop(std_stream);
    assert_eq!(read_to_eof(&mut peer).unwrap(), b"from the loop and after it");
}

#[test]
fn a_stream_with_something_queued_is_not_given_back() {
    let mut lp = new_loop();
    let (stream, _peer) = pair(&mut lp);
    stream.write(&mut lp, vec![7; 16 << 20]).unwrap();
    assert_eq!(describe_error(&stream.into_std(&mut lp).unwrap_err()), "in use");
    assert!(stream.is_open(&lp));
    stream.close(&mut lp);
    run(&mut lp);
}

#[test]
fn closed_is_always_the_last_event_and_comes_once_however_it_ends() {
    for way in ["close", "reset", "peer resets", "finish", "error", "idle"] {
        let mut lp = new_loop();
        lp.on_failure(|_, _, _| Ok(()));
        let (stream, mut peer) = pair(&mut lp);
        stream
            .start(&mut lp, move |lp, log, event| {
                log.push(describe_event(&event));
                match (way, event?) {
                    ("close", Event::Data(_)) => stream.close(lp),
                    ("reset", Event::Data(_)) => stream.close_reset(lp)?,
                    ("finish", Event::Data(_)) => stream.finish(lp)?,
                    ("error", Event::Data(_)) => return Err(Error::other("error")),
                    ("idle", Event::Data(_)) => stream.set_idle_timeout(lp, Some(MS))?,
                    _ => {}
                }
                Ok(())
            })
            .unwrap();
        send(&mut peer, "x");
        let mut peer = Some(peer);
        let mut log = Log::new();
        run_until(&mut lp, &mut log, |_, log| !log.is_empty());
        match way {
            "peer resets" => reset(peer.take().unwrap()),
            "finish" => drop(peer.take()),
            _ => {}
        }
        log.extend(run(&mut lp));
        assert_eq!(log.last().unwrap(), "closed", "{way}: {log:?}");
        assert_eq!(log.iter().filter(|line| *line == "closed").count(), 1, "{way}: {log:?}");
    }
}
