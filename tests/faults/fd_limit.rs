//! A server that may have few descriptors, and far more clients than that.

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

/// More clients than this are never served at a time.
const LIMIT: u64 = 48;

fn server(example: &str) -> (Server, usize) {
    raise_fd_limit();
    let server = Server::example(example);
    let limit = Rlimit { current: Some(LIMIT), maximum: Some(LIMIT) };
    prlimit(Some(server.pid()), Resource::Nofile, limit).unwrap();
    let descriptors = server.descriptors();
    (server, descriptors)
}

fn refusals(server: &Server) -> usize {
    let complaints = server.complaints();
    let refusals = complaints.iter().filter(|line| line.contains("accept: Too many open files")).count();
    assert_eq!(refusals, complaints.len(), "other complaints: {complaints:?}");
    refusals
}

fn clients_beyond_the_limit(total: usize, at_once: usize) {
    let seed = seed("descriptors");
    let (server, descriptors) = server("echo_tcp");
    let probe = Probe::start(server.addr, ECHO);
    probe.fault();

    // Those who are there stay and say nothing: nobody can be accepted, and there is nothing to do.
    let held: Vec<TcpStream> =
        (0..2 * LIMIT).map(|_| TcpStream::connect(server.addr).expect("the system holds them")).collect();
    eventually("descriptors run out", || (refusals(&server) > 0).then_some(()));
    let (before, busy, begun) = (refusals(&server), server.busy(), Instant::now());
    probe.sees(300);
    let (waited, busy) = (begun.elapsed(), server.busy() - busy);
    // Its pauses double up to a second: it cannot try again and again.
    let tries = refusals(&server) - before;
    assert!(tries <= 10 + waited.as_secs() as usize, "{tries} tries in {waited:?}: it spins");
    assert!(busy < waited / 2, "{busy:?} of a processor in {waited:?}: it spins");
    drop(held);

    // Those who leave make room for those who wait, until all have had every byte of theirs back.
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
    // Those that it was born with may be above the limit.
    assert!(most <= LIMIT as usize + descriptors, "{most} descriptors");
    let refused = refusals(&server);
    let delays = probe.finish();
    server.comes_back_to(descriptors);
    server.finish();
    report(
        "descriptors",
        format!(
            "echo_tcp with {LIMIT}: {total} clients, {at_once} at once, all served; {tries} tries and {busy:?} of CPU in {waited:.0?} without one; {refused} refusals in all; seed {seed}; {delays}"
        ),
    );
}

#[test]
fn who_waits_for_a_descriptor_is_served_when_another_leaves_and_nothing_spins() {
    clients_beyond_the_limit(500, 250);
}

#[test]
#[ignore = "the long form"]
fn who_waits_for_a_descriptor_is_served_when_another_leaves_and_nothing_spins_at_length() {
    clients_beyond_the_limit(20_000, 800);
}

#[test]
fn requests_wait_for_descriptors_and_are_answered_in_the_end() {
    let (server, descriptors) = server("http_hello");
    let probe = Probe::start(server.addr, HTTP);
    probe.fault();
    // As they are accepted: in the order of coming.
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
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("Hello, world!\n"), "{answer:?}");
        // The server has ended its side, and waits for this one.
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    }
    drop(waiting);
    let refused = refusals(&server);
    assert!(refused > 0, "there was no want of descriptors");
    let delays = probe.finish();
    server.comes_back_to(descriptors);
    server.finish();
    report(
        "descriptors",
        format!(
            "http_hello with {LIMIT}: {total} requests at once, all answered; {refused} refusals; {delays}"
        ),
    );
}
