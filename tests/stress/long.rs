//! The long version: the example `echo_tcp` in a process of its own, and thousands of peers. Its memory and
//! its descriptors must return to where they were.
//!
//! The example is the one built in the profile of this test, or `ECHO=path`. `ROUNDS=n` repeats the test.

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

/// Few peers stall: each takes some megabytes of the system's memory for sockets. When that is exhausted
/// (`net.ipv4.tcp_mem`, counted by `nstat -az TcpExtTCPAbortOnMemory`), the system resets innocent
/// connections.
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
#[ignore = "takes minutes; needs the example echo_tcp, better in release"]
fn two_thousand_connections_leave_no_memory_or_descriptors_behind() {
    let seed = seed("two_thousand_connections_leave_no_memory_or_descriptors_behind");
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
    // What the server allocates once is allocated by this.
    let idle = server.descriptors();
    client::run(&plan(20, 20, 1 << 20), seed, |_| {});
    server.comes_back_to(idle);
    let (memory, descriptors) = (server.memory(), server.descriptors());

    for round in 0..rounds {
        let (mut peak, mut most) = (0, 0);
        let (started, busy) = (Instant::now(), server.busy());
        let mut sampled = Instant::now();
        let tally = client::run(&plan(4000, 2000, 8 << 20), seed + 1 + round, |_| {
            if sampled.elapsed() > Duration::from_millis(50) {
                sampled = Instant::now();
                peak = peak.max(server.memory());
                most = most.max(server.descriptors());
            }
        });
        println!("{tally:?} in {:?}, the server's share {:?}", started.elapsed(), server.busy() - busy);
        server.comes_back_to(descriptors);
        let after = server.memory();
        println!(
            "memory: {memory} KiB at first, {peak} at peak, {after} after; descriptors: {descriptors}, {most}"
        );
        if std::env::var_os("LOOSE").is_none() {
            assert!(after <= peak.max(memory) && after <= memory + (32 << 10), "memory was not returned");
        }
        // Without peers it must be idle.
        let busy = server.busy();
        thread::sleep(Duration::from_secs(1));
        assert!(server.busy() - busy < Duration::from_millis(50), "busy without peers");
    }

    server.finish();
}
