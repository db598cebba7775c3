//! Listeners and streams.

use std::{cell::Cell, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use ringback::{
    Error, Loop, Result,
    net::{Event, ListenOptions, Stream, TcpListener, TcpStream},
};

use super::{App, Random, after_callback};

/// An address to connect to.
#[derive(Clone, Copy)]
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    /// The number of the program, and its listener. None in a world, where no address is reused by others.
    pub(crate) owner: Option<(usize, TcpListener)>,
}

// ---- listeners

/// Binds a listener where the site says, and starts it.
pub(super) fn listen(lp: &mut Loop<App>, app: &mut App, options: ListenOptions) -> Result<TcpListener> {
    let listener = options.bind(lp, app.site.listen)?;
    listener.start(lp, move |lp, app: &mut App, conn| {
        app.contract.event(listener.into(), "accepted");
        let ends = conn.local_addr(lp).ok().zip(conn.peer_addr(lp).ok());
        adopt_tcp(app, conn, ends);
        app.contract.connected(conn.into());
        if app.plan.count() % 10 > 0 {
            start(lp, app, conn.into())?;
        }
        after_callback(lp, app, Some(conn.into()))
    })?;
    app.listeners.push(listener);
    app.handles.push(listener.into());
    let addr = listener.local_addr(lp)?;
    if app.site.system.is_some() {
        app.site.servers.borrow_mut().push(Server { addr, owner: Some((app.number, listener)) });
    }
    Ok(listener)
}

impl App {
    /// Removes the addresses of listeners that are closed: the system may give their ports to other tests.
    pub(super) fn forget_closed_listeners(&self, lp: &Loop<App>) {
        let mut servers = self.site.servers.borrow_mut();
        servers.retain(|server| {
            server.owner.is_none_or(|(number, listener)| number != self.number || lp.is_open(listener))
        });
    }

    /// The program is about to be dropped, as if it were killed.
    pub(crate) fn abandon(&self) {
        self.contract.abandon_streams();
        let is_other =
            |owner: Option<(usize, TcpListener)>| owner.is_none_or(|(number, _)| number != self.number);
        self.site.servers.borrow_mut().retain(|server| is_other(server.owner));
    }
}

pub(super) fn on_listeners(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    if random.below(6) == 0 {
        let options = ListenOptions::new();
        let options = if random.one_in(2) { options.max_connections(3) } else { options };
        listen(lp, app, options).ok()?;
        return Some("listen");
    }
    let listener = random.pick(&app.listeners)?;
    match random.below(8) {
        0 => {
            listener.stop(lp).ok()?;
            app.contract.stopped(listener);
            Some("listener stop")
        }
        1 => {
            let max = random.below(5) as usize;
            listener.set_max_connections(lp, Some(max)).ok()?;
            Some("max connections")
        }
        _ => {
            listener.set_max_connections(lp, None).ok()?;
            listener.resume(lp).ok()?;
            app.contract.started(listener);
            Some("listener resume")
        }
    }
}

// ---- streams

/// Takes a stream over. Until it is started, no event may come.
pub(super) fn adopt(app: &mut App, conn: Stream, ends: Option<(SocketAddr, SocketAddr)>) {
    app.streams.push(conn);
    app.handles.push(conn.into());
    app.site.everyones.borrow_mut().push((app.number, conn));
    app.contract.stopped(conn);
    if let Some(ends) = ends {
        app.contract.adopted(conn, ends);
    }
}

fn adopt_tcp(app: &mut App, conn: TcpStream, ends: Option<(SocketAddr, SocketAddr)>) {
    app.tcp.insert(conn.into(), conn);
    adopt(app, conn.into(), ends);
}

pub(super) fn start(lp: &mut Loop<App>, app: &mut App, conn: Stream) -> Result {
    conn.start(lp, move |lp, app: &mut App, event| on_event(lp, app, conn, event))?;
    app.contract.stream_started(conn);
    Ok(())
}

fn on_event(lp: &mut Loop<App>, app: &mut App, conn: Stream, event: Result<Event<'_>>) -> Result {
    match event {
        Ok(Event::Closed) => {
            app.contract.stream_closed(conn);
            return Ok(());
        }
        Ok(Event::Data(bytes)) => {
            app.contract.event(conn.into(), "data");
            app.contract.received(conn, bytes, lp.metrics().turns);
            // The buffer belongs to the callback.
            bytes.fill(0);
        }
        Ok(Event::End) => {
            app.contract.event(conn.into(), "EOF");
            app.contract.eof(conn);
            if !app.resting && app.plan.count() % 2 == 0 && conn.finish(lp).is_ok() {
                app.contract.shut_down(conn);
            }
        }
        Ok(_) => app.contract.event_of_open(conn.into(), "stream event"),
        Err(Error::TimedOut { .. }) => {
            app.contract.event_of_open(conn.into(), "time-out");
            if app.resting {
                conn.set_idle_timeout(lp, None)?;
            }
        }
        Err(_) => {
            app.contract.event_of_open(conn.into(), "stream error");
            app.contract.closing(lp, conn);
        }
    }
    after_callback(lp, app, Some(conn.into()))
}

pub(super) fn on_streams(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    let which = random.below(16);
    if which < 3 || app.streams.is_empty() {
        return connect(lp, app, random);
    }
    let conn = app.any_stream(lp, random)?;
    match which {
        3..=8 => write(lp, app, random, conn),
        9 | 10 => {
            let finish = which == 10;
            if finish { conn.finish(lp) } else { conn.shutdown(lp) }.ok()?;
            app.contract.shut_down(conn);
            Some(if finish { "finish" } else { "shutdown" })
        }
        11 if random.below(3) == 0 => {
            let tcp = *app.tcp.get(&conn)?;
            app.contract.closing(lp, conn);
            tcp.close_reset(lp).ok().map(|()| "reset")
        }
        11 | 12 => {
            let limit = 1 + random.below(100_000) as usize;
            conn.set_queue_limit(lp, limit).ok()?;
            app.contract.limited(conn, limit);
            let idle = random.delay(app.site.speedup) + Duration::from_millis(1);
            conn.set_idle_timeout(lp, (!random.one_in(3)).then_some(idle)).ok()?;
            Some("limits")
        }
        13 => {
            conn.stop(lp).ok()?;
            app.contract.stopped(conn);
            Some("stop reading")
        }
        14 => {
            conn.resume(lp).ok()?;
            app.contract.started(conn);
            Some("resume")
        }
        _ => match random.below(3) {
            0 => start(lp, app, conn).ok().map(|()| "start stream"),
            1 => tune(lp, random, conn),
            _ => on_the_wrong_loop(lp, app, random),
        },
    }
}

fn connect(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    let servers = app.site.servers.borrow().clone();
    let chosen = servers.get(random.below(servers.len() as u64 + 1) as usize);
    let addr = chosen.map_or(app.site.refusing, |server| server.addr);
    let number = app.contract.next_number();
    // Half of them are written to, and mostly started, before they are connected.
    let early = random.one_in(2);
    let me = Rc::new(Cell::new(None::<TcpStream>));
    let own = me.clone();
    let callback = move |lp: &mut Loop<App>, app: &mut App, result: Result<TcpStream>| {
        app.contract.completed(number, "connect");
        let Ok(conn) = result else {
            if let Some(conn) = own.get() {
                app.contract.closing(lp, conn);
            }
            return after_callback(lp, app, None);
        };
        if !early && conn.is_open(lp) {
            let own = conn.local_addr(lp).ok();
            adopt_tcp(app, conn, own.map(|own| (own, addr)));
            start(lp, app, conn.into())?;
        }
        app.contract.connected(conn.into());
        after_callback(lp, app, Some(conn.into()))
    };
    let limits = [Duration::ZERO, Duration::from_micros(500), Duration::from_secs(100)];
    let limit = limits.get(random.below(12) as usize).copied();
    let conn = match limit {
        Some(limit) => TcpStream::connect_timeout(lp, addr, limit, callback),
        None => TcpStream::connect(lp, addr, callback),
    };
    let conn = conn.ok()?;
    app.contract.submitted(number, "connect");
    me.set(Some(conn));
    app.handles.push(conn.into());
    if early {
        let own = conn.local_addr(lp).ok();
        adopt_tcp(app, conn, own.map(|own| (own, addr)));
        if !random.one_in(10) {
            start(lp, app, conn.into()).ok()?;
        }
    }
    Some(if limit.is_some() { "connect timeout" } else { "connect" })
}

/// Writes in one of the ways that there are. The limit of the queue is checked after each.
fn write(lp: &mut Loop<App>, app: &mut App, random: &mut Random, conn: Stream) -> Option<&'static str> {
    let way = random.below(6);
    let large = app.site.system.is_some() && random.one_in(40);
    let max = if large { 1 << 20 } else { [10, 3000, 40_000][random.below(3) as usize] };
    let empty = random.one_in(20);
    let count = if empty { 0 } else { 1 + random.below(max) };
    let text = app.contract.text(conn, count);
    let what = match way {
        0 | 1 => {
            let written = match random.below(5) {
                0 => conn.write(lp, &text[..]),
                1 => conn.write(lp, text),
                2 => conn.write(lp, Rc::<[u8]>::from(text)),
                3 => conn.write(lp, Arc::<[u8]>::from(text)),
                _ => conn.write(lp, text.into_boxed_slice()),
            };
            written.ok()?;
            "write"
        }
        2..=4 => {
            let number = app.contract.next_number();
            conn.write_then(lp, text, move |lp, app: &mut App, result| {
                app.contract.completed(number, "write");
                app.contract.write_completed(conn, number, result.is_ok());
                after_callback(lp, app, Some(conn.into()))
            })
            .ok()?;
            app.contract.submitted(number, "write then");
            app.contract.write_submitted(conn, number);
            "write then"
        }
        _ => {
            let sent = conn.try_write(lp, &text).ok()?;
            app.contract.sent(conn, sent as u64);
            return Some("try write");
        }
    };
    app.contract.queued(conn, count, conn.queued(lp));
    app.contract.sent(conn, count);
    Some(what)
}

fn tune(lp: &mut Loop<App>, random: &mut Random, conn: Stream) -> Option<&'static str> {
    let size = random.below(100_000) as usize;
    match random.below(3) {
        0 => conn.flush(lp).ok().map(|()| "flush"),
        1 => conn.set_watermarks(lp, size / 2, size / 2 + 1 + size).ok().map(|()| "watermarks"),
        _ => conn.set_auto_pause(lp, size % 2 == 0).ok().map(|()| "auto pause"),
    }
}

/// What belongs to another loop is refused, and stays as it is.
fn on_the_wrong_loop(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    let (number, conn) = random.pick(&app.site.everyones.borrow())?;
    if number == app.number {
        return None;
    }
    let refused = |result: Result| matches!(result, Err(Error::WrongLoop { .. }));
    let both = refused(conn.write(lp, "x")) && refused(conn.stop(lp));
    app.contract.expect(both, || "a stream of another loop was not refused".into());
    conn.close(lp);
    Some("wrong loop")
}
