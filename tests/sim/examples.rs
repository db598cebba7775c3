//! The servers of `examples/`, as they are, in a world: partitions, slow clients, resets.

use std::time::Duration;

use ringback::{
    Result, Timer,
    sim::{self, Link},
};

use crate::kit::Talk;

#[allow(dead_code, clippy::duplicate_mod)]
#[path = "../../examples/chat.rs"]
mod chat;
#[allow(dead_code, clippy::duplicate_mod)]
#[path = "../../examples/http_hello.rs"]
mod http_hello;

const SECOND: Duration = Duration::from_secs(1);

/// A client of the port that says some lines, one each second.
fn says(
    world: &mut sim::World,
    server: std::net::IpAddr,
    port: u16,
    lines: Vec<String>,
) -> Result<sim::Host<Talk>> {
    world.host("client", Talk::default(), move |lp, _| {
        crate::kit::connect_to(lp, (server, port), move |lp, conn| {
            let mut lines = lines.into_iter();
            Timer::every(lp, SECOND, move |lp, _| match lines.next() {
                Some(line) => conn.write(lp, line).or(Ok(())),
                None => Ok(()),
            })
            .map(drop)
        })
    })
}

fn text(world: &sim::World, client: sim::Host<Talk>) -> String {
    String::from_utf8_lossy(&world.state(client).heard).into_owned()
}

#[test]
fn what_one_says_in_the_chat_all_the_others_read_however_choppy_the_link() {
    sim::check(50, |world| {
        world.set_link(Link::flaky());
        let server =
            world.host("chat", chat::Chat::default(), |lp, _| chat::serve(lp, "0.0.0.0:7").map(drop))?;
        let addr = world.addr(server);
        let one = says(world, addr, 7, vec!["/nick anna\n".into(), "hello\n".into()])?;
        let other = says(world, addr, 7, vec![])?;
        world.run_for(5 * SECOND)?;
        let heard = text(world, other);
        assert!(heard.contains("is now anna\n") && heard.contains("anna: hello\n"), "{heard}");
        assert!(!text(world, one).contains("anna: hello"));
        Ok(())
    });
}

#[test]
fn who_is_cut_off_from_the_chat_is_dropped_and_the_others_talk_on() {
    sim::check(20, |world| {
        let server = world.host("chat", chat::Chat::default(), |lp, _| {
            lp.on_failure(|_, _, _| Ok(()));
            chat::serve(lp, "0.0.0.0:7").map(drop)
        })?;
        let addr = world.addr(server);
        let lost = says(world, addr, 7, vec![])?;
        world.run_for(SECOND)?;
        world.partition(lost, server);
        let long = || "x".repeat(2000) + "\n";
        let talker = says(world, addr, 7, (0..400).map(|_| long()).collect())?;
        let other = says(world, addr, 7, vec![])?;
        world.run_for(500 * SECOND)?;
        let heard = text(world, other);
        assert_eq!(heard.matches('x').count(), 400 * 2000);
        assert!(heard.contains("has left"), "the one that was cut off has more to read than 256 KiB");
        assert!(!world.state(talker).closed);
        Ok(())
    });
}

#[test]
fn an_http_server_cuts_off_who_takes_longer_than_five_seconds_and_answers_the_others() {
    sim::check(50, |world| {
        world.set_link(Link::flaky());
        let server = world.host("http", (), |lp, _| http_hello::serve(lp, "0.0.0.0:80").map(drop))?;
        let addr = world.addr(server);
        let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let slow = says(world, addr, 80, request.chars().map(String::from).collect())?;
        let good = says(world, addr, 80, vec![request.repeat(10); 3])?;
        world.run_for(8 * SECOND)?;
        assert_eq!(text(world, good).matches("Hello, world!").count(), 30);
        assert!(world.state(slow).closed && world.state(slow).heard.is_empty());
        world.run_for(10 * SECOND)?;
        assert_eq!(world.sockets(server), 1, "the listener alone is left");
        Ok(())
    });
}

#[test]
fn an_http_server_lives_through_resets_and_leaks_nothing() {
    sim::check(100, |world| {
        world.set_link(Link::flaky().reset_one_in(20));
        let server = world.host("http", (), |lp, _| http_hello::serve(lp, "0.0.0.0:80").map(drop))?;
        let addr = world.addr(server);
        for _ in 0..5 {
            says(world, addr, 80, vec!["GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(20); 5])?;
        }
        world.run_for(60 * SECOND)?;
        world.verify();
        assert_eq!(world.sockets(server), 1, "the listener alone is left");
        assert_eq!(world.with(server, |lp, ()| lp.handles().len()), 1);
        Ok(())
    });
}
