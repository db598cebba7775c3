//! Byte streams, whatever carries them: read, write, shut down, close.
//!
//! One callback owns a stream. `state.rs` has the state and its rules; `drive.rs` sends, shuts down and
//! fails. What is particular to a carrier, and how to make its socket, is with the carrier (`net/tcp.rs`).

mod drive;
mod idle;
mod read;
mod state;
mod typed;
mod write;

use std::{io, panic::Location, time::Duration};

pub(crate) use state::State;
pub use typed::Stream;
pub(crate) use typed::{into_stream, stream_handle};
pub use write::broadcast;

use self::{
    drive::{finish_connect, flush, list_for_flush, queue_error, update},
    state::ReadSide,
};
use crate::{
    Loop,
    backend::{Readiness, Socket},
    error::{Error, Result},
    event_loop::{CallbackArg, Core, HandleKind, Parts},
    handle::{Handle, Kind, Request},
    queue::send_queue::BufferPool,
    time::nanos,
};

/// An event of a stream. A callback gets it as `Result<Event>`.
///
/// `Err` ends the connection: whatever the callback returns, the only event left is
/// [`Closed`](Event::Closed). Exception: after an idle [`Error::TimedOut`], returning `Ok` keeps the
/// connection for another period.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Bytes have arrived. They are lent from the loop's buffer while the callback runs, and may be changed
    /// in place.
    Data(&'a mut [u8]),
    /// The peer has sent EOF: no more data will arrive. Comes once, after all data. The stream can still be
    /// written to.
    End,
    /// The write queue had reached the high watermark and is down to the low one.
    Drained,
    /// The stream is closed, however that came about. Always the last event, and it comes exactly once.
    Closed,
}

/// What all streams of a loop share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The stream whose callback is running: it is flushed when that returns.
    delivering: Option<Handle>,
    buffers: BufferPool,
    /// Received bytes, lent to the callback. Empty while they are lent.
    read_buffer: Vec<u8>,
    read_buffer_len: usize,
}

impl Shared {
    pub(crate) fn new(read_buffer_len: usize) -> Shared {
        Shared { delivering: None, buffers: BufferPool::default(), read_buffer: Vec::new(), read_buffer_len }
    }

    #[inline(always)]
    fn read_buffer(&mut self) -> &mut [u8] {
        if self.read_buffer.is_empty() {
            self.read_buffer = vec![0; self.read_buffer_len];
        }
        &mut self.read_buffer
    }

    #[inline(always)]
    fn take_read_buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.read_buffer)
    }

    #[inline(always)]
    fn put_read_buffer(&mut self, buffer: Vec<u8>) {
        self.read_buffer = buffer;
    }
}

/// What the methods of typed streams call.
pub(crate) mod verbs {
    pub(crate) use super::{
        idle::set_idle_limit,
        queued, resume, set_auto_pause, set_limit, set_watermarks, start, stop,
        write::{shut_down, try_write, write, write_then},
    };

    use super::{Core, Handle, Result};

    pub(crate) fn flush(core: &mut Core, handle: Handle) -> Result {
        super::socket(core, handle, "flush")?;
        super::flush(core, handle);
        Ok(())
    }
}

// ---- making and starting

/// Makes a stream of a socket that was accepted or adopted.
pub(crate) fn insert(
    core: &mut Core,
    socket: Socket,
    kind: Kind,
    listener: Option<Handle>,
    started_at: &'static Location<'static>,
) -> Handle {
    core.insert(State::new(socket, kind, listener), started_at)
}

/// Makes a stream of a socket that is connecting. `connected` is what the system returned; `Ok(false)` means
/// not yet.
pub(crate) fn connect(
    core: &mut Core,
    socket: Socket,
    kind: Kind,
    connected: io::Result<bool>,
    limit: Option<Duration>,
    started_at: &'static Location<'static>,
) -> (Handle, Request) {
    let handle = insert(core, socket, kind, None, started_at);
    let request = core.request(Some(handle), Kind::Connect, "connect", started_at);
    if let Some(state) = core.get::<State>(handle) {
        let cold = state.cold();
        cold.connecting = Some(request);
        cold.connect_limit = limit.map_or(0, nanos);
    }
    if let Some(limit) = limit {
        let deadline = core.deadline_after(limit);
        core.set_deadline(handle, deadline);
    }
    match connected {
        Ok(true) => finish_connect(core, handle, Ok(())),
        Ok(false) => update(core, handle),
        // The callers use the stream before they know: it stays open until the callback gets the error.
        Err(error) => queue_error(core, handle, Error::system("connect", error)),
    }
    (handle, request)
}

pub(crate) fn start<S>(
    lp: &mut Loop<S>,
    handle: Handle,
    mut callback: impl FnMut(&mut Loop<S>, &mut S, Result<Event<'_>>) -> Result + 'static,
    started_at: &'static Location<'static>,
) -> Result {
    let op = "start a stream";
    let state = lp.core.require::<State>(handle, op)?;
    if state.read != ReadSide::Ended {
        state.read = ReadSide::Reading;
    }
    lp.core.set_started_at(handle, op, started_at)?;
    lp.set_callback(handle, move |lp, state, arg| match arg {
        CallbackArg::Stream(event) => callback(lp, state, event.map_err(|error| *error)),
        _ => unreachable!("a stream's callback gets events of streams"),
    });
    update(&mut lp.core, handle);
    Ok(())
}

pub(crate) fn stop(core: &mut Core, handle: Handle) -> Result {
    let state = core.require::<State>(handle, "stop a stream")?;
    if state.read == ReadSide::Reading {
        state.read = ReadSide::Stopped;
    }
    // `finish` may be waiting for the peer's EOF only. Then the flush closes the stream.
    if state.finishing {
        list_for_flush(core, handle);
    }
    update(core, handle);
    Ok(())
}

pub(crate) fn resume(core: &mut Core, handle: Handle) -> Result {
    let op = "resume a stream";
    let state = core.require::<State>(handle, op)?;
    match state.read {
        ReadSide::NotStarted => {
            return Err(Error::invalid(op, "it was never started: no callback would get the data"));
        }
        ReadSide::Stopped => state.read = ReadSide::Reading,
        ReadSide::Reading | ReadSide::Ended => {}
    }
    update(core, handle);
    Ok(())
}

// ---- the socket

/// Returns the socket of a stream, for its options.
pub(crate) fn socket<'a>(core: &'a mut Core, handle: Handle, op: &'static str) -> Result<&'a Socket> {
    core.require::<State>(handle, op)?.socket.as_ref().ok_or(Error::Closed { op })
}

/// Closes a stream and returns its socket, for `into_std`.
pub(crate) fn take_socket(core: &mut Core, handle: Handle, op: &'static str) -> Result<Socket> {
    flush(core, handle);
    let state = core.require::<State>(handle, op)?;
    if state.connecting() || state.queue.queued() > 0 {
        return Err(Error::InUse { op });
    }
    let socket = state.socket.take().ok_or(Error::Closed { op })?;
    core.backend().forget(&socket);
    core.close(handle);
    Ok(socket)
}

pub(crate) fn close_reset(core: &mut Core, handle: Handle) -> Result {
    let op = "close with a reset";
    socket(core, handle, op)?
        .options()
        .set_linger(Some(Duration::ZERO))
        .map_err(|error| Error::system(op, error))?;
    core.close(handle);
    Ok(())
}

// ---- settings of the queue

pub(crate) fn set_watermarks(core: &mut Core, handle: Handle, low: usize, high: usize) -> Result {
    let op = "set watermarks";
    let in_range = |bytes: usize| u32::try_from(bytes).map_err(|_| Error::invalid(op, "4 GiB is the most"));
    let (low, high) = (in_range(low)?, in_range(high)?);
    if low >= high {
        return Err(Error::invalid(op, format!("the low one, {low}, must be below the high one, {high}")));
    }
    let state = core.require::<State>(handle, op)?;
    (state.cold().low, state.cold().high) = (low, high);
    state.note_high();
    drive::after_sending(core, handle);
    Ok(())
}

pub(crate) fn set_auto_pause(core: &mut Core, handle: Handle, on: bool) -> Result {
    core.require::<State>(handle, "set auto_pause")?.auto_pause = on;
    update(core, handle);
    Ok(())
}

pub(crate) fn set_limit(core: &mut Core, handle: Handle, bytes: usize) -> Result {
    core.require::<State>(handle, "set a queue limit")?.cold().limit = bytes;
    Ok(())
}

pub(crate) fn queued(core: &Core, handle: Handle) -> usize {
    core.peek::<State>(handle).map_or(0, |state| state.queue.queued())
}

// ---- what the loop asks

impl HandleKind for State {
    type Slot = Box<State>;

    fn kind(&self) -> Kind {
        self.kind
    }

    fn status(&self, _: &Core, _: Handle) -> String {
        self.describe()
    }

    fn release(core: &mut Core, handle: Handle) {
        drive::release(core, handle);
    }

    fn verify(&self, core: &Core, handle: Handle) {
        self.check(core, handle, core.shared_ref().streams.delivering == Some(handle));
    }

    fn on_ready<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle, readiness: Readiness) -> Result {
        read::on_ready(lp, state, handle, readiness)
    }

    fn on_registration_error<S>(lp: &mut Loop<S>, _: &mut S, handle: Handle, error: io::Error) -> Result {
        drive::io_failed(&mut lp.core, handle, "watch", error);
        Ok(())
    }

    fn on_deadline<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle) -> Result {
        idle::on_deadline(lp, state, handle)
    }

    fn on_deferred<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle) -> Result {
        drive::on_deferred(lp, state, handle)
    }

    fn on_request_done(core: &mut Core, handle: Handle) {
        flush(core, handle);
    }

    fn flush(core: &mut Core, handle: Handle) {
        if let Some(Parts { state, .. }) = core.parts::<State>(handle) {
            state.flush_queued = false;
            flush(core, handle);
        }
    }

    fn final_event(&self) -> Option<CallbackArg<'static>> {
        Some(CallbackArg::Stream(Ok(Event::Closed)))
    }
}
