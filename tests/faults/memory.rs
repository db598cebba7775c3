//! Servers with little memory, and clients that send and never read.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::process::ExitStatusExt,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    net::{
        AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt::set_socket_recv_buffer_size,
    },
    process::{Resource, Rlimit, Signal, prlimit},
};

use crate::{
    probe::{ECHO, HTTP, Probe},
    server::{GUARD, Server, eventually},
    subprocess::{raise_fd_limit, report},
};

/// How many clients never read.
const GREEDY: usize = 60;
/// By how many bytes a server may grow.
const HEADROOM: u64 = 24 << 20;

/// Starts an example whose address space may grow by `headroom` bytes.
fn server(example: &str, headroom: u64) -> Server {
    raise_fd_limit();
    let server = Server::example(example);
    let bytes = ((server.address_space() as u64) << 10) + headroom;
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    prlimit(Some(server.pid()), Resource::As, limit).unwrap();
    server
}

/// A client with small buffers in the system: a few KiB on its side, some segments on the server's.
fn narrow(addr: SocketAddr, segment: u32) -> TcpStream {
    // Closed on exec: a copy in another test's server would keep the connection open.
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    set_socket_recv_buffer_size(&socket, 4096).unwrap();
    socket2::SockRef::from(&socket).set_tcp_mss(segment).unwrap();
    connect(&socket, &addr).unwrap();
    TcpStream::from(socket)
}

/// Clients that send `text` again and again, each at most `most` bytes, and never read. After each round in
/// which the system took nothing, `is_over` gets the number of such rounds in a row. Returns the clients and
/// the bytes sent.
fn greedy(
    addr: SocketAddr,
    text: &[u8],
    most: usize,
    mut is_over: impl FnMut(usize) -> bool,
) -> (Vec<TcpStream>, usize) {
    let mut clients: Vec<TcpStream> = (0..GREEDY).map(|_| narrow(addr, 16_000)).collect();
    clients.iter().for_each(|client| client.set_nonblocking(true).unwrap());
    let text = text.repeat((64 << 10) / text.len());
    let mut sent = vec![0; GREEDY];
    let (mut idle_rounds, begun) = (0, Instant::now());
    loop {
        idle_rounds += 1;
        for (client, sent) in clients.iter_mut().zip(&mut sent).filter(|(_, sent)| **sent < most) {
            match client.write(&text[*sent % text.len()..]) {
                Ok(count) => (*sent, idle_rounds) = (*sent + count, 0),
                // The server may cut a client off.
                Err(error) => assert!(
                    matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                    ),
                    "{error}"
                ),
            }
        }
        if idle_rounds > 0 && is_over(idle_rounds) {
            return (clients, sent.iter().sum());
        }
        assert!(begun.elapsed() < GUARD, "the greedy clients are not done within {GUARD:?}");
    }
}

fn clients_never_read(example: &'static str, protocol: (&'static [u8], &'static [u8])) {
    let server = server(example, HEADROOM);
    let (memory, descriptors) = (server.memory(), server.descriptors());
    let probe = Probe::start(server.addr, protocol);
    probe.begin_fault();
    // Until the server has taken nothing for 100 round trips of the probe, and so for at least 100 turns of
    // its loop.
    let (clients, sent) = greedy(server.addr, protocol.0, 1 << 20, |idle_rounds| {
        probe.wait_for_trips(50);
        idle_rounds > 2
    });
    assert!(sent as u64 > 2 * HEADROOM, "{sent} bytes are no fault for {HEADROOM}");
    probe.wait_for_trips(50);
    let peak = server.memory();
    drop(clients);
    let latency = probe.finish();
    server.comes_back_to(descriptors);
    let after = server.memory();
    // An allocator keeps some memory, but not in proportion to the peak.
    assert!(after < memory + (peak - memory) / 2 + 8192, "memory: {memory}, {peak}, {after} KiB");
    server.finish();
    report(
        "memory",
        format!(
            "{example} with {} MiB more: {GREEDY} clients that send {} MiB and never read; memory {memory}, \
             {peak}, {after} KiB; {latency}",
            HEADROOM >> 20,
            sent >> 20
        ),
    );
}

#[test]
fn an_echo_server_survives_clients_that_never_read() {
    clients_never_read("echo_tcp", ECHO);
}

#[test]
fn an_http_server_survives_clients_that_never_read() {
    clients_never_read("http_hello", HTTP);
}

/// Reads lines until one contains `text`.
fn read_until(client: &mut impl BufRead, text: &str) -> String {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert!(client.read_line(&mut line).unwrap() > 0, "EOF before {text:?}");
    }
    line
}

/// Clients that write lines of 1 KiB and also read. One that reads everything must hear them all.
fn talk(server: &Server, bob: &mut impl BufRead) -> usize {
    // The chat takes 100 KiB a second from each.
    let talkers: Vec<TcpStream> = (0..TALKERS).map(|_| TcpStream::connect(server.addr).unwrap()).collect();
    // A guard: if this test fails, their threads must not wait without end.
    talkers.iter().for_each(|talker| talker.set_read_timeout(Some(GUARD)).unwrap());
    let line = [&[b'x'; 1023][..], b"\n"].concat();
    let mut peak = 0;
    thread::scope(|scope| {
        for talker in &talkers {
            // Until the shutdown below, in the middle of what others write.
            scope.spawn(|| drop(std::io::copy(&mut &*talker, &mut std::io::sink())));
            scope.spawn(|| {
                (0..LINES).for_each(|_| (&mut &*talker).write_all(&line).unwrap());
                (&mut &*talker).write_all(b"that is all\n").unwrap();
            });
        }
        for _ in 0..TALKERS {
            read_until(bob, ": that is all");
            peak = peak.max(server.memory());
        }
        talkers.iter().for_each(|talker| talker.shutdown(std::net::Shutdown::Both).unwrap());
    });
    peak
}

const TALKERS: usize = 8;
const LINES: usize = 300;

#[test]
fn a_chat_drops_clients_that_never_read() {
    let server = server("chat", HEADROOM);
    let (memory, descriptors) = (server.memory(), server.descriptors());
    let bob = TcpStream::connect(server.addr).unwrap();
    bob.set_read_timeout(Some(GUARD)).unwrap();
    let mut bob_writes = bob.try_clone().unwrap();
    let mut bob = BufReader::new(bob);
    let idlers: Vec<TcpStream> = (0..GREEDY).map(|_| narrow(server.addr, 1000)).collect();
    let peak = talk(&server, &mut bob);
    let cut_off = server.complaints().iter().filter(|line| line.contains("the queue holds")).count();
    assert_eq!(cut_off, GREEDY, "the chat drops the idlers and no other client");
    eventually("the talkers have left", || {
        bob_writes.write_all(b"/who\n").unwrap();
        (read_until(&mut bob, "* here are ").trim_end() == "* here are [\"guest1\"]").then_some(())
    });
    drop((bob_writes, bob, idlers));
    server.comes_back_to(descriptors);
    let after = server.memory();
    server.finish();
    report(
        "memory",
        format!(
            "chat with {} MiB more: {GREEDY} clients that never read {} KiB each, all dropped, and one that \
             has read all; memory {memory}, {peak}, {after} KiB",
            HEADROOM >> 20,
            TALKERS * LINES
        ),
    );
}

/// Reads what was in transit, and then EOF or a reset.
fn read_to_the_end(mut client: TcpStream) {
    client.set_nonblocking(false).unwrap();
    client.set_read_timeout(Some(GUARD)).unwrap();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match client.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => return assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}

/// What the documentation promises as the last resort: the process aborts, and its peers notice at once.
#[test]
fn a_server_out_of_memory_aborts_and_its_peers_notice() {
    let mut server = server("echo_tcp", 1 << 20);
    let mut status = None;
    let (clients, _) = greedy(server.addr, ECHO.0, 4 << 20, |_| {
        thread::sleep(Duration::from_millis(2));
        status = server.process.try_wait().unwrap();
        status.is_some()
    });
    let status = status.unwrap();
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{status}");
    clients.into_iter().for_each(read_to_the_end);
    let last = eventually("the server says why", || {
        server.complaints().into_iter().find(|line| line.starts_with("memory allocation of"))
    });
    report("memory", format!("echo_tcp with 1 MiB more: aborted ({last}), and its peers noticed"));
}
