//! Streams: read, write, shut down, close. What every stream does, whatever carries it.
//!
//! One callback owns a stream. The read side is three conditions: it was started, the peer has not
//! ended, its own queue is not too long. The write side is the pure machine in `writer.rs`; this file
//! asks the backend to send what it says, and tells it what was sent.
//!
//! When things leave: what the stream's own callback wrote, when it returns; what others wrote, at the
//! end of the poll batch, once a stream. What could not leave waits until the backend says "now".

use std::{
    io::{self, IoSlice},
    mem,
    panic::Location,
    time::Duration,
};

use super::tcp::TcpStream;
use crate::{
    Loop,
    backend::{Interest, PIECES_MAX, Readiness, Socket, job::Outcome},
    error::{Error, Result},
    event_loop::{
        core::{Core, Deferred},
        kinds::{Body, CallbackArg},
    },
    handle::{Handle, Kind, Request},
    payload::Payload,
    queue::send_queue::SendQueue,
    time::Nanos,
};

/// Reads per readiness. More would only save a wait, and let one busy peer hold up the others.
const READS_MAX: usize = 8;
/// Borrowed bytes from this many on are sent within `write`, so that they need not be copied.
const DIRECT_MIN: usize = 16 << 10;
/// Above this the stream's own queue stops its reading.
const HIGH_WATERMARK: usize = 256 << 10;
/// At this it goes on.
const LOW_WATERMARK: usize = 64 << 10;
/// With this much queued, nothing more is.
const QUEUE_LIMIT: usize = 16 << 20;

/// What happens on a stream. A callback gets it as `Result<Event>`.
///
/// An error that arrives in its place ends the connection: after the callback has returned, whatever it
/// returned, only [`Closed`](Event::Closed) follows. The exception is [`Error::TimedOut`] of an idle
/// timeout: a callback that returns `Ok` after that keeps its connection, for another such time.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Bytes have arrived. They are lent, from the loop's buffer, for as long as the callback runs, and may
    /// be changed in place.
    Data(&'a mut [u8]),
    /// The peer will send no more. Comes once, after all data. The stream can still be written to.
    End,
    /// The write queue had reached the high watermark and is down to the low one.
    Drained,
    /// The stream is closed, however that came about. Always the last event, and it comes exactly once.
    Closed,
}

/// The write side, from the first write to the last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Open,
    /// `shutdown` was asked for; the queue goes first.
    Ending,
    Ended,
}

/// What a stream keeps. Boxed, so that slots stay small; small itself, for most connections are idle.
///
/// 1. `owing` in the slot says: connecting, or bytes queued, or the end not yet sent, or an error untold,
///    or the close due that `finish` asked for.
/// 2. Watched for reading: started, not ended, not paused, connected. For writing: connecting or blocked.
/// 3. `paused` and `above` imply that bytes are queued, until it is told that they are not.
#[derive(Debug)]
pub(crate) struct State {
    socket: Option<Socket>,
    write_side: Side,
    /// It was given a callback.
    started: bool,
    /// The callback wants to hear of data.
    reading: bool,
    /// The peer has ended.
    ended: bool,
    /// Its own queue has stopped the reading.
    paused: bool,
    auto_pause: bool,
    /// The queue has reached the high watermark and not yet come down to the low one.
    above: bool,
    /// It has come down, and the callback is to be told.
    drained: bool,
    /// The system takes nothing now, and will say when it does.
    blocked: bool,
    /// In the loop's list of streams with something to send.
    listed: bool,
    /// In the loop's list of streams with something to tell.
    telling: bool,
    /// `finish`: close when both sides have ended.
    finishing: bool,
    /// Something broke the connection: nothing is read or sent any more, and it is closed when the callback
    /// has been told. What is written meanwhile is lost, for what was written before it may be.
    broken: bool,
    writer: SendQueue<Request>,
    rare: Option<Box<Rare>>,
    /// The listener that counts this stream.
    listener: Option<Handle>,
}

/// What a stream that was accepted and is used without ado never needs. Made when something in it becomes
/// otherwise than it is here from the start.
#[derive(Debug)]
struct Rare {
    connecting: Option<Request>,
    /// What broke the connection, until the callback is told.
    error: Option<Box<Error>>,
    low: u32,
    high: u32,
    limit: usize,
    /// Zero for none: of connecting, and then of idleness.
    connect_limit: Nanos,
    idle_limit: Nanos,
    /// When bytes last moved: not before `idle_limit` was set, for nobody asks.
    moved: Nanos,
}

impl Default for Rare {
    fn default() -> Self {
        Rare {
            connecting: None,
            error: None,
            low: LOW_WATERMARK as u32,
            high: HIGH_WATERMARK as u32,
            limit: QUEUE_LIMIT,
            connect_limit: 0,
            idle_limit: 0,
            moved: 0,
        }
    }
}

impl State {
    pub(crate) fn new(socket: Socket, listener: Option<Handle>) -> State {
        State {
            socket: Some(socket),
            write_side: Side::Open,
            started: false,
            reading: false,
            ended: false,
            paused: false,
            auto_pause: true,
            above: false,
            drained: false,
            blocked: false,
            listed: false,
            telling: false,
            finishing: false,
            broken: false,
            writer: SendQueue::default(),
            rare: None,
            listener,
        }
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn connecting(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.connecting.is_some())
    }

    /// It is connected, or will never be. What was kept for that goes, unless there is something else.
    fn take_connecting(&mut self) -> Option<Request> {
        let rare = self.rare.as_mut()?;
        let request = rare.connecting.take()?;
        rare.connect_limit = 0;
        let Rare { error: None, low, high, limit, idle_limit: 0, .. } = **rare else { return Some(request) };
        if (low as usize, high as usize, limit) == (LOW_WATERMARK, HIGH_WATERMARK, QUEUE_LIMIT) {
            self.rare = None;
        }
        Some(request)
    }

    fn take_error(&mut self) -> Option<Box<Error>> {
        self.rare.as_mut()?.error.take()
    }

    fn low(&self) -> usize {
        self.rare.as_ref().map_or(LOW_WATERMARK, |rare| rare.low as usize)
    }

    fn high(&self) -> usize {
        self.rare.as_ref().map_or(HIGH_WATERMARK, |rare| rare.high as usize)
    }

    fn limit(&self) -> usize {
        self.rare.as_ref().map_or(QUEUE_LIMIT, |rare| rare.limit)
    }

    /// Bytes have moved.
    fn touch(&mut self, now: Nanos) {
        if let Some(rare) = &mut self.rare {
            rare.moved = now;
        }
    }

    fn wants_to_read(&self) -> bool {
        // Bits, not conditions: it is asked before each read, and hardly ever anything but true.
        self.reading & !(self.ended | self.paused | self.broken) && !self.connecting()
    }

    fn wants_to_write(&self) -> bool {
        self.connecting() || (self.blocked && !self.broken)
    }

    /// These bytes need only be put behind the others: they meet no limit and no watermark, and nothing is to
    /// be sent first.
    fn takes(&self, len: usize) -> bool {
        let queued = self.writer.queued();
        let most = self.rare.as_ref().map_or(HIGH_WATERMARK, |rare| rare.limit.min(rare.high as usize));
        let fits = queued + len < most || (self.above & self.blocked && queued <= self.limit());
        fits && (len < DIRECT_MIN) & !self.broken & (self.write_side == Side::Open)
    }

    /// Now that everything has left, there is nothing to tell, to change or to wait for.
    fn has_settled(&self) -> bool {
        let nothing_else = !(self.blocked | self.above | self.finishing) & (self.write_side != Side::Ending);
        nothing_else && !self.writer.has_marks()
    }

    /// Much is queued that nobody has tried to send yet: it would be refused, or kept from being read, only
    /// because the poll batch is long.
    fn should_send_first(&self) -> bool {
        let queued = self.writer.queued();
        (queued >= self.high() || queued > self.limit()) && !self.blocked && !self.connecting()
    }

    /// `finish` was asked for, and nothing more is expected from the peer.
    fn is_over(&self) -> bool {
        self.finishing && (self.ended || !self.reading)
    }

    fn has_outstanding(&self) -> bool {
        self.writer.queued() > 0
            || self.write_side == Side::Ending
            || self.is_over()
            || self.rare.as_ref().is_some_and(|rare| rare.connecting.is_some() || rare.error.is_some())
    }

    pub(crate) fn describe(&self) -> String {
        let mut doing = Vec::new();
        if self.connecting() {
            doing.push("connecting".to_owned());
        }
        if self.reading && !self.ended {
            doing.push(if self.paused { "paused until its queue drains" } else { "reading" }.to_owned());
        }
        if self.ended {
            doing.push("the peer has ended".to_owned());
        }
        if self.writer.queued() > 0 {
            doing.push(format!("{} bytes to send", self.writer.queued()));
        }
        if self.write_side != Side::Open {
            doing.push("shut down for writing".to_owned());
        }
        if doing.is_empty() { "not started".into() } else { doing.join(", ") }
    }
}

// ---- finding streams

/// The state of an open stream.
pub(crate) fn state_mut<'a>(core: &'a mut Core, handle: Handle, op: &'static str) -> Result<&'a mut State> {
    match &mut core.table.require(handle, op)?.body {
        Body::Stream(state) => Ok(state),
        _ => Err(Error::Closed { op }),
    }
}

fn find(core: &mut Core, handle: Handle) -> Option<&mut State> {
    match &mut core.table.get_open(handle)?.body {
        Body::Stream(state) => Some(state),
        _ => None,
    }
}

/// A stream's socket, for its options.
pub(crate) fn socket<'a>(core: &'a mut Core, handle: Handle, op: &'static str) -> Result<&'a Socket> {
    state_mut(core, handle, op)?.socket.as_ref().ok_or(Error::Closed { op })
}

/// Brings what is watched, and what holds the loop, in line with the state.
fn update(core: &mut Core, handle: Handle) {
    let Core { table, backend, .. } = core;
    let Some(slot) = table.get_open(handle) else { return };
    let Body::Stream(state) = &slot.body else { return };
    let interest = Interest::NONE
        .with(Interest::READ, state.wants_to_read())
        .with(Interest::WRITE, state.wants_to_write());
    if let Some(socket) = &state.socket {
        backend.watch(socket, handle.key(), interest);
    }
    let (active, outstanding) = (state.reading && !state.ended, state.has_outstanding());
    let before = slot.flags();
    if before.active != active || before.outstanding != outstanding {
        table.update(handle, |state| {
            state.active = active;
            state.outstanding = outstanding;
        });
    }
}

// ---- making and starting

/// A stream that was accepted or adopted.
pub(crate) fn insert(
    core: &mut Core,
    socket: Socket,
    listener: Option<Handle>,
    started: &'static Location<'static>,
) -> Handle {
    core.insert(Body::Stream(Box::new(State::new(socket, listener))), started)
}

/// A stream whose connection is being made.
pub(crate) fn connect(
    core: &mut Core,
    socket: Socket,
    connected: io::Result<bool>,
    limit: Option<Duration>,
    started: &'static Location<'static>,
) -> (Handle, Request) {
    let handle = insert(core, socket, None, started);
    let request = core.request(Some(handle), Kind::Connect, "connect", started);
    let deadline = limit.map(|limit| core.deadline(limit));
    if let Some(state) = find(core, handle) {
        let rare = state.rare();
        rare.connecting = Some(request);
        rare.connect_limit = limit.map_or(0, crate::time::nanos);
    }
    if let Some(deadline) = deadline {
        core.deadlines.set(handle.index, deadline);
    }
    match connected {
        Ok(true) => now_connected(core, handle, Ok(())),
        Ok(false) => update(core, handle),
        Err(error) => now_connected(core, handle, Err(Error::system("connect", error))),
    }
    (handle, request)
}

fn now_connected(core: &mut Core, handle: Handle, result: Result) {
    let Some(state) = find(core, handle) else { return };
    let Some(request) = state.take_connecting() else { return };
    core.deadlines.cancel(handle.index);
    match result {
        Ok(()) => {
            core.answer(request, Ok(Outcome::Done));
            touch(core, handle);
            arm_idle(core, handle);
            // What was written meanwhile. Its answers come after that of connecting: they are queued later.
            flush(core, handle);
            update(core, handle);
        }
        Err(error) => {
            core.answer(request, Err(error));
            cancel_writes(core, handle);
            core.close(handle);
        }
    }
}

pub(crate) fn start<S>(
    lp: &mut Loop<S>,
    handle: Handle,
    mut callback: impl FnMut(&mut Loop<S>, &mut S, Result<Event<'_>>) -> Result + 'static,
    started: &'static Location<'static>,
) -> Result {
    let op = "start a stream";
    let state = state_mut(&mut lp.core, handle, op)?;
    (state.started, state.reading) = (true, true);
    lp.core.require(handle, op)?.started_at = started;
    lp.set_callback(handle, move |lp, state, occurrence| match occurrence {
        CallbackArg::Stream(event) => callback(lp, state, event.map_err(|error| *error)),
        _ => Ok(()),
    });
    update(&mut lp.core, handle);
    Ok(())
}

pub(crate) fn set_reading(core: &mut Core, handle: Handle, reading: bool, op: &'static str) -> Result {
    let state = state_mut(core, handle, op)?;
    if reading && !state.started {
        return Err(Error::invalid(op, "it was never started: nobody would get what is read"));
    }
    state.reading = reading;
    // It may be over with this: the flush closes it.
    if state.is_over() && !state.listed {
        state.listed = true;
        core.unsent.push(handle);
    }
    update(core, handle);
    Ok(())
}

// ---- writing

/// Queues bytes, or sends them at once if they are borrowed and many.
pub(crate) fn write(core: &mut Core, handle: Handle, payload: Payload<'_>, op: &'static str) -> Result {
    let Core { table, stock, delivering, .. } = core;
    let Some(slot) = table.get_open(handle) else { return write_with_care(core, handle, payload, op) };
    let outstanding = slot.flags().outstanding;
    match &mut slot.body {
        Body::Stream(state) if state.takes(payload.as_bytes().len()) => {
            state.writer.push(payload, stock);
            // Flushed when its callback returns, which also brings the slot in line. To list it here would
            // visit it again, cold, at the end of the batch: a tenth of what an echo costs.
            let known = state.listed & outstanding || *delivering == Some(handle);
            if !known {
                flush_later(core, handle);
            }
            Ok(())
        }
        _ => write_with_care(core, handle, payload, op),
    }
}

/// The same where it is not so easy.
fn write_with_care(core: &mut Core, handle: Handle, payload: Payload<'_>, op: &'static str) -> Result {
    if state_mut(core, handle, op)?.should_send_first() {
        flush(core, handle);
    }
    let Core { table, stock, counters, now, delivering, .. } = core;
    let state = match &mut table.require(handle, op)?.body {
        Body::Stream(state) => state,
        _ => return Err(Error::Closed { op }),
    };
    if state.write_side != Side::Open {
        return Err(Error::invalid(op, "the stream was shut down for writing"));
    }
    let queued = state.writer.queued();
    if queued > state.limit() {
        return Err(Error::QueueFull { op, queued, limit: state.limit() });
    }
    if state.broken {
        // The connection is broken, and its callback will be told. What is written now is lost with
        // what was written before.
        return Ok(());
    }
    let mut payload = payload;
    if let Payload::Borrowed(bytes) = payload {
        if bytes.len() >= DIRECT_MIN && !state.blocked && !state.connecting() {
            match send_directly(state, bytes) {
                Ok(sent) => {
                    counters.bytes_sent += sent as u64;
                    state.touch(*now);
                    state.blocked = sent < queued + bytes.len();
                    // What was queued before has gone first.
                    state.writer.advance(sent.min(queued), stock);
                    let passed = sent.saturating_sub(queued);
                    if passed > 0 {
                        state.writer.skip(passed);
                    }
                    payload = Payload::Borrowed(&bytes[passed..]);
                }
                Err(error) => {
                    broken(core, handle, op, error);
                    return Ok(());
                }
            }
        }
    }
    state.writer.push(payload, stock);
    if state.writer.queued() >= state.high() && !state.above {
        state.above = true;
        state.paused = state.auto_pause;
    }
    if *delivering != Some(handle) {
        flush_later(core, handle);
    }
    Ok(())
}

/// Lists a stream that was written to from outside its own callback, to be flushed once for all.
fn flush_later(core: &mut Core, handle: Handle) {
    let Core { table, unsent, .. } = core;
    let Some(slot) = table.get_open(handle) else { return };
    let outstanding = slot.flags().outstanding;
    let Body::Stream(state) = &mut slot.body else { return };
    if !mem::replace(&mut state.listed, true) {
        unsent.push(handle);
    }
    // The slot's own state is brought in line by the flush, which always follows; but the loop must know
    // by then that it is not idle.
    if !outstanding && (state.blocked || state.writer.queued() > 0) {
        table.update(handle, |state| state.outstanding = true);
    }
}

/// Sends what is queued and these bytes behind it, in one call. Says how many left, of all.
fn send_directly(state: &State, bytes: &[u8]) -> io::Result<usize> {
    let Some(socket) = &state.socket else { return Ok(0) };
    let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
    let (count, len) = state.writer.pieces(&mut pieces[..PIECES_MAX - 1]);
    if len == state.writer.queued() {
        pieces[count] = IoSlice::new(bytes);
        return Ok(socket.send(&pieces[..=count])?.unwrap_or(0));
    }
    Ok(socket.send(&pieces[..count])?.unwrap_or(0))
}

/// The same, with somebody who wants to know when it has left.
pub(crate) fn write_then(
    core: &mut Core,
    handle: Handle,
    payload: Payload<'_>,
    started: &'static Location<'static>,
) -> Result<Request> {
    write(core, handle, payload, "write")?;
    let request = core.request(Some(handle), Kind::Write, "write", started);
    match find(core, handle) {
        Some(state) if !state.broken => {
            state.writer.mark(request);
            // With nothing to send, or everything sent, only the flush will notice.
            if !state.listed {
                state.listed = true;
                core.unsent.push(handle);
            }
        }
        // The connection broke, now or before. These bytes are lost, with all that wait.
        _ => {
            tell_done(core, handle);
            cancel_writes(core, handle);
            core.answer(request, Err(Error::Canceled { op: "write" }));
        }
    }
    Ok(request)
}

/// Sends what can be sent now, and queues nothing. Zero if something is queued already.
pub(crate) fn try_write(core: &mut Core, handle: Handle, bytes: &[u8]) -> Result<usize> {
    let op = "try_write";
    let now = core.now;
    let Core { table, counters, .. } = core;
    let state = match &mut table.require(handle, op)?.body {
        Body::Stream(state) => state,
        _ => return Err(Error::Closed { op }),
    };
    if state.write_side != Side::Open {
        return Err(Error::invalid(op, "the stream was shut down for writing"));
    }
    if state.writer.queued() > 0 || state.connecting() || state.broken || bytes.is_empty() {
        return Ok(0);
    }
    let Some(socket) = &state.socket else { return Err(Error::Closed { op }) };
    let sent = match socket.send(&[IoSlice::new(bytes)]) {
        Ok(sent) => sent.unwrap_or(0),
        Err(error) => {
            // The system says it once: who reads now is told of an end, as if the peer had sent all that it wanted to.
            core.close(handle);
            return Err(Error::system(op, error));
        }
    };
    state.touch(now);
    state.writer.skip(sent);
    counters.bytes_sent += sent as u64;
    Ok(sent)
}

/// Sends what waits, as far as it goes.
pub(crate) fn flush(core: &mut Core, handle: Handle) {
    let Core { table, stock, counters, now, .. } = core;
    let Some(slot) = table.get_open(handle) else { return };
    let outstanding = slot.flags().outstanding;
    let Body::Stream(state) = &mut slot.body else { return };
    if state.blocked | state.broken || state.connecting() {
        return after_sending(core, handle);
    }
    while state.writer.queued() > 0 {
        let Some(socket) = &state.socket else { return };
        let (len, answer) = match state.writer.only_piece() {
            Some(piece) => (piece.len(), socket.send(&[IoSlice::new(piece)])),
            None => send_pieces(&state.writer, socket),
        };
        let sent = match answer {
            Ok(sent) => sent.unwrap_or(0),
            Err(error) => return broken(core, handle, "write", error),
        };
        if sent > 0 {
            state.touch(*now);
        }
        counters.bytes_sent += sent as u64;
        state.writer.advance(sent, stock);
        if sent < len {
            // It took less than it was offered: it is full, no need to ask.
            state.blocked = true;
            state.writer.compact(stock);
            break;
        }
    }
    // The ordinary case: what is watched stays as it is. What follows otherwise would find out the same at three
    // times the cost.
    if !state.has_settled() {
        after_sending(core, handle);
    } else if outstanding {
        table.update(handle, |state| state.outstanding = false);
    }
}

/// Tells those whose bytes have left. While the connection is being made, none have.
fn tell_done(core: &mut Core, handle: Handle) {
    let connected = |state: &&mut State| !state.connecting();
    while let Some(request) =
        find(core, handle).filter(connected).and_then(|state| state.writer.pop_reached_mark())
    {
        core.answer(request, Ok(Outcome::Done));
    }
}

/// Tells those whose bytes never will.
fn cancel_writes(core: &mut Core, handle: Handle) {
    while let Some(request) = find(core, handle).and_then(|state| state.writer.pop_mark()) {
        core.answer(request, Err(Error::Canceled { op: "write" }));
    }
}

/// Out of line, because to clear its kilobyte of places costs more than an ordinary flush.
#[cold]
#[inline(never)]
fn send_pieces(writer: &SendQueue<Request>, socket: &Socket) -> (usize, io::Result<Option<usize>>) {
    let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
    let (count, len) = writer.pieces(&mut pieces);
    (len, socket.send(&pieces[..count]))
}

/// Something has left: tells who waits for that, and goes on with what waited for the end of the queue.
fn after_sending(core: &mut Core, handle: Handle) {
    tell_done(core, handle);
    let Some(state) = find(core, handle) else { return };
    if state.above && state.writer.queued() <= state.low() {
        state.above = false;
        state.paused = false;
        state.drained = true;
        tell(core, handle);
    }
    let Some(state) = find(core, handle) else { return };
    if state.writer.queued() == 0 && !state.connecting() && !state.broken {
        // Both are over: closing says the same as shutting down, in one call.
        if state.is_over() {
            if !state.ended && state.write_side != Side::Ended {
                end_writing(core, handle);
            }
            return core.close(handle);
        }
        if state.write_side == Side::Ending {
            end_writing(core, handle);
        }
    }
    update(core, handle);
}

fn end_writing(core: &mut Core, handle: Handle) {
    let Some(state) = find(core, handle) else { return };
    state.write_side = Side::Ended;
    if let Some(Err(error)) = state.socket.as_ref().map(Socket::shut_down) {
        // The peer was faster. Reading will say so.
        if error.kind() != io::ErrorKind::NotConnected {
            broken(core, handle, "shut down", error);
        }
    }
}

/// Sends what was written by others' callbacks: once a stream, whatever was written how often.
pub(crate) fn flush_unsent(core: &mut Core) {
    if core.unsent.is_empty() {
        return;
    }
    let mut unsent = mem::take(&mut core.unsent);
    for handle in unsent.drain(..) {
        if let Some(state) = find(core, handle) {
            state.listed = false;
            flush(core, handle);
        }
    }
    // The room is used again. (Nothing was added: flushing calls nobody.)
    core.unsent = unsent;
}

/// Writes the same bytes to many streams, once: they are shared, not copied, unless they are few.
///
/// What they do to each stream is what [`TcpStream::write`] does, at the end of the poll batch. A stream
/// that is closed is passed over. One whose queue is over its limit gets [`Error::QueueFull`] at its own
/// callback, which ends its connection; the others never wait for it. Says how many took the bytes.
pub fn broadcast<'a, S, I>(lp: &mut Loop<S>, streams: I, payload: impl Into<Payload<'a>>) -> usize
where
    I: IntoIterator,
    I::Item: std::borrow::Borrow<TcpStream>,
{
    use std::borrow::Borrow;
    let mut payload = payload.into();
    if let Payload::Owned(bytes) = payload {
        payload = Payload::Rc(bytes.into());
    } else if let Payload::Borrowed(bytes) = payload {
        // Few bytes are gathered into each queue, which is cheaper than to share them.
        if bytes.len() > 512 {
            payload = Payload::Rc(bytes.into());
        }
    }
    let mut taken = 0;
    for stream in streams {
        let handle = stream.borrow().0;
        match write(&mut lp.core, handle, payload.clone(), "broadcast") {
            Ok(()) => taken += 1,
            Err(error @ Error::QueueFull { .. }) => fail_later(&mut lp.core, handle, error),
            Err(_) => {}
        }
    }
    taken
}

pub(crate) fn shut_down(core: &mut Core, handle: Handle, finish: bool, op: &'static str) -> Result {
    let state = state_mut(core, handle, op)?;
    if state.write_side == Side::Open {
        state.write_side = Side::Ending;
    } else if !finish {
        return Err(Error::invalid(op, "the stream was shut down for writing before"));
    }
    state.finishing |= finish;
    if !state.listed {
        state.listed = true;
        core.unsent.push(handle);
    }
    update(core, handle);
    Ok(())
}

// ---- what is told later

/// The connection is broken: whoever waits for a write is told, or else the callback.
pub(crate) fn broken(core: &mut Core, handle: Handle, op: &'static str, error: io::Error) {
    let error = Error::system(op, error);
    let Some(state) = find(core, handle) else { return };
    if state.connecting() {
        return now_connected(core, handle, Err(error));
    }
    tell_done(core, handle);
    let Some(state) = find(core, handle) else { return };
    match state.writer.pop_mark() {
        Some(request) => {
            core.answer(request, Err(error));
            core.close(handle);
        }
        None => fail_later(core, handle, error),
    }
}

/// The callback is to be told of an error that it did not cause just now.
fn fail_later(core: &mut Core, handle: Handle, error: Error) {
    let Some(state) = find(core, handle) else { return };
    if !state.broken {
        state.broken = true;
        state.rare().error = Some(Box::new(error));
        tell(core, handle);
        update(core, handle);
    }
}

fn tell(core: &mut Core, handle: Handle) {
    if let Some(state) = find(core, handle) {
        if !mem::replace(&mut state.telling, true) {
            core.pending.push_back(Deferred::Stream(handle));
        }
    }
}

/// Tells the callback what waits to be told.
pub(crate) fn told<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle) -> Result {
    let Some(stream) = find(&mut lp.core, handle) else { return Ok(()) };
    stream.telling = false;
    if let Some(error) = stream.take_error() {
        update(&mut lp.core, handle);
        return fail(lp, state, handle, error);
    }
    if mem::take(&mut stream.drained) {
        return deliver(lp, state, handle, Ok(Event::Drained));
    }
    Ok(())
}

/// The connection is over. Its callback is told, or, if there is none, it is a failure.
fn fail<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle, error: Box<Error>) -> Result {
    if !lp.has_callback(handle) {
        return lp.fail(state, handle, *error);
    }
    let result = lp.call(state, handle, CallbackArg::Stream(Err(error)));
    lp.core.close(handle);
    result
}

/// Calls the stream's callback and sends what it wrote.
fn deliver<S>(
    lp: &mut Loop<S>,
    state: &mut S,
    handle: Handle,
    event: Result<Event<'_>, Box<Error>>,
) -> Result {
    lp.core.delivering = Some(handle);
    let result = lp.call(state, handle, CallbackArg::Stream(event));
    lp.core.delivering = None;
    flush(&mut lp.core, handle);
    result
}

// ---- what the backend says

pub(crate) fn ready<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle, readiness: Readiness) -> Result {
    if readiness.writable() && writable(&mut lp.core, handle) {
        return Ok(());
    }
    if readiness.readable() { read(lp, state, handle) } else { Ok(()) }
}

/// The socket takes bytes now, or has failed. Says whether connecting has ended with that.
#[cold]
fn writable(core: &mut Core, handle: Handle) -> bool {
    let Some(stream) = find(core, handle) else { return false };
    if stream.connecting() {
        let result = stream.socket.as_ref().map_or(Ok(()), Socket::finish_connect);
        now_connected(core, handle, result.map_err(|error| Error::system("connect", error)));
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
        let core = &mut lp.core;
        // Asked again each time: the callback may have stopped, closed or filled it.
        let Some(Body::Stream(stream)) = core.table.get_open(handle).map(|slot| &mut slot.body) else {
            return Ok(());
        };
        let (true, Some(socket)) = (stream.wants_to_read(), &stream.socket) else { return Ok(()) };
        if core.buffer.is_empty() {
            core.buffer = vec![0; core.buffer_size];
        }
        match socket.receive(&mut core.buffer) {
            Ok(None) => return Ok(()),
            Ok(Some(0)) => {
                stream.ended = true;
                update(core, handle);
                return deliver(lp, state, handle, Ok(Event::End));
            }
            Ok(Some(count)) => {
                stream.touch(core.now);
                core.counters.bytes_received += count as u64;
                // Lent to the callback, which has the loop as well. A panic loses it, and the next read
                // makes another.
                let mut buffer = mem::take(&mut core.buffer);
                let result = deliver(lp, state, handle, Ok(Event::Data(&mut buffer[..count])));
                let full = count == buffer.len();
                lp.core.buffer = buffer;
                result?;
                if !full {
                    // It gave less than there was room for: it is empty, no need to ask.
                    return Ok(());
                }
            }
            Err(error) => {
                let error = Error::system("read", error);
                return fail(lp, state, handle, Box::new(error));
            }
        }
    }
    Ok(())
}

// ---- time limits

pub(crate) fn set_idle_limit(core: &mut Core, handle: Handle, limit: Option<Duration>) -> Result {
    let op = "set an idle timeout";
    let limit = match limit.map(crate::time::nanos) {
        Some(0) => return Err(Error::invalid(op, "a limit of zero leaves no time for anything")),
        limit => limit.unwrap_or(0),
    };
    let state = state_mut(core, handle, op)?;
    if limit > 0 || state.rare.is_some() {
        state.rare().idle_limit = limit;
    }
    touch(core, handle);
    arm_idle(core, handle);
    Ok(())
}

fn touch(core: &mut Core, handle: Handle) {
    let now = core.deadline(Duration::ZERO);
    if let Some(state) = find(core, handle) {
        state.touch(now);
    }
}

/// The deadline is not moved by each byte, which would cost more than the byte: when it passes, it is
/// moved to where it should be by then.
fn arm_idle(core: &mut Core, handle: Handle) {
    let Some(rare) = find(core, handle).and_then(|state| state.rare.as_deref()) else { return };
    if rare.connecting.is_some() {
        return;
    }
    match rare.idle_limit {
        0 => drop(core.deadlines.cancel(handle.index)),
        limit => {
            let due = rare.moved.saturating_add(limit);
            core.deadlines.set(handle.index, due);
        }
    }
}

pub(crate) fn timed_out<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle) -> Result {
    let now = lp.core.now;
    let Some(rare) = find(&mut lp.core, handle).and_then(|stream| stream.rare.as_deref()) else {
        return Ok(());
    };
    if rare.connecting.is_some() {
        let limit = Duration::from_nanos(rare.connect_limit);
        now_connected(&mut lp.core, handle, Err(Error::TimedOut { op: "connect", limit }));
        return Ok(());
    }
    if now < rare.moved.saturating_add(rare.idle_limit) {
        arm_idle(&mut lp.core, handle);
        return Ok(());
    }
    let error = Error::TimedOut { op: "idle", limit: Duration::from_nanos(rare.idle_limit) };
    if !lp.has_callback(handle) {
        return lp.fail(state, handle, error);
    }
    // Before the callback, which may set another limit.
    touch(&mut lp.core, handle);
    arm_idle(&mut lp.core, handle);
    deliver(lp, state, handle, Err(Box::new(error)))
}

// ---- the end

/// Lets go of the socket, and cancels what waits.
pub(crate) fn release(core: &mut Core, handle: Handle) {
    // What has left has left, though nobody was told yet.
    tell_done(core, handle);
    let Core { table, backend, stock, .. } = core;
    let Some(Body::Stream(state)) = table.get_open(handle).map(|slot| &mut slot.body) else { return };
    if let Some(socket) = state.socket.take() {
        backend.close(socket);
    }
    state.writer.clear(stock);
    let connecting = state.take_connecting();
    let listener = state.listener.take();
    let error = state.take_error();
    if let Some(request) = connecting {
        core.answer(request, Err(Error::Canceled { op: "connect" }));
    }
    cancel_writes(core, handle);
    if let Some(listener) = listener {
        super::listener::one_less(core, listener);
    }
    drop(error);
}

/// Takes the socket out of a stream that is to be given back.
pub(crate) fn take_socket(core: &mut Core, handle: Handle, op: &'static str) -> Result<Socket> {
    let state = state_mut(core, handle, op)?;
    if state.connecting() || state.writer.queued() > 0 {
        return Err(Error::InUse { op });
    }
    let socket = state.socket.take().ok_or(Error::Closed { op })?;
    core.backend.forget(&socket);
    Ok(socket)
}

pub(crate) fn close_reset(core: &mut Core, handle: Handle) -> Result {
    let op = "close with a reset";
    socket(core, handle, op)?.set_linger(Some(Duration::ZERO)).map_err(|error| Error::system(op, error))?;
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
    let state = state_mut(core, handle, op)?;
    (state.rare().low, state.rare().high) = (low, high);
    if state.writer.queued() >= high as usize {
        state.above = true;
        state.paused = state.auto_pause;
    }
    after_sending(core, handle);
    Ok(())
}

pub(crate) fn set_auto_pause(core: &mut Core, handle: Handle, on: bool) -> Result {
    let state = state_mut(core, handle, "set auto_pause")?;
    state.auto_pause = on;
    state.paused = on && state.above;
    update(core, handle);
    Ok(())
}

pub(crate) fn set_limit(core: &mut Core, handle: Handle, bytes: usize) -> Result {
    state_mut(core, handle, "set a queue limit")?.rare().limit = bytes;
    Ok(())
}

pub(crate) fn queued(core: &Core, handle: Handle) -> usize {
    match core.table.get(handle).map(|slot| &slot.body) {
        Some(Body::Stream(state)) => state.writer.queued(),
        _ => 0,
    }
}

/// Panics unless the invariants hold.
pub(crate) fn verify(state: &State, core: &Core, handle: Handle) {
    state.writer.verify();
    let Some(slot) = core.table.get(handle) else { return };
    if slot.flags().closing {
        assert!(state.socket.is_none() && !state.connecting(), "a closing stream has let go: {handle:?}");
        return;
    }
    if !state.listed && core.delivering != Some(handle) {
        assert_eq!(
            slot.flags().outstanding,
            state.has_outstanding(),
            "what a stream has_outstanding is known: {handle:?} {state:?}"
        );
    }
    assert_eq!(
        slot.flags().active,
        state.reading && !state.ended,
        "a stream that reads is active: {handle:?}"
    );
    let pending =
        core.pending.iter().filter(|pending| matches!(pending, Deferred::Stream(other) if *other == handle));
    assert_eq!(pending.count(), usize::from(state.telling), "what is to be told is listed once: {handle:?}");
    let listed = core.unsent.iter().filter(|&&other| other == handle).count();
    assert_eq!(listed, usize::from(state.listed), "what is to be sent is listed once: {handle:?}");
}

// With the feature a socket is one of two.
#[cfg(all(test, not(feature = "sim")))]
mod tests {
    use super::*;

    #[test]
    fn an_idle_stream_keeps_no_more_than_two_cache_lines() {
        // With what the heap adds to it, a block of 112 bytes. What is rare goes elsewhere.
        assert!(size_of::<State>() <= 104, "{} bytes", size_of::<State>());
    }
}
