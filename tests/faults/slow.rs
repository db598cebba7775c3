//! Slowloris: clients that never finish their request, or never read the response.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use crate::{
    probe::{HTTP, Probe},
    random::{Random, seed},
    server::{GUARD, Server},
    subprocess::{raise_fd_limit, report},
};

/// How long the slow clients pause after each byte.
const PAUSE: Duration = Duration::from_millis(50);

/// The start of a request that never ends, and never grows large enough to be refused for its size.
fn endless_request(random: &mut Random) -> Vec<u8> {
    let mut request = b"GET / HTTP/1.1\r\nHost: me\r\nX-Slow: ".to_vec();
    request.extend((0..4000).map(|_| b'a' + random.below(26) as u8));
    request
}

struct SlowClient {
    stream: TcpStream,
    request: Vec<u8>,
    sent: usize,
    cut_off: bool,
}

impl SlowClient {
    /// Sends one more byte, and checks whether the connection is still open.
    fn step(&mut self) {
        match self.stream.write(&self.request[self.sent..=self.sent]) {
            Ok(count) => self.sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return self.cut_off = true,
        }
        match self.stream.read(&mut [0; 16]) {
            Ok(0) => self.cut_off = true,
            Ok(_) => panic!("a response to an incomplete request"),
            Err(error) => self.cut_off = error.kind() != ErrorKind::WouldBlock,
        }
    }
}

fn slow_clients(many: usize, without_reading: usize) {
    raise_fd_limit();
    let seed = seed("slow");
    let mut random = Random::new(seed);
    let server = Server::example("http_hello");
    let (memory, descriptors) = (server.memory(), server.descriptors());
    let probe = Probe::start(server.addr, HTTP);
    probe.begin_fault();
    let begun = Instant::now();
    let connect = || {
        let stream = TcpStream::connect(server.addr).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    };
    let mut slow: Vec<SlowClient> = (0..many)
        .map(|_| SlowClient {
            stream: connect(),
            request: endless_request(&mut random),
            sent: 0,
            cut_off: false,
        })
        .collect();
    // Clients that send requests in time but do not read. The server stops responding to them, so they time
    // out, too.
    let mut unread: Vec<TcpStream> = (0..without_reading).map(|_| connect()).collect();
    let requests = HTTP.0.repeat(1000);
    let mut peak = 0;
    while slow.iter().any(|slow| !slow.cut_off) || !unread.is_empty() {
        slow.iter_mut().filter(|slow| !slow.cut_off).for_each(SlowClient::step);
        unread.retain_mut(|stream| match stream.write_all(&requests) {
            // A request may be cut in the middle: the server no longer reads.
            Ok(()) => true,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        });
        peak = peak.max(server.memory());
        assert!(begun.elapsed() < GUARD, "clients are not cut off within {GUARD:?}");
        thread::sleep(PAUSE);
    }
    let lasted = begun.elapsed();
    let sent: usize = slow.iter().map(|slow| slow.sent).sum();
    let latency = probe.finish();
    drop(slow);
    server.comes_back_to(descriptors);
    let after = server.memory();
    server.finish();
    report(
        "slowloris",
        format!(
            "{many} clients that send byte by byte and {without_reading} that do not read: all cut off after \
             {lasted:.1?} and {} bytes each; memory {memory}, {peak}, {after} KiB; seed {seed}; {latency}",
            sent / many
        ),
    );
}

#[test]
fn slow_clients_are_cut_off_without_delaying_others() {
    slow_clients(300, 20);
}

#[test]
#[ignore = "long form"]
fn thousands_of_slow_clients_are_cut_off_without_delaying_others() {
    slow_clients(5000, 100);
}
