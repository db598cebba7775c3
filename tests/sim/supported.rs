//! What a simulated world does not support, as a list that may only shrink.
//!
//! Everything that a program can ask of the system is tried in a world. What is refused with `Unsupported`
//! must be in the list, and nothing else may be.

use std::{collections::BTreeMap, io, time::Duration};

use ringback::{
    Error, Loop, Poll, Result, channel, fs,
    fs::{File, OpenOptions},
    net::{Event, Keepalive, ListenOptions, TcpListener, TcpStream, UnixListener, UnixStream},
    poll::Interest,
    signal::{self, Signal},
    sim::World,
    work,
};

/// Sorted. To support something means to remove its line.
const UNSUPPORTED: &[&str] = &[
    "file: into std",
    "poll: new",
    "stream: from std",
    "stream: into std",
    "unix stream: from std",
    "unix stream: into std",
];

/// Sorted. What fails with another error, where it should be supported or refused.
const FAILS: &[&str] = &["file: read a file of std"];

/// Each attempt, and why it failed if it did.
type Attempts = BTreeMap<&'static str, Option<Error>>;

fn add<T>(attempts: &mut Attempts, what: &'static str, result: Result<T>) {
    attempts.insert(what, result.err());
}

/// Returns a callback that adds the result of a request.
fn added<T>(
    what: &'static str,
) -> impl FnOnce(&mut Loop<Attempts>, &mut Attempts, Result<T>) -> Result + 'static {
    move |_, attempts, result| {
        add(attempts, what, result);
        Ok(())
    }
}

fn on_descriptors(lp: &mut Loop<Attempts>, attempts: &mut Attempts) {
    let (reader, _writer) = std::os::unix::net::UnixStream::pair().unwrap();
    let poll = Poll::new(lp, &reader);
    if let Ok(poll) = poll {
        add(attempts, "poll: start", poll.start(lp, Interest::READABLE, |_, _, _| Ok(())));
    }
    add(attempts, "poll: new", poll);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    add(attempts, "stream: from std", TcpStream::from_std(lp, stream));
    let (stream, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
    add(attempts, "unix stream: from std", UnixStream::from_std(lp, stream));
}

fn on_files(lp: &mut Loop<Attempts>, _: &mut Attempts) -> Result {
    fs::write(lp, "/whole", "text", added("file: write whole"))?;
    fs::read(lp, "/data", added("file: read whole"))?;
    fs::metadata(lp, "/data", added("file: metadata of a path"))?;
    fs::symlink_metadata(lp, "/data", added("file: symlink metadata"))?;
    on_names(lp)?;
    // A file of the system can be held, but not used.
    let file = File::from_std(lp, std::fs::File::open("Cargo.toml").unwrap())?;
    file.read_at(lp, 0, Vec::with_capacity(4), added("file: read a file of std"))?;
    OpenOptions::new().read(true).write(true).open(lp, "/data", |lp, _, file| {
        let file = file?;
        file.read_at(lp, 0, Vec::with_capacity(4), added("file: read at"))?;
        file.write_at(lp, 0, "text", added("file: write at"))?;
        file.set_len(lp, 2, added("file: set len"))?;
        file.sync(lp, added("file: sync"))?;
        file.sync_data(lp, added("file: sync data"))?;
        file.metadata(lp, added("file: metadata"))?;
        Ok(())
    })?;
    OpenOptions::new().append(true).open(lp, "/data", |lp, _, file| {
        file?.append(lp, "text", added("file: append"))?;
        Ok(())
    })?;
    File::open(lp, "/data", |lp, attempts: &mut Attempts, file| {
        let result = file?.into_std(lp);
        add(attempts, "file: into std", result);
        Ok(())
    })?;
    Ok(())
}

fn on_names(lp: &mut Loop<Attempts>) -> Result {
    fs::write_atomic(lp, "/atomic", "text", added("file: write atomically"))?;
    fs::canonicalize(lp, "/data", added("file: canonicalize"))?;
    fs::hard_link(lp, "/data", "/second", added("file: hard link"))?;
    fs::symlink(lp, "/data", "/link", |lp, attempts: &mut Attempts, linked| {
        add(attempts, "file: symlink", linked);
        fs::read_link(lp, "/link", |lp, attempts: &mut Attempts, read| {
            add(attempts, "file: read link", read);
            fs::rename(lp, "/link", "/renamed", |lp, attempts: &mut Attempts, renamed| {
                add(attempts, "file: rename", renamed);
                fs::remove_file(lp, "/renamed", added("file: remove"))?;
                Ok(())
            })?;
            Ok(())
        })?;
        Ok(())
    })?;
    fs::create_dir(lp, "/dir", |lp, attempts: &mut Attempts, created| {
        add(attempts, "file: create dir", created);
        fs::remove_dir(lp, "/dir", added("file: remove dir"))?;
        Ok(())
    })?;
    Ok(())
}

fn on_stream(lp: &mut Loop<Attempts>, attempts: &mut Attempts, conn: TcpStream) -> Result {
    add(attempts, "stream: local addr", conn.local_addr(lp));
    add(attempts, "stream: peer addr", conn.peer_addr(lp));
    add(attempts, "stream: set nodelay", conn.set_nodelay(lp, true));
    add(attempts, "stream: nodelay", conn.nodelay(lp));
    let keepalive = Keepalive { idle: Duration::from_secs(60), interval: Duration::from_secs(1), count: 3 };
    add(attempts, "stream: set keepalive", conn.set_keepalive(lp, Some(keepalive)));
    add(attempts, "stream: set linger", conn.set_linger(lp, None));
    add(attempts, "stream: set receive buffer", conn.set_receive_buffer(lp, 1000));
    add(attempts, "stream: receive buffer", conn.receive_buffer(lp));
    add(attempts, "stream: set send buffer", conn.set_send_buffer(lp, 1000));
    add(attempts, "stream: send buffer", conn.send_buffer(lp));
    add(attempts, "stream: set ttl", conn.set_ttl(lp, 30));
    add(attempts, "stream: ttl", conn.ttl(lp));
    add(attempts, "stream: write", conn.write(lp, "text"));
    add(attempts, "stream: shutdown", conn.shutdown(lp));
    conn.start(lp, move |lp, attempts: &mut Attempts, event| {
        if let Event::End = event? {
            add(attempts, "stream: into std", conn.into_std(lp));
        }
        Ok(())
    })
}

fn on_network(lp: &mut Loop<Attempts>, attempts: &mut Attempts) -> Result {
    let listener = ListenOptions::new().reuse_port(true).backlog(5).bind(lp, "127.0.0.1:7")?;
    listener.start(lp, |lp, _, conn| {
        conn.start(lp, move |lp, _, event| match event? {
            Event::End => conn.finish(lp),
            _ => Ok(()),
        })
    })?;
    add(attempts, "listener: only v6", ListenOptions::new().only_v6(true).bind(lp, "[::]:8"));
    add(attempts, "listener: bind", TcpListener::bind(lp, "0.0.0.0:0"));
    TcpStream::connect(lp, "127.0.0.1:7", |lp, attempts: &mut Attempts, conn| {
        let conn = conn?;
        on_stream(lp, attempts, conn)
    })?;
    Ok(())
}

fn on_unix_sockets(lp: &mut Loop<Attempts>, attempts: &mut Attempts) -> Result {
    let listener = UnixListener::bind(lp, "/socket")?;
    add(attempts, "unix listener: local addr", listener.local_addr(lp));
    add(attempts, "unix listener: max connections", listener.set_max_connections(lp, Some(5)));
    listener.start(lp, |lp, attempts, conn| {
        add(attempts, "unix stream: peer credentials", conn.peer_credentials(lp));
        add(attempts, "unix stream: write", conn.write(lp, "text"));
        conn.finish(lp)
    })?;
    UnixStream::connect(lp, "/socket", |lp, attempts: &mut Attempts, conn| {
        let conn = conn?;
        add(attempts, "unix stream: local addr", conn.local_addr(lp));
        add(attempts, "unix stream: peer addr", conn.peer_addr(lp));
        add(attempts, "unix stream: set receive buffer", conn.set_receive_buffer(lp, 1000));
        add(attempts, "unix stream: receive buffer", conn.receive_buffer(lp));
        add(attempts, "unix stream: set send buffer", conn.set_send_buffer(lp, 1000));
        add(attempts, "unix stream: send buffer", conn.send_buffer(lp));
        conn.start(lp, move |lp, attempts: &mut Attempts, event| {
            if let Event::End = event? {
                add(attempts, "unix stream: into std", conn.into_std(lp));
            }
            Ok(())
        })
    })?;
    add(attempts, "unix stream: pair", UnixStream::pair(lp));
    Ok(())
}

fn on_the_rest(lp: &mut Loop<Attempts>, attempts: &mut Attempts) -> Result {
    add(attempts, "signal: on", Signal::on(lp, signal::TERM, |_, _, _| Ok(())));
    add(attempts, "channel: unbounded", channel::unbounded(lp, |_, _, _: u8| Ok(())));
    add(attempts, "remote: post", lp.remote().post(|_, _| Ok(())));
    work::run(lp, || (), added("work: run"))?;
    Ok(())
}

#[test]
fn a_world_supports_all_but_a_known_list() {
    let mut world = World::new(1);
    let host = world.host("one", Attempts::new(), |_, _| Ok(())).unwrap();
    world.files(host).put("/data", "some text");
    for attempt in [on_files, on_network, on_unix_sockets, on_the_rest] {
        world.with(host, attempt).unwrap();
    }
    world.with(host, on_descriptors);
    world.run_for(Duration::from_secs(60)).unwrap();
    let attempts = world.state(host);
    let is_unsupported = |error: &Error| error.io_kind() == Some(io::ErrorKind::Unsupported);
    let failed = |unsupported: bool| {
        let failed = attempts.iter().filter_map(|(what, error)| Some((*what, error.as_ref()?)));
        failed.filter(move |(_, error)| is_unsupported(error) == unsupported)
    };
    assert_eq!(failed(true).map(|(what, _)| what).collect::<Vec<_>>(), UNSUPPORTED);
    assert_eq!(failed(false).map(|(what, _)| what).collect::<Vec<_>>(), FAILS, "{attempts:?}");
    let missing = UNSUPPORTED.iter().find(|what| !attempts.contains_key(*what));
    assert_eq!((attempts.len(), missing), (58, None), "{:?}", attempts.keys());
}
