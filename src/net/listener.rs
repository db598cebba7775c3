//! Listeners: accept, in bounded batches, and what to do when accepting fails.
//!
//! Running out of descriptors is survived: it is reported, the listener looks away for a while, and
//! then tries again. The connections wait meanwhile, in the system's own queue.

use std::panic::Location;

use super::{ToAddr, stream, tcp::TcpListener, tcp::TcpStream};
use crate::{
    Loop,
    backend::{AcceptError, Interest, Readiness, Socket, SocketOptions, classify_accept_error},
    error::{Error, Result},
    event_loop::{
        core::Core,
        kinds::{Body, CallbackArg},
    },
    handle::Handle,
    time::Nanos,
};

/// Connections accepted per readiness, so that a flood of them does not hold up those that are there.
const ACCEPTS_MAX: usize = 64;
/// How long a listener that could not accept looks away: at first, and at most.
const PAUSE_MIN: Nanos = 10_000_000;
const PAUSE_MAX: Nanos = 1_000_000_000;

/// How a listener is made, for those who want it otherwise than [`TcpListener::bind`].
///
/// ```
/// # let mut lp = ringback::Loop::<()>::new()?;
/// use ringback::net::ListenOptions;
/// let listener = ListenOptions::new().backlog(128).reuse_port(true).max_connections(1000).bind(&mut lp, "127.0.0.1:0")?;
/// # Ok::<(), ringback::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ListenOptions {
    socket: SocketOptions,
    limit: Option<usize>,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions::new()
    }
}

impl ListenOptions {
    /// A backlog of 1024, one listener an address, no limit.
    pub fn new() -> ListenOptions {
        ListenOptions {
            socket: SocketOptions { backlog: 1024, reuse_port: false, only_v6: false },
            limit: None,
        }
    }

    /// How many connections the system may hold that are not accepted yet. The system has its own limit,
    /// too.
    pub fn backlog(mut self, connections: u32) -> ListenOptions {
        self.socket.backlog = i32::try_from(connections).unwrap_or(i32::MAX);
        self
    }

    /// Lets several listeners share the address (SO_REUSEPORT), in several threads or processes; the
    /// system deals the connections out.
    pub fn reuse_port(mut self, on: bool) -> ListenOptions {
        self.socket.reuse_port = on;
        self
    }

    /// On an IPv6 address, takes no IPv4 connections.
    pub fn only_v6(mut self, on: bool) -> ListenOptions {
        self.socket.only_v6 = on;
        self
    }

    /// How many accepted streams may be open at a time. While there are that many, none is accepted.
    pub fn max_connections(mut self, streams: usize) -> ListenOptions {
        self.limit = Some(streams);
        self
    }

    /// Makes the listener. See [`TcpListener::bind`].
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if it is no address; [`Error::System`] if the system refuses it, for example
    /// because it is in use.
    #[track_caller]
    pub fn bind<S>(self, lp: &mut Loop<S>, addr: impl ToAddr) -> Result<TcpListener> {
        let addr = addr.to_addr()?;
        let socket = lp.core.backend.listen(addr, self.socket);
        let socket = socket.map_err(|error| Error::system_on("listen on", addr, error))?;
        let state = State {
            socket: Some(socket),
            has_callback: false,
            started: false,
            limit: self.limit,
            open: 0,
            pause: 0,
            looking_away: false,
        };
        Ok(TcpListener(lp.core.insert(Body::Listener(Box::new(state)), Location::caller())))
    }
}

/// What a listener keeps.
///
/// 1. `open` is the number of open streams that name this listener.
/// 2. Watched: started, below its limit, not looking away.
#[derive(Debug)]
pub(crate) struct State {
    /// `None` once it is closed.
    socket: Option<Socket>,
    /// It was given a callback.
    has_callback: bool,
    started: bool,
    limit: Option<usize>,
    open: usize,
    /// How long it looked away the last time; zero after a success.
    pause: Nanos,
    looking_away: bool,
}

impl State {
    fn may_accept(&self) -> bool {
        self.started && !self.looking_away && self.limit.is_none_or(|limit| self.open < limit)
    }

    pub(crate) fn describe(&self) -> String {
        let doing = match self {
            State { started: false, .. } => "not started",
            State { looking_away: true, .. } => "waiting until something can be accepted again",
            _ if !self.may_accept() => "at its limit",
            _ => "accepting",
        };
        format!("{doing}, {} streams open", self.open)
    }
}

pub(crate) fn state_mut<'a>(core: &'a mut Core, handle: Handle, op: &'static str) -> Result<&'a mut State> {
    match &mut core.table.require(handle, op)?.body {
        Body::Listener(state) => Ok(state),
        _ => Err(Error::Closed { op }),
    }
}

pub(crate) fn socket<'a>(core: &'a mut Core, handle: Handle, op: &'static str) -> Result<&'a Socket> {
    state_mut(core, handle, op)?.socket.as_ref().ok_or(Error::Closed { op })
}

fn update(core: &mut Core, handle: Handle) {
    let Core { table, backend, .. } = core;
    let Ok(Body::Listener(state)) = table.require(handle, "").map(|slot| &slot.body) else { return };
    let Some(socket) = &state.socket else { return };
    backend.watch(socket, handle.key(), Interest::NONE.with(Interest::READ, state.may_accept()));
    let started = state.started;
    core.set_active(handle, started);
}

pub(crate) fn start<S>(
    lp: &mut Loop<S>,
    handle: Handle,
    mut callback: impl FnMut(&mut Loop<S>, &mut S, TcpStream) -> Result + 'static,
    started: &'static Location<'static>,
) -> Result {
    let op = "start a listener";
    let state = state_mut(&mut lp.core, handle, op)?;
    (state.has_callback, state.started) = (true, true);
    lp.core.require(handle, op)?.started_at = started;
    lp.set_callback(handle, move |lp, state, occurrence| match occurrence {
        CallbackArg::Accepted(stream) => callback(lp, state, stream),
        _ => Ok(()),
    });
    update(&mut lp.core, handle);
    Ok(())
}

pub(crate) fn set_started(core: &mut Core, handle: Handle, started: bool, op: &'static str) -> Result {
    let state = state_mut(core, handle, op)?;
    if started && !state.has_callback {
        return Err(Error::invalid(op, "it was never started: nobody would get what is accepted"));
    }
    state.started = started;
    update(core, handle);
    Ok(())
}

pub(crate) fn set_max_connections(core: &mut Core, handle: Handle, limit: Option<usize>) -> Result {
    state_mut(core, handle, "set a limit")?.limit = limit;
    update(core, handle);
    Ok(())
}

pub(crate) fn ready<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle) -> Result {
    for _ in 0..ACCEPTS_MAX {
        // Asked again each time: the callback may have stopped or closed it.
        let Ok(listener) = state_mut(&mut lp.core, handle, "") else { return Ok(()) };
        let (true, Some(socket)) = (listener.may_accept(), &listener.socket) else { return Ok(()) };
        match socket.accept() {
            Ok(None) => return Ok(()),
            Ok(Some(socket)) => accepted(lp, state, handle, socket)?,
            Err(error) => {
                let trouble = classify_accept_error(&error);
                if trouble == AcceptError::Listener {
                    look_away(&mut lp.core, handle);
                }
                let callee = lp.callee(handle);
                lp.fail_as(state, callee, Error::system("accept", error))?;
                if trouble == AcceptError::Listener {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn accepted<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle, socket: Socket) -> Result {
    let Ok(slot) = lp.core.require(handle, "") else { return Ok(()) };
    let started = slot.started_at;
    if let Body::Listener(listener) = &mut slot.body {
        listener.open += 1;
        listener.pause = 0;
    }
    let stream = stream::insert(&mut lp.core, socket, Some(handle), started);
    // What a listener's callback does wrong is the new stream's end, not the listener's.
    let answered = lp.call_for(state, handle.index, stream, CallbackArg::Accepted(TcpStream(stream)));
    // At its limit now? Whatever the answer, or it would be told of the next one without end.
    update(&mut lp.core, handle);
    match answered? {
        Ok(()) => {
            // Whoever connects speaks first, as a rule, and has spoken by now. A connection that is answered and
            // closed within this turn is never watched at all.
            lp.core.ready.push((stream.key(), Readiness::READ));
            Ok(())
        }
        Err(error) => lp.fail(state, stream, error),
    }
}

fn look_away(core: &mut Core, handle: Handle) {
    let now = core.now;
    let Ok(listener) = state_mut(core, handle, "") else { return };
    listener.pause = (listener.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
    listener.looking_away = true;
    let due = now.saturating_add(listener.pause);
    core.deadlines.set(handle.index, due);
    update(core, handle);
}

/// The pause is over.
pub(crate) fn try_again(core: &mut Core, handle: Handle) {
    if let Ok(listener) = state_mut(core, handle, "") {
        listener.looking_away = false;
    }
    update(core, handle);
}

/// A stream of this listener was closed.
pub(crate) fn one_less(core: &mut Core, handle: Handle) {
    if let Ok(listener) = state_mut(core, handle, "") {
        listener.open -= 1;
        update(core, handle);
    }
}

pub(crate) fn release(core: &mut Core, handle: Handle) {
    let Core { table, backend, .. } = core;
    if let Ok(Body::Listener(state)) = table.require(handle, "").map(|slot| &mut slot.body) {
        if let Some(socket) = state.socket.take() {
            backend.close(socket);
        }
    }
}
