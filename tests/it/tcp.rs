//! What is particular to TCP: addresses, options of its sockets, connecting. The rest is in `stream`.

use std::{
    io::Read,
    net::{self, SocketAddr},
    time::Duration,
};

use ringback::{
    Timer,
    net::{Event, Keepalive, ListenOptions, TcpListener, TcpStream},
};
use socket2::SockRef;

use crate::common::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn writes_in_a_callback_arrive_in_one_read() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    stream
        .start(&mut lp, move |lp, _, event| {
            if let Event::Data(_) = event? {
                (0..16).try_for_each(|_| stream.write(lp, "answer "))?;
                stream.finish(lp)?;
            }
            Ok(())
        })
        .unwrap();
    send(&mut peer, "x");
    // The peer waits for the first packet.
    let reader = std::thread::spawn(move || peer.read(&mut [0; 1000]).unwrap());
    run(&mut lp);
    assert_eq!(reader.join().unwrap(), 16 * 7);
}

#[test]
fn a_connect_timeout_cancels_what_was_written() {
    let mut lp = new_loop();
    let (addr, _sockets) = unresponsive_addr();
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
fn close_while_connecting_completes_it_as_canceled() {
    let mut lp = new_loop();
    let (addr, _sockets) = unresponsive_addr();
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
fn a_name_or_an_incomplete_address_is_refused() {
    let mut lp = new_loop();
    for wrong in ["localhost:80", "127.0.0.1", "127.0.0.1:99999", ""] {
        assert_eq!(describe_error(&TcpListener::bind(&mut lp, wrong).unwrap_err()), "invalid");
        let error = TcpStream::connect(&mut lp, wrong, |_, _, _| panic!()).unwrap_err();
        assert_eq!(describe_error(&error), "invalid");
    }
    assert!(lp.handles().is_empty());
}

#[test]
fn lifting_the_connection_limit_accepts_the_waiting_connection() {
    let mut lp = new_loop();
    let listener = ListenOptions::new().max_connections(1).bind(&mut lp, "127.0.0.1:0").unwrap();
    let addr = listener.local_addr(&mut lp).unwrap();
    listener
        .start(&mut lp, |lp, log, stream| {
            stream.start(lp, move |lp, _, event| match event? {
                Event::End => stream.finish(lp),
                _ => Ok(()),
            })?;
            note(log, "accepted")
        })
        .unwrap();
    let peers = [(); 2].map(|()| net::TcpStream::connect(addr).unwrap());
    let mut log = Log::new();
    run_until(&mut lp, &mut log, |_, log| log.len() == 1);
    for _ in 0..5 {
        lp.poll_once(&mut log).unwrap();
        lp.verify();
    }
    assert_eq!(log.len(), 1);
    listener.set_max_connections(&mut lp, None).unwrap();
    run_until(&mut lp, &mut log, |_, log| log.len() == 2);
    drop(peers);
    listener.close(&mut lp);
    run(&mut lp);
}

#[test]
fn reuse_port_lets_several_listeners_share_an_address() {
    let mut lp = new_loop();
    let options = ListenOptions::new().reuse_port(true);
    let one = options.bind(&mut lp, "127.0.0.1:0").unwrap();
    let addr = one.local_addr(&mut lp).unwrap();
    options.bind(&mut lp, addr).unwrap();
    assert!(TcpListener::bind(&mut lp, addr).is_err());
}

#[test]
fn a_listener_can_bind_again_while_old_connections_linger() {
    let bound_again = succeeds_in_five_attempts(|| {
        let mut lp = new_loop();
        let listener = TcpListener::bind(&mut lp, "127.0.0.1:0").unwrap();
        let addr = listener.local_addr(&mut lp).unwrap();
        listener.start(&mut lp, echo).unwrap();
        let mut peer = net::TcpStream::connect(addr).unwrap();
        send(&mut peer, "x");
        run_until(&mut lp, &mut Log::new(), |lp, _| lp.metrics().bytes_sent == 1);
        assert_eq!(read_exact(&mut peer, 1), b"x");
        // The server closes first: its side of the connection stays in TIME_WAIT.
        for entry in lp.handles() {
            lp.close(entry.origin.handle.unwrap());
        }
        run(&mut lp);
        assert!(!listener.is_open(&lp));
        assert_eq!(read_to_eof(&mut peer).unwrap(), b"");
        TcpListener::bind(&mut lp, addr).is_ok()
    });
    assert!(bound_again);
}

/// A stream, its peer, and another descriptor of the stream's socket, to look at it with.
fn observed_pair(lp: &mut ringback::Loop<Log>) -> (TcpStream, net::TcpStream, net::TcpStream) {
    let (ours, peer) = std_pair();
    let observer = ours.try_clone().unwrap();
    (TcpStream::from_std(lp, ours).unwrap(), peer, observer)
}

#[test]
fn options_read_back_what_was_set() {
    let mut lp = new_loop();
    let (stream, peer) = pair(&mut lp);
    let lp = &mut lp;
    assert_eq!(stream.local_addr(lp).unwrap(), peer.peer_addr().unwrap());
    assert_eq!(stream.peer_addr(lp).unwrap(), peer.local_addr().unwrap());
    for on in [true, false] {
        stream.set_nodelay(lp, on).unwrap();
        assert_eq!(stream.nodelay(lp).unwrap(), on);
    }
    stream.set_ttl(lp, 17).unwrap();
    assert_eq!(stream.ttl(lp).unwrap(), 17);
    stream.set_send_buffer(lp, 50_000).unwrap();
    assert!((50_000..=100_000).contains(&stream.send_buffer(lp).unwrap()));
    stream.set_receive_buffer(lp, 50_000).unwrap();
    assert!((50_000..=100_000).contains(&stream.receive_buffer(lp).unwrap()));
    let error = stream.set_ttl(lp, 0).unwrap_err().to_string();
    assert!(error.starts_with("set ttl: "), "{error}");
}

#[test]
fn set_keepalive_sets_every_part_and_none_turns_it_off() {
    let mut lp = new_loop();
    let (stream, _peer, observer) = observed_pair(&mut lp);
    let socket = SockRef::from(&observer);
    let keepalive = Keepalive { idle: 10 * SECOND, interval: 2 * SECOND, count: 3 };
    stream.set_keepalive(&mut lp, Some(keepalive)).unwrap();
    assert!(socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), keepalive.idle);
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), keepalive.interval);
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), keepalive.count);
    stream.set_keepalive(&mut lp, None).unwrap();
    assert!(!socket.keepalive().unwrap());
}

#[test]
fn set_linger_sets_the_time_and_none_turns_it_off() {
    let mut lp = new_loop();
    let (stream, _peer, observer) = observed_pair(&mut lp);
    for limit in [Some(3 * SECOND), Some(Duration::ZERO), None] {
        stream.set_linger(&mut lp, limit).unwrap();
        assert_eq!(SockRef::from(&observer).linger().unwrap(), limit);
    }
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
fn ipv6_works_where_the_system_has_it() {
    let mut lp = new_loop();
    let addr: SocketAddr = "[::1]:0".parse().unwrap();
    // The standard library decides whether there is IPv6.
    if net::TcpListener::bind(addr).is_err() {
        return;
    }
    let listener = TcpListener::bind(&mut lp, addr).unwrap();
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
    let _peer = net::TcpStream::connect(addr).unwrap();
    assert_eq!(run(&mut lp), ["accepted"]);
}

#[test]
fn into_std_sends_what_is_queued_and_keeps_the_connection() {
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
fn into_std_is_refused_while_bytes_are_queued() {
    let mut lp = new_loop();
    let (stream, _peer) = pair(&mut lp);
    stream.write(&mut lp, vec![7; 16 << 20]).unwrap();
    assert_eq!(describe_error(&stream.into_std(&mut lp).unwrap_err()), "in use");
    assert!(stream.is_open(&lp));
    stream.close(&mut lp);
    run(&mut lp);
}
