//! Slowloris: clients that take for ever to ask, or to read.

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

/// A request that never ends, and never grows large enough to be refused for that.
fn crumbs(random: &mut Random) -> Vec<u8> {
    let mut request = b"GET / HTTP/1.1\r\nHost: me\r\nX-Slow: ".to_vec();
    request.extend((0..4000).map(|_| b'a' + random.below(26) as u8));
    request
}

struct Slow {
    stream: TcpStream,
    request: Vec<u8>,
    said: usize,
    /// How it can be told that it was cut off.
    over: bool,
}

impl Slow {
    /// One more byte, and a look at whether the connection is still there.
    fn op(&mut self) {
        match self.stream.write(&self.request[self.said..=self.said]) {
            Ok(count) => self.said += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return self.over = true,
        }
        match self.stream.read(&mut [0; 16]) {
            Ok(0) => self.over = true,
            Ok(_) => panic!("nothing was asked for, and something was answered"),
            Err(error) => self.over = error.kind() != ErrorKind::WouldBlock,
        }
    }
}

fn slow_clients(many: usize, hogs: usize) {
    raise_fd_limit();
    let seed = seed("slow");
    let mut random = Random::new(seed);
    let server = Server::example("http_hello");
    let (memory, descriptors) = (server.memory(), server.descriptors());
    let probe = Probe::start(server.addr, HTTP);
    probe.fault();
    let begun = Instant::now();
    let connect = || {
        let stream = TcpStream::connect(server.addr).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    };
    let mut slow: Vec<Slow> = (0..many)
        .map(|_| Slow { stream: connect(), request: crumbs(&mut random), said: 0, over: false })
        .collect();
    // Those who ask in time, and then do not read: answers are not made for them, so their time is up, too.
    let mut hogging: Vec<TcpStream> = (0..hogs).map(|_| connect()).collect();
    let requests = HTTP.0.repeat(1000);
    let mut peak = 0;
    while slow.iter().any(|slow| !slow.over) || !hogging.is_empty() {
        slow.iter_mut().filter(|slow| !slow.over).for_each(Slow::op);
        hogging.retain_mut(|stream| match stream.write_all(&requests) {
            // Or in part: nobody reads the answers, and to a request that was cut in the middle they are as good.
            Ok(()) => true,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        });
        peak = peak.max(server.memory());
        assert!(begun.elapsed() < GUARD, "they are not cut off");
        thread::sleep(Duration::from_millis(50));
    }
    let lasted = begun.elapsed();
    let said: usize = slow.iter().map(|slow| slow.said).sum();
    let delays = probe.finish();
    drop(slow);
    server.comes_back_to(descriptors);
    let after = server.memory();
    server.finish();
    report(
        "slowloris",
        format!(
            "{many} who ask by the byte and {hogs} who do not read: all cut off after {lasted:.1?} and {} bytes each; memory {memory}, {peak}, {after} KiB; seed {seed}; {delays}",
            said / many
        ),
    );
}

#[test]
fn slow_clients_are_cut_off_and_nobody_waits_for_them() {
    slow_clients(300, 20);
}

#[test]
#[ignore = "the long form"]
fn thousands_of_slow_clients_are_cut_off_and_nobody_waits_for_them() {
    slow_clients(5000, 100);
}
