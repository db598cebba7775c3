//! Servers that may have little memory, and clients that ask and never read.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::process::ExitStatusExt,
    thread,
};

use rustix::{
    net::{AddressFamily, SocketType, connect, socket, sockopt::set_socket_recv_buffer_size},
    process::{Resource, Rlimit, Signal, prlimit},
};

use crate::{
    probe::{ECHO, HTTP, Probe},
    server::{GUARD, Server, eventually},
    subprocess::{raise_fd_limit, report},
};

/// How many clients do not read, and how much more memory the server may have than it has.
const GREEDY: usize = 60;
const MORE: u64 = 24 << 20;

/// A server, and the limit it got: so much more than it has.
fn server(example: &str, more: u64) -> Server {
    raise_fd_limit();
    let server = Server::example(example);
    let bytes = ((server.address_space() as u64) << 10) + more;
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    prlimit(Some(server.pid()), Resource::As, limit).unwrap();
    server
}

/// A client for whom the system takes little: on its side no more than a few KiB, on the other some packets.
fn narrow(addr: SocketAddr, packet: u32) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    set_socket_recv_buffer_size(&socket, 4096).unwrap();
    socket2::SockRef::from(&socket).set_tcp_mss(packet).unwrap();
    connect(&socket, &addr).unwrap();
    TcpStream::from(socket)
}

/// Each says this again and again, until nobody takes any more, for a while. Gives how much was taken.
fn greedy(addr: SocketAddr, text: &[u8], most: usize) -> (Vec<TcpStream>, usize) {
    let mut clients: Vec<TcpStream> = (0..GREEDY).map(|_| narrow(addr, 16_000)).collect();
    clients.iter().for_each(|client| client.set_nonblocking(true).unwrap());
    let text = text.repeat((64 << 10) / text.len());
    let mut said = vec![0; GREEDY];
    // Round after round, until the system has taken nothing from anybody for a hundred of them.
    let mut idle = 0;
    while idle < 100 {
        idle += 1;
        for (client, said) in clients.iter_mut().zip(&mut said) {
            match client.write(&text[*said % text.len()..]) {
                Ok(count) if *said < most => (*said, idle) = (*said + count, 0),
                Ok(_) => {}
                // Somebody was cut off: as it may be.
                Err(error) => assert!(
                    matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                    ),
                    "{error}"
                ),
            }
        }
        thread::sleep(std::time::Duration::from_millis(2));
    }
    (clients, said.iter().sum())
}

fn nobody_reads(example: &'static str, protocol: (&'static [u8], &'static [u8])) {
    let server = server(example, MORE);
    let (memory, descriptors) = (server.memory(), server.descriptors());
    let probe = Probe::start(server.addr, protocol);
    probe.fault();
    let (clients, taken) = greedy(server.addr, protocol.0, 1 << 20);
    assert!(taken as u64 > 2 * MORE, "{taken} bytes are no fault for {MORE}");
    probe.sees(50);
    let peak = server.memory();
    drop(clients);
    let delays = probe.finish();
    server.comes_back_to(descriptors);
    let after = server.memory();
    // What an allocator keeps, but not in proportion to what was there.
    assert!(after < memory + (peak - memory) / 2 + 8192, "memory: {memory}, {peak}, {after} KiB");
    server.finish();
    report(
        "memory",
        format!(
            "{example} with {} MiB more: {GREEDY} clients that say {} MiB and never read; memory {memory}, {peak}, {after} KiB; {delays}",
            MORE >> 20,
            taken >> 20
        ),
    );
}

#[test]
fn an_echo_server_of_little_memory_outlives_those_who_never_read() {
    nobody_reads("echo_tcp", ECHO);
}

#[test]
fn an_http_server_of_little_memory_outlives_those_who_never_read() {
    nobody_reads("http_hello", HTTP);
}

/// Reads what it is told until there is a line with this in it.
fn hears(client: &mut impl BufRead, said: &str) -> String {
    let mut line = String::new();
    while !line.contains(said) {
        line.clear();
        assert!(client.read_line(&mut line).unwrap() > 0, "the end came first");
    }
    line
}

#[test]
fn a_chat_of_little_memory_drops_those_who_never_read() {
    // One is heard at 100 KiB a second: the chat sees to that.
    const TALKERS: usize = 8;
    const LINES: usize = 300;
    let server = server("chat", MORE);
    let (memory, descriptors) = (server.memory(), server.descriptors());
    let bob = TcpStream::connect(server.addr).unwrap();
    bob.set_read_timeout(Some(GUARD)).unwrap();
    let mut mouth = bob.try_clone().unwrap();
    let mut bob = BufReader::new(bob);
    let talkers: Vec<TcpStream> = (0..TALKERS).map(|_| TcpStream::connect(server.addr).unwrap()).collect();
    // Should this test fail, they shall not wait for ever.
    talkers.iter().for_each(|talker| talker.set_read_timeout(Some(GUARD)).unwrap());
    let idlers: Vec<TcpStream> = (0..GREEDY).map(|_| narrow(server.addr, 1000)).collect();
    let line = [&[b'x'; 1023][..], b"\n"].concat();
    let mut peak = 0;
    thread::scope(|scope| {
        for talker in &talkers {
            // They hear each other, until they leave amid what is said.
            scope.spawn(|| drop(std::io::copy(&mut &*talker, &mut std::io::sink())));
            scope.spawn(|| {
                (0..LINES).for_each(|_| (&mut &*talker).write_all(&line).unwrap());
                (&mut &*talker).write_all(b"that is all\n").unwrap();
            });
        }
        for _ in 0..TALKERS {
            hears(&mut bob, ": that is all");
            peak = peak.max(server.memory());
        }
        talkers.iter().for_each(|talker| talker.shutdown(std::net::Shutdown::Both).unwrap());
    });
    let cut_off = server.complaints().iter().filter(|line| line.contains("the queue holds")).count();
    assert_eq!(cut_off, GREEDY, "each idler is dropped, and nobody else");
    // The talkers leave as they like; then nobody else is there.
    eventually("they are gone", || {
        mouth.write_all(b"/who\n").unwrap();
        (hears(&mut bob, "* here are ").trim_end() == "* here are [\"guest1\"]").then_some(())
    });
    drop((mouth, bob, idlers, talkers));
    server.comes_back_to(descriptors);
    let after = server.memory();
    server.finish();
    report(
        "memory",
        format!(
            "chat with {} MiB more: {GREEDY} who never read {} KiB each, all dropped, and one who has heard it all; memory {memory}, {peak}, {after} KiB",
            MORE >> 20,
            TALKERS * LINES
        ),
    );
}

/// What the documentation says of the last resort: the process ends, and its peers know at once.
#[test]
fn a_server_that_can_allocate_nothing_more_is_aborted_and_its_peers_know() {
    let mut server = server("echo_tcp", 1 << 20);
    let (clients, _) = greedy(server.addr, ECHO.0, 4 << 20);
    let status = eventually("it is aborted", || server.process.try_wait().unwrap());
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{status}");
    for mut client in clients {
        client.set_nonblocking(false).unwrap();
        client.set_read_timeout(Some(GUARD)).unwrap();
        // Whatever was on its way, and then the end.
        let mut buffer = vec![0; 64 << 10];
        loop {
            match client.read(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                    break;
                }
            }
        }
    }
    let complaints = server.complaints();
    let last = complaints.iter().find(|line| line.starts_with("memory allocation of"));
    let last = last.unwrap_or_else(|| panic!("{complaints:?}"));
    report("memory", format!("echo_tcp with 1 MiB more: aborted ({last}), and its peers know"));
}
