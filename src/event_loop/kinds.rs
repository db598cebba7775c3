//! The one file that knows every kind.
//!
//! The loop reaches a kind through here: its source is ready, its time has come, its bell rang, a
//! signal was delivered, it is being closed. The compiler lists the rest when a kind is added.

use crate::{
    Error, Loop, Result,
    backend::Readiness,
    channel, fs,
    handle::{Handle, Kind},
    hook,
    net::{Event, TcpStream, listener, stream},
    poll, signal, timer, wake,
};

use super::core::Core;

/// What a kind keeps in its slot. Large ones are boxed, so that ten million timers stay small.
#[derive(Debug)]
pub(crate) enum Body {
    Timer(timer::State),
    Hook(hook::Phase),
    Wake(wake::State),
    Channel(channel::State),
    Signal(signal::State),
    Poll(Box<poll::State>),
    Listener(Box<listener::State>),
    Stream(Box<stream::State>),
    File(fs::FileState),
}

/// What a callback is called for.
pub(crate) enum CallbackArg<'a> {
    /// A timer is due, a hook's phase has come, a bell rang, a message is there.
    NoArg,
    /// The error is boxed: what comes with each message is moved three times, and shall be small.
    Stream(Result<Event<'a>, Box<Error>>),
    Accepted(TcpStream),
    Ready(poll::Ready),
    Signal(i32),
}

impl Body {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Body::Timer(_) => Kind::Timer,
            Body::Hook(phase) => phase.kind(),
            Body::Wake(_) => Kind::Wake,
            Body::Channel(_) => Kind::Channel,
            Body::Signal(_) => Kind::Signal,
            Body::Poll(_) => Kind::Poll,
            Body::Listener(_) => Kind::TcpListener,
            Body::Stream(_) => Kind::TcpStream,
            Body::File(_) => Kind::File,
        }
    }

    /// What the handle is doing, in a few words.
    pub(crate) fn describe(&self, core: &Core, handle: Handle) -> String {
        match self {
            Body::Timer(state) => timer::describe(state, core, handle),
            Body::Hook(_) => "runs every turn".into(),
            Body::Wake(_) => "may be woken by another thread".into(),
            Body::Channel(state) => state.describe(),
            Body::Signal(state) => state.describe(),
            Body::Poll(state) => state.describe(),
            Body::Listener(state) => state.describe(),
            Body::Stream(state) => state.describe(),
            Body::File(_) => "open".into(),
        }
    }

    /// Panics unless the kind's own invariants hold.
    pub(crate) fn verify(&self, core: &Core, handle: Handle) {
        match self {
            Body::Timer(state) => timer::verify(state, core, handle),
            Body::Hook(phase) => hook::verify(*phase, core, handle),
            Body::Signal(state) => signal::verify(state, core, handle),
            Body::Stream(state) => stream::verify(state, core, handle),
            Body::Listener(_) | Body::Wake(_) | Body::Channel(_) | Body::Poll(_) | Body::File(_) => {}
        }
    }
}

/// A source is ready.
pub(crate) fn ready<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle, readiness: Readiness) -> Result {
    match lp.core.table.get(handle).map(|slot| &slot.body) {
        Some(Body::Stream(_)) => stream::ready(lp, state, handle, readiness),
        Some(Body::Listener(_)) => listener::ready(lp, state, handle),
        Some(Body::Poll(_)) => poll::ready(lp, state, handle, readiness),
        _ => Ok(()),
    }
}

/// The system refused to watch a source.
pub(crate) fn refused<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle, error: std::io::Error) -> Result {
    match lp.core.table.get(handle).map(|slot| &slot.body) {
        Some(Body::Stream(_)) => {
            stream::broken(&mut lp.core, handle, "watch", error);
            Ok(())
        }
        _ => lp.fail(state, handle, Error::system("watch", error)),
    }
}

/// A deadline has passed.
pub(crate) fn timed_out<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle) -> Result {
    match lp.core.table.get(handle).map(|slot| &slot.body) {
        Some(Body::Timer(_)) => timer::due(lp, state, handle),
        Some(Body::Stream(_)) => stream::timed_out(lp, state, handle),
        Some(Body::Listener(_)) => {
            listener::try_again(&mut lp.core, handle);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A bell rang.
pub(crate) fn rung<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle) -> Result {
    match lp.core.table.get(handle).map(|slot| &slot.body) {
        Some(Body::Wake(_)) => wake::on_notify(lp, state, handle),
        Some(Body::Channel(_)) => channel::on_notify(lp, state, handle),
        _ => Ok(()),
    }
}

/// A request of this handle was answered: go on with what waited for it.
pub(crate) fn answered(core: &mut Core, handle: Handle) {
    if let Some(Body::Stream(_)) = core.table.get(handle).map(|slot| &slot.body) {
        stream::flush(core, handle);
    }
}

/// Lets go of everything a handle has of the system, and cancels its requests. It is open until now.
pub(crate) fn release(core: &mut Core, handle: Handle) {
    match core.table.get(handle).map(|slot| &slot.body) {
        // Its deadline goes with the handle.
        Some(Body::Timer(_)) => {}
        Some(Body::Hook(phase)) => hook::release(core, handle, *phase),
        Some(Body::Wake(state)) => state.release(),
        Some(Body::Channel(state)) => state.release(),
        Some(Body::Signal(_)) => signal::release(core, handle),
        Some(Body::Poll(_)) => poll::release(core, handle),
        Some(Body::Listener(_)) => listener::release(core, handle),
        Some(Body::Stream(_)) => stream::release(core, handle),
        Some(Body::File(_)) => fs::release(core, handle),
        None => {}
    }
}

/// A closing handle has no request left. Says whether that is all, or something was begun that has to
/// be waited for.
pub(crate) fn quiesced(core: &mut Core, handle: Handle) -> bool {
    match core.table.get(handle).map(|slot| &slot.body) {
        Some(Body::File(_)) => fs::quiesced(core, handle),
        _ => true,
    }
}

/// What a handle's own callback is told last, if it is told.
pub(crate) fn last_words(body: &Body) -> Option<CallbackArg<'static>> {
    match body {
        Body::Stream(_) => Some(CallbackArg::Stream(Ok(Event::Closed))),
        _ => None,
    }
}
