//! Clients that are killed (SIGKILL) amid big transfers, again and again.

use std::{
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use crate::{
    client::{self, Manner, Plan},
    probe::{ECHO, Probe},
    random::{Random, seed},
    server::{GUARD, Server, eventually},
    subprocess::{parameter, raise_fd_limit, report, subprocess},
};

/// How many connections each victim has.
const CONNECTIONS: usize = 20;

/// A client that has much to say, and never comes to its end.
pub(crate) fn victim() {
    let plan = Plan {
        addr: parameter("ADDR"),
        total: usize::MAX,
        at_once: CONNECTIONS,
        bytes_max: 256 << 20,
        chunk_max: 4 << 20,
        manners: &[Manner::Fair],
        patience: GUARD,
    };
    client::run(&plan, parameter("SEED"), |_| {});
}

/// Its clients are killed so many times.
fn kill_clients(server: &Server, random: &mut Random, times: usize) -> usize {
    let mut most = 0;
    for _ in 0..times {
        let mut command = subprocess("sigkill: victim");
        command.env("ADDR", server.addr.to_string()).env("SEED", random.below(1 << 30).to_string());
        let before = server.busy();
        let mut victim = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("the victim is in the middle of it", || {
            most = most.max(server.descriptors());
            assert!(victim.try_wait().unwrap().is_none(), "it has ended by itself");
            (server.busy() > before && server.descriptors() > CONNECTIONS).then_some(())
        });
        thread::sleep(Duration::from_millis(random.below(40) as u64));
        victim.kill().unwrap();
        victim.wait().unwrap();
    }
    most
}

fn kill_again_and_again(rounds: usize, times: usize) {
    raise_fd_limit();
    let seed = seed("kill");
    let server = Server::example("echo_tcp");
    let descriptors = server.descriptors();
    let probe = Probe::start(server.addr, ECHO);
    let over = AtomicBool::new(false);
    let survivors = Plan {
        addr: server.addr,
        total: 16,
        at_once: 4,
        bytes_max: 1 << 20,
        chunk_max: 256 << 10,
        manners: &[Manner::Fair],
        patience: GUARD,
    };
    let mut random = Random::new(seed);
    let mut memory = Vec::new();
    let mut most = 0;
    probe.fault();
    let (survived, bytes) = thread::scope(|scope| {
        let surviving = scope.spawn(|| {
            let (mut survived, mut bytes, mut round) = (0, 0, 0);
            while !over.load(Ordering::SeqCst) {
                round += 1;
                let tally = client::run(&survivors, seed + round, |_| {});
                assert_eq!(tally.complete, survivors.total, "each of these has every byte back");
                (survived, bytes) = (survived + tally.complete, bytes + tally.bytes);
            }
            (survived, bytes)
        });
        for _ in 0..rounds {
            most = most.max(kill_clients(&server, &mut random, times));
            // The probe's, and those of the survivors.
            eventually("the victims' descriptors come back", || {
                assert!(!surviving.is_finished(), "a survivor has failed");
                (server.descriptors() <= descriptors + 1 + survivors.at_once).then_some(())
            });
            memory.push(server.memory());
        }
        over.store(true, Ordering::SeqCst);
        surviving.join().unwrap()
    });
    let delays = probe.finish();
    server.comes_back_to(descriptors);
    let told = server.complaints().len();
    assert!(told > 0, "the server was never told");
    let (first, last) = (memory[0], memory[rounds - 1]);
    assert!(last <= first + first / 2 + 4096, "memory grows: {memory:?} KiB");
    server.finish();
    report(
        "kill -9",
        format!(
            "{} clients of {CONNECTIONS} connections killed, {told} resets told; {survived} others complete, {} MiB; descriptors {descriptors}, {most}, {descriptors}; memory {first} KiB after the first {times}, {last} after the last; seed {seed}; {delays}",
            rounds * times,
            bytes >> 20
        ),
    );
}

#[test]
fn killed_clients_are_noticed_and_leave_nothing_and_others_lose_no_byte() {
    kill_again_and_again(3, 8);
}

#[test]
#[ignore = "the long form"]
fn killed_clients_are_noticed_and_leave_nothing_and_others_lose_no_byte_at_length() {
    kill_again_and_again(10, 50);
}
