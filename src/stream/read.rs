//! Reading: received bytes go to the callback at once, from one buffer that all streams share.

use std::mem;

use super::{
    Event,
    drive::{finish_connect, flush, report_error, update},
    state::{ReadSide, State},
};
use crate::{
    Loop,
    backend::{Readiness, Socket},
    error::{Error, Result},
    event_loop::{CallbackArg, Core, Parts},
    handle::Handle,
};

/// Reads for each readiness. More would save a wait, and let one busy peer starve the others.
const READS_MAX: usize = 8;

pub(super) fn on_ready<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle, readiness: Readiness) -> Result {
    if readiness.writable() && writable(&mut lp.core, handle) {
        return Ok(());
    }
    if readiness.readable() { read(lp, state, handle) } else { Ok(()) }
}

/// Handles that the socket is writable or has failed. Returns whether that completed a connect.
#[cold]
fn writable(core: &mut Core, handle: Handle) -> bool {
    let Some(stream) = core.get::<State>(handle) else { return false };
    if stream.connecting() {
        let result = stream.socket.as_ref().map_or(Ok(()), Socket::finish_connect);
        finish_connect(core, handle, result.map_err(|error| Error::system("connect", error)));
        return true;
    }
    if mem::take(&mut stream.blocked) {
        flush(core, handle);
        update(core, handle);
    }
    false
}

fn read<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle) -> Result {
    for _ in 0..READS_MAX {
        // Looked up on every pass: the callback may have stopped, closed or filled the stream.
        let Some(parts) = lp.core.parts::<State>(handle) else { return Ok(()) };
        let Parts { state: stream, shared, counters, now, .. } = parts;
        let (true, Some(socket)) = (stream.wants_to_read(), &stream.socket) else { return Ok(()) };
        match socket.receive(shared.streams.read_buffer()) {
            Ok(None) => return Ok(()),
            Ok(Some(0)) => {
                stream.read = ReadSide::Ended;
                update(&mut lp.core, handle);
                return deliver(lp, state, handle, Ok(Event::End));
            }
            Ok(Some(count)) => {
                stream.touch(now);
                counters.metrics.bytes_received += count as u64;
                // Taken out, because the callback gets the loop as well. A panic drops it, and the next read
                // allocates another.
                let mut buffer = shared.streams.take_read_buffer();
                let result = deliver(lp, state, handle, Ok(Event::Data(&mut buffer[..count])));
                let full = count == buffer.len();
                lp.core.shared().streams.put_read_buffer(buffer);
                result?;
                if !full {
                    // It returned less than there was room for, so it is empty: another call would only
                    // return "not now".
                    return Ok(());
                }
            }
            Err(error) => {
                return report_error(lp, state, handle, Box::new(Error::system("read", error)));
            }
        }
    }
    Ok(())
}

/// Calls the stream's callback, and sends what it wrote to the stream.
pub(super) fn deliver<S>(
    lp: &mut Loop<S>,
    state: &mut S,
    handle: Handle,
    event: Result<Event<'_>, Box<Error>>,
) -> Result {
    lp.core.shared().streams.delivering = Some(handle);
    let result = lp.call(state, handle, CallbackArg::Stream(event));
    lp.core.shared().streams.delivering = None;
    flush(&mut lp.core, handle);
    result
}
