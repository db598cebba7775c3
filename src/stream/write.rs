//! Writing.
//!
//! What a stream's own callback writes is sent when it returns. What other callbacks write is sent at the end
//! of the poll batch, in one call for each stream. What the system does not take waits until it reports that
//! it does.

use std::{
    io::{self, IoSlice},
    panic::Location,
};

use super::{
    Stream,
    drive::{cancel_writes, complete_sent, flush, io_failed, list_for_flush, queue_error, update},
    state::{SEND_NOW_MIN, State, WriteSide},
};
use crate::{
    Loop,
    backend::PIECES_MAX,
    error::{Error, Result},
    event_loop::{Core, Parts},
    handle::{Handle, Kind, Request},
    payload::Payload,
};

/// Queues bytes, or sends them at once if they are borrowed and many.
pub(crate) fn write(core: &mut Core, handle: Handle, payload: Payload<'_>, op: &'static str) -> Result {
    match core.parts::<State>(handle) {
        Some(Parts { state, flags, shared, .. }) if state.fits(payload.as_bytes().len()) => {
            let shared = &mut shared.streams;
            state.queue.push(payload, &mut shared.buffers);
            // Flushed when its own callback returns, which also updates the slot. Listing it here would visit
            // it again at the end of the batch, when it is out of the cache: a tenth of the cost of an echo.
            let known = state.flush_queued & flags.outstanding || shared.delivering == Some(handle);
            if !known {
                flush_with_others(core, handle);
            }
            Ok(())
        }
        _ => write_slow(core, handle, payload, op),
    }
}

/// Writes where a limit, a watermark or the state of the stream may matter.
fn write_slow(core: &mut Core, handle: Handle, payload: Payload<'_>, op: &'static str) -> Result {
    if core.require::<State>(handle, op)?.should_flush_first() {
        flush(core, handle);
    }
    let state = writable(core, handle, op)?;
    let queued = state.queue.queued();
    if queued > state.limit() {
        return Err(Error::QueueFull { op, queued, limit: state.limit() });
    }
    if state.failed && !state.connecting() {
        // The callback will get the error. These bytes are lost with those written before.
        return Ok(());
    }
    let payload = match payload {
        Payload::Borrowed(bytes) if bytes.len() >= SEND_NOW_MIN && !state.blocked && !state.connecting() => {
            match send_now(core, handle, bytes) {
                Ok(rest) => Payload::Borrowed(rest),
                Err(error) => {
                    io_failed(core, handle, op, error);
                    return Ok(());
                }
            }
        }
        payload => payload,
    };
    let Some(Parts { state, shared, .. }) = core.parts::<State>(handle) else { return Ok(()) };
    state.queue.push(payload, &mut shared.streams.buffers);
    state.note_high();
    if shared.streams.delivering != Some(handle) {
        flush_with_others(core, handle);
    }
    Ok(())
}

/// Returns the state of an open stream whose write side was not shut down.
fn writable<'a>(core: &'a mut Core, handle: Handle, op: &'static str) -> Result<&'a mut State> {
    let state = core.require::<State>(handle, op)?;
    match state.write {
        WriteSide::Open => Ok(state),
        _ => Err(Error::invalid(op, "the stream was shut down for writing")),
    }
}

/// Lists a stream that was written to outside of its own callback, to be flushed once for all writes.
fn flush_with_others(core: &mut Core, handle: Handle) {
    list_for_flush(core, handle);
    let Some(Parts { state, flags, .. }) = core.parts::<State>(handle) else { return };
    // The flush, which always follows, updates the slot. Until then the loop must know that there is work.
    if !flags.outstanding && (state.blocked || state.queue.queued() > 0) {
        core.set_outstanding(handle, true);
    }
}

/// Sends what is queued and these bytes behind it, in one call. Returns the bytes that were not sent.
fn send_now<'b>(core: &mut Core, handle: Handle, bytes: &'b [u8]) -> io::Result<&'b [u8]> {
    let Some(Parts { state, shared, counters, now, .. }) = core.parts::<State>(handle) else {
        return Ok(bytes);
    };
    let Some(socket) = &state.socket else { return Ok(bytes) };
    let queued = state.queue.queued();
    let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
    let (mut count, len) = state.queue.pieces(&mut pieces[..PIECES_MAX - 1]);
    if len == queued {
        pieces[count] = IoSlice::new(bytes);
        count += 1;
    }
    let sent = socket.send(&pieces[..count])?.unwrap_or(0);
    counters.metrics.bytes_sent += sent as u64;
    state.touch(now);
    state.blocked = sent < queued + bytes.len();
    // What was queued before is sent first.
    state.queue.advance(sent.min(queued), &mut shared.streams.buffers);
    let passed = sent.saturating_sub(queued);
    if passed > 0 {
        state.queue.skip(passed);
    }
    Ok(&bytes[passed..])
}

/// Writes, and makes a request that completes when everything until here was sent.
pub(crate) fn write_then(
    core: &mut Core,
    handle: Handle,
    payload: Payload<'_>,
    started_at: &'static Location<'static>,
) -> Result<Request> {
    write(core, handle, payload, "write")?;
    let request = core.request(Some(handle), Kind::Write, "write", started_at);
    match core.get::<State>(handle) {
        // That of a failed connect completes first, and cancels these.
        Some(state) if !state.failed || state.connecting() => {
            state.queue.mark(request);
            // If nothing is left to send, only the flush completes the request.
            list_for_flush(core, handle);
        }
        // The connection failed, now or before. These bytes are lost, with all that are queued.
        _ => {
            complete_sent(core, handle);
            cancel_writes(core, handle);
            core.complete(request, Err(Error::Canceled { op: "write" }));
        }
    }
    Ok(request)
}

/// Sends what the system takes now, and queues nothing. Returns the number of bytes: zero if something is
/// queued.
pub(crate) fn try_write(core: &mut Core, handle: Handle, bytes: &[u8]) -> Result<usize> {
    let op = "try_write";
    writable(core, handle, op)?;
    let Some(Parts { state, counters, now, .. }) = core.parts::<State>(handle) else { return Ok(0) };
    if state.queue.queued() > 0 || state.connecting() || state.failed || bytes.is_empty() {
        return Ok(0);
    }
    let Some(socket) = &state.socket else { return Err(Error::Closed { op }) };
    let sent = match socket.send(&[IoSlice::new(bytes)]) {
        Ok(sent) => sent.unwrap_or(0),
        Err(error) => {
            // The system reports it once: a read after it would see EOF, as if the peer had closed normally.
            core.close(handle);
            return Err(Error::system(op, error));
        }
    };
    state.touch(now);
    state.queue.skip(sent);
    counters.metrics.bytes_sent += sent as u64;
    Ok(sent)
}

/// Shuts down the write side once the queue was sent. With `finish`, then closes when the peer has sent EOF,
/// too.
pub(crate) fn shut_down(core: &mut Core, handle: Handle, finish: bool, op: &'static str) -> Result {
    let state = core.require::<State>(handle, op)?;
    if state.write == WriteSide::Open {
        state.write = WriteSide::ShuttingDown;
    } else if !finish {
        return Err(Error::invalid(op, "the stream was shut down for writing before"));
    }
    state.finishing |= finish;
    list_for_flush(core, handle);
    update(core, handle);
    Ok(())
}

/// Writes the same bytes to many streams. Returns the number of streams that took them.
///
/// Borrowed payloads of up to 512 bytes are copied into each queue; all others are shared. Each stream queues
/// them as [`Stream::write`] does, and sends them at the end of the poll batch. A closed stream is skipped.
/// The callback of a stream whose queue is above its limit gets [`Error::QueueFull`], which ends its
/// connection; the other streams do not wait for it.
///
/// ```
/// use ringback::{Loop, net::{self, TcpStream}};
///
/// fn announce(lp: &mut Loop, people: &[TcpStream]) {
///     let reached = net::broadcast(lp, people, "the doors are open\n");
///     assert!(reached <= people.len());
/// }
/// ```
pub fn broadcast<'a, S>(
    lp: &mut Loop<S>,
    streams: impl IntoIterator<Item: Into<Stream>>,
    payload: impl Into<Payload<'a>>,
) -> usize {
    let payload = match payload.into() {
        Payload::Owned(bytes) => Payload::Rc(bytes.into()),
        // Fewer are copied into each queue: that costs less than sharing them.
        Payload::Borrowed(bytes) if bytes.len() > 512 => Payload::Rc(bytes.into()),
        payload => payload,
    };
    let mut taken = 0;
    for stream in streams {
        let Stream(handle) = stream.into();
        match write(&mut lp.core, handle, payload.clone(), "broadcast") {
            Ok(()) => taken += 1,
            Err(error @ Error::QueueFull { .. }) => queue_error(&mut lp.core, handle, error),
            Err(_) => {}
        }
    }
    taken
}
