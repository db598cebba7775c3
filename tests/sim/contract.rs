//! What a loop promises to a program, watched from inside the program.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ringback::{Handle, Loop, Request, net::TcpStream};

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
    /// What waits for the end of a handle, or of a request, that may be taken back: then nobody is answered.
    by_handle: BTreeMap<Handle, u64>,
    by_request: BTreeMap<Request, u64>,
    /// Who was woken, and has not been called since.
    pub(crate) woken: BTreeSet<Handle>,
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
    pub(crate) fn forget_if_closed(&mut self, handle: Handle, number: u64) {
        self.by_handle.insert(handle, number);
    }

    /// A handle is closed.
    pub(crate) fn takes_back(&mut self, handle: Handle) {
        if let Some(number) = self.by_handle.remove(&handle) {
            self.asked.remove(&number);
        }
    }

    pub(crate) fn deferred(&mut self, request: Request, number: u64) {
        self.by_request.insert(request, number);
    }

    /// A request was cancelled: a deferred closure is not called then, any other answer comes all the same.
    pub(crate) fn cancels(&mut self, request: Request) {
        if let Some(number) = self.by_request.remove(&request) {
            self.asked.remove(&number);
        }
    }

    /// Everybody has had time: whoever was woken was called, and what was sent through a channel has arrived.
    pub(crate) fn settled(&mut self) {
        let woken = self.woken.len();
        self.expect(woken == 0, || "a wake was lost".into());
        let lost = self.on_their_way.values().any(|&count| count > 0);
        self.expect(!lost, || "a message was lost".into());
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
        let last = self.fired.insert(deadline, number).unwrap_or(0);
        self.expect(last < number, || "two timers with one deadline fired in the wrong order".into());
    }

    // ---- streams

    /// What to write next to a stream.
    pub(crate) fn text(&self, stream: TcpStream, count: u64) -> Vec<u8> {
        let from = self.sent.get(&stream).copied().unwrap_or(0);
        (from..from + count).map(byte_at).collect()
    }

    pub(crate) fn sends(&mut self, stream: TcpStream, count: u64) {
        *self.sent.entry(stream).or_default() += count;
    }

    pub(crate) fn receives(&mut self, stream: TcpStream, bytes: &[u8]) {
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
