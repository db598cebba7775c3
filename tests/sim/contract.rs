//! What a loop promises to a program, checked from inside the program.
//!
//! * Each request completes exactly once; writes of a stream complete in order and before its `Closed`.
//! * Nothing comes after `Closed`, only `Closed` after a close or an error, no data after a stop or EOF.
//! * Bytes arrive as they were written; EOF arrives after the last of them.
//! * No timer fires early, out of order, or after it was stopped.
//! * What is due is not left for later turns.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use ringback::{Handle, Loop, Request, net::Stream};

/// How often a stream may be read in one turn; once more in the turn in which it was accepted.
const READS_MAX: u32 = 8 + 1;
/// The bytes that a stream may have queued unless it has another limit.
const QUEUE_LIMIT: usize = 16 << 20;

/// Both addresses of a connection, the own one first.
type Ends = (SocketAddr, SocketAddr);

/// What each end of each connection has sent, shared by all programs that may be at the other end.
pub(crate) type Wire = Rc<RefCell<BTreeMap<Ends, Sent>>>;

#[derive(Default)]
pub(crate) struct Sent {
    bytes: u64,
    shut_down: bool,
    /// The program knows that it is connected. A connect that times out closes the stream before it reports
    /// that.
    connected: bool,
    /// The stream has a callback, which gets its errors.
    started: bool,
    /// It was closed before everything was sent, or has failed.
    abandoned: bool,
}

#[derive(Default)]
pub(crate) struct Contract {
    /// A function of the loop is being called: no callback may run now.
    pub(crate) inside: bool,
    /// Requests that have not completed, by number.
    pub(crate) outstanding: BTreeMap<u64, &'static str>,
    last_number: u64,
    closed: BTreeSet<Handle>,
    stopped: BTreeSet<Handle>,
    /// What was found.
    pub(crate) violations: Vec<String>,

    // ---- turns
    turns: u64,
    /// The loop's time after the last turn.
    now: Duration,
    /// In which turn each deferred closure was submitted.
    deferred_in: BTreeMap<u64, u64>,
    /// In which turn each wake was sent that was not delivered.
    woken: BTreeMap<Handle, u64>,
    /// Messages on their way, by open channel.
    messages: BTreeMap<Handle, u64>,
    /// Requests that complete only if they are not cancelled, by their handle and by their id.
    by_handle: BTreeMap<Handle, u64>,
    by_request: BTreeMap<Request, u64>,

    // ---- timers
    /// One-shot timers that have not fired, by deadline.
    due: BTreeSet<(Duration, u64)>,
    /// The last timer of each deadline that has fired.
    fired: BTreeMap<Duration, u64>,

    // ---- streams
    wire: Wire,
    ends: BTreeMap<Handle, (Stream, Ends)>,
    /// Bytes written to, and received from, each stream.
    sent: BTreeMap<Stream, u64>,
    received: BTreeMap<Stream, u64>,
    /// Writes that have not completed, in order; and streams of which one has failed.
    writes: BTreeMap<Stream, VecDeque<u64>>,
    write_failed: BTreeSet<Stream>,
    started: BTreeSet<Stream>,
    ended: BTreeSet<Stream>,
    shut_down: BTreeSet<Stream>,
    stream_closed: BTreeSet<Stream>,
    limits: BTreeMap<Stream, usize>,
    /// In which turn each stream was read last, and how often.
    reads: BTreeMap<Stream, (u64, u32)>,
}

/// Returns the byte at a position of a stream.
fn byte_at(position: u64) -> u8 {
    (position.wrapping_mul(7) % 251) as u8
}

impl Contract {
    pub(crate) fn new(wire: Wire) -> Contract {
        Contract { wire, ..Contract::default() }
    }

    pub(crate) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(crate) fn expect(&mut self, holds: bool, violation: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(violation());
        }
    }

    // ---- callbacks

    /// A callback has begun.
    pub(crate) fn callback(&mut self, what: &str) {
        let inside = self.inside;
        self.expect(!inside, || format!("{what}: called inside a call"));
    }

    /// The callback of a handle has begun. The handle may be stopped.
    pub(crate) fn event_of_open(&mut self, handle: Handle, what: &str) {
        self.callback(what);
        let closed = self.closed.contains(&handle);
        self.expect(!closed, || format!("{what}: reported after the close"));
    }

    /// The callback of a started handle has begun.
    pub(crate) fn event(&mut self, handle: Handle, what: &str) {
        self.event_of_open(handle, what);
        let stopped = self.stopped.contains(&handle);
        self.expect(!stopped, || format!("{what}: reported after the stop"));
    }

    pub(crate) fn stopped(&mut self, handle: impl Into<Handle>) {
        self.stopped.insert(handle.into());
    }

    pub(crate) fn started(&mut self, handle: impl Into<Handle>) {
        self.stopped.remove(&handle.into());
    }

    /// A handle is closed, by the program or because its callback has failed.
    pub(crate) fn closing<S>(&mut self, lp: &Loop<S>, handle: impl Into<Handle>) {
        let handle = handle.into();
        self.abandon(handle);
        if lp.is_open(handle) {
            self.has_closed(handle);
        }
    }

    fn has_closed(&mut self, handle: Handle) {
        self.closed.insert(handle);
        self.woken.remove(&handle);
        self.messages.remove(&handle);
    }

    /// A stream was converted into one of std's.
    pub(crate) fn given_away(&mut self, stream: Stream) {
        self.abandon(stream.into());
        self.has_closed(stream.into());
    }

    // ---- requests

    /// A request was submitted, and accepted.
    pub(crate) fn submitted(&mut self, number: u64, what: &'static str) {
        self.outstanding.insert(number, what);
    }

    pub(crate) fn completed(&mut self, number: u64, what: &str) {
        self.callback(what);
        let was_outstanding = self.outstanding.remove(&number).is_some();
        self.expect(was_outstanding, || format!("{what}: completed twice, or refused and completed"));
        self.deferred_in.remove(&number);
    }

    pub(crate) fn deferred(&mut self, request: Request, number: u64) {
        self.by_request.insert(request, number);
        self.deferred_in.insert(number, self.turns);
    }

    /// A request was cancelled. A deferred closure is not called then; any other completes all the same.
    pub(crate) fn cancelled(&mut self, request: Request) {
        if let Some(number) = self.by_request.remove(&request) {
            self.outstanding.remove(&number);
            self.deferred_in.remove(&number);
        }
    }

    // ---- turns

    /// A turn is over: nothing may have been left for longer than the next one. A turn that was interrupted
    /// delays everything.
    pub(crate) fn turn_over(&mut self, now: Duration, whole: bool) {
        self.turns += 1;
        if !whole {
            self.deferred_in.values_mut().chain(self.woken.values_mut()).for_each(|turn| *turn = self.turns);
            self.now = Duration::ZERO;
            return;
        }
        // This turn ran its timers when the time was later than `self.now`.
        let late = self.due.first().is_some_and(|&(deadline, _)| deadline < self.now);
        self.expect(!late, || "a timer that was due was left for the turn after the next".into());
        let before = self.turns.saturating_sub(2);
        let late = self.deferred_in.values().any(|&turn| turn < before);
        self.expect(!late, || "a deferred closure was left for the turn after the next".into());
        let late = self.woken.values().any(|&turn| turn < before);
        self.expect(!late, || "a wake was left for the turn after the next".into());
        self.now = now;
    }

    /// Every program has had time: all wakes and messages must have been delivered.
    pub(crate) fn settled(&self) -> Result<(), String> {
        if !self.woken.is_empty() {
            return Err("a wake was lost".into());
        }
        if self.messages.values().any(|&count| count > 0) {
            return Err("a message was lost".into());
        }
        Ok(())
    }

    pub(crate) fn wake_sent(&mut self, handle: Handle) {
        if !self.closed.contains(&handle) {
            self.woken.entry(handle).or_insert(self.turns);
        }
    }

    pub(crate) fn wake_delivered(&mut self, handle: Handle) {
        self.woken.remove(&handle);
    }

    pub(crate) fn message_sent(&mut self, channel: Handle) {
        *self.messages.entry(channel).or_default() += 1;
    }

    pub(crate) fn message_received(&mut self, channel: Handle) {
        if let Some(count) = self.messages.get_mut(&channel) {
            *count -= 1;
        }
    }

    // ---- timers

    /// A one-shot timer was started. Closing it cancels it.
    pub(crate) fn armed(&mut self, timer: Handle, deadline: Duration, number: u64) {
        self.by_handle.insert(timer, number);
        self.due.insert((deadline, number));
    }

    /// A handle is closed: if it is a one-shot timer, it will not fire.
    pub(crate) fn forget_timer(&mut self, handle: Handle) {
        if let Some(number) = self.by_handle.remove(&handle) {
            self.outstanding.remove(&number);
            self.due.retain(|&(_, other)| other != number);
        }
    }

    pub(crate) fn not_early(&mut self, now: Duration, deadline: Duration) {
        self.expect(now >= deadline, || format!("a timer fired {:?} early", deadline - now));
    }

    pub(crate) fn fired(&mut self, now: Duration, deadline: Duration, number: u64) {
        self.not_early(now, deadline);
        self.due.remove(&(deadline, number));
        let last = self.fired.insert(deadline, number).unwrap_or(0);
        self.expect(last < number, || "two timers with one deadline fired in the wrong order".into());
    }

    // ---- streams

    /// The program has a stream from now on.
    pub(crate) fn adopted(&mut self, stream: Stream, ends: Ends) {
        self.ends.insert(stream.into(), (stream, ends));
        self.wire.borrow_mut().insert(ends, Sent::default());
    }

    pub(crate) fn stream_started(&mut self, stream: Stream) {
        self.started(stream);
        self.started.insert(stream);
        self.on_wire(stream, |sent| sent.started = true);
    }

    pub(crate) fn connected(&mut self, stream: Stream) {
        let closed = self.stream_closed.contains(&stream);
        self.expect(!closed, || "a stream was connected after its `Closed`".into());
        self.on_wire(stream, |sent| sent.connected = true);
    }

    /// `Closed` was reported.
    pub(crate) fn stream_closed(&mut self, stream: Stream) {
        self.callback("closed");
        // After `finish` it comes when everything was sent.
        if !self.shut_down.contains(&stream) {
            self.abandon(stream.into());
        }
        let first = self.stream_closed.insert(stream);
        self.expect(first, || "`Closed` was reported twice".into());
        let complete = self.writes.get(&stream).is_none_or(VecDeque::is_empty);
        self.expect(complete, || "a write was outstanding at `Closed`".into());
    }

    /// Returns the streams that were started and did not get their `Closed`, as an error.
    pub(crate) fn all_streams_closed(&self) -> Result<(), String> {
        let left = self.started.difference(&self.stream_closed).count();
        if left > 0 { Err(format!("{left} streams got no `Closed`")) } else { Ok(()) }
    }

    fn abandon(&self, handle: Handle) {
        if let Some((_, ends)) = self.ends.get(&handle) {
            if let Some(sent) = self.wire.borrow_mut().get_mut(ends) {
                sent.abandoned = true;
            }
        }
    }

    /// The program is killed.
    pub(crate) fn abandon_streams(&self) {
        self.ends.keys().for_each(|&handle| self.abandon(handle));
    }

    pub(crate) fn limited(&mut self, stream: Stream, limit: usize) {
        self.limits.insert(stream, limit);
    }

    pub(crate) fn shut_down(&mut self, stream: Stream) {
        self.shut_down.insert(stream);
        self.on_wire(stream, |sent| sent.shut_down = true);
    }

    fn on_wire(&self, stream: Stream, change: impl FnOnce(&mut Sent)) {
        if let Some((_, ends)) = self.ends.get(&stream.into()) {
            if let Some(sent) = self.wire.borrow_mut().get_mut(ends) {
                change(sent);
            }
        }
    }

    /// A write of `count` bytes was accepted, and so much is queued now.
    pub(crate) fn queued(&mut self, stream: Stream, count: u64, queued: usize) {
        let limit = self.limits.get(&stream).copied().unwrap_or(QUEUE_LIMIT);
        self.expect(queued <= limit + count as usize, || "a write was queued beyond the limit".into());
    }

    /// Returns what to write next to a stream.
    pub(crate) fn text(&self, stream: Stream, count: u64) -> Vec<u8> {
        let from = self.sent.get(&stream).copied().unwrap_or(0);
        (from..from + count).map(byte_at).collect()
    }

    pub(crate) fn sent(&mut self, stream: Stream, count: u64) {
        *self.sent.entry(stream).or_default() += count;
        self.on_wire(stream, |sent| sent.bytes += count);
    }

    pub(crate) fn received(&mut self, stream: Stream, bytes: &[u8], turn: u64) {
        let (last, reads) = self.reads.entry(stream).or_default();
        *reads = if *last == turn { *reads + 1 } else { 1 };
        *last = turn;
        let greedy = *reads > READS_MAX;
        self.expect(!greedy, || "a stream was read too often in one turn".into());
        let position = self.received.entry(stream).or_default();
        let right = bytes.iter().zip(*position..).all(|(&byte, position)| byte == byte_at(position));
        *position += bytes.len() as u64;
        self.expect(right, || "bytes were lost, duplicated or reordered".into());
        let ended = self.ended.contains(&stream);
        self.expect(!ended, || "bytes came after EOF".into());
    }

    /// EOF was reported.
    pub(crate) fn eof(&mut self, stream: Stream) {
        let first = self.ended.insert(stream);
        self.expect(first, || "EOF was reported twice".into());
        let Some(&(_, (own, peer))) = self.ends.get(&stream.into()) else { return };
        let received = self.received.get(&stream).copied().unwrap_or(0);
        let wire = self.wire.borrow();
        let known = |sent: &&Sent| sent.connected && sent.started && !sent.abandoned;
        let Some(sent) = wire.get(&(peer, own)).filter(known) else { return };
        let (whole, bytes) = (sent.shut_down && received == sent.bytes, sent.bytes);
        drop(wire);
        self.expect(whole, || format!("EOF came after {received} bytes of {bytes}"));
    }

    pub(crate) fn write_submitted(&mut self, stream: Stream, number: u64) {
        self.writes.entry(stream).or_default().push_back(number);
    }

    /// A write has completed: those of one stream do in order, and none succeeds after one that failed.
    pub(crate) fn write_completed(&mut self, stream: Stream, number: u64, succeeded: bool) {
        let closed = self.stream_closed.contains(&stream);
        self.expect(!closed, || "a write completed after `Closed`".into());
        let first = self.writes.entry(stream).or_default().pop_front();
        self.expect(first == Some(number), || "writes of one stream completed out of order".into());
        let after_failure = succeeded && self.write_failed.contains(&stream);
        self.expect(!after_failure, || "a write succeeded after one that failed".into());
        if !succeeded {
            self.write_failed.insert(stream);
        }
    }
}

/// What is known of an open connection when nothing happens any more.
pub(crate) struct Settled {
    ends: Ends,
    sent: u64,
    shut_down: bool,
    received: u64,
    ended: bool,
    /// It takes whatever comes.
    reads: bool,
}

impl Contract {
    /// Returns the streams that are open.
    pub(crate) fn connections<S>(&self, lp: &Loop<S>) -> Vec<Settled> {
        let describe = |&(stream, ends): &(Stream, Ends)| Settled {
            ends,
            sent: self.sent.get(&stream).copied().unwrap_or(0),
            shut_down: self.shut_down.contains(&stream),
            received: self.received.get(&stream).copied().unwrap_or(0),
            ended: self.ended.contains(&stream),
            reads: !self.stopped.contains(&stream.into()) && stream.queued(lp) == 0,
        };
        self.ends.values().filter(|(stream, _)| stream.is_open(lp)).map(describe).collect()
    }

    /// Returns the number of bytes that were compared.
    pub(crate) fn bytes(&self) -> u64 {
        self.received.values().sum()
    }
}

/// Returns an error unless what was sent has arrived wherever both ends are open and read.
///
/// It finds an interest that was not asked for again: such bytes would never arrive.
pub(crate) fn all_arrived(connections: &[Settled]) -> Result<(), String> {
    for from in connections {
        let peer = connections.iter().find(|to| to.ends == (from.ends.1, from.ends.0));
        let Some(to) = peer.filter(|to| to.reads) else { continue };
        let (own, peer) = from.ends;
        if from.sent != to.received {
            return Err(format!(
                "bytes never arrived: {} of {} from {own} to {peer}",
                to.received, from.sent
            ));
        }
        if from.shut_down && !to.ended {
            return Err(format!("EOF never arrived, from {own} to {peer}"));
        }
    }
    Ok(())
}
