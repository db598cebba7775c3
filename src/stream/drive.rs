//! Sends what is queued, shuts down, completes writes, and handles failures.
//!
//! # The way of a failed write
//!
//! [`io_failed`] is where every failed operation arrives. A connect that failed completes its request; one
//! that failed at once does so in the deferred phase, so that the stream can be used until then. Otherwise
//! the first write that waits for completion gets the error, and the stream is closed. If no write waits,
//! [`queue_error`] keeps the error and lists the stream, and in the next deferred phase [`on_deferred`] gives
//! it to the callback and closes the stream. Closing cancels the requests that are left ([`release`]).

use std::{
    io::{self, IoSlice},
    mem,
};

use super::{
    Event,
    idle::{arm_idle, touch},
    read::deliver,
    state::{State, Step, WriteSide},
};
use crate::{
    Loop,
    backend::{PIECES_MAX, Socket},
    error::{Error, Result},
    event_loop::{CallbackArg, Core, Parts},
    handle::{Handle, Request},
    net::listener,
    queue::send_queue::SendQueue,
};

/// Brings what is watched, and what keeps the loop alive, in line with the state.
pub(super) fn update(core: &mut Core, handle: Handle) {
    let Some(Parts { state, flags, backend, .. }) = core.parts::<State>(handle) else { return };
    if let Some(socket) = &state.socket {
        backend.watch(socket, handle.key(), state.interest());
    }
    let (active, outstanding) = (state.is_active(), state.has_outstanding());
    if flags.active != active || flags.outstanding != outstanding {
        core.set_activity(handle, active, outstanding);
    }
}

/// Lists the stream to be flushed at the end of the poll batch.
pub(super) fn list_for_flush(core: &mut Core, handle: Handle) {
    if let Some(state) = core.get::<State>(handle) {
        if !mem::replace(&mut state.flush_queued, true) {
            core.flush_later(handle);
        }
    }
}

// ---- sending

/// Sends what is queued, as far as the system takes it.
pub(super) fn flush(core: &mut Core, handle: Handle) {
    let Some(Parts { state, flags, shared, counters, now, .. }) = core.parts::<State>(handle) else { return };
    if state.blocked | state.failed || state.connecting() {
        return after_sending(core, handle);
    }
    while state.queue.queued() > 0 {
        let Some(socket) = &state.socket else { return };
        let (len, sent) = match state.queue.only_piece() {
            Some(piece) => (piece.len(), socket.send(&[IoSlice::new(piece)])),
            None => send_pieces(&state.queue, socket),
        };
        let sent = match sent {
            Ok(sent) => sent.unwrap_or(0),
            Err(error) => return io_failed(core, handle, "write", error),
        };
        if sent > 0 {
            state.touch(now);
        }
        counters.metrics.bytes_sent += sent as u64;
        state.queue.advance(sent, &mut shared.streams.buffers);
        if sent < len {
            // It took less than it was offered, so it is full: another call would only return "not now".
            state.blocked = true;
            state.queue.compact(&mut shared.streams.buffers);
            break;
        }
    }
    // The common case: what is watched stays as it is. To find that out below would cost three times as much.
    if !state.is_settled() {
        after_sending(core, handle);
    } else if flags.outstanding {
        core.set_outstanding(handle, false);
    }
}

/// Out of line, because clearing its kilobyte of slices costs more than a common flush.
#[cold]
#[inline(never)]
fn send_pieces(queue: &SendQueue<Request>, socket: &Socket) -> (usize, io::Result<Option<usize>>) {
    let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
    let (count, len) = queue.pieces(&mut pieces);
    (len, socket.send(&pieces[..count]))
}

/// Completes writes after the queue has become shorter, and does what follows.
pub(super) fn after_sending(core: &mut Core, handle: Handle) {
    complete_sent(core, handle);
    loop {
        let Some(state) = core.get::<State>(handle) else { return };
        match state.next_step() {
            Step::NotifyDrained => notify(core, handle),
            Step::ShutDown => shut_down_now(core, handle),
            Step::Close(eof_first) => {
                if eof_first {
                    shut_down_now(core, handle);
                }
                return core.close(handle);
            }
            Step::Settle => return update(core, handle),
        }
    }
}

fn shut_down_now(core: &mut Core, handle: Handle) {
    let Some(state) = core.get::<State>(handle) else { return };
    state.write = WriteSide::ShutDown;
    if let Some(Err(error)) = state.socket.as_ref().map(Socket::shut_down) {
        // The peer has reset the connection. Reading reports it.
        if error.kind() != io::ErrorKind::NotConnected {
            io_failed(core, handle, "shut down", error);
        }
    }
}

/// Completes the writes whose bytes were sent. While connecting, none were.
pub(super) fn complete_sent(core: &mut Core, handle: Handle) {
    loop {
        let Some(state) = core.get::<State>(handle).filter(|state| !state.connecting()) else { return };
        let Some(request) = state.queue.pop_reached_mark() else { return };
        core.complete(request, Ok(()));
    }
}

/// Cancels the writes whose bytes will not be sent.
pub(super) fn cancel_writes(core: &mut Core, handle: Handle) {
    while let Some(request) = core.get::<State>(handle).and_then(|state| state.queue.pop_mark()) {
        core.complete(request, Err(Error::Canceled { op: "write" }));
    }
}

// ---- connecting

/// Completes the connect, with success or an error.
pub(super) fn finish_connect(core: &mut Core, handle: Handle, result: Result) {
    let Some(request) = core.get::<State>(handle).and_then(State::take_connecting) else { return };
    core.clear_deadline(handle);
    match result {
        Ok(()) => {
            core.complete(request, Ok(()));
            touch(core, handle);
            arm_idle(core, handle);
            // Sends what was written meanwhile. Its completions follow that of the connect, which is listed
            // first.
            flush(core, handle);
            update(core, handle);
        }
        Err(error) => {
            core.complete(request, Err(error));
            cancel_writes(core, handle);
            core.close(handle);
        }
    }
}

// ---- failures

/// Handles the failure of an operation on the socket.
pub(super) fn io_failed(core: &mut Core, handle: Handle, op: &'static str, error: io::Error) {
    let error = Error::system(op, error);
    let Some(state) = core.get::<State>(handle) else { return };
    if state.connecting() {
        return finish_connect(core, handle, Err(error));
    }
    complete_sent(core, handle);
    match core.get::<State>(handle).and_then(|state| state.queue.pop_mark()) {
        Some(request) => {
            core.complete(request, Err(error));
            core.close(handle);
        }
        None => queue_error(core, handle, error),
    }
}

/// Keeps an error for the callback, which gets it in the next deferred phase.
pub(super) fn queue_error(core: &mut Core, handle: Handle, error: Error) {
    let Some(state) = core.get::<State>(handle).filter(|state| !state.failed) else { return };
    state.failed = true;
    state.cold().error = Some(Box::new(error));
    notify(core, handle);
    update(core, handle);
}

/// Lists the stream for the deferred phase.
fn notify(core: &mut Core, handle: Handle) {
    if let Some(state) = core.get::<State>(handle) {
        if !mem::replace(&mut state.notify_queued, true) {
            core.defer_to(handle);
        }
    }
}

/// Delivers what was kept for the callback: an error, or `Drained`.
pub(super) fn on_deferred<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle) -> Result {
    let Some(stream) = lp.core.get::<State>(handle) else { return Ok(()) };
    stream.notify_queued = false;
    if let Some(error) = stream.take_error() {
        if stream.connecting() {
            finish_connect(&mut lp.core, handle, Err(*error));
            return Ok(());
        }
        update(&mut lp.core, handle);
        return report_error(lp, state, handle, error);
    }
    if mem::take(&mut stream.drained) {
        return deliver(lp, state, handle, Ok(Event::Drained));
    }
    Ok(())
}

/// Passes an error to the callback and closes the stream. Without a callback, it is a failure.
pub(super) fn report_error<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle, error: Box<Error>) -> Result {
    if !lp.has_callback(handle) {
        return lp.fail(state, handle, *error);
    }
    let result = lp.call(state, handle, CallbackArg::Stream(Err(error)));
    lp.core.close(handle);
    result
}

/// Closes the socket and cancels the requests.
pub(super) fn release(core: &mut Core, handle: Handle) {
    // Writes whose bytes were sent are complete, though their callbacks have not run yet.
    complete_sent(core, handle);
    let Some(Parts { state, shared, backend, .. }) = core.parts::<State>(handle) else { return };
    if let Some(socket) = state.socket.take() {
        backend.close(socket);
    }
    state.queue.clear(&mut shared.streams.buffers);
    let connecting = state.take_connecting();
    let counted_by = state.listener.take();
    let error = state.take_error();
    if let Some(request) = connecting {
        core.complete(request, Err(Error::Canceled { op: "connect" }));
    }
    cancel_writes(core, handle);
    if let Some(listener) = counted_by {
        listener::connection_closed(core, listener);
    }
    drop(error);
}
