//! What all servers of the examples have in common, and `echo_tcp`.

use std::{
    io::{Read, Write},
    net::Shutdown,
    thread,
};

use rustix::process::Signal;

use crate::harness::{Server, run};

const SERVERS: [&str; 4] = ["echo_tcp", "chat", "http_hello", "graceful"];
/// Every server replies to this with a line.
const HELLO: &str = "GET / HTTP/1.1\r\nHost: me\r\n\r\n";
/// What `graceful` waits for its clients once it was stopped, in ms. The other servers ignore it.
const GRACE: &str = "100";

#[test]
fn servers_exit_with_success_on_sigint_and_sigterm() {
    for example in SERVERS {
        for signal in [Signal::INT, Signal::TERM] {
            let server = Server::start(example, &[GRACE]);
            let mut client = server.connect();
            client.send(HELLO);
            client.line();
            server.stop(signal);
            client.rest();
        }
    }
}

#[test]
fn servers_survive_clients_that_reset_their_connections() {
    for example in SERVERS {
        let server = Server::start(example, &[GRACE]);
        for incomplete in ["GET /", "", "one\ntwo\n"] {
            let mut client = server.connect();
            client.send(incomplete);
            client.reset_on_close();
        }
        let mut client = server.connect();
        client.send(HELLO);
        assert!(!client.line().is_empty(), "{example} replies");
        server.stop(Signal::TERM);
    }
}

#[test]
fn servers_report_an_address_they_cannot_use() {
    for example in SERVERS {
        let first = Server::start(example, &[]);
        let in_use = first.addr.to_string();
        for (addr, reason) in [("nonsense", "not an address"), (&in_use, "in use")] {
            let output = run(example, &[addr]);
            assert_eq!(output.status.code(), Some(1), "{example} {addr}");
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(errors.contains(addr) && errors.contains(reason), "{example} {addr}: {errors}");
            assert!(output.stdout.is_empty());
        }
    }
}

#[test]
fn echo_returns_every_byte_and_then_eof() {
    let server = Server::start("echo_tcp", &[]);
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut client = server.connect();
    let mut writer = client.writer();
    let sent = bytes.clone();
    let sender = thread::spawn(move || {
        writer.write_all(&sent).expect("the server reads");
        writer.shutdown(Shutdown::Write).expect("the connection is open");
    });
    let mut echoed = Vec::new();
    client.0.read_to_end(&mut echoed).expect("the server sends, and closes");
    sender.join().expect("the sender does not panic");
    assert!(echoed == bytes, "{} of {} bytes came back, or others", echoed.len(), bytes.len());
}
