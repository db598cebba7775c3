//! Requests that are none: to an HTTP server and to a chat, whole and in pieces, behind good ones and before them.

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
    subprocess::{long_form, raise_fd_limit, report},
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: me\r\n\r\n";
const HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nHost: me\r\n\r\n";
const NOPE: &[u8] = b"GET /nope HTTP/1.1\r\nHost: me\r\n\r\n";

/// What has brought servers down, or apart from their proxies. Behind each stands a good request, which must not
/// be answered: whoever sends such things is not listened to any longer.
const NASTIES: &[(&[u8], u16)] = &[
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

/// Sends it in a few pieces and ends this side, as far as the server wants to hear of it.
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

/// Everything that comes until the end; a reset is one, too.
fn receive(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => {
            panic!("neither answered nor closed: {error}")
        }
        _ => bytes,
    }
}

/// Takes the next answer off: its status, and whether the connection goes on. It must be a right one.
fn answer(bytes: &mut &[u8], to_head: bool) -> Option<(u16, bool)> {
    if bytes.is_empty() {
        return None;
    }
    let all = *bytes;
    let wrong = || format!("no answer: {:?}", String::from_utf8_lossy(all));
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

/// Some good requests, and what they are answered.
fn good(random: &mut Random) -> (Vec<u8>, Vec<(u16, bool)>) {
    let (mut bytes, mut answers) = (Vec::new(), Vec::new());
    for _ in 0..random.below(4) {
        let (request, status, is_head) =
            [(GET, 200, false), (NOPE, 404, false), (HEAD, 200, true)][random.below(3)];
        bytes.extend_from_slice(request);
        answers.push((status, is_head));
    }
    (bytes, answers)
}

/// A good request with a few things done to it.
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
        let place = random.below(bytes.len() + 1);
        match random.below(7) {
            0 if place < bytes.len() => bytes[place] ^= 1 << random.below(8),
            1 => bytes.truncate(place.max(1)),
            2 => drop(bytes.drain(place..(place + random.size(16)).min(bytes.len()))),
            3 => bytes.extend_from_within(place..),
            4 => drop(bytes.splice(place..place, (0..random.size(200)).map(|_| b'A'))),
            5 if random.one_in(8) => drop(bytes.splice(place..place, (0..random.size(20_000)).map(|_| b'B'))),
            6 if random.one_in(8) => {
                let many = random.between(1, 80);
                drop(bytes.splice(place..place, b"X: y\r\n".repeat(many)));
            }
            _ => drop(bytes.splice(place..place, random.pick(BITS).unwrap().iter().copied())),
        }
    }
    bytes
}

/// One connection. Says how many bad requests were refused by an answer.
fn ask(addr: SocketAddr, random: &mut Random, bad: &[u8], status: Option<u16>) -> usize {
    let (mut bytes, expected) = good(random);
    bytes.extend_from_slice(bad);
    bytes.extend_from_slice(GET);
    let mut stream = connect(addr);
    send(&mut stream, &bytes, random);
    let received = receive(&mut stream);
    let (mut rest, what) = (&received[..], String::from_utf8_lossy(&bytes));
    for (status, is_head) in expected {
        assert_eq!(answer(&mut rest, is_head), Some((status, true)), "{what:?}");
    }
    let mut refused = 0;
    if let Some(status) = status {
        assert_eq!(answer(&mut rest, false), Some((status, false)), "{what:?}");
        assert!(rest.is_empty(), "and nothing after it: {what:?}");
        refused = usize::from(status >= 400);
    }
    // What a mutation means is for the server to say, as long as it answers in whole. One that became a HEAD has
    // an answer without a body, so only its beginning can be judged.
    while !rest.is_empty() && !bad.windows(4).any(|four| four == b"HEAD") {
        let (status, keeps) = answer(&mut rest, false).unwrap();
        refused += usize::from(status >= 400 && status != 404);
        assert!(keeps || rest.is_empty(), "an answer after the last one: {what:?}");
    }
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 "), "{what:?}");
    refused
}

fn nonsense_to_http(connections: usize, at_least: std::time::Duration) {
    raise_fd_limit();
    let seed = seed("malformed http");
    let server = Server::example("http_hello");
    let (memory, descriptors) = (server.memory(), server.descriptors());
    let mut random = Random::new(seed);
    for &(bad, status) in NASTIES {
        for _ in 0..4 {
            ask(server.addr, &mut random, bad, Some(status));
        }
    }
    let probe = Probe::start(server.addr, HTTP);
    probe.fault();
    let begun = std::time::Instant::now();
    let (asked, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for thread in 0..4 {
            let (asked, refused) = (&asked, &refused);
            scope.spawn(move || {
                let mut random = Random::new(seed * 4 + thread);
                while asked.fetch_add(1, Ordering::SeqCst) < connections || begun.elapsed() < at_least {
                    let bad = mutated(&mut random);
                    refused.fetch_add(ask(server.addr, &mut random, &bad, None), Ordering::SeqCst);
                }
            });
        }
    });
    let (asked, refused) = (asked.into_inner(), refused.into_inner());
    assert!(refused * 4 > asked, "most of them were good: {refused} of {asked} refused");
    let delays = probe.finish();
    server.comes_back_to(descriptors);
    let after = server.memory();
    assert!(after < memory + 8192, "{after} KiB are left of {memory} at first");
    server.finish();
    report(
        "malformed",
        format!(
            "http_hello: {} classics and {asked} mutations in as many connections in {:.1?}, {refused} refused, the others closed or good; memory {memory}, {after} KiB; seed {seed}; {delays}",
            NASTIES.len(),
            begun.elapsed(),
        ),
    );
}

#[test]
fn malformed_requests_are_answered_or_closed_and_good_ones_are_right() {
    nonsense_to_http(10_000, std::time::Duration::ZERO);
}

#[test]
#[ignore = "the long form"]
fn malformed_requests_are_answered_or_closed_and_good_ones_are_right_for_minutes() {
    nonsense_to_http(10_000, long_form());
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

/// Noisy people come and go; each says some lines, and hears what it likes.
fn make_noise(addr: SocketAddr, random: &mut Random, lines: usize) {
    let mut stream = connect(addr);
    let bytes: Vec<u8> = (0..lines).flat_map(|_| noise(random)).collect();
    let mut ears = stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            // Reads to the end, or is cut off in the middle: both are the end of it.
            drop(std::io::copy(&mut ears, &mut std::io::sink()));
        });
        send(&mut stream, &bytes, random);
    });
}

/// Says ticks, one after the other, until it is over; how many.
fn tick(stream: &TcpStream, over: &AtomicBool) -> u64 {
    let mut ticks = 0;
    while !over.load(Ordering::SeqCst) || ticks < 100 {
        writeln!(&mut &*stream, "tick {ticks}").unwrap();
        ticks += 1;
        thread::sleep(std::time::Duration::from_millis(2));
    }
    writeln!(&mut &*stream, "that is all").unwrap();
    ticks
}

/// Hears them all, in order, among whatever else is said.
fn hear(stream: TcpStream) -> (u64, u64) {
    let (mut ticks, mut lines) = (0, 0);
    for line in BufReader::new(stream).split(b'\n') {
        let line = String::from_utf8(line.unwrap()).expect("what is passed on is text");
        assert!(!line.chars().any(char::is_control), "control characters are passed on: {line:?}");
        lines += 1;
        match line.strip_prefix("ann: ") {
            Some("that is all") => break,
            Some(said) => {
                assert_eq!(said, format!("tick {ticks}"), "lost, doubled or moved");
                ticks += 1;
            }
            None => {}
        }
    }
    (ticks, lines)
}

fn nonsense_to_a_chat(visits: usize, lines: usize) {
    raise_fd_limit();
    let seed = seed("malformed chat");
    let server = Server::example("chat");
    let (memory, descriptors) = (server.memory(), server.descriptors());
    let bob = connect(server.addr);
    let mut ann = connect(server.addr);
    ann.write_all(b"/nick ann\n").unwrap();
    // Nobody may speak as she does before she has her name.
    let mut ears = BufReader::new(ann.try_clone().unwrap());
    let mut line = String::new();
    while !line.contains("is now ann") {
        line.clear();
        assert!(ears.read_line(&mut line).unwrap() > 0);
    }
    let over = AtomicBool::new(false);
    let (ticked, (ticks, heard)) = thread::scope(|scope| {
        let hearing = scope.spawn(|| hear(bob));
        let ticking = scope.spawn(|| tick(&ann, &over));
        scope.spawn(move || drop(std::io::copy(&mut ears, &mut std::io::sink())));
        let makers: Vec<_> = (0..8)
            .map(|thread| {
                scope.spawn(move || {
                    let mut random = Random::new(seed * 8 + thread);
                    (0..visits / 8).for_each(|_| make_noise(server.addr, &mut random, lines));
                })
            })
            .collect();
        makers.into_iter().for_each(|maker| maker.join().unwrap());
        over.store(true, Ordering::SeqCst);
        let ticked = ticking.join().unwrap();
        let heard = hearing.join().unwrap();
        ann.shutdown(Shutdown::Both).unwrap();
        (ticked, heard)
    });
    assert_eq!(ticks, ticked);
    drop(ann);
    server.comes_back_to(descriptors);
    let after = server.memory();
    assert!(after < memory + 16_384, "{after} KiB are left of {memory} at first");
    let complaints = server.complaints().len();
    server.finish();
    report(
        "malformed",
        format!(
            "chat: {visits} visitors with {} lines of nonsense, {complaints} of them cut off; {ticks} lines heard once and in order among {heard}; memory {memory}, {after} KiB; seed {seed}",
            visits * lines
        ),
    );
}

#[test]
fn nonsense_in_a_chat_loses_doubles_or_moves_nobodys_lines() {
    nonsense_to_a_chat(400, 50);
}

#[test]
#[ignore = "the long form"]
fn nonsense_in_a_chat_loses_doubles_or_moves_nobodys_lines_at_length() {
    nonsense_to_a_chat(8000, 100);
}
