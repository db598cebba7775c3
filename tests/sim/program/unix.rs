//! Listeners, connections and pairs of Unix sockets. Their streams get the ops of all streams.

use std::{
    cell::Cell,
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
    rc::Rc,
};

use ringback::{
    Loop,
    net::{ListenOptions, Stream, UnixStream},
};

use super::{
    App, Random, after_callback,
    streams::{adopt, start},
};

/// The sockets of a directory. Few, so that names are in use, stale, and gone.
const NAMES: u64 = 3;

pub(super) fn on_unix(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    match random.below(8) {
        0 | 1 => listen(lp, app, random),
        2..=4 => connect(lp, app, random),
        5 => {
            let listener = random.pick(&app.unix_listeners)?;
            if random.one_in(2) {
                listener.stop(lp).ok()?;
                app.contract.stopped(listener);
                return Some("unix listener stop");
            }
            listener.resume(lp).ok()?;
            app.contract.started(listener);
            Some("unix listener resume")
        }
        _ => pair(lp, app, random),
    }
}

fn path(app: &App, random: &mut Random) -> PathBuf {
    app.site.dir.join(format!("socket-{}", random.below(NAMES)))
}

fn listen(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    let backlog = 1 + random.below(4) as u32;
    let path = path(app, random);
    let listener = ListenOptions::new().backlog(backlog).bind_unix(lp, path).ok()?;
    let started = listener.start(lp, move |lp, app: &mut App, conn| {
        app.contract.event(listener.into(), "accepted");
        let known = conn.local_addr(lp).is_ok_and(|addr| addr.as_pathname().is_some());
        app.contract.expect(known, || "an accepted Unix stream has no path".into());
        adopt_unix(app, conn, None);
        app.contract.connected(conn.into());
        if app.plan.count() % 10 > 0 {
            start(lp, app, conn.into())?;
        }
        after_callback(lp, app, Some(conn.into()))
    });
    started.ok()?;
    app.unix_listeners.push(listener);
    app.handles.push(listener.into());
    Some("unix listen")
}

fn connect(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    let number = app.contract.next_number();
    let path = path(app, random);
    let me = Rc::new(Cell::new(None::<UnixStream>));
    let own = me.clone();
    let conn = UnixStream::connect(lp, path, move |lp, app: &mut App, result| {
        app.contract.completed(number, "unix connect");
        match (result, own.get()) {
            (Ok(conn), _) => {
                app.contract.connected(conn.into());
                after_callback(lp, app, Some(conn.into()))
            }
            (Err(_), own) => {
                if let Some(conn) = own {
                    app.contract.closing(lp, conn);
                }
                after_callback(lp, app, None)
            }
        }
    });
    let conn = conn.ok()?;
    me.set(Some(conn));
    app.contract.submitted(number, "unix connect");
    // Whether it will succeed or not, it can be used.
    let open = conn.is_open(lp);
    app.contract.expect(open, || "a Unix stream was closed before its connect was reported".into());
    adopt_unix(app, conn, None);
    if !random.one_in(10) {
        start(lp, app, conn.into()).ok()?;
    }
    Some("unix connect")
}

fn pair(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    let (one, other) = UnixStream::pair(lp).ok()?;
    // Names for the two ends, as addresses of nothing else.
    let name = u128::from(app.contract.next_number()) << 32 | app.number as u128;
    let end = |port| SocketAddr::from((Ipv6Addr::from_bits(name), port));
    for (stream, ends) in [(one, (end(1), end(2))), (other, (end(2), end(1)))] {
        adopt_unix(app, stream, Some(ends));
        app.contract.connected(stream.into());
    }
    for stream in [one, other] {
        if !random.one_in(10) {
            start(lp, app, stream.into()).ok()?;
        }
    }
    Some("unix pair")
}

fn adopt_unix(app: &mut App, conn: UnixStream, ends: Option<(SocketAddr, SocketAddr)>) {
    app.unix.insert(Stream::from(conn), conn);
    adopt(app, conn.into(), ends);
}
