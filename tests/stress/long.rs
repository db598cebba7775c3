//! The long version: the example `echo_tcp` as it is built, in a process of its own, and thousands of
//! peers. Its memory and its descriptors must return to where they were.
//!
//! It is the one of the same profile as this test, or `ECHO=path`; `ROUNDS=n` goes on for longer.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::{
    client::{self, Manner, Plan},
    random::seed,
    server::Server,
};

/// Few that stall: each has some megabytes of the system's memory for sockets, and when that is used up
/// (`net.ipv4.tcp_mem`; `nstat -az TcpExtTCPAbortOnMemory` counts it) the system resets connections that
/// have done nothing wrong.
const MANNERS: &[Manner] = &{
    let mut manners = [Manner::Fair; 24];
    manners[0] = Manner::Stalls;
    manners[1] = Manner::EndsEarly;
    (manners[2], manners[3]) = (Manner::Sips, Manner::Sips);
    (manners[4], manners[5]) = (Manner::Resets, Manner::Resets);
    (manners[6], manners[7]) = (Manner::Leaves, Manner::Leaves);
    (manners[8], manners[9]) = (Manner::Visits, Manner::Visits);
    manners
};

#[test]
#[ignore = "takes minutes; wants the example echo_tcp, better in release"]
fn two_thousand_connections_byte_for_byte_and_the_server_is_as_it_was() {
    let seed = seed("two_thousand_connections_byte_for_byte_and_the_server_is_as_it_was");
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let rounds = std::env::var("ROUNDS").map_or(1, |rounds| rounds.parse().expect("ROUNDS is a number"));

    let server =
        std::env::var_os("ECHO").map_or_else(|| Server::example("echo_tcp"), |path| Server::at(path.into()));
    let plan = |total, at_once, bytes_max| Plan {
        addr: server.addr,
        total,
        at_once,
        bytes_max,
        chunk_max: 8 << 20,
        manners: MANNERS,
        patience: Duration::from_secs(60),
    };
    // So that what is made once has been made.
    client::run(&plan(20, 20, 1 << 20), seed, |_| {});
    thread::sleep(Duration::from_millis(200));
    let (memory, descriptors) = (server.memory(), server.descriptors());

    for round in 0..rounds {
        let (mut peak, mut most) = (0, 0);
        let (begun, busy) = (Instant::now(), server.busy());
        let mut looked = Instant::now();
        let tally = client::run(&plan(4000, 2000, 8 << 20), seed + 1 + round, |_| {
            if looked.elapsed() > Duration::from_millis(50) {
                looked = Instant::now();
                peak = peak.max(server.memory());
                most = most.max(server.descriptors());
            }
        });
        println!("{tally:?} in {:?}, the server's share {:?}", begun.elapsed(), server.busy() - busy);
        let patience = Instant::now();
        while server.descriptors() != descriptors {
            assert!(
                patience.elapsed() < Duration::from_secs(20),
                "descriptors are left: {}",
                server.descriptors()
            );
            thread::sleep(Duration::from_millis(20));
        }
        let after = server.memory();
        println!(
            "memory: {memory} KiB at first, {peak} at its peak, {after} after; descriptors: {descriptors}, {most}"
        );
        if std::env::var_os("LOOSE").is_none() {
            assert!(after <= peak.max(memory) && after <= memory + (32 << 10), "memory has not returned");
        }
        // Nobody is there, so it has nothing to do.
        let busy = server.busy();
        thread::sleep(Duration::from_secs(1));
        assert!(server.busy() - busy < Duration::from_millis(50), "it is busy with nothing");
    }

    server.finish();
}
