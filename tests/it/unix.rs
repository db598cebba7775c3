//! What is particular to Unix sockets: their files, addresses and credentials. The rest is in `stream`.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{
        fs::{FileTypeExt, PermissionsExt, symlink},
        net as std_net,
    },
    path::{Path, PathBuf},
    process::Command,
    sync::Barrier,
    thread,
};

use ringback::{
    Error, Loop, Result, Timer,
    net::{Event, ListenOptions, UnixListener, UnixStream},
};
use rustix::{
    fs::{FlockOperation, flock},
    net::{AddressFamily, SocketAddrUnix, SocketType, bind, socket},
    process::{getgid, getuid},
};
use tempfile::TempDir;

use crate::common::{wait::eventually, *};

fn dir_and_path() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    (dir, path)
}

/// Leaves a socket file behind, as a process does that was killed.
///
/// Another test may be starting a child meanwhile, which has a copy of the descriptor until it execs.
fn make_stale(path: &Path) {
    drop(std_net::UnixListener::bind(path).unwrap());
    eventually("the socket is closed", || std_net::UnixStream::connect(path).err());
    assert!(is_socket(path));
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Binds, and returns the error in a few words.
#[track_caller]
fn bind_error(lp: &mut Loop<Log>, path: &Path) -> String {
    let error = UnixListener::bind(lp, path).unwrap_err();
    assert!(lp.handles().is_empty());
    describe_error(&error)
}

/// Connects, runs the loop, and returns the error in a few words.
#[track_caller]
fn connect_error(lp: &mut Loop<Log>, path: &Path) -> String {
    UnixStream::connect(lp, path, |_, log, result| note(log, describe_error(&result.unwrap_err()))).unwrap();
    let log = run(lp);
    assert_eq!(log.len(), 1);
    log[0].clone()
}

fn echo(lp: &mut Loop<Log>, _: &mut Log, conn: UnixStream) -> Result {
    conn.start(lp, move |lp, _, event| match event? {
        Event::Data(bytes) => conn.write(lp, bytes),
        Event::End => conn.finish(lp),
        _ => Ok(()),
    })
}

/// Repeats a test in a process of its own: one that counts descriptors, or changes the directory.
///
/// Returns true in that process.
fn in_own_process(test: &str) -> bool {
    const NAME: &str = "RINGBACK_TEST_IN_OWN_PROCESS";
    if std::env::var(NAME).is_ok_and(|name| name == test) {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", test, "--test-threads=1"]).env(NAME, test).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

// ---- listening

#[test]
fn a_client_gets_its_bytes_back() {
    let mut lp = new_loop();
    let (_dir, path) = dir_and_path();
    let listener = UnixListener::bind(&mut lp, &path).unwrap();
    listener
        .start(&mut lp, move |lp, log, conn| {
            listener.close(lp);
            echo(lp, log, conn)
        })
        .unwrap();
    let client = thread::spawn(move || {
        let mut stream = std_net::UnixStream::connect(path).unwrap();
        stream.write_all(b"hello").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    run(&mut lp);
    assert_eq!(client.join().unwrap(), "hello");
}

#[test]
fn a_listener_can_be_stopped_and_resumed() {
    let mut lp = new_loop();
    let (_dir, path) = dir_and_path();
    let listener = UnixListener::bind(&mut lp, &path).unwrap();
    assert_eq!(describe_error(&listener.resume(&mut lp).unwrap_err()), "invalid");
    listener
        .start(&mut lp, |lp, log, conn| {
            conn.close(lp);
            note(log, "accepted")
        })
        .unwrap();
    listener.stop(&mut lp).unwrap();
    let _peer = std_net::UnixStream::connect(&path).unwrap();
    assert!(run_while_alive(&mut lp).unwrap().is_empty());
    listener.resume(&mut lp).unwrap();
    let mut log = Log::new();
    run_until(&mut lp, &mut log, |_, log| *log == ["accepted"]);
    listener.close(&mut lp);
    run(&mut lp);
}

#[test]
fn a_closed_listener_drops_the_connections_that_wait() {
    let mut lp = new_loop();
    let (_dir, path) = dir_and_path();
    let listener = UnixListener::bind(&mut lp, &path).unwrap();
    let mut peer = std_net::UnixStream::connect(&path).unwrap();
    listener.close(&mut lp);
    run(&mut lp);
    // Linux resets them.
    let read = peer.read(&mut [0; 1]);
    assert!(matches!(read, Ok(0)) || read.is_err_and(|error| error.raw_os_error() == Some(libc::ECONNRESET)));
}

// ---- the socket file

#[test]
fn the_file_goes_when_the_listener_is_closed() {
    let mut lp = new_loop();
    let (_dir, path) = dir_and_path();
    let listener = UnixListener::bind(&mut lp, &path).unwrap();
    assert!(is_socket(&path));
    listener.close(&mut lp);
    run(&mut lp);
    assert!(!exists(&path));
}

#[test]
fn a_listener_closed_in_its_callback_removes_its_file() {
    let mut lp = new_loop();
    let (_dir, path) = dir_and_path();
    let listener = UnixListener::bind(&mut lp, &path).unwrap();
    let peers = [(); 3].map(|()| std_net::UnixStream::connect(&path).unwrap());
    listener
        .start(&mut lp, move |lp, log, conn| {
            conn.close(lp);
            listener.close(lp);
            assert!(listener.local_addr(lp).is_err());
            note(log, "accepted")
        })
        .unwrap();
    assert_eq!(run(&mut lp), ["accepted"]);
    assert!(!exists(&path));
    drop(peers);
}

#[test]
fn the_file_goes_when_the_loop_is_dropped() {
    let mut lp = new_loop();
    let (_dir, path) = dir_and_path();
    UnixListener::bind(&mut lp, &path).unwrap().start(&mut lp, |_, _, _| Ok(())).unwrap();
    assert!(is_socket(&path));
    drop(lp);
    assert!(!exists(&path));
}

#[test]
fn the_file_goes_after_a_failed_run() {
    let mut lp = new_loop();
    let (_dir, path) = dir_and_path();
    UnixListener::bind(&mut lp, &path).unwrap().start(&mut lp, |_, _, _| Ok(())).unwrap();
    Timer::after(&mut lp, MS, |_, _| Err(Error::other("no"))).unwrap();
    lp.run(&mut Log::new()).unwrap_err();
    assert!(is_socket(&path));
    drop(lp);
    assert!(!exists(&path));
}

#[test]
fn the_file_stays_if_its_name_is_another_ones() {
    let mut lp = new_loop();
    let (_dir, path) = dir_and_path();
    for way in ["another file", "another socket", "no file"] {
        let listener = UnixListener::bind(&mut lp, &path).unwrap();
        fs::remove_file(&path).unwrap();
        match way {
            "another file" => fs::write(&path, "text").unwrap(),
            "another socket" => make_stale(&path),
            _ => {}
        }
        listener.close(&mut lp);
        run(&mut lp);
        assert_eq!(exists(&path), way != "no file", "{way}");
        let _ = fs::remove_file(&path);
    }
}

#[test]
fn a_stale_file_is_replaced() {
    let mut lp = new_loop();
    let (_dir, path) = dir_and_path();
    make_stale(&path);
    let listener = UnixListener::bind(&mut lp, &path).unwrap();
    std_net::UnixStream::connect(&path).unwrap();
    listener.close(&mut lp);
    run(&mut lp);
    assert!(!exists(&path));
}

#[test]
fn a_stale_file_is_replaced_in_a_locked_directory() {
    let mut lp = new_loop();
    let (dir, path) = dir_and_path();
    make_stale(&path);
    let directory = fs::File::open(dir.path()).unwrap();
    flock(&directory, FlockOperation::LockExclusive).unwrap();
    UnixListener::bind(&mut lp, &path).unwrap();
    std_net::UnixStream::connect(&path).unwrap();
}

#[test]
fn a_live_socket_is_in_use() {
    let mut lp = new_loop();
    let (_dir, path) = dir_and_path();
    let listener = std_net::UnixListener::bind(&path).unwrap();
    assert_eq!(bind_error(&mut lp, &path), "listen on AddrInUse");
    // The attempt was no connection.
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    std_net::UnixStream::connect(&path).unwrap();
    // One of the same loop is in use, too.
    let (_dir, path) = dir_and_path();
    UnixListener::bind(&mut lp, &path).unwrap();
    let error = UnixListener::bind(&mut lp, &path).unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
}

#[test]
fn a_bound_socket_that_does_not_listen_is_in_use() {
    let mut lp = new_loop();
    let (dir, path) = dir_and_path();
    let bound = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&bound, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    assert_eq!(bind_error(&mut lp, &path), "listen on AddrInUse");
    assert!(is_socket(&path));
    let path = dir.path().join("datagrams");
    let _datagrams = std_net::UnixDatagram::bind(&path).unwrap();
    assert_eq!(bind_error(&mut lp, &path), "listen on AddrInUse");
    assert!(is_socket(&path));
}

#[test]
fn another_kind_of_file_is_in_use_and_left_alone() {
    let mut lp = new_loop();
    let (dir, stale) = dir_and_path();
    make_stale(&stale);
    let path = |name| dir.path().join(name);
    fs::write(path("file"), "text").unwrap();
    fs::create_dir(path("directory")).unwrap();
    symlink(&stale, path("to a socket")).unwrap();
    symlink(path("file"), path("to a file")).unwrap();
    symlink(path("nothing"), path("to nothing")).unwrap();
    for name in ["file", "directory", "to a socket", "to a file", "to nothing"] {
        assert_eq!(bind_error(&mut lp, &path(name)), "listen on AddrInUse", "{name}");
    }
    assert_eq!(fs::read_to_string(path("to a file")).unwrap(), "text");
    assert!(path("directory").is_dir() && is_socket(&path("to a socket").read_link().unwrap()));
    assert!(exists(&path("to nothing")) && !exists(&path("nothing")));
}

#[test]
fn of_two_that_replace_a_stale_file_one_wins() {
    const ROUNDS: usize = 200;
    let (_dir, path) = dir_and_path();
    let barrier = Barrier::new(3);
    let replace = || {
        let mut lp = new_loop();
        let mut outcomes = Vec::new();
        for _ in 0..ROUNDS {
            barrier.wait();
            let bound = UnixListener::bind(&mut lp, &path);
            // Both have tried, and then the test has connected.
            barrier.wait();
            barrier.wait();
            if let Ok(listener) = bound {
                listener.close(&mut lp);
            }
            run(&mut lp);
            outcomes.push(bound.map_or_else(|error| describe_error(&error), |_| "bound".into()));
            barrier.wait();
        }
        outcomes
    };
    // Checked in the end: a panic in a round would leave the others at the barrier.
    let (outcomes, reached) = thread::scope(|scope| {
        let threads = [scope.spawn(replace), scope.spawn(replace)];
        let mut reached = Vec::new();
        for _ in 0..ROUNDS {
            make_stale(&path);
            barrier.wait();
            barrier.wait();
            reached.push(std_net::UnixStream::connect(&path).is_ok());
            barrier.wait();
            barrier.wait();
        }
        (threads.map(|thread| thread.join().unwrap()), reached)
    });
    for (round, reached) in reached.into_iter().enumerate() {
        let mut found = [&*outcomes[0][round], &*outcomes[1][round]];
        found.sort_unstable();
        assert_eq!((found, reached), (["bound", "listen on AddrInUse"], true), "round {round}");
    }
    assert!(!exists(&path));
}

/// While one listener closes and another binds, a third finds the path taken or free, and nothing else.
#[test]
fn binding_while_another_listener_closes_succeeds_or_is_in_use() {
    let (_dir, path) = dir_and_path();
    let compete = || {
        let mut lp = new_loop();
        let mut won = 0;
        for round in 0..1000 {
            match UnixListener::bind(&mut lp, &path) {
                Ok(listener) => {
                    // The name still leads to this listener.
                    std_net::UnixStream::connect(&path).unwrap();
                    if round % 2 == 0 {
                        listener.close(&mut lp);
                        run(&mut lp);
                    } else {
                        lp = new_loop();
                    }
                    won += 1;
                }
                Err(error) => assert_eq!(describe_error(&error), "listen on AddrInUse"),
            }
        }
        won
    };
    thread::scope(|scope| {
        let threads = [scope.spawn(compete), scope.spawn(compete), scope.spawn(compete)];
        assert!(threads.map(|thread| thread.join().unwrap()).iter().sum::<usize>() > 0);
    });
    assert!(!exists(&path));
}

// ---- addresses

#[test]
fn a_relative_path_is_found_again_elsewhere() {
    if !in_own_process("unix::a_relative_path_is_found_again_elsewhere") {
        return;
    }
    let (dir, path) = dir_and_path();
    std::env::set_current_dir(dir.path()).unwrap();
    let mut lp = new_loop();
    for relative in ["socket", "./socket"] {
        make_stale(&path);
        let listener = UnixListener::bind(&mut lp, relative).unwrap();
        assert_eq!(bind_error_with_handles(&mut lp, "socket"), "listen on AddrInUse");
        UnixStream::connect(&mut lp, relative, |lp, log, conn| {
            conn?.close(lp);
            note(log, "connected")
        })
        .unwrap();
        assert_eq!(run_while_alive(&mut lp).unwrap(), ["connected"]);
        // The file is removed although the process is in another directory by then.
        std::env::set_current_dir("/").unwrap();
        listener.close(&mut lp);
        run(&mut lp);
        assert!(!exists(&path), "{relative}");
        std::env::set_current_dir(dir.path()).unwrap();
    }
    std::env::set_current_dir("/").unwrap();
}

fn bind_error_with_handles(lp: &mut Loop<Log>, path: &str) -> String {
    describe_error(&UnixListener::bind(lp, path).unwrap_err())
}

#[test]
fn the_longest_path_works_and_a_longer_one_is_refused() {
    let mut lp = new_loop();
    let dir = tempfile::tempdir().unwrap();
    let path_of = |len: usize| {
        let missing = len - dir.path().as_os_str().len() - 1;
        dir.path().join("x".repeat(missing))
    };
    let longest =
        (90..200).rev().find(|&len| std_net::SocketAddr::from_pathname(path_of(len)).is_ok()).unwrap();
    assert!(longest > 100, "{longest}");
    let path = path_of(longest);
    let listener = UnixListener::bind(&mut lp, &path).unwrap();
    std_net::UnixStream::connect(&path).unwrap();
    assert_eq!(listener.local_addr(&mut lp).unwrap().as_pathname(), Some(&*path));
    listener.close(&mut lp);
    run(&mut lp);
    assert!(!exists(&path));
    assert_eq!(bind_error(&mut lp, &path_of(longest + 1)), "invalid");
}

#[test]
fn a_path_that_is_no_address_is_refused() {
    let mut lp = new_loop();
    let unnamed = std_net::SocketAddr::from_pathname("").unwrap();
    for path in ["", "zero\0inside", "\0zero first", &"long".repeat(100)] {
        assert_eq!(bind_error(&mut lp, Path::new(path)), "invalid", "{path:?}");
        let error = UnixStream::connect(&mut lp, path, |_, _, _| panic!()).unwrap_err();
        assert_eq!(describe_error(&error), "invalid", "{path:?}");
    }
    assert_eq!(describe_error(&UnixListener::bind(&mut lp, unnamed).unwrap_err()), "invalid");
    assert!(lp.handles().is_empty());
}

#[test]
fn a_path_in_a_directory_that_does_not_exist_fails() {
    let mut lp = new_loop();
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(bind_error(&mut lp, &dir.path().join("none/socket")), "listen on NotFound");
    fs::write(dir.path().join("file"), "").unwrap();
    assert_eq!(bind_error(&mut lp, &dir.path().join("file/socket")), "listen on NotADirectory");
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_address_has_no_file_and_is_freed() {
    use std::os::linux::net::SocketAddrExt;
    let mut lp = new_loop();
    let pid = std::process::id();
    for name in [format!("ringback-{pid}"), format!("a\0b-{pid}")] {
        let addr = std_net::SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixListener::bind(&mut lp, &addr).unwrap();
        let error = UnixListener::bind(&mut lp, &addr).unwrap_err();
        assert_eq!(describe_error(&error), "listen on AddrInUse");
        listener
            .start(&mut lp, move |lp, log, conn| {
                listener.close(lp);
                echo(lp, log, conn)
            })
            .unwrap();
        assert_eq!(listener.local_addr(&mut lp).unwrap().as_abstract_name(), Some(name.as_bytes()));
        UnixStream::connect(&mut lp, &addr, move |lp, _, conn| {
            let conn = conn?;
            assert_eq!(conn.peer_addr(lp)?.as_abstract_name(), Some(name.as_bytes()));
            conn.write(lp, "x")?;
            conn.start(lp, move |lp, log, event| match event? {
                Event::Data(_) => {
                    conn.close(lp);
                    note(log, "echoed")
                }
                _ => Ok(()),
            })
        })
        .unwrap();
        assert_eq!(run(&mut lp), ["echoed"]);
        eventually("the name is free", || std_net::UnixStream::connect_addr(&addr).err());
        UnixStream::connect(&mut lp, &addr, |_, log, result| note(log, describe_error(&result.unwrap_err())))
            .unwrap();
        assert_eq!(run(&mut lp), ["connect ConnectionRefused"]);
    }
}

#[test]
fn both_ends_know_their_addresses() {
    let mut lp = new_loop();
    let (_dir, path) = dir_and_path();
    let listener = UnixListener::bind(&mut lp, &path).unwrap();
    assert_eq!(listener.local_addr(&mut lp).unwrap().as_pathname(), Some(&*path));
    let expected = path.clone();
    listener
        .start(&mut lp, move |lp, log, conn| {
            listener.close(lp);
            assert_eq!(conn.local_addr(lp)?.as_pathname(), Some(&*expected));
            assert!(conn.peer_addr(lp)?.is_unnamed());
            conn.close(lp);
            note(log, "accepted")
        })
        .unwrap();
    let expected = path.clone();
    UnixStream::connect(&mut lp, &path, move |lp, log, conn| {
        let conn = conn?;
        assert!(conn.local_addr(lp)?.is_unnamed());
        assert_eq!(conn.peer_addr(lp)?.as_pathname(), Some(&*expected));
        conn.close(lp);
        note(log, "connected")
    })
    .unwrap();
    let mut log = run(&mut lp);
    log.sort();
    assert_eq!(log, ["accepted", "connected"]);
}

// ---- connecting

#[test]
fn connecting_where_nothing_listens_fails_in_the_callback() {
    let mut lp = new_loop();
    let (dir, path) = dir_and_path();
    assert_eq!(connect_error(&mut lp, &path), "connect NotFound");
    make_stale(&path);
    assert_eq!(connect_error(&mut lp, &path), "connect ConnectionRefused");
    assert!(is_socket(&path));
    fs::write(dir.path().join("file"), "").unwrap();
    assert_eq!(connect_error(&mut lp, &dir.path().join("file")), "connect ConnectionRefused");
}

#[test]
fn connecting_without_permission_fails() {
    let mut lp = new_loop();
    let (_dir, path) = dir_and_path();
    let _listener = std_net::UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    // The standard library decides whether there are permissions for this user.
    if std_net::UnixStream::connect(&path).is_err() {
        assert_eq!(connect_error(&mut lp, &path), "connect PermissionDenied");
        assert_eq!(bind_error(&mut lp, &path), "listen on AddrInUse");
    }
}

#[test]
fn connecting_to_a_full_backlog_fails() {
    let mut lp = new_loop();
    let (_dir, path) = dir_and_path();
    let listener = ListenOptions::new().backlog(1).bind_unix(&mut lp, &path).unwrap();
    let mut log = Log::new();
    // Systems queue a few more than the backlog says.
    for _ in 0..20 {
        UnixStream::connect(&mut lp, &path, |_, log, result| {
            note(log, result.map_or_else(|error| describe_error(&error), |_| "connected".into()))
        })
        .unwrap();
    }
    run_until(&mut lp, &mut log, |_, log| log.len() == 20);
    let full = if cfg!(target_os = "linux") { "connect WouldBlock" } else { "connect ConnectionRefused" };
    assert!(log[0] == "connected" && log[19] == full, "{log:?}");
    // Those in the queue are accepted.
    let waiting = log.iter().filter(|line| *line == "connected").count();
    log.clear();
    listener.start(&mut lp, |_, log, _| note(log, "accepted")).unwrap();
    run_until(&mut lp, &mut log, |_, log| log.len() == waiting);
    for info in lp.handles() {
        lp.close(info.origin.handle.unwrap());
    }
    run(&mut lp);
}

#[test]
fn what_is_written_before_the_callback_is_sent() {
    let mut lp = new_loop();
    let (_dir, path) = dir_and_path();
    let listener = std_net::UnixListener::bind(&path).unwrap();
    let stream = UnixStream::connect(&mut lp, &path, |_, log, conn| {
        conn?;
        note(log, "connected")
    })
    .unwrap();
    stream.write(&mut lp, "early").unwrap();
    stream.finish(&mut lp).unwrap();
    assert_eq!(run(&mut lp), ["connected"]);
    let mut text = String::new();
    listener.accept().unwrap().0.read_to_string(&mut text).unwrap();
    assert_eq!(text, "early");
}

#[test]
fn what_is_written_before_a_failed_connect_is_canceled() {
    let mut lp = new_loop();
    let (_dir, path) = dir_and_path();
    let note_error = |_: &mut Loop<Log>, log: &mut Log, error: Error| note(log, describe_error(&error));
    let stream =
        UnixStream::connect(&mut lp, &path, move |lp, log, result| note_error(lp, log, result.unwrap_err()));
    let stream = stream.unwrap();
    stream.write_then(&mut lp, "x", move |lp, log, result| note_error(lp, log, result.unwrap_err())).unwrap();
    assert!(stream.peer_credentials(&mut lp).is_err());
    assert_eq!(run(&mut lp), ["connect NotFound", "canceled"]);
}

// ---- streams

#[test]
fn credentials_are_those_of_this_process() {
    let mut lp = new_loop();
    let (_dir, path) = dir_and_path();
    let (one, other) = UnixStream::pair(&mut lp).unwrap();
    let listener = UnixListener::bind(&mut lp, &path).unwrap();
    let mut log = Log::new();
    let accepted = std::rc::Rc::new(std::cell::Cell::new(None));
    let stream = accepted.clone();
    listener
        .start(&mut lp, move |lp, log, conn| {
            listener.close(lp);
            stream.set(Some(conn));
            note(log, "accepted")
        })
        .unwrap();
    let client = UnixStream::connect(&mut lp, &path, |_, log, conn| {
        conn?;
        note(log, "connected")
    })
    .unwrap();
    run_until(&mut lp, &mut log, |_, log| log.len() == 2);
    for stream in [one, other, client, accepted.get().unwrap()] {
        let found = stream.peer_credentials(&mut lp).unwrap();
        assert_eq!((found.uid, found.gid), (getuid().as_raw(), getgid().as_raw()));
        if cfg!(target_os = "linux") {
            assert_eq!(found.pid, Some(std::process::id()));
        }
        stream.close(&mut lp);
    }
    run(&mut lp);
    assert_eq!(describe_error(&client.peer_credentials(&mut lp).unwrap_err()), "closed");
}

#[test]
fn a_pair_talks_both_ways_and_has_no_names() {
    let mut lp = new_loop();
    let (one, other) = UnixStream::pair(&mut lp).unwrap();
    for stream in [one, other] {
        assert!(stream.local_addr(&mut lp).unwrap().is_unnamed());
        assert!(stream.peer_addr(&mut lp).unwrap().is_unnamed());
    }
    for (stream, name) in [(one, "one"), (other, "other")] {
        stream.write(&mut lp, name).unwrap();
        stream.finish(&mut lp).unwrap();
        stream
            .start(&mut lp, move |_, log, event| note(log, format!("{name} {}", describe_event(&event))))
            .unwrap();
    }
    let mut log = run(&mut lp);
    log.sort();
    let expected =
        ["one closed", "one data \"other\"", "one end", "other closed", "other data \"one\"", "other end"];
    assert_eq!(log, expected);
}

#[test]
fn a_write_after_the_peers_close_fails() {
    let mut lp = new_loop();
    let (one, other) = UnixStream::pair(&mut lp).unwrap();
    one.start(&mut lp, |_, log, event| note(log, describe_event(&event))).unwrap();
    other.close(&mut lp);
    run_until(&mut lp, &mut Log::new(), |_, log| *log == ["end"]);
    one.write_then(&mut lp, "x", |_, log, result| note(log, describe_error(&result.unwrap_err()))).unwrap();
    assert_eq!(run(&mut lp), ["write BrokenPipe", "closed"]);
}

#[test]
fn buffer_sizes_read_back_what_was_set() {
    let mut lp = new_loop();
    let (stream, _other) = UnixStream::pair(&mut lp).unwrap();
    stream.set_send_buffer(&mut lp, 50_000).unwrap();
    assert!((50_000..=100_000).contains(&stream.send_buffer(&mut lp).unwrap()));
    stream.set_receive_buffer(&mut lp, 50_000).unwrap();
    assert!((50_000..=100_000).contains(&stream.receive_buffer(&mut lp).unwrap()));
}

#[test]
fn a_stream_of_std_can_be_taken_over_and_given_back() {
    let mut lp = new_loop();
    let (ours, mut peer) = std_net::UnixStream::pair().unwrap();
    let stream = UnixStream::from_std(&mut lp, ours).unwrap();
    stream.start(&mut lp, |_, log, event| note(log, format!("stream {}", describe_event(&event)))).unwrap();
    stream.write(&mut lp, "from the loop ").unwrap();
    let mut std_stream = stream.into_std(&mut lp).unwrap();
    assert_eq!(run(&mut lp), ["stream closed"]);
    // It blocks again.
    let echo = thread::spawn(move || {
        let mut byte = [0];
        std_stream.read_exact(&mut byte).unwrap();
        std_stream.write_all(b"and after it").unwrap();
    });
    peer.write_all(b"x").unwrap();
    echo.join().unwrap();
    let mut text = String::new();
    peer.read_to_string(&mut text).unwrap();
    assert_eq!(text, "from the loop and after it");
}

#[test]
fn into_std_is_refused_while_bytes_are_queued() {
    let mut lp = new_loop();
    let (stream, _other) = UnixStream::pair(&mut lp).unwrap();
    stream.write(&mut lp, vec![7; 16 << 20]).unwrap();
    assert_eq!(describe_error(&stream.into_std(&mut lp).unwrap_err()), "in use");
    assert!(stream.is_open(&lp));
}

// ---- descriptors

#[cfg(target_os = "linux")]
#[test]
fn no_error_leaks_a_descriptor() {
    if !in_own_process("unix::no_error_leaks_a_descriptor") {
        return;
    }
    let (dir, live) = dir_and_path();
    let _listener = std_net::UnixListener::bind(&live).unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let stale = dir.path().join("stale");
    let mut lp = new_loop();
    let attempts = |lp: &mut Loop<Log>| {
        for path in [&live, &file, &dir.path().join("none/socket"), &"x".repeat(500).into()] {
            UnixListener::bind(lp, path).unwrap_err();
        }
        make_stale(&stale);
        connect_error(lp, &stale);
        connect_error(lp, &file);
        UnixListener::bind(lp, &stale).unwrap().close(lp);
        UnixStream::connect(lp, &live, |_, _, _| Err(Error::other("no"))).unwrap();
        lp.on_failure(|_, _, _| Ok(()));
        let (one, other) = UnixStream::pair(lp).unwrap();
        one.close(lp);
        drop(other.into_std(lp).unwrap());
        run(lp);
    };
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    attempts(&mut lp);
    let before = descriptors();
    (0..20).for_each(|_| attempts(&mut lp));
    assert_eq!(descriptors(), before);
}

#[cfg(target_os = "linux")]
#[test]
fn without_descriptors_every_attempt_fails_and_leaves_nothing() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    if !in_own_process("unix::without_descriptors_every_attempt_fails_and_leaves_nothing") {
        return;
    }
    let (_dir, path) = dir_and_path();
    make_stale(&path);
    let mut lp = new_loop();
    let whole = getrlimit(Resource::Nofile);
    // The lowest free descriptor.
    let free = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    let next = std::os::fd::AsRawFd::as_raw_fd(&free) as u64;
    drop(free);
    for spare in 0..3 {
        setrlimit(Resource::Nofile, Rlimit { current: Some(next + spare), ..whole }).unwrap();
        // The third is the probe's: without it nothing is known to be stale. One is the lock's.
        let bound = UnixListener::bind(&mut lp, &path);
        let pair = UnixStream::pair(&mut lp);
        let connected = UnixStream::connect(&mut lp, &path, |_, _, _| Ok(()));
        setrlimit(Resource::Nofile, whole).unwrap();
        if spare < 2 {
            assert!(bound.is_err() && exists(&path), "{spare}");
        }
        assert_eq!(connected.is_ok(), spare > u64::from(pair.is_ok()) * 2, "{spare}");
        if let Ok((one, other)) = pair {
            one.close(&mut lp);
            other.close(&mut lp);
        }
        run(&mut lp);
        let again = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        assert_eq!(std::os::fd::AsRawFd::as_raw_fd(&again) as u64, next, "{spare}");
    }
}
