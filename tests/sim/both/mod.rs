//! Programs that run in a world and on the system: what their callbacks get must be equal.
//!
//! `SEEDS=1000 cargo test --release --features sim --test sim both`; with `RUSTFLAGS='--cfg
//! ringback_portable'` on the portable selector.

mod filing;
mod paths;
mod script;
mod sockets;
mod talk;

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use ringback::{
    Loop,
    sim::{Link, World},
};

use self::script::{Log, Story};
use crate::model::{quiet_panics, seeds_on_the_system};

fn start_server(lp: &mut Loop<Story>, seed: u64, listen: &str) -> SocketAddr {
    script::start(lp, seed);
    talk::serve(lp, seed, listen).expect("the server starts")
}

fn start_client(lp: &mut Loop<Story>, seed: u64, server: SocketAddr) {
    script::start(lp, seed + (1 << 20));
    talk::connect_all(lp, seed, server).expect("the client starts");
}

fn in_a_world(seed: u64, link: Link) -> [Log; 2] {
    let mut world = World::new(seed);
    world.set_link(link);
    world.set_spurious_one_in(5);
    let start = |_: &mut Loop<Story>, _: &mut Story| Ok(());
    let server = world.host("server", Story::new("/".into()), start).unwrap();
    let client = world.host("client", Story::new("/".into()), start).unwrap();
    world.files(server).make_dir(filing::DIR);
    world.files(client).make_dir(filing::DIR);
    world.files(server).make_dir(paths::base());
    world.files(client).make_dir(paths::base());
    world.with(server, |lp, _| start_server(lp, seed, "0.0.0.0:7"));
    let addr = (world.addr(server), 7).into();
    world.with(client, |lp, _| start_client(lp, seed, addr));
    world
        .run_until(Duration::from_secs(60), |world| !world.is_alive(server) && !world.is_alive(client))
        .unwrap_or_else(|error| {
            let why = [server, client].map(|host| world.with(host, |lp, _| lp.why_alive().to_string()));
            panic!("seed {seed}, in a world: {error}\n{}\n{}", why[0], why[1])
        });
    [server, client].map(|host| {
        paths::assert_inside(&world.files(host).paths());
        world.state(host).log.clone()
    })
}

fn on_the_system(seed: u64) -> [Log; 2] {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let new_program = |dir: &Path| {
        std::fs::create_dir(dir.join(filing::DIR)).unwrap();
        std::fs::create_dir_all(dir.join(paths::base())).unwrap();
        (Loop::<Story>::new().unwrap(), Story::new(dir.into()))
    };
    let (mut server, mut server_story) = new_program(dirs[0].path());
    let (mut client, mut client_story) = new_program(dirs[1].path());
    let addr = start_server(&mut server, seed, "127.0.0.1:0");
    start_client(&mut client, seed, addr);
    let start = Instant::now();
    while server.is_alive() || client.is_alive() {
        server.poll_once(&mut server_story).unwrap();
        client.poll_once(&mut client_story).unwrap();
        server.verify();
        client.verify();
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "seed {seed}, on the system, is still running:\n{}\n{}",
            server.why_alive(),
            client.why_alive()
        );
    }
    [server_story.log, client_story.log]
}

/// Panics at the first entry of an actor that differs, and shows those before it.
fn compare(seed: u64, one: &[Log; 2], other: &[Log; 2]) {
    for (host, (one, other)) in ["server", "client"].iter().zip(one.iter().zip(other)) {
        let of = |log: &Log, actor: &String| log.get(actor).cloned().unwrap_or_default();
        for actor in one.keys().chain(other.keys()) {
            let (one, other) = (of(one, actor), of(other, actor));
            let same = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
            assert!(
                one == other,
                "seed {seed}: {actor} of the {host}: after\n  {}\ncame {:?} on one side, {:?} on the other",
                one[same.saturating_sub(12)..same].join("\n  "),
                one.get(same),
                other.get(same)
            );
        }
    }
}

#[test]
fn a_world_and_the_system_report_the_same() {
    quiet_panics();
    for seed in seeds_on_the_system(40) {
        compare(seed, &in_a_world(seed, Link::flaky()), &on_the_system(seed));
    }
}

#[test]
fn programs_get_the_same_through_any_link() {
    quiet_panics();
    for seed in 0..40 {
        let plain = in_a_world(seed, Link::new());
        compare(seed, &plain, &in_a_world(seed, Link::flaky().latency(Duration::from_millis(20))));
        compare(seed, &plain, &in_a_world(seed, Link::new().send_buffer(100).receive_buffer(1000)));
    }
}

#[test]
fn unix_sockets_return_the_same_in_a_world() {
    for (name, operations) in [("names", sockets::names as sockets::Operations), ("ends", sockets::ends)] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "text").unwrap();
        std::fs::create_dir(dir.path().join("dir")).unwrap();
        let on_the_system: sockets::Log = operations(&mut Loop::new().unwrap(), dir.path());
        let mut world = World::new(1);
        let host = world.host("one", sockets::Log::new(), |_, _| Ok(())).unwrap();
        world.files(host).put("/file", "text");
        world.files(host).make_dir("/dir");
        let in_a_world = world.with(host, |lp, _| operations(lp, Path::new("/")));
        for (number, (one, other)) in on_the_system.iter().zip(&in_a_world).enumerate() {
            let before = on_the_system[number.saturating_sub(20)..number].join("\n  ");
            assert_eq!(one, other, "{name}: on the system and in a world, after\n  {before}");
        }
        assert_eq!(on_the_system.len(), in_a_world.len(), "{name}");
    }
}
