//! Malformed input for an HTTP server and a chat: whole and in pieces, behind good requests and before them.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use crate::{
    probe::{HTTP, Probe},
    random::{Random, seed},
    server::{GUARD, Server},
    subprocess::{SetOnDrop, long_form, raise_fd_limit, report},
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: me\r\n\r\n";
const HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nHost: me\r\n\r\n";
const NOPE: &[u8] = b"GET /nope HTTP/1.1\r\nHost: me\r\n\r\n";

/// Requests that have crashed servers, or that servers and proxies have parsed differently, with the status
/// expected. A good request follows each of them and must not be answered: the server stops reading after
/// such a request.
const CLASSICS: &[(&[u8], u16)] = &[
    (b"\0\0\0\0\0\0\0\0\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    (b"GET /\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    (b"GET / HTTP/9.9\r\nHost: me\r\n\r\n", 400),
    (b"GET  / HTTP/1.1\r\nHost: me\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost : me\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n Host: me\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: me\r\n folded: yes\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: me\r\nX: a\0b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: me\r\nX: a\rb\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: me\r\n: none\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: me\r\n\xff\xfe: x\r\n\r\n", 400),
    (b"G\xc3\x8bT / HTTP/1.1\r\nHost: me\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: me\r\nContent-Length: 9\r\n\r\n", 200),
    (b"GET / HTTP/1.1\r\nHost: me\r\nContent-Length: -1\r\n\r\n", 200),
    (b"GET / HTTP/1.1\r\nHost: me\r\nContent-Length: 99999999999999999999\r\n\r\n", 200),
    (b"POST / HTTP/1.1\r\nHost: me\r\nContent-Length: 4\r\nContent-Length: 0\r\n\r\nabcd", 405),
    (
        b"POST / HTTP/1.1\r\nHost: me\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
        405,
    ),
    (b"POST / HTTP/1.1\r\nHost: me\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", 405),
    (b"POST / HTTP/1.1\r\nHost: me\r\nTransfer-Encoding: x\x0bchunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: me\r\nExpect: 100-continue\r\n\r\n", 405),
    (b"GET / HTTP/1.0\r\n\r\n", 200),
    (b"GET / HTTP/1.1\r\nHost: me\r\nConnection: keep-alive, close\r\n\r\n", 200),
];

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(GUARD)).unwrap();
    stream.set_write_timeout(Some(GUARD)).unwrap();
    stream
}

/// Sends the bytes in a few pieces and shuts down the write side. The server may stop reading at any time.
fn send(stream: &mut TcpStream, bytes: &[u8], random: &mut Random) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let len = if random.one_in(2) { rest.len() } else { random.between(1, rest.len()) };
        if stream.write_all(&rest[..len]).is_err() {
            return;
        }
        rest = &rest[len..];
    }
    let _ = stream.shutdown(Shutdown::Write);
}

/// Reads until EOF or a reset.
fn receive(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => {
            panic!("neither a response nor EOF: {error}")
        }
        _ => bytes,
    }
}

/// Splits off the next response, which must be well-formed. Returns its status, and whether the connection is
/// kept alive.
fn next_response(bytes: &mut &[u8], to_head: bool) -> Option<(u16, bool)> {
    if bytes.is_empty() {
        return None;
    }
    let all = *bytes;
    let wrong = || format!("no response: {:?}", String::from_utf8_lossy(all));
    let end =
        all.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("{}", wrong())) + 4;
    let head = std::str::from_utf8(&all[..end]).unwrap();
    let status =
        head.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("{}", wrong()))[..3].parse().unwrap();
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    let length: usize = field("Content-Length: ").unwrap().parse().unwrap();
    let body = &all[end..end + if to_head { 0 } else { length }];
    assert!(to_head || (body == b"Hello, world!\n") == (status == 200), "{}", wrong());
    *bytes = &all[end + body.len()..];
    Some((status, field("Connection: ").unwrap() == "keep-alive"))
}

/// Some good requests, with the expected status of each, and whether it is a HEAD.
fn good_requests(random: &mut Random) -> (Vec<u8>, Vec<(u16, bool)>) {
    let (mut bytes, mut expected) = (Vec::new(), Vec::new());
    for _ in 0..random.below(4) {
        let (request, status, is_head) =
            [(GET, 200, false), (NOPE, 404, false), (HEAD, 200, true)][random.below(3)];
        bytes.extend_from_slice(request);
        expected.push((status, is_head));
    }
    (bytes, expected)
}

/// A good request with a few mutations.
fn mutated(random: &mut Random) -> Vec<u8> {
    const BITS: &[&[u8]] = &[
        b"\0",
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b" ",
        b":",
        b",",
        b"\t",
        b"%00",
        b"\xff",
        b"\x80",
        b"HTTP/1.1",
        b"Host: x\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"/../",
    ];
    let mut bytes =
        [GET, HEAD, NOPE, b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc"][random.below(4)].to_vec();
    for _ in 0..random.between(1, 4) {
        let at = random.below(bytes.len() + 1);
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at.max(1)),
            2 => drop(bytes.drain(at..(at + random.size(16)).min(bytes.len()))),
            3 => bytes.extend_from_within(at..),
            4 => drop(bytes.splice(at..at, (0..random.size(200)).map(|_| b'A'))),
            5 if random.one_in(8) => drop(bytes.splice(at..at, (0..random.size(20_000)).map(|_| b'B'))),
            6 if random.one_in(8) => {
                let many = random.between(1, 80);
                drop(bytes.splice(at..at, b"X: y\r\n".repeat(many)));
            }
            _ => drop(bytes.splice(at..at, random.pick(BITS).unwrap().iter().copied())),
        }
    }
    bytes
}

/// One connection: good requests, a bad one, and another good one. Returns how many bad requests got an error
/// response.
fn exchange(addr: SocketAddr, random: &mut Random, bad: &[u8], status: Option<u16>) -> usize {
    let (mut bytes, expected) = good_requests(random);
    bytes.extend_from_slice(bad);
    bytes.extend_from_slice(GET);
    let mut stream = connect(addr);
    send(&mut stream, &bytes, random);
    let received = receive(&mut stream);
    let (mut rest, what) = (&received[..], String::from_utf8_lossy(&bytes));
    for (status, is_head) in expected {
        assert_eq!(next_response(&mut rest, is_head), Some((status, true)), "{what:?}");
    }
    let mut refused = 0;
    if let Some(status) = status {
        assert_eq!(next_response(&mut rest, false), Some((status, false)), "{what:?}");
        assert!(rest.is_empty(), "a response after the last one: {what:?}");
        refused = usize::from(status >= 400);
    }
    // The server decides what a mutation means, but its responses must be well-formed. A mutation may have
    // become a HEAD, whose response has no body: then only its beginning is checked.
    while !rest.is_empty() && !bad.windows(4).any(|four| four == b"HEAD") {
        let (status, kept_alive) = next_response(&mut rest, false).unwrap();
        refused += usize::from(status >= 400 && status != 404);
        assert!(kept_alive || rest.is_empty(), "a response after the last one: {what:?}");
    }
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 "), "{what:?}");
    refused
}

fn malformed_http(connections: usize, at_least: std::time::Duration) {
    raise_fd_limit();
    let seed = seed("malformed http");
    let server = Server::example("http_hello");
    let (memory, descriptors) = (server.memory(), server.descriptors());
    let mut random = Random::new(seed);
    for &(bad, status) in CLASSICS {
        for _ in 0..4 {
            exchange(server.addr, &mut random, bad, Some(status));
        }
    }
    let probe = Probe::start(server.addr, HTTP);
    probe.begin_fault();
    let begun = std::time::Instant::now();
    let (sent, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for thread in 0..4 {
            let (sent, refused) = (&sent, &refused);
            scope.spawn(move || {
                let mut random = Random::new(seed * 4 + thread);
                while sent.fetch_add(1, Ordering::SeqCst) < connections || begun.elapsed() < at_least {
                    let bad = mutated(&mut random);
                    refused.fetch_add(exchange(server.addr, &mut random, &bad, None), Ordering::SeqCst);
                }
            });
        }
    });
    let (sent, refused) = (sent.into_inner(), refused.into_inner());
    assert!(refused * 4 > sent, "most mutations are harmless: {refused} of {sent} refused");
    let latency = probe.finish();
    server.comes_back_to(descriptors);
    let after = server.memory();
    assert!(after < memory + 8192, "{after} KiB are left of {memory} at first");
    server.finish();
    report(
        "malformed",
        format!(
            "http_hello: {} classics and {sent} mutations in as many connections in {:.1?}, {refused} \
             refused, the others closed or harmless; memory {memory}, {after} KiB; seed {seed}; {latency}",
            CLASSICS.len(),
            begun.elapsed(),
        ),
    );
}

#[test]
fn malformed_requests_affect_no_good_ones() {
    malformed_http(10_000, std::time::Duration::ZERO);
}

#[test]
#[ignore = "long form"]
fn malformed_requests_affect_no_good_ones_for_minutes() {
    malformed_http(10_000, long_form());
}

// ---- chat

fn noise(random: &mut Random) -> Vec<u8> {
    let mut line: Vec<u8> = match random.below(8) {
        0 => (0..random.size(5000)).map(|_| random.next() as u8).collect(),
        1 => b"/nick ".iter().copied().chain((0..random.size(40)).map(|_| random.next() as u8)).collect(),
        2 => b"/who /who /nick".to_vec(),
        3 => b"/".repeat(random.size(3000)),
        4 => "\u{202e}\u{0}\u{7f}\u{1b}[2J\u{feff}".repeat(random.size(50)).into_bytes(),
        5 => vec![0xc3; random.size(100)],
        6 => b"ann: tick 999999".to_vec(),
        _ => b"\r\r\r".to_vec(),
    };
    line.push(if random.one_in(10) { b' ' } else { b'\n' });
    line
}

/// One visit: sends some lines and reads until it is cut off, or until EOF.
fn visit(addr: SocketAddr, random: &mut Random, lines: usize) {
    let mut stream = connect(addr);
    let bytes: Vec<u8> = (0..lines).flat_map(|_| noise(random)).collect();
    let mut reader = stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            // The server may cut it off at any time.
            drop(std::io::copy(&mut reader, &mut std::io::sink()));
        });
        send(&mut stream, &bytes, random);
    });
}

/// Sends numbered lines until `stop` is set, at least a hundred. Returns how many.
fn send_ticks(stream: &TcpStream, stop: &AtomicBool) -> u64 {
    let mut ticks = 0;
    while !stop.load(Ordering::SeqCst) || ticks < 100 {
        writeln!(&mut &*stream, "tick {ticks}").unwrap();
        ticks += 1;
        thread::sleep(std::time::Duration::from_millis(2));
    }
    writeln!(&mut &*stream, "that is all").unwrap();
    ticks
}

/// Checks that the numbered lines arrive once and in order, among all others. Returns how many of them, and
/// lines in all.
fn receive_ticks(stream: TcpStream) -> (u64, u64) {
    let (mut ticks, mut lines) = (0, 0);
    for line in BufReader::new(stream).split(b'\n') {
        let line = String::from_utf8(line.unwrap()).expect("the chat relays only text");
        assert!(!line.chars().any(char::is_control), "the chat relays control characters: {line:?}");
        lines += 1;
        match line.strip_prefix("ann: ") {
            Some("that is all") => break,
            Some(text) => {
                assert_eq!(text, format!("tick {ticks}"), "a line is lost, doubled or moved");
                ticks += 1;
            }
            None => {}
        }
    }
    (ticks, lines)
}

fn malformed_chat(visits: usize, lines: usize) {
    raise_fd_limit();
    let seed = seed("malformed chat");
    let server = Server::example("chat");
    let (memory, descriptors) = (server.memory(), server.descriptors());
    let bob = connect(server.addr);
    let mut ann = connect(server.addr);
    ann.write_all(b"/nick ann\n").unwrap();
    // Before she has the name, a visitor could take it and send lines as hers.
    let mut ann_reads = BufReader::new(ann.try_clone().unwrap());
    let mut line = String::new();
    while !line.contains("is now ann") {
        line.clear();
        assert!(ann_reads.read_line(&mut line).unwrap() > 0, "EOF before ann has her name");
    }
    let stop = AtomicBool::new(false);
    let (sent, (ticks, lines_received)) = thread::scope(|scope| {
        let set_stop = SetOnDrop(&stop);
        let receiving = scope.spawn(|| receive_ticks(bob));
        let sending = scope.spawn(|| send_ticks(&ann, &stop));
        scope.spawn(move || drop(std::io::copy(&mut ann_reads, &mut std::io::sink())));
        let visitors: Vec<_> = (0..8)
            .map(|thread| {
                scope.spawn(move || {
                    let mut random = Random::new(seed * 8 + thread);
                    (0..visits / 8).for_each(|_| visit(server.addr, &mut random, lines));
                })
            })
            .collect();
        visitors.into_iter().for_each(|visitor| visitor.join().unwrap());
        drop(set_stop);
        let sent = sending.join().unwrap();
        let received = receiving.join().unwrap();
        ann.shutdown(Shutdown::Both).unwrap();
        (sent, received)
    });
    assert_eq!(ticks, sent);
    drop(ann);
    server.comes_back_to(descriptors);
    let after = server.memory();
    assert!(after < memory + 16_384, "{after} KiB are left of {memory} at first");
    let complaints = server.complaints().len();
    server.finish();
    report(
        "malformed",
        format!(
            "chat: {visits} visitors with {} lines of noise, {complaints} of them cut off; {ticks} lines \
             received once and in order among {lines_received}; memory {memory}, {after} KiB; seed {seed}",
            visits * lines
        ),
    );
}

#[test]
fn noise_in_a_chat_loses_or_moves_no_line() {
    malformed_chat(400, 50);
}

#[test]
#[ignore = "long form"]
fn noise_in_a_chat_loses_or_moves_no_line_at_length() {
    malformed_chat(8000, 100);
}
