//! `chat`: names, lines, and clients that do not read.

use std::{
    io::Write,
    sync::mpsc::{self, TryRecvError},
    thread,
    time::Instant,
};

use rustix::process::Signal;

use crate::{
    harness::{Client, Server},
    wait::GUARD,
};

/// Connects a client under this nick, past the lines that greet it.
fn join(server: &Server, nick: &str) -> Client {
    greet(server.connect(), nick)
}

fn greet(mut client: Client, nick: &str) -> Client {
    assert!(client.line().ends_with(" has joined"));
    assert!(client.line().contains("/nick"));
    client.send(format!("/nick {nick}\n"));
    assert!(client.line().ends_with(&format!(" is now {nick}")));
    client
}

#[test]
fn chat_announces_clients_and_relays_lines() {
    let server = Server::start("chat", &[]);
    let mut ann = join(&server, "ann");
    let mut bob = server.connect();
    bob.expect("* guest2 has joined");
    ann.expect("* guest2 has joined");
    bob.line();
    bob.send("/nick bob\r\nhello, ");
    bob.expect("* guest2 is now bob");
    ann.expect("* guest2 is now bob");
    bob.send("ann\n");
    ann.expect("bob: hello, ann");
    ann.send("/who\n");
    ann.expect(r#"* here are ["ann", "bob"]"#);
    bob.send("/quit\n");
    assert_eq!(bob.rest(), "");
    ann.expect("* bob has left");
    ann.shutdown();
    assert_eq!(ann.rest(), "");
}

#[test]
fn chat_refuses_nicks_that_are_not_one_free_word() {
    let server = Server::start("chat", &[]);
    let (mut ann, mut bob) = (join(&server, "ann"), join(&server, "bob"));
    ann.expect("* guest2 has joined");
    ann.expect("* guest2 is now bob");
    for nick in ["", " ", "two words", "bob", "guest7", "tab\tbed ", &"long".repeat(10)] {
        ann.send(format!("/nick {nick}\n"));
        assert_eq!(ann.line(), "* a nick is one short word that is not taken", "{nick:?}");
    }
    ann.send("\n\r\nstill \x1b[2Jann\n");
    bob.expect("ann: still [2Jann");
}

#[test]
fn chat_delivers_an_overlong_line_in_pieces() {
    let server = Server::start("chat", &[]);
    let (mut ann, mut bob) = (join(&server, "ann"), join(&server, "bob"));
    ann.send("x".repeat(5000));
    for _ in 0..2 {
        bob.expect(&format!("ann: {}", "x".repeat(2048)));
    }
    ann.send("\n");
    bob.expect(&format!("ann: {}", "x".repeat(5000 - 2 * 2048)));
}

#[test]
fn chat_disconnects_a_client_that_does_not_read() {
    let server = Server::start("chat", &[]);
    let ann = join(&server, "ann");
    let mut idler = greet(server.connect_narrow(), "idler");
    let mut writer = ann.writer();
    let mut bob = join(&server, "bob");
    // Short lines, each of which is longer when relayed, until the idler is disconnected.
    let (stop, stopped) = mpsc::channel::<()>();
    let sender = thread::spawn(move || {
        while stopped.try_recv() == Err(TryRecvError::Empty) {
            writer.write_all("x\n".repeat(1000).as_bytes()).expect("the chat reads");
        }
    });
    let mut lines = 0;
    let begun = Instant::now();
    while bob.line() == "ann: x" {
        lines += 1;
        assert!(begun.elapsed() < GUARD, "the idler is still connected after {lines} lines");
    }
    drop(stop);
    sender.join().expect("ann was not disconnected");
    assert!(lines > 10_000, "the idler's queue has room for more than {lines} lines");
    assert!(idler.rest().contains("ann: x"));
    let (_, errors) = server.stop(Signal::TERM);
    assert!(errors.contains("the queue holds"), "{errors}");
}
