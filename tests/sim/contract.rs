//! What a loop promises to a program, watched from inside the program.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use ringback::{Handle, Loop, Request, net::TcpStream};

/// How often a stream may be read in one turn, and when it was accepted.
const READS_MAX: u32 = 8 + 1;
/// What a stream may have queued, unless it is told otherwise.
const QUEUE_LIMIT: usize = 16 << 20;

/// The two ends of a connection, as one of them sees them.
type Ends = (SocketAddr, SocketAddr);

#[derive(Default)]
pub(crate) struct Contract {
    /// A function of the loop is being called: no callback may run now.
    pub(crate) inside: bool,
    /// Answers that are due, by the number of the question.
    pub(crate) asked: BTreeMap<u64, &'static str>,
    numbers: u64,
    closed: BTreeSet<Handle>,
    stopped: BTreeSet<Handle>,
    /// The last timer of each deadline that has fired.
    fired: BTreeMap<Duration, u64>,
    /// How many bytes were written to, and came from, each stream.
    sent: BTreeMap<TcpStream, u64>,
    received: BTreeMap<TcpStream, u64>,
    /// The last question about a write of each stream that was answered.
    written: BTreeMap<TcpStream, u64>,
    ended: BTreeSet<TcpStream>,
    ends: BTreeMap<TcpStream, Ends>,
    shut_down: BTreeSet<TcpStream>,
    limits: BTreeMap<TcpStream, usize>,
    /// How often each stream was read in this turn.
    reads: BTreeMap<TcpStream, u32>,
    /// Timers that fire once and have not, by deadline.
    due: BTreeSet<(Duration, u64)>,
    /// In which turn each deferred closure was asked for.
    deferred_in: BTreeMap<u64, u64>,
    /// Turns that are over, and the loop's time then.
    turns: u64,
    now: Duration,
    /// What waits for the end of a handle, or of a request, that may be taken back: then nobody is answered.
    by_handle: BTreeMap<Handle, u64>,
    by_request: BTreeMap<Request, u64>,
    /// Who was woken, in which turn, and has not been called since.
    woken: BTreeMap<Handle, u64>,
    /// How many messages were sent that have not arrived, to channels that are open.
    pub(crate) on_their_way: BTreeMap<Handle, u64>,
    /// What was found.
    pub(crate) wrong: Vec<String>,
}

/// What byte stands where in a stream.
fn byte_at(position: u64) -> u8 {
    (position.wrapping_mul(7) % 251) as u8
}

impl Contract {
    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn expect(&mut self, is_so: bool, wrong: impl FnOnce() -> String) {
        if !is_so {
            self.wrong.push(wrong());
        }
    }

    /// A callback has begun.
    pub(crate) fn callback(&mut self, what: &str) {
        let inside = self.inside;
        self.expect(!inside, || format!("{what}: called inside a call"));
    }

    /// A question was asked, and taken.
    pub(crate) fn asks(&mut self, number: u64, what: &'static str) {
        self.asked.insert(number, what);
    }

    /// Its answer has come.
    pub(crate) fn answered(&mut self, number: u64, what: &str) {
        self.callback(what);
        let was_asked = self.asked.remove(&number).is_some();
        self.expect(was_asked, || format!("{what}: answered twice, or refused and answered"));
        self.deferred_in.remove(&number);
    }

    pub(crate) fn wakes(&mut self, handle: Handle) {
        self.woken.entry(handle).or_insert(self.turns);
    }

    pub(crate) fn is_woken(&mut self, handle: Handle) {
        self.woken.remove(&handle);
    }

    /// The callback of a handle has begun.
    pub(crate) fn event(&mut self, handle: Handle, what: &str) {
        self.callback(what);
        let closed = self.closed.contains(&handle);
        self.expect(!closed, || format!("{what}: told after it was closed"));
        let stopped = self.stopped.contains(&handle);
        self.expect(!stopped, || format!("{what}: told after it was stopped"));
    }

    pub(crate) fn closes<S>(&mut self, lp: &Loop<S>, handle: impl Into<Handle>) {
        let handle = handle.into();
        if lp.is_open(handle) {
            self.closed.insert(handle);
            self.woken.remove(&handle);
            self.on_their_way.remove(&handle);
        }
    }

    /// A timer that fires once: closing it takes it back.
    pub(crate) fn sets(&mut self, timer: Handle, deadline: Duration, number: u64) {
        self.by_handle.insert(timer, number);
        self.due.insert((deadline, number));
    }

    /// A handle is closed.
    pub(crate) fn takes_back(&mut self, handle: Handle) {
        if let Some(number) = self.by_handle.remove(&handle) {
            self.asked.remove(&number);
            self.due.retain(|&(_, other)| other != number);
        }
    }

    pub(crate) fn deferred(&mut self, request: Request, number: u64) {
        self.by_request.insert(request, number);
        self.deferred_in.insert(number, self.turns);
    }

    /// A request was cancelled: a deferred closure is not called then, any other answer comes all the same.
    pub(crate) fn cancels(&mut self, request: Request) {
        if let Some(number) = self.by_request.remove(&request) {
            self.asked.remove(&number);
            self.deferred_in.remove(&number);
        }
    }

    /// A turn is over: nobody may have waited for longer than the next one. A turn that a panic broke off makes the others
    /// wait.
    pub(crate) fn turn_is_over(&mut self, now: Duration, whole: bool) {
        self.reads.clear();
        self.turns += 1;
        if !whole {
            self.deferred_in.values_mut().chain(self.woken.values_mut()).for_each(|turn| *turn = self.turns);
            self.now = Duration::ZERO;
            return;
        }
        // Its timers had their turn after `self.now`.
        let late = self.due.first().is_some_and(|&(deadline, _)| deadline < self.now);
        self.expect(!late, || "a timer that was due was left for the turn after the next".into());
        let before = self.turns.saturating_sub(2);
        let late = self.deferred_in.values().any(|&turn| turn < before);
        self.expect(!late, || "a deferred closure was left for the turn after the next".into());
        let late = self.woken.values().any(|&turn| turn < before);
        self.expect(!late, || "a wake was left for the turn after the next".into());
        self.now = now;
    }

    /// Everybody has had time: whoever was woken was called, and what was sent through a channel has arrived.
    pub(crate) fn settled(&self) -> Result<(), String> {
        if !self.woken.is_empty() {
            return Err("a wake was lost".into());
        }
        if self.on_their_way.values().any(|&count| count > 0) {
            return Err("a message was lost".into());
        }
        Ok(())
    }

    pub(crate) fn stops(&mut self, handle: impl Into<Handle>) {
        self.stopped.insert(handle.into());
    }

    pub(crate) fn starts(&mut self, handle: impl Into<Handle>) {
        self.stopped.remove(&handle.into());
    }

    // ---- timers

    pub(crate) fn fires(&mut self, now: Duration, deadline: Duration, number: u64) {
        self.expect(now >= deadline, || format!("a timer fired {:?} early", deadline - now));
        self.due.remove(&(deadline, number));
        let last = self.fired.insert(deadline, number).unwrap_or(0);
        self.expect(last < number, || "two timers with one deadline fired in the wrong order".into());
    }

    // ---- streams

    /// A stream that the program has from now on.
    pub(crate) fn adopts(&mut self, stream: TcpStream, ends: Ends) {
        self.ends.insert(stream, ends);
    }

    pub(crate) fn limits(&mut self, stream: TcpStream, limit: usize) {
        self.limits.insert(stream, limit);
    }

    pub(crate) fn shuts_down(&mut self, stream: TcpStream) {
        self.shut_down.insert(stream);
    }

    /// A write of so many bytes was taken, and so much is queued now.
    pub(crate) fn takes(&mut self, stream: TcpStream, count: u64, queued: usize) {
        let limit = self.limits.get(&stream).copied().unwrap_or(QUEUE_LIMIT);
        self.expect(queued <= limit + count as usize, || "a write was queued beyond the limit".into());
    }

    /// What to write next to a stream.
    pub(crate) fn text(&self, stream: TcpStream, count: u64) -> Vec<u8> {
        let from = self.sent.get(&stream).copied().unwrap_or(0);
        (from..from + count).map(byte_at).collect()
    }

    pub(crate) fn sends(&mut self, stream: TcpStream, count: u64) {
        *self.sent.entry(stream).or_default() += count;
    }

    pub(crate) fn receives(&mut self, stream: TcpStream, bytes: &[u8]) {
        let reads = self.reads.entry(stream).or_default();
        *reads += 1;
        let greedy = *reads > READS_MAX;
        self.expect(!greedy, || "a stream was read again and again in one turn".into());
        let position = self.received.entry(stream).or_default();
        let right = bytes.iter().zip(*position..).all(|(&byte, position)| byte == byte_at(position));
        *position += bytes.len() as u64;
        self.expect(right, || "bytes were lost, doubled or moved".into());
        let ended = self.ended.contains(&stream);
        self.expect(!ended, || "bytes came after the end".into());
    }

    pub(crate) fn ends(&mut self, stream: TcpStream) {
        let first = self.ended.insert(stream);
        self.expect(first, || "the end was told twice".into());
    }

    /// A write was answered: those of one stream are, in the order of asking.
    pub(crate) fn wrote(&mut self, stream: TcpStream, number: u64) {
        let last = self.written.insert(stream, number).unwrap_or(0);
        self.expect(last < number, || "writes of one stream were answered in the wrong order".into());
    }
}

/// What everybody has been told of a connection, when nothing happens any more.
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
    /// The streams that are open.
    pub(crate) fn connections<S>(&self, lp: &Loop<S>) -> Vec<Settled> {
        let is_open = |stream: &&TcpStream| stream.is_open(lp);
        let describe = |stream: &TcpStream| Settled {
            ends: self.ends[stream],
            sent: self.sent.get(stream).copied().unwrap_or(0),
            shut_down: self.shut_down.contains(stream),
            received: self.received.get(stream).copied().unwrap_or(0),
            ended: self.ended.contains(stream),
            reads: !self.stopped.contains(&(*stream).into()) && stream.queued(lp) == 0,
        };
        self.ends.keys().filter(is_open).map(describe).collect()
    }

    /// How many bytes were compared with what was to come.
    pub(crate) fn bytes(&self) -> u64 {
        self.received.values().sum()
    }
}

/// Whether what was sent has arrived, wherever both ends are open and read: bytes that wait for an interest that
/// nobody has asked for again would wait for ever.
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
            return Err(format!("the end never arrived, from {own} to {peer}"));
        }
    }
    Ok(())
}
