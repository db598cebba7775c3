//! What the network does, and what it does to programs.

use std::time::Duration;

use ringback::{
    Result, Timer,
    net::{Event, ListenOptions, TcpListener, TcpStream},
    sim::{self, Host, Link, World},
};

use crate::kit::{Client, Echo, add_client, add_echo, add_pair, add_sender, bytes, echo};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Returns an echo server and a client that is connected to it and sends nothing.
fn idle_pair(world: &mut World) -> Result<(Host<Echo>, Host<Client>)> {
    let server = add_echo(world)?;
    let addr = world.addr(server);
    Ok((server, add_client(world, addr, |_, _| Ok(()))?))
}

#[test]
fn every_byte_is_echoed_in_order_through_a_flaky_link() {
    sim::check(200, |world| {
        world.set_link(Link::flaky().bandwidth(1 << 20));
        world.set_spurious_one_in(4);
        let text = bytes(1 + world.random(100_000) as usize);
        let (server, client) = add_pair(world, text.clone())?;
        world.run_until(HOUR, |world| world.state(client).closed)?;
        world.verify();
        let received = &world.state(client).received;
        assert!(*received == text, "{} bytes of {}", received.len(), text.len());
        world.run_for(SECOND)?;
        assert_eq!((world.sockets(client), world.sockets(server)), (0, 1));
        assert_eq!(world.state(server).closed, 1);
        Ok(())
    });
}

#[test]
fn latency_and_bandwidth_take_time() {
    let duration = |link: Link, count| {
        let mut world = World::new(1);
        world.set_link(link);
        let (_, client) = add_pair(&mut world, bytes(count)).unwrap();
        world.run_until(HOUR, |world| world.state(client).closed).unwrap();
        world.now()
    };
    let slow = Link::new().latency(Duration::from_millis(100));
    // Connecting takes one round trip, the text and its echo another.
    let millis = duration(slow, 10).as_millis();
    assert!((400..=450).contains(&millis), "{millis} ms");
    let narrow = Link::new().bandwidth(100_000);
    let seconds = duration(narrow, 1_000_000).as_secs();
    assert!((10..=12).contains(&seconds), "{seconds} s");
}

#[test]
fn a_closed_port_refuses_and_a_missing_host_is_unreachable() {
    let mut world = World::new(1);
    let other = world.host("other", (), |_, _| Ok(())).unwrap();
    let addr = world.addr(other);
    let refused = add_sender(&mut world, addr, vec![]).unwrap();
    let unreachable = add_sender(&mut world, [10, 9, 9, 9].into(), vec![]).unwrap();
    world.run().unwrap();
    let error = |host: Host<Client>| world.state(host).error.clone().unwrap();
    assert!(error(refused).contains("refused"), "{}", error(refused));
    assert!(error(unreachable).contains("No route to host"), "{}", error(unreachable));
}

#[test]
fn connecting_through_a_cut_link_times_out_after_a_minute() {
    let mut world = World::new(1);
    let (server, client) = add_pair(&mut world, vec![]).unwrap();
    world.partition(client, server);
    world.run().unwrap();
    let error = world.state(client).error.clone().unwrap();
    assert!(error.contains("timed out"), "{error}");
    assert_eq!(world.now().as_secs(), 63);
}

#[test]
fn a_connection_survives_a_cut_only_if_it_heals() {
    for heals in [true, false] {
        let mut world = World::new(1);
        world.set_link(Link::new().latency(Duration::from_millis(10)));
        let text = bytes(1_000_000);
        let (server, client) = add_pair(&mut world, text.clone()).unwrap();
        world.run_until(SECOND, |world| world.state(client).received.len() > 1000).unwrap();
        world.partition(client, server);
        world.run_for(600 * SECOND).unwrap();
        assert!(!world.state(client).closed);
        if heals {
            world.heal(server, client);
        }
        world.run_for(HOUR).unwrap();
        assert!(world.state(client).closed);
        let whole = world.state(client).received == text;
        let error = world.state(client).error.clone().unwrap_or_default();
        assert_eq!((whole, error.contains("timed out")), (heals, !heals), "{error}");
    }
}

#[test]
fn only_a_crash_leaves_connections_half_open() {
    for crashes in [false, true] {
        let mut world = World::new(1);
        let (server, client) = idle_pair(&mut world).unwrap();
        world.run_for(SECOND).unwrap();
        assert!(world.state(client).connected);
        if crashes {
            world.crash(server);
        } else {
            world.kill(server);
        }
        world.run_for(HOUR).unwrap();
        // Half-open: a client that sends nothing does not find out.
        assert_eq!(world.state(client).eof, !crashes);
        assert_eq!(world.state(client).closed, !crashes);
    }
}

#[test]
fn a_restarted_host_resets_connections_that_it_does_not_know() {
    let mut world = World::new(1);
    let server = add_echo(&mut world).unwrap();
    let addr = world.addr(server);
    let client = add_client(&mut world, addr, |lp, conn| {
        Timer::every(lp, SECOND, move |lp, _| conn.write(lp, "still there?")).map(drop)
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
fn a_connection_reset_at_any_time_is_reported() {
    sim::check(200, |world| {
        world.set_link(Link::flaky().reset_one_in(40));
        let text = bytes(50_000);
        let (server, client) = add_pair(world, text.clone())?;
        world.run_for(HOUR)?;
        world.verify();
        let state = world.state(client);
        assert!(state.received == text || state.error.is_some(), "{} bytes", state.received.len());
        assert!(text.starts_with(&state.received));
        assert!(state.closed || !state.connected);
        assert_eq!((world.sockets(client), world.sockets(server)), (0, 1));
        Ok(())
    });
}

#[test]
fn a_paused_server_fills_its_clients_queue() {
    let mut world = World::new(1);
    let server = add_echo(&mut world).unwrap();
    let addr = world.addr(server);
    let client = add_client(&mut world, addr, |lp, conn| {
        conn.set_queue_limit(lp, 1 << 20)?;
        conn.set_auto_pause(lp, false)?;
        Timer::every(lp, Duration::from_millis(1), move |lp, _| conn.write(lp, bytes(10_000))).map(drop)
    });
    let client = client.unwrap();
    world.run_for(SECOND).unwrap();
    assert!(world.state(client).error.is_none());
    world.pause(server);
    world.run_for(SECOND).unwrap();
    let error = world.state(client).error.clone().unwrap();
    assert!(error.contains("its limit is 1048576"), "{error}");
    let queued =
        |world: &mut World| world.with(client, |lp, state| state.conn.map_or(0, |conn| conn.queued(lp)));
    assert!(queued(&mut world) > 1 << 20);
    world.resume(server);
    world.run_for(SECOND).unwrap();
    assert_eq!(queued(&mut world), 0);
}

#[test]
fn a_full_backlog_makes_further_connects_wait() {
    let mut world = World::new(1);
    let server = world.host("server", 0, |lp, _| {
        let listener = ListenOptions::new().backlog(2).bind(lp, "0.0.0.0:7")?;
        listener.start(lp, |_, accepted: &mut u32, _| {
            *accepted += 1;
            Ok(())
        })
    });
    let server = server.unwrap();
    let addr = world.addr(server);
    world.pause(server);
    let clients: Vec<_> = (0..6).map(|_| add_client(&mut world, addr, |_, _| Ok(())).unwrap()).collect();
    world.run_for(SECOND / 2).unwrap();
    let connected = |world: &World| clients.iter().filter(|&&client| world.state(client).connected).count();
    assert!(connected(&world) < 6, "{}", connected(&world));
    world.resume(server);
    world.run_for(10 * SECOND).unwrap();
    assert_eq!((connected(&world), *world.state(server)), (6, 6));
}

#[test]
fn a_server_out_of_descriptors_reports_it_and_recovers() {
    let mut world = World::new(1);
    let server = add_echo(&mut world).unwrap();
    let addr = world.addr(server);
    world.set_fd_limit(server, 3);
    let clients: Vec<_> = (0..4)
        .map(|number| {
            let shut_down_later = move |lp: &mut ringback::Loop<Client>, conn: TcpStream| {
                Timer::after(lp, (number + 1) * SECOND, move |lp, _| conn.shutdown(lp)).map(drop)
            };
            add_client(&mut world, addr, shut_down_later).unwrap()
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
            conn.start(lp, move |lp, received: &mut Vec<u8>, event| {
                match event? {
                    Event::Data(bytes) => received.extend_from_slice(bytes),
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
fn binding_a_used_address_or_another_hosts_fails() {
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
fn spurious_readiness_never_connects_a_refused_stream() {
    for seed in 0..200 {
        let mut world = World::new(seed);
        world.set_spurious_one_in(1);
        let server = world.host("server", (), |_, _| Ok(())).unwrap();
        let addr = world.addr(server);
        let client = add_client(&mut world, addr, |_, _| Ok(())).unwrap();
        world.run().unwrap();
        assert!(!world.state(client).connected, "seed {seed}");
        assert!(world.state(client).error.as_ref().is_some_and(|error| error.contains("refused")));
    }
}
