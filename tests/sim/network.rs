//! What a network does, and what it does to programs.

use std::time::Duration;

use ringback::{
    Result, Timer,
    net::{Event, TcpListener, TcpStream},
    sim::{self, Host, Link, World},
};

use crate::kit::{Echo, Talk, bytes, connect, echo, talk};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn pair(world: &mut World, text: Vec<u8>) -> Result<(Host<Echo>, Host<Talk>)> {
    let server = world.host("server", Echo::default(), |lp, _| echo(lp))?;
    let addr = world.addr(server);
    let client = world.host("client", Talk::default(), |lp, _| talk(lp, addr, text))?;
    Ok((server, client))
}

#[test]
fn every_byte_comes_back_once_and_in_order_through_a_choppy_link() {
    sim::check(200, |world| {
        world.set_link(Link::flaky().bandwidth(1 << 20));
        world.set_spurious_one_in(4);
        let text = bytes(1 + world.random(100_000) as usize);
        let (server, client) = pair(world, text.clone())?;
        world.run_until(HOUR, |world| world.state(client).closed)?;
        world.verify();
        assert!(world.state(client).heard == text, "{} of {}", world.state(client).heard.len(), text.len());
        world.run_for(SECOND)?;
        assert_eq!((world.sockets(client), world.sockets(server)), (0, 1));
        assert_eq!(world.state(server).closed, 1);
        Ok(())
    });
}

#[test]
fn latency_and_bandwidth_take_their_time() {
    let took = |link: Link, count| {
        let mut world = World::new(1);
        world.set_link(link);
        let (_, client) = pair(&mut world, bytes(count)).unwrap();
        world.run_until(HOUR, |world| world.state(client).closed).unwrap();
        world.now()
    };
    let far = Link::new().latency(Duration::from_millis(100));
    // Connecting is two ways, the text and its echo two more.
    let ways = took(far, 10).as_millis();
    assert!((400..=450).contains(&ways), "{ways} ms");
    let thin = Link::new().bandwidth(100_000);
    let seconds = took(thin, 1_000_000).as_secs();
    assert!((10..=12).contains(&seconds), "{seconds} s");
}

#[test]
fn a_port_where_nobody_listens_refuses_and_a_host_that_is_not_there_is_unreachable() {
    let mut world = World::new(1);
    let other = world.host("other", (), |_, _| Ok(())).unwrap();
    let addr = world.addr(other);
    let refused = world.host("client", Talk::default(), |lp, _| talk(lp, addr, vec![])).unwrap();
    let nowhere = [10, 9, 9, 9].into();
    let lost = world.host("client", Talk::default(), |lp, _| talk(lp, nowhere, vec![])).unwrap();
    world.run().unwrap();
    let error = |world: &World, host| world.state::<Talk>(host).error.clone().unwrap();
    assert!(error(&world, refused).contains("refused"), "{}", error(&world, refused));
    assert!(error(&world, lost).contains("No route to host"), "{}", error(&world, lost));
}

#[test]
fn connecting_through_a_link_that_is_cut_times_out_after_a_minute() {
    let mut world = World::new(1);
    let server = world.host("server", Echo::default(), |lp, _| echo(lp)).unwrap();
    let addr = world.addr(server);
    let client = world.host("client", Talk::default(), |lp, _| talk(lp, addr, vec![])).unwrap();
    world.partition(client, server);
    world.run().unwrap();
    let error = world.state(client).error.clone().unwrap();
    assert!(error.contains("timed out"), "{error}");
    assert_eq!(world.now().as_secs(), 63);
}

#[test]
fn a_connection_survives_a_cut_that_heals_and_not_one_that_does_not() {
    for heals in [true, false] {
        let mut world = World::new(1);
        world.set_link(Link::new().latency(Duration::from_millis(10)));
        let text = bytes(1_000_000);
        let (server, client) = pair(&mut world, text.clone()).unwrap();
        world.run_until(SECOND, |world| world.state(client).heard.len() > 1000).unwrap();
        world.partition(client, server);
        world.run_for(600 * SECOND).unwrap();
        assert!(!world.state(client).closed);
        if heals {
            world.heal(server, client);
        }
        world.run_for(HOUR).unwrap();
        assert!(world.state(client).closed);
        let whole = world.state(client).heard == text;
        let error = world.state(client).error.clone().unwrap_or_default();
        assert_eq!((whole, error.contains("timed out")), (heals, !heals), "{error}");
    }
}

#[test]
fn a_program_that_is_killed_closes_its_connections_and_a_host_that_crashes_does_not() {
    for crashes in [false, true] {
        let mut world = World::new(1);
        let server = world.host("server", Echo::default(), |lp, _| echo(lp)).unwrap();
        let addr = world.addr(server);
        let client = world.host("client", Talk::default(), |lp, _| connect(lp, addr, |_, _| Ok(())));
        let client = client.unwrap();
        world.run_for(SECOND).unwrap();
        assert!(world.state(client).connected);
        if crashes {
            world.crash(server);
        } else {
            world.kill(server);
        }
        world.run_for(HOUR).unwrap();
        // Half-open: it says nothing, so it hears nothing.
        assert_eq!(world.state(client).ended, !crashes);
        assert_eq!(world.state(client).closed, !crashes);
    }
}

#[test]
fn what_is_sent_to_a_host_that_was_started_again_is_answered_by_a_reset() {
    let mut world = World::new(1);
    let server = world.host("server", Echo::default(), |lp, _| echo(lp)).unwrap();
    let addr = world.addr(server);
    let client = world.host("client", Talk::default(), |lp, _| {
        connect(lp, addr, |lp, conn| {
            Timer::every(lp, SECOND, move |lp, _| conn.write(lp, "still there?")).map(drop)
        })
    });
    let client = client.unwrap();
    world.run_for(3 * SECOND).unwrap();
    world.crash(server);
    world.run_for(60 * SECOND).unwrap();
    assert!(!world.state(client).closed);
    world.restart(server, Echo::default(), |lp, _| echo(lp)).unwrap();
    world.run_for(SECOND).unwrap();
    let error = world.state(client).error.clone().unwrap();
    assert!(error.contains("reset"), "{error}");
}

#[test]
fn a_connection_may_be_reset_at_any_time_and_somebody_is_told() {
    sim::check(200, |world| {
        world.set_link(Link::flaky().reset_one_in(40));
        let text = bytes(50_000);
        let (server, client) = pair(world, text.clone())?;
        world.run_for(HOUR)?;
        world.verify();
        let talk = world.state(client);
        assert!(talk.heard == text || talk.error.is_some(), "{} bytes", talk.heard.len());
        assert!(text.starts_with(&talk.heard));
        assert!(talk.closed || !talk.connected);
        assert_eq!((world.sockets(client), world.sockets(server)), (0, 1));
        Ok(())
    });
}

#[test]
fn a_server_that_stands_still_holds_its_client_back() {
    let mut world = World::new(1);
    let server = world.host("server", Echo::default(), |lp, _| echo(lp)).unwrap();
    let addr = world.addr(server);
    let client = world.host("client", Talk::default(), |lp, _| {
        connect(lp, addr, |lp, conn| {
            conn.set_queue_limit(lp, 1 << 20)?;
            conn.set_auto_pause(lp, false)?;
            Timer::every(lp, Duration::from_millis(1), move |lp, _| conn.write(lp, bytes(10_000))).map(drop)
        })
    });
    let client = client.unwrap();
    world.run_for(SECOND).unwrap();
    assert!(world.state(client).error.is_none());
    world.pause(server);
    world.run_for(SECOND).unwrap();
    let error = world.state(client).error.clone().unwrap();
    assert!(error.contains("its limit is 1048576"), "{error}");
    let queued =
        |world: &mut World| world.with(client, |lp, talk| talk.conn.map_or(0, |conn| conn.queued(lp)));
    assert!(queued(&mut world) > 1 << 20);
    world.resume(server);
    world.run_for(SECOND).unwrap();
    assert_eq!(queued(&mut world), 0);
}

#[test]
fn a_queue_of_connections_that_is_full_makes_others_wait() {
    let mut world = World::new(1);
    let server = world.host("server", 0, |lp, _| {
        ringback::net::ListenOptions::new().backlog(2).bind(lp, "0.0.0.0:7")?.start(
            lp,
            |_, seen: &mut u32, _| {
                *seen += 1;
                Ok(())
            },
        )
    });
    let server = server.unwrap();
    let addr = world.addr(server);
    world.pause(server);
    let clients: Vec<_> = (0..6)
        .map(|_| world.host("client", Talk::default(), |lp, _| connect(lp, addr, |_, _| Ok(()))).unwrap())
        .collect();
    world.run_for(SECOND / 2).unwrap();
    let connected = |world: &World| clients.iter().filter(|&&client| world.state(client).connected).count();
    assert!(connected(&world) < 6, "{}", connected(&world));
    world.resume(server);
    world.run_for(10 * SECOND).unwrap();
    assert_eq!((connected(&world), *world.state(server)), (6, 6));
}

#[test]
fn a_server_without_descriptors_reports_it_and_serves_when_there_are_some() {
    let mut world = World::new(1);
    let server = world.host("server", Echo::default(), |lp, _| echo(lp)).unwrap();
    let addr = world.addr(server);
    world.set_fd_limit(server, 3);
    let clients: Vec<_> = (0..4)
        .map(|number| {
            let say = move |lp: &mut ringback::Loop<Talk>, conn: TcpStream| {
                Timer::after(lp, (number + 1) * SECOND, move |lp, _| conn.shutdown(lp)).map(drop)
            };
            world.host("client", Talk::default(), move |lp, _| connect(lp, addr, say)).unwrap()
        })
        .collect();
    world.run_for(20 * SECOND).unwrap();
    assert!(world.state(server).failures[0].contains("accept: Too many open files"));
    assert_eq!(world.state(server).closed, 4);
    assert!(clients.iter().all(|&client| world.state(client).closed));
}

#[test]
fn a_host_reaches_itself() {
    let mut world = World::new(1);
    let host = world.host("one", Vec::new(), |lp, _| {
        TcpListener::bind(lp, "127.0.0.1:7")?.start(lp, |lp, _, conn| {
            conn.write(lp, "hello")?;
            conn.finish(lp)
        })?;
        TcpStream::connect(lp, "127.0.0.1:7", |lp, _, conn| {
            let conn = conn?;
            conn.start(lp, move |lp, heard: &mut Vec<u8>, event| {
                match event? {
                    Event::Data(bytes) => heard.extend_from_slice(bytes),
                    Event::End => lp.stop(),
                    _ => {}
                }
                Ok(())
            })
        })
        .map(drop)
    });
    let host = host.unwrap();
    world.run_for(SECOND).unwrap();
    assert_eq!(world.state(host), b"hello");
}

#[test]
fn an_address_in_use_and_one_of_another_host_are_refused() {
    let mut world = World::new(1);
    let bind = |addr: &'static str| {
        move |lp: &mut ringback::Loop<()>, _: &mut ()| TcpListener::bind(lp, addr).map(drop)
    };
    world.host("first", (), bind("0.0.0.0:7")).unwrap();
    let other = world.host("second", (), bind("10.0.0.1:7")).unwrap_err().to_string();
    assert!(other.contains("Cannot assign requested address"), "{other}");
    let twice = world.host("third", (), |lp, _| {
        TcpListener::bind(lp, "0.0.0.0:7")?;
        TcpListener::bind(lp, "127.0.0.1:7").map(drop)
    });
    assert!(twice.unwrap_err().to_string().contains("in use"));
}

#[test]
fn an_attempt_that_is_refused_never_counts_as_connected_whatever_else_is_told_too_often() {
    for seed in 0..200 {
        let mut world = World::new(seed);
        world.set_spurious_one_in(1);
        let server = world.host("server", (), |_, _| Ok(())).unwrap();
        let addr = world.addr(server);
        let client = world.host("client", Talk::default(), |lp, _| connect(lp, addr, |_, _| Ok(()))).unwrap();
        world.run().unwrap();
        assert!(!world.state(client).connected, "seed {seed}");
        assert!(world.state(client).error.as_ref().is_some_and(|error| error.contains("refused")));
    }
}
