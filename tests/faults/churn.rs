//! Connection churn: connections that close, reset, half-close or disappear in the middle of a write, and
//! among them some that must receive every byte.

use std::time::{Duration, Instant};

use crate::{
    client::{self, Manner, Plan},
    probe::{ECHO, Probe},
    random::seed,
    server::{GUARD, Server},
    subprocess::{long_form, raise_fd_limit, report},
};

const MANNERS: &[Manner] = &[
    Manner::Fair,
    Manner::Fair,
    Manner::EndsEarly,
    Manner::Sips,
    Manner::Resets,
    Manner::Resets,
    Manner::Leaves,
    Manner::Leaves,
    Manner::Visits,
    Manner::Visits,
];

/// Runs at least so many rounds of `total` connections, and at least for so long.
fn churn(rounds: usize, total: usize, at_once: usize, at_least: Duration) {
    raise_fd_limit();
    let seed = seed("churn");
    let server = Server::example("echo_tcp");
    let descriptors = server.descriptors();
    let probe = Probe::start(server.addr, ECHO);
    let plan = Plan {
        addr: server.addr,
        total,
        at_once,
        bytes_max: 32 << 10,
        chunk_max: 8 << 10,
        manners: MANNERS,
        patience: GUARD,
    };
    probe.begin_fault();
    let begun = Instant::now();
    let (mut memory, mut connections, mut complete, mut bytes, mut most) = (Vec::new(), 0, 0, 0, 0);
    while memory.len() < rounds || begun.elapsed() < at_least {
        let tally = client::run(&plan, seed + memory.len() as u64, |_| most = most.max(server.descriptors()));
        connections += tally.connections;
        complete += tally.complete;
        bytes += tally.bytes;
        server.comes_back_to(descriptors + 1);
        memory.push(server.memory());
    }
    let lasted = begun.elapsed();
    assert!(complete * 4 > connections, "too few connections complete: {complete} of {connections}");
    let latency = probe.finish();
    server.comes_back_to(descriptors);
    let (first, last) = (memory[0], memory[memory.len() - 1]);
    assert!(last <= first + first / 4 + 2048, "memory grows: {memory:?} KiB");
    server.finish();
    report(
        "churn",
        format!(
            "{connections} connections in {lasted:.1?}, {at_once} at once; {complete} complete, {} MiB both \
             ways; descriptors {descriptors}, {most}, {descriptors}; memory {first} KiB after the first \
             {total}, {last} after the last; seed {seed}; {latency}",
            bytes >> 20
        ),
    );
}

#[test]
fn connection_churn_leaks_nothing() {
    churn(4, 2500, 250, Duration::ZERO);
}

#[test]
#[ignore = "long form"]
fn minutes_of_connection_churn_leak_nothing() {
    churn(4, 10_000, 1000, long_form());
}
