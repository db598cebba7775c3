//! The servers of `examples/` in a world, unchanged: partitions, slow clients, resets.

use std::{net::IpAddr, time::Duration};

use ringback::{
    Result, Timer,
    sim::{self, Host, Link, World},
};

use crate::kit::{Client, connect_to};

#[allow(dead_code, clippy::duplicate_mod)]
#[path = "../../examples/chat.rs"]
mod chat;
#[allow(dead_code, clippy::duplicate_mod)]
#[path = "../../examples/http_hello.rs"]
mod http_hello;

const SECOND: Duration = Duration::from_secs(1);
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Adds a client that sends a piece of text each second.
fn add_talker(world: &mut World, server: IpAddr, port: u16, pieces: Vec<String>) -> Result<Host<Client>> {
    world.host("client", Client::default(), move |lp, _| {
        connect_to(lp, (server, port), move |lp, conn| {
            let mut pieces = pieces.into_iter();
            Timer::every(lp, SECOND, move |lp, _| match pieces.next() {
                // The server may have closed the connection.
                Some(piece) => conn.write(lp, piece).or(Ok(())),
                None => Ok(()),
            })
            .map(drop)
        })
    })
}

fn text(world: &World, client: Host<Client>) -> String {
    String::from_utf8_lossy(&world.state(client).received).into_owned()
}

#[test]
fn a_chat_relays_lines_through_a_flaky_link() {
    sim::check(50, |world| {
        world.set_link(Link::flaky());
        let server =
            world.host("chat", chat::Chat::default(), |lp, _| chat::serve(lp, "0.0.0.0:7").map(drop))?;
        let addr = world.addr(server);
        let anna = add_talker(world, addr, 7, vec!["/nick anna\n".into(), "hello\n".into()])?;
        let other = add_talker(world, addr, 7, vec![])?;
        world.run_for(5 * SECOND)?;
        let received = text(world, other);
        assert!(received.contains("is now anna\n") && received.contains("anna: hello\n"), "{received}");
        assert!(!text(world, anna).contains("anna: hello"));
        Ok(())
    });
}

#[test]
fn a_chat_drops_a_partitioned_member_and_serves_the_others() {
    sim::check(20, |world| {
        let server = world.host("chat", chat::Chat::default(), |lp, _| {
            lp.on_failure(|_, _, _| Ok(()));
            chat::serve(lp, "0.0.0.0:7").map(drop)
        })?;
        let addr = world.addr(server);
        let lost = add_talker(world, addr, 7, vec![])?;
        world.run_for(SECOND)?;
        world.partition(lost, server);
        let line = || "x".repeat(2000) + "\n";
        let talker = add_talker(world, addr, 7, (0..400).map(|_| line()).collect())?;
        let other = add_talker(world, addr, 7, vec![])?;
        world.run_for(500 * SECOND)?;
        let received = text(world, other);
        assert_eq!(received.matches('x').count(), 400 * 2000);
        assert!(received.contains("has left"), "the partitioned member has more than 256 KiB to read");
        assert!(!world.state(talker).closed);
        Ok(())
    });
}

#[test]
fn an_http_server_drops_slow_requests_and_answers_the_others() {
    sim::check(50, |world| {
        world.set_link(Link::flaky());
        let server = world.host("http", (), |lp, _| http_hello::serve(lp, "0.0.0.0:80").map(drop))?;
        let addr = world.addr(server);
        // A byte a second, where five seconds are allowed.
        let slow = add_talker(world, addr, 80, REQUEST.chars().map(String::from).collect())?;
        let good = add_talker(world, addr, 80, vec![REQUEST.repeat(10); 3])?;
        world.run_for(8 * SECOND)?;
        assert_eq!(text(world, good).matches("Hello, world!").count(), 30);
        assert!(world.state(slow).closed && world.state(slow).received.is_empty());
        world.run_for(10 * SECOND)?;
        assert_eq!(world.sockets(server), 1, "only the listener is left");
        Ok(())
    });
}

#[test]
fn an_http_server_survives_resets_without_leaks() {
    sim::check(100, |world| {
        world.set_link(Link::flaky().reset_one_in(20));
        let server = world.host("http", (), |lp, _| http_hello::serve(lp, "0.0.0.0:80").map(drop))?;
        let addr = world.addr(server);
        for _ in 0..5 {
            add_talker(world, addr, 80, vec![REQUEST.repeat(20); 5])?;
        }
        world.run_for(60 * SECOND)?;
        world.verify();
        assert_eq!(world.sockets(server), 1, "only the listener is left");
        assert_eq!(world.with(server, |lp, ()| lp.handles().len()), 1);
        Ok(())
    });
}
