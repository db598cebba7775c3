//! A server that may have few descriptors, and many more clients than that.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Instant,
};

use rustix::process::{Resource, Rlimit, prlimit};

use crate::{
    client::{self, Manner, Plan},
    probe::{ECHO, HTTP, Probe},
    random::seed,
    server::{GUARD, Server, eventually},
    subprocess::{raise_fd_limit, report},
};

/// The server's limit: it never serves more clients than this at a time.
const LIMIT: u64 = 48;

/// Starts an example with that limit. Returns it with the number of its descriptors.
fn server(example: &str) -> (Server, usize) {
    raise_fd_limit();
    let server = Server::example(example);
    let limit = Rlimit { current: Some(LIMIT), maximum: Some(LIMIT) };
    prlimit(Some(server.pid()), Resource::Nofile, limit).unwrap();
    let descriptors = server.descriptors();
    (server, descriptors)
}

/// How many times accepting has failed. The server must have no other complaints.
fn failed_accepts(server: &Server) -> usize {
    let complaints = server.complaints();
    // EMFILE by its number: the C libraries have different texts for it.
    let is_emfile = |line: &&String| line.contains("accept: ") && line.contains("(os error 24)");
    let failed = complaints.iter().filter(is_emfile).count();
    assert_eq!(failed, complaints.len(), "other complaints: {complaints:?}");
    failed
}

/// Twice as many idle clients as the limit: nothing can be accepted, and there is nothing else to do.
fn does_not_spin(server: &Server, probe: &Probe) -> String {
    let idle: Vec<TcpStream> = (0..2 * LIMIT)
        .map(|_| TcpStream::connect(server.addr).expect("the listen backlog has room"))
        .collect();
    eventually("descriptors run out", || (failed_accepts(server) > 0).then_some(()));
    let (before, busy, begun) = (failed_accepts(server), server.busy(), Instant::now());
    probe.wait_for_trips(300);
    let (waited, busy) = (begun.elapsed(), server.busy() - busy);
    // The pauses double up to a second.
    let tries = failed_accepts(server) - before;
    assert!(tries <= 10 + waited.as_secs() as usize, "{tries} tries in {waited:?}: it spins");
    assert!(busy < waited / 2, "{busy:?} of CPU time in {waited:?}: it spins");
    drop(idle);
    format!("{tries} tries and {busy:?} of CPU in {waited:.0?} without a descriptor")
}

fn clients_beyond_the_limit(total: usize, at_once: usize) {
    let seed = seed("fd limit");
    let (server, descriptors) = server("echo_tcp");
    let probe = Probe::start(server.addr, ECHO);
    probe.begin_fault();
    let backoff = does_not_spin(&server, &probe);
    // Clients that leave make room for waiting ones, until all have received every byte.
    let plan = Plan {
        addr: server.addr,
        total,
        at_once,
        bytes_max: 64 << 10,
        chunk_max: 16 << 10,
        manners: &[Manner::Fair],
        patience: GUARD,
    };
    let mut most = 0;
    let tally = client::run(&plan, seed, |_| most = most.max(server.descriptors()));
    assert_eq!((tally.connections, tally.complete), (total, total));
    // Descriptors that the process was started with may be above the limit.
    assert!(most <= LIMIT as usize + descriptors, "{most} descriptors");
    let failed = failed_accepts(&server);
    let latency = probe.finish();
    server.comes_back_to(descriptors);
    server.finish();
    report(
        "fd limit",
        format!(
            "echo_tcp with {LIMIT}: {total} clients, {at_once} at once, all served; {backoff}; {failed} \
             failed accepts in all; seed {seed}; {latency}"
        ),
    );
}

#[test]
fn clients_beyond_the_fd_limit_wait_and_are_served() {
    clients_beyond_the_limit(500, 250);
}

#[test]
#[ignore = "long form"]
fn thousands_of_clients_beyond_the_fd_limit_are_served() {
    clients_beyond_the_limit(20_000, 800);
}

#[test]
fn requests_beyond_the_fd_limit_wait_and_are_answered() {
    let (server, descriptors) = server("http_hello");
    let probe = Probe::start(server.addr, HTTP);
    probe.begin_fault();
    // In the order of accepting, which is that of connecting.
    let mut waiting: Vec<TcpStream> = (0..6 * LIMIT)
        .map(|_| {
            let mut stream = TcpStream::connect(server.addr).unwrap();
            stream.set_read_timeout(Some(GUARD)).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: me\r\nConnection: close\r\n\r\n").unwrap();
            stream
        })
        .collect();
    let total = waiting.len();
    for stream in &mut waiting {
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(
            response.starts_with("HTTP/1.1 200 ") && response.ends_with("Hello, world!\n"),
            "{response:?}"
        );
        // The server has shut down its side and waits for this one.
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    }
    drop(waiting);
    let failed = failed_accepts(&server);
    assert!(failed > 0, "the server never ran out of descriptors");
    let latency = probe.finish();
    server.comes_back_to(descriptors);
    server.finish();
    report(
        "fd limit",
        format!(
            "http_hello with {LIMIT}: {total} requests at once, all answered; {failed} failed accepts; \
             {latency}"
        ),
    );
}
