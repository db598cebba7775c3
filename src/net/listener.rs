//! Listeners, whatever they listen on: accept in bounded batches, and back off when accepting fails.
//!
//! When the process is out of descriptors, that is reported and accepting pauses for a while. Connections
//! wait in the system's queue meanwhile.

use std::panic::Location;

use crate::{
    Loop,
    backend::{AcceptError, Interest, Readiness, Socket, SocketFile, classify_accept_error},
    error::{Error, Result},
    event_loop::{CallbackArg, Core, HandleKind, Parts},
    handle::{Handle, Kind},
    stream,
    time::Nanos,
};

/// The methods of every typed listener.
macro_rules! listener_methods {
    ($listener:ident, $stream:ident) => {
        impl $listener {
            /// Accepts connections: `callback` gets each, as a stream that is not started yet.
            ///
            /// If it returns an error, that stream is closed; the listener continues. Called again, it
            /// replaces the callback.
            ///
            /// Up to 64 connections are accepted before other handles are served. A failed accept is a
            /// [`Failure`](crate::Failure) of the listener, which stays open. When the process is out of
            /// descriptors, accepting pauses for 10 ms, doubling up to 1 s.
            #[track_caller]
            pub fn start<S>(
                self,
                lp: &mut $crate::Loop<S>,
                mut callback: impl FnMut(&mut $crate::Loop<S>, &mut S, $stream) -> $crate::Result + 'static,
            ) -> $crate::Result {
                let callback = move |lp: &mut $crate::Loop<S>, state: &mut S, stream| {
                    callback(lp, state, $stream(stream))
                };
                $crate::net::listener::start(lp, self.0, callback, std::panic::Location::caller())
            }

            /// Stops accepting. Connections wait in the system's queue. Idempotent.
            pub fn stop<S>(self, lp: &mut $crate::Loop<S>) -> $crate::Result {
                $crate::net::listener::stop(&mut lp.core, self.0)
            }

            /// Accepts again after [`stop`](Self::stop), with the callback that it has.
            ///
            /// # Errors
            ///
            /// [`Error::Invalid`](crate::Error::Invalid) if it was never started.
            pub fn resume<S>(self, lp: &mut $crate::Loop<S>) -> $crate::Result {
                $crate::net::listener::resume(&mut lp.core, self.0)
            }

            /// Limits the number of accepted streams that are open at the same time. `None` removes the
            /// limit.
            ///
            /// With that many open, none is accepted.
            pub fn set_max_connections<S>(
                self,
                lp: &mut $crate::Loop<S>,
                max: Option<usize>,
            ) -> $crate::Result {
                $crate::net::listener::set_max_connections(&mut lp.core, self.0, max)
            }
        }
    };
}

pub(crate) use listener_methods;

/// Connections accepted for each readiness, so that a burst does not starve the connections that are there.
const ACCEPTS_MAX: usize = 64;
/// How long accepting pauses when it failed: at first, and at most.
const BACKOFF_MIN: Nanos = 10_000_000;
const BACKOFF_MAX: Nanos = 1_000_000_000;

/// The state of a listener.
///
/// 1. `open` is the number of open streams that name this listener.
/// 2. Watched: started, below its limit, not backing off.
#[derive(Debug)]
pub(crate) struct State {
    /// The file that names a Unix socket: removed when it is dropped. Before the socket, here and in
    /// `release`: a file whose socket is closed is stale, and another process may replace it at any time.
    file: Option<SocketFile>,
    /// `None` once it is closed.
    socket: Option<Socket>,
    kind: Kind,
    /// The kind of the accepted streams.
    stream_kind: Kind,
    has_callback: bool,
    started: bool,
    max_connections: Option<usize>,
    open: usize,
    /// How long the last pause was; zero after a success.
    backoff: Nanos,
    backing_off: bool,
}

impl State {
    pub(super) fn new(
        (socket, file): (Socket, Option<SocketFile>),
        kind: Kind,
        stream_kind: Kind,
        max_connections: Option<usize>,
    ) -> State {
        State {
            file,
            socket: Some(socket),
            kind,
            stream_kind,
            has_callback: false,
            started: false,
            max_connections,
            open: 0,
            backoff: 0,
            backing_off: false,
        }
    }

    fn may_accept(&self) -> bool {
        self.started && !self.backing_off && self.max_connections.is_none_or(|max| self.open < max)
    }
}

pub(super) fn socket<'a>(core: &'a mut Core, handle: Handle, op: &'static str) -> Result<&'a Socket> {
    core.require::<State>(handle, op)?.socket.as_ref().ok_or(Error::Closed { op })
}

/// Brings what is watched, and what keeps the loop alive, in line with the state.
fn update(core: &mut Core, handle: Handle) {
    let Some(Parts { state, backend, .. }) = core.parts::<State>(handle) else { return };
    let Some(socket) = &state.socket else { return };
    backend.watch(socket, handle.key(), Interest::NONE.with(Interest::READ, state.may_accept()));
    let started = state.started;
    core.set_active(handle, started);
}

pub(super) fn start<S>(
    lp: &mut Loop<S>,
    handle: Handle,
    mut callback: impl FnMut(&mut Loop<S>, &mut S, Handle) -> Result + 'static,
    started_at: &'static Location<'static>,
) -> Result {
    let op = "start a listener";
    let state = lp.core.require::<State>(handle, op)?;
    (state.has_callback, state.started) = (true, true);
    lp.core.set_started_at(handle, op, started_at)?;
    lp.set_callback(handle, move |lp, state, arg| match arg {
        CallbackArg::Accepted(stream) => callback(lp, state, stream),
        _ => unreachable!("a listener's callback gets accepted streams"),
    });
    update(&mut lp.core, handle);
    Ok(())
}

pub(super) fn stop(core: &mut Core, handle: Handle) -> Result {
    core.require::<State>(handle, "stop a listener")?.started = false;
    update(core, handle);
    Ok(())
}

pub(super) fn resume(core: &mut Core, handle: Handle) -> Result {
    let op = "resume a listener";
    let state = core.require::<State>(handle, op)?;
    if !state.has_callback {
        return Err(Error::invalid(op, "it was never started: no callback would get the connections"));
    }
    state.started = true;
    update(core, handle);
    Ok(())
}

pub(super) fn set_max_connections(core: &mut Core, handle: Handle, max: Option<usize>) -> Result {
    core.require::<State>(handle, "set max_connections")?.max_connections = max;
    update(core, handle);
    Ok(())
}

fn accept_batch<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle) -> Result {
    for _ in 0..ACCEPTS_MAX {
        // Looked up on every pass: the callback may have stopped or closed the listener.
        let Some(listener) = lp.core.get::<State>(handle) else { return Ok(()) };
        let (true, Some(socket)) = (listener.may_accept(), &listener.socket) else { return Ok(()) };
        match socket.accept() {
            Ok(None) => return Ok(()),
            Ok(Some(socket)) => accepted(lp, state, handle, socket)?,
            Err(error) => {
                let class = classify_accept_error(&error);
                if class == AcceptError::Listener {
                    back_off(&mut lp.core, handle);
                }
                let callee = lp.callee(handle);
                lp.fail_as(state, callee, Error::system("accept", error))?;
                if class == AcceptError::Listener {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn accepted<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle, socket: Socket) -> Result {
    let core = &mut lp.core;
    let Some(started_at) = core.started_at(handle) else { return Ok(()) };
    let Some(listener) = core.get::<State>(handle) else { return Ok(()) };
    listener.open += 1;
    listener.backoff = 0;
    let kind = listener.stream_kind;
    let stream = stream::insert(core, socket, kind, Some(handle), started_at);
    // An error of a listener's callback closes the new stream, not the listener.
    let called = lp.call_for(state, handle, stream, CallbackArg::Accepted(stream));
    // It may be at its limit now. Also after an error: otherwise the system would report the next connection
    // without end.
    update(&mut lp.core, handle);
    called?;
    // The peer usually sends first, and has sent by now. A connection that is served and closed within this
    // turn is never registered at all.
    lp.core.mark_ready(stream, Readiness::READ);
    Ok(())
}

fn back_off(core: &mut Core, handle: Handle) {
    let now = core.now();
    let Some(listener) = core.get::<State>(handle) else { return };
    listener.backoff = (listener.backoff * 2).clamp(BACKOFF_MIN, BACKOFF_MAX);
    listener.backing_off = true;
    let due = now.saturating_add(listener.backoff);
    core.set_deadline(handle, due);
    update(core, handle);
}

/// A stream of this listener was closed.
pub(crate) fn connection_closed(core: &mut Core, handle: Handle) {
    if let Some(listener) = core.get::<State>(handle) {
        listener.open -= 1;
        update(core, handle);
    }
}

impl HandleKind for State {
    type Slot = Box<State>;

    fn kind(&self) -> Kind {
        self.kind
    }

    fn status(&self, _: &Core, _: Handle) -> String {
        let doing = match self {
            State { started: false, .. } => "not started",
            State { backing_off: true, .. } => "paused until something can be accepted again",
            _ if !self.may_accept() => "at its limit",
            _ => "accepting",
        };
        format!("{doing}, {} streams open", self.open)
    }

    fn release(core: &mut Core, handle: Handle) {
        let Some(Parts { state, backend, .. }) = core.parts::<State>(handle) else { return };
        drop(state.file.take());
        if let Some(socket) = state.socket.take() {
            backend.close(socket);
        }
    }

    fn on_ready<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle, _: Readiness) -> Result {
        accept_batch(lp, state, handle)
    }

    /// The pause is over.
    fn on_deadline<S>(lp: &mut Loop<S>, _: &mut S, handle: Handle) -> Result {
        if let Some(listener) = lp.core.get::<State>(handle) {
            listener.backing_off = false;
        }
        update(&mut lp.core, handle);
        Ok(())
    }
}
