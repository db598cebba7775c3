//! Unix sockets of a world: files that outlive their program, abstract names, backlogs, descriptors.

use std::{io::ErrorKind, path::Path, time::Duration};

use ringback::{
    Error, Loop, Result,
    net::{Event, ListenOptions, UnixListener, UnixStream},
    sim::{Host, Link, World},
};

const PATH: &str = "/run";
const LATER: Duration = Duration::from_secs(1);

/// What happened, one line each.
type Log = Vec<String>;

fn note(log: &mut Log, line: impl Into<String>) -> Result {
    log.push(line.into());
    Ok(())
}

fn kind<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => "ok".into(),
        Err(Error::Canceled { .. }) => "canceled".into(),
        Err(error) => error.io_kind().map_or_else(|| error.to_string(), |kind| format!("{kind:?}")),
    }
}

/// Serves echo.
fn serve(lp: &mut Loop<Log>, path: &str) -> Result<UnixListener> {
    let listener = UnixListener::bind(lp, path)?;
    listener.start(lp, |lp, _, conn| {
        conn.start(lp, move |lp, _, event| match event? {
            Event::Data(bytes) => conn.write(lp, bytes),
            Event::End => conn.finish(lp),
            _ => Ok(()),
        })
    })?;
    Ok(listener)
}

/// Connects, sends a text, and logs what came back.
fn ask(lp: &mut Loop<Log>, path: &str, text: &'static str) -> Result {
    UnixStream::connect(lp, path, move |lp, log, conn| {
        let conn = match conn {
            Ok(conn) => conn,
            Err(error) => return note(log, format!("connect {}", kind::<()>(Err(error)))),
        };
        conn.write(lp, text)?;
        conn.shutdown(lp)?;
        let mut received = Vec::new();
        conn.start(lp, move |lp, log: &mut Log, event| {
            match event {
                Ok(Event::Data(bytes)) => received.extend_from_slice(bytes),
                Ok(Event::End) => {
                    conn.close(lp);
                    log.push(String::from_utf8_lossy(&received).into());
                }
                Ok(_) => {}
                Err(error) => log.push(format!("error {}", kind::<()>(Err(error)))),
            }
            Ok(())
        })
    })
    .map(drop)
}

fn add_host(world: &mut World) -> Host<Log> {
    world.host("one", Log::new(), |_, _| Ok(())).unwrap()
}

/// Runs for a second. Returns what was logged since the last time.
fn logged(world: &mut World, host: Host<Log>) -> Log {
    world.run_for(LATER).unwrap();
    world.with(host, |_, log| std::mem::take(log))
}

fn has_file(world: &World, host: Host<Log>) -> bool {
    world.files(host).paths().iter().any(|path| path == Path::new(PATH))
}

#[test]
fn a_client_of_the_same_machine_gets_its_bytes_back() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        world.set_link(Link::flaky());
        world.set_spurious_one_in(4);
        let host = add_host(&mut world);
        world.with(host, |lp, _| serve(lp, PATH).and_then(|_| ask(lp, PATH, "hello"))).unwrap();
        assert_eq!(logged(&mut world, host), ["hello"]);
    }
}

#[test]
fn another_machine_does_not_reach_the_socket() {
    let mut world = World::new(1);
    let (one, other) = (add_host(&mut world), add_host(&mut world));
    world.with(one, |lp, _| serve(lp, PATH)).unwrap();
    world.with(other, |lp, _| ask(lp, PATH, "hello")).unwrap();
    assert_eq!(logged(&mut world, other), ["connect NotFound"]);
    world.with(other, |lp, _| serve(lp, PATH)).unwrap();
}

#[test]
fn a_kill_leaves_the_file_and_a_restart_replaces_it() {
    let mut world = World::new(1);
    let host = add_host(&mut world);
    for round in 0..3 {
        world.with(host, |lp, _| serve(lp, PATH).and_then(|_| ask(lp, PATH, "hello"))).unwrap();
        assert_eq!(logged(&mut world, host), ["hello"], "round {round}");
        world.kill(host);
        assert!(has_file(&world, host));
        world.restart(host, Log::new(), |lp, _| ask(lp, PATH, "hello")).unwrap();
        assert_eq!(logged(&mut world, host), ["connect ConnectionRefused"]);
    }
}

#[test]
fn a_crash_ends_the_listener_whether_its_file_is_left_or_not() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        let host = add_host(&mut world);
        world.with(host, |lp, _| serve(lp, PATH)).unwrap();
        world.crash(host);
        let left = has_file(&world, host);
        world.restart(host, Log::new(), |lp, _| ask(lp, PATH, "hello")).unwrap();
        let expected = if left { "connect ConnectionRefused" } else { "connect NotFound" };
        assert_eq!(logged(&mut world, host), [expected]);
        world.with(host, |lp, _| serve(lp, PATH).and_then(|_| ask(lp, PATH, "again"))).unwrap();
        assert_eq!(logged(&mut world, host), ["again"]);
    }
}

#[test]
fn the_file_goes_with_its_listener_or_its_loop() {
    let mut world = World::new(1);
    let host = add_host(&mut world);
    let listener = world.with(host, |lp, _| serve(lp, PATH)).unwrap();
    assert!(has_file(&world, host));
    world.with(host, |lp, _| listener.close(lp));
    logged(&mut world, host);
    assert!(!has_file(&world, host));
    // A program whose `main` returns drops its loop, which is no kill.
    let mut own: Loop<Log> = world.new_loop("own").unwrap();
    let mut beside: Loop<Log> = world.new_loop_beside("beside", &mut own).unwrap();
    UnixListener::bind(&mut own, PATH).unwrap();
    let error = UnixListener::bind(&mut beside, PATH).unwrap_err();
    assert_eq!(error.io_kind(), Some(ErrorKind::AddrInUse));
    drop(own);
    let connected = UnixStream::connect(&mut beside, PATH, |_, log, conn| note(log, kind(conn)));
    connected.unwrap();
    let mut log = Log::new();
    beside.run_for(&mut log, LATER).unwrap();
    assert_eq!(log, ["NotFound"]);
}

#[test]
fn another_kind_of_file_is_in_use_and_left_alone() {
    let mut world = World::new(1);
    let host = add_host(&mut world);
    world.files(host).put(PATH, "text");
    world.files(host).make_dir("/dir");
    for path in [PATH, "/dir"] {
        let error = world.with(host, |lp, _| UnixListener::bind(lp, path)).unwrap_err();
        assert_eq!(error.io_kind(), Some(ErrorKind::AddrInUse));
    }
    assert_eq!(world.files(host).get(PATH).unwrap(), b"text");
    world.with(host, |lp, _| ask(lp, PATH, "hello")).unwrap();
    assert_eq!(logged(&mut world, host), ["connect ConnectionRefused"]);
}

#[test]
fn a_file_that_has_the_name_by_then_stays() {
    let mut world = World::new(1);
    let host = add_host(&mut world);
    let listener = world.with(host, |lp, _| serve(lp, PATH)).unwrap();
    assert!(world.files(host).remove(PATH));
    world.files(host).put(PATH, "text");
    world.with(host, |lp, _| listener.close(lp));
    logged(&mut world, host);
    assert_eq!(world.files(host).get(PATH).unwrap(), b"text");
}

#[test]
fn connecting_without_permission_fails() {
    let mut world = World::new(1);
    let host = add_host(&mut world);
    world.with(host, |lp, _| serve(lp, PATH)).unwrap();
    world.files(host).set_mode(PATH, 0o444);
    world.with(host, |lp, _| ask(lp, PATH, "hello")).unwrap();
    assert_eq!(logged(&mut world, host), ["connect PermissionDenied"]);
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_name_ends_with_its_program() {
    use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr};
    let mut world = World::new(1);
    let host = add_host(&mut world);
    let addr = SocketAddr::from_abstract_name("name").unwrap();
    let files = world.files(host).paths();
    for _ in 0..3 {
        world.with(host, |lp, _| UnixListener::bind(lp, &addr)).unwrap();
        let again = world.with(host, |lp, _| UnixListener::bind(lp, &addr)).unwrap_err();
        assert_eq!(again.io_kind(), Some(ErrorKind::AddrInUse));
        assert_eq!(world.files(host).paths(), files);
        world.kill(host);
        let to = addr.clone();
        let connect = |lp: &mut Loop<Log>, _: &mut Log| {
            UnixStream::connect(lp, to, |_, log, conn| note(log, kind(conn))).map(drop)
        };
        world.restart(host, Log::new(), connect).unwrap();
        assert_eq!(logged(&mut world, host), ["ConnectionRefused"]);
    }
}

#[test]
fn connecting_to_a_full_backlog_would_block() {
    let mut world = World::new(1);
    let host = add_host(&mut world);
    let listener = world.with(host, |lp, _| ListenOptions::new().backlog(2).bind_unix(lp, PATH)).unwrap();
    world.with(host, |lp, _| {
        for _ in 0..3 {
            UnixStream::connect(lp, PATH, |_, log, conn| note(log, kind(conn))).unwrap();
        }
    });
    assert_eq!(logged(&mut world, host), ["ok", "ok", "WouldBlock"]);
    world.with(host, |lp, _| listener.start(lp, |_, log, _| note(log, "accepted"))).unwrap();
    assert_eq!(logged(&mut world, host), ["accepted", "accepted"]);
}

#[test]
fn a_closed_listener_resets_the_connections_that_wait() {
    let mut world = World::new(1);
    let host = add_host(&mut world);
    let listener = world.with(host, |lp, _| UnixListener::bind(lp, PATH)).unwrap();
    world.with(host, |lp, _| ask(lp, PATH, "hello")).unwrap();
    world.run_for(Duration::from_millis(1)).unwrap();
    world.with(host, |lp, _| listener.close(lp));
    assert_eq!(logged(&mut world, host), ["error ConnectionReset"]);
}

#[test]
fn without_descriptors_everything_fails_and_nothing_is_left() {
    let mut world = World::new(1);
    let host = add_host(&mut world);
    let files = world.files(host).paths();
    world.set_fd_limit(host, 1);
    let failed = |error: Option<Error>| {
        let Some(Error::System { source, .. }) = error else { panic!("{error:?}") };
        assert_eq!(source.raw_os_error(), Some(libc::EMFILE));
    };
    world.with(host, |lp, _| {
        failed(UnixStream::pair(lp).err());
        let listener = UnixListener::bind(lp, PATH).unwrap();
        failed(UnixListener::bind(lp, "/other").err());
        failed(UnixStream::connect(lp, PATH, |_, _, _| Ok(())).err());
        listener.close(lp);
    });
    logged(&mut world, host);
    assert_eq!(world.files(host).paths(), files);
    // Each failed attempt has given back what it took.
    world.set_fd_limit(host, 2);
    world.with(host, |lp, _| UnixStream::pair(lp)).unwrap();
}

#[test]
fn accepting_waits_until_there_is_a_descriptor() {
    let mut world = World::new(1);
    let host = add_host(&mut world);
    world.with(host, |lp, _| {
        lp.on_failure(|_, log: &mut Log, failure| note(log, kind::<()>(Err(failure.error))));
    });
    world.with(host, |lp, _| serve(lp, PATH)).unwrap();
    world.set_fd_limit(host, 2);
    world.with(host, |lp, _| ask(lp, PATH, "hello")).unwrap();
    assert!(!logged(&mut world, host).contains(&"hello".into()));
    world.set_fd_limit(host, 3);
    assert_eq!(logged(&mut world, host).last().unwrap(), "hello");
}

#[test]
fn no_network_is_between_unix_sockets_to_reset_them() {
    let mut world = World::new(1);
    world.set_link(Link::new().reset_one_in(1));
    let host = add_host(&mut world);
    world.with(host, |lp, _| serve(lp, PATH).and_then(|_| ask(lp, PATH, "hello"))).unwrap();
    world.reset(host, host);
    assert_eq!(logged(&mut world, host), ["hello"]);
}

#[test]
fn both_ends_know_names_and_credentials() {
    let mut world = World::new(1);
    let mut lp: Loop<Log> = world.new_loop("one").unwrap();
    let listener = UnixListener::bind(&mut lp, PATH).unwrap();
    assert_eq!(listener.local_addr(&mut lp).unwrap().as_pathname(), Some(Path::new(PATH)));
    listener
        .start(&mut lp, move |lp, log, conn| {
            listener.close(lp);
            assert_eq!(conn.local_addr(lp)?.as_pathname(), Some(Path::new(PATH)));
            assert!(conn.peer_addr(lp)?.is_unnamed());
            note(log, format!("{:?}", conn.peer_credentials(lp)?))?;
            conn.close(lp);
            Ok(())
        })
        .unwrap();
    UnixStream::connect(&mut lp, PATH, move |lp, log, conn| {
        let conn = conn?;
        assert!(conn.local_addr(lp)?.is_unnamed());
        assert_eq!(conn.peer_addr(lp)?.as_pathname(), Some(Path::new(PATH)));
        note(log, format!("{:?}", conn.peer_credentials(lp)?))?;
        conn.close(lp);
        Ok(())
    })
    .unwrap();
    let mut log = Log::new();
    lp.run(&mut log).unwrap();
    assert_eq!(log, [const { "Credentials { uid: 0, gid: 0, pid: Some(1) }" }; 2]);
}
