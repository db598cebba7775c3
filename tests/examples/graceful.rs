//! `graceful`: the replies that are due, the deadline, and the second signal.

use std::net::TcpStream;

use rustix::process::Signal;

use crate::{
    harness::{Server, run},
    wait::eventually,
};

/// Longer than any test runs, in ms: the server must not need its deadline.
const AN_HOUR: &str = "3600000";

#[test]
fn graceful_replies_to_what_it_has_read_and_exits() {
    let server = Server::start("graceful", &[AN_HOUR]);
    let mut client = server.connect();
    client.send("zero\n");
    client.expect("zero");
    client.send("one\n");
    // The poll phase delivers signals after all other events, so the server reads the line first.
    server.process.signal(Signal::TERM);
    eventually("the listener is closed", || TcpStream::connect(server.addr).err());
    client.expect("one");
    assert_eq!(client.rest(), "");
    client.shutdown();
    drop(client);
    let (text, _) = server.wait();
    assert_eq!(text, "stopped; 0 connections were cut off\n");
}

#[test]
fn graceful_replies_to_a_client_that_has_shut_down() {
    let server = Server::start("graceful", &[]);
    let mut client = server.connect();
    client.send("one\n");
    client.shutdown();
    client.expect("one");
    assert_eq!(client.rest(), "");
}

#[test]
fn graceful_cuts_off_open_connections_at_its_deadline() {
    let server = Server::start("graceful", &["300"]);
    let mut client = server.connect();
    client.send("one\n");
    client.expect("one");
    let (text, _) = server.stop(Signal::INT);
    assert_eq!(text, "stopped; 1 connections were cut off\n");
    assert_eq!(client.rest(), "");
}

#[test]
fn graceful_exits_at_once_on_a_second_signal() {
    let server = Server::start("graceful", &[AN_HOUR]);
    let mut client = server.connect();
    client.send("one\n");
    client.expect("one");
    server.process.signal(Signal::INT);
    // EOF: the server has handled the first signal. This side of the connection stays open.
    assert_eq!(client.rest(), "");
    let (text, _) = server.stop(Signal::TERM);
    assert_eq!(text, "stopped; 1 connections were cut off\n");
}

#[test]
fn graceful_refuses_a_deadline_that_is_no_number() {
    let output = run("graceful", &["127.0.0.1:0", "soon"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("soon"), "{errors}");
}
