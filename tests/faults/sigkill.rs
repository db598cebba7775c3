//! Clients that are killed (SIGKILL) in the middle of large transfers, again and again.

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
    subprocess::{SetOnDrop, parameter, raise_fd_limit, report, subprocess},
};

/// How many connections each victim has.
const CONNECTIONS: usize = 20;

/// A client with more to send than it ever gets to.
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

/// Kills so many clients. Returns the most descriptors that the server had.
fn kill_clients(server: &Server, random: &mut Random, times: usize) -> usize {
    let mut most = 0;
    for _ in 0..times {
        let mut command = subprocess("sigkill: victim");
        command.env("ADDR", server.addr.to_string()).env("SEED", random.below(1 << 30).to_string());
        let before = server.busy();
        let mut victim = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("the victim is transferring", || {
            most = most.max(server.descriptors());
            assert!(victim.try_wait().unwrap().is_none(), "the victim has ended by itself");
            (server.busy() > before && server.descriptors() > CONNECTIONS).then_some(())
        });
        // Killed at a random moment.
        thread::sleep(Duration::from_millis(random.below(40) as u64));
        victim.kill().unwrap();
        victim.wait().unwrap();
    }
    most
}

/// Runs clients that must receive every byte until `stop` is set. Returns how many completed, and their
/// bytes.
fn survive(plan: &Plan, seed: u64, stop: &AtomicBool) -> (usize, u64) {
    let (mut survived, mut bytes, mut round) = (0, 0, 0);
    while !stop.load(Ordering::SeqCst) {
        round += 1;
        let tally = client::run(plan, seed + round, |_| {});
        assert_eq!(tally.complete, plan.total, "a surviving client has lost bytes");
        (survived, bytes) = (survived + tally.complete, bytes + tally.bytes);
    }
    (survived, bytes)
}

fn kill_again_and_again(rounds: usize, times: usize) {
    raise_fd_limit();
    let seed = seed("sigkill");
    let server = Server::example("echo_tcp");
    let descriptors = server.descriptors();
    let probe = Probe::start(server.addr, ECHO);
    let stop = AtomicBool::new(false);
    let survivors = Plan {
        addr: server.addr,
        total: 16,
        at_once: 4,
        bytes_max: 1 << 20,
        chunk_max: 256 << 10,
        manners: &[Manner::Fair],
        patience: GUARD,
    };
    let (mut random, mut memory, mut most) = (Random::new(seed), Vec::new(), 0);
    probe.begin_fault();
    let (survived, bytes) = thread::scope(|scope| {
        let set_stop = SetOnDrop(&stop);
        let surviving = scope.spawn(|| survive(&survivors, seed, &stop));
        for _ in 0..rounds {
            most = most.max(kill_clients(&server, &mut random, times));
            eventually("the victims' descriptors are closed", || {
                assert!(!surviving.is_finished(), "a surviving client has failed");
                // The probe's descriptor, and those of the survivors, stay.
                (server.descriptors() <= descriptors + 1 + survivors.at_once).then_some(())
            });
            memory.push(server.memory());
        }
        drop(set_stop);
        surviving.join().unwrap()
    });
    let latency = probe.finish();
    server.comes_back_to(descriptors);
    let resets = server.complaints().len();
    assert!(resets > 0, "the server has reported no reset");
    let (first, last) = (memory[0], memory[rounds - 1]);
    assert!(last <= first + first / 2 + 4096, "memory grows: {memory:?} KiB");
    server.finish();
    report(
        "kill -9",
        format!(
            "{} clients of {CONNECTIONS} connections killed, {resets} resets reported; {survived} others \
             complete, {} MiB; descriptors {descriptors}, {most}, {descriptors}; memory {first} KiB after \
             the first {times}, {last} after the last; seed {seed}; {latency}",
            rounds * times,
            bytes >> 20
        ),
    );
}

#[test]
fn killed_clients_leak_nothing_and_affect_no_others() {
    kill_again_and_again(3, 8);
}

#[test]
#[ignore = "long form"]
fn hundreds_of_killed_clients_leak_nothing_and_affect_no_others() {
    kill_again_and_again(10, 50);
}
