//! The state of a stream, and its rules. Pure: nothing in here calls the system or a callback.
//!
//! The read side is one enum and one rule about the queue: a stream reads if its callback wants data, the
//! peer has not sent EOF, and its own queue is not too long. The write side is another enum, and the queue of
//! `queue/send_queue.rs`. [`State::next_step`] returns what follows when the queue has become shorter.

use crate::{
    backend::{Interest, Socket},
    error::Error,
    event_loop::Core,
    handle::{Handle, Kind, Request},
    queue::send_queue::SendQueue,
    time::Nanos,
};

/// Borrowed bytes from this many on are sent within `write`, so that they need not be copied.
pub(super) const SEND_NOW_MIN: usize = 16 << 10;
/// With this much queued, the stream stops reading.
const HIGH_WATERMARK: usize = 256 << 10;
/// With this much queued, it resumes.
const LOW_WATERMARK: usize = 64 << 10;
/// With more than this queued, a write is refused.
const QUEUE_LIMIT: usize = 16 << 20;

/// The read side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadSide {
    /// It was never given a callback.
    NotStarted,
    /// The callback does not want data for now.
    Stopped,
    /// The callback wants data. A long write queue may pause the reading: see [`State::wants_to_read`].
    Reading,
    /// The peer has sent EOF, and the callback gets no more data.
    Ended,
}

/// The write side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteSide {
    Open,
    /// `shutdown` was called; the queue is sent first.
    ShuttingDown,
    ShutDown,
}

/// The state of a stream. Boxed, so that slots stay small. Small itself, because most connections are idle.
///
/// 1. `outstanding` in the slot means: connecting, or bytes queued, or a shutdown to be sent, or an error to
///    be reported, or the close due that `finish` asked for.
/// 2. Watched for reading: [`wants_to_read`](State::wants_to_read). For writing: connecting or blocked,
///    and not failed.
/// 3. `above_high` implies that bytes are queued.
#[derive(Debug)]
pub(crate) struct State {
    /// `None` once it is closed, or returned by `into_std`.
    pub(super) socket: Option<Socket>,
    pub(super) kind: Kind,
    pub(super) read: ReadSide,
    pub(super) write: WriteSide,
    /// Whether a long queue stops the reading.
    pub(super) auto_pause: bool,
    /// The queue has reached the high watermark and has not come down to the low one since.
    pub(super) above_high: bool,
    /// It has come down, and `Drained` has not been delivered.
    pub(super) drained: bool,
    /// The system takes no bytes now, and reports when it does.
    pub(super) blocked: bool,
    /// Listed in the loop to be flushed.
    pub(super) flush_queued: bool,
    /// Listed in the loop to be called in the deferred phase.
    pub(super) notify_queued: bool,
    /// `finish` was called: close when both sides have ended.
    pub(super) finishing: bool,
    /// An operation failed: nothing is read or sent any more, and the stream is closed after its callback has
    /// the error. Bytes written meanwhile are discarded, because bytes written before them may be lost.
    pub(super) failed: bool,
    pub(super) queue: SendQueue<Request>,
    cold: Option<Box<Cold>>,
    /// The listener that counts this stream.
    pub(super) listener: Option<Handle>,
}

/// The part that an accepted stream with default settings never needs.
#[derive(Debug)]
pub(super) struct Cold {
    pub(super) connecting: Option<Request>,
    /// Why the stream failed, until its callback gets it.
    pub(super) error: Option<Box<Error>>,
    pub(super) low: u32,
    pub(super) high: u32,
    pub(super) limit: usize,
    /// Zero for no limit.
    pub(super) connect_limit: Nanos,
    /// Zero for no limit.
    pub(super) idle_limit: Nanos,
    /// When bytes were last moved, since `idle_limit` was set.
    pub(super) last_activity: Nanos,
}

impl Default for Cold {
    fn default() -> Self {
        Cold {
            connecting: None,
            error: None,
            low: LOW_WATERMARK as u32,
            high: HIGH_WATERMARK as u32,
            limit: QUEUE_LIMIT,
            connect_limit: 0,
            idle_limit: 0,
            last_activity: 0,
        }
    }
}

/// What follows when the queue has become shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The queue is down to the low watermark: the callback gets `Drained`.
    NotifyDrained,
    /// The queue is empty: the peer gets EOF.
    ShutDown,
    /// Both sides have ended. `true` if the peer has not got EOF yet.
    Close(bool),
    /// Nothing more.
    Settle,
}

impl State {
    pub(super) fn new(socket: Socket, kind: Kind, listener: Option<Handle>) -> State {
        State {
            socket: Some(socket),
            kind,
            read: ReadSide::NotStarted,
            write: WriteSide::Open,
            auto_pause: true,
            above_high: false,
            drained: false,
            blocked: false,
            flush_queued: false,
            notify_queued: false,
            finishing: false,
            failed: false,
            queue: SendQueue::default(),
            cold: None,
            listener,
        }
    }

    pub(super) fn cold(&mut self) -> &mut Cold {
        self.cold.get_or_insert_default()
    }

    pub(super) fn existing_cold(&self) -> Option<&Cold> {
        self.cold.as_deref()
    }

    pub(super) fn connecting(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.connecting.is_some())
    }

    pub(super) fn take_connecting(&mut self) -> Option<Request> {
        self.cold.as_mut()?.connecting.take()
    }

    pub(super) fn take_error(&mut self) -> Option<Box<Error>> {
        self.cold.as_mut()?.error.take()
    }

    fn low(&self) -> usize {
        self.cold.as_ref().map_or(LOW_WATERMARK, |cold| cold.low as usize)
    }

    pub(super) fn high(&self) -> usize {
        self.cold.as_ref().map_or(HIGH_WATERMARK, |cold| cold.high as usize)
    }

    pub(super) fn limit(&self) -> usize {
        self.cold.as_ref().map_or(QUEUE_LIMIT, |cold| cold.limit)
    }

    /// Notes that bytes were moved.
    pub(super) fn touch(&mut self, now: Nanos) {
        if let Some(cold) = &mut self.cold {
            cold.last_activity = now;
        }
    }

    // ---- reading

    pub(super) fn wants_to_read(&self) -> bool {
        // Bits, not conditions: evaluated before each read, and almost always true.
        (self.read == ReadSide::Reading) & !(self.is_paused() | self.failed) && !self.connecting()
    }

    /// Returns whether the stream's own queue keeps it from reading.
    pub(super) fn is_paused(&self) -> bool {
        self.above_high & self.auto_pause
    }

    pub(super) fn is_active(&self) -> bool {
        self.read == ReadSide::Reading
    }

    // ---- writing

    pub(super) fn wants_to_write(&self) -> bool {
        (self.blocked || self.connecting()) && !self.failed
    }

    /// Returns whether these bytes need only be appended: they reach no limit and no watermark, and nothing
    /// must be sent first.
    pub(super) fn fits(&self, len: usize) -> bool {
        let queued = self.queue.queued();
        let max = self.cold.as_ref().map_or(HIGH_WATERMARK, |cold| cold.limit.min(cold.high as usize));
        let fits = queued + len < max || (self.above_high & self.blocked && queued <= self.limit());
        fits && (len < SEND_NOW_MIN) & !self.failed & (self.write == WriteSide::Open)
    }

    /// Returns whether nothing follows from the queue being empty.
    pub(super) fn is_settled(&self) -> bool {
        let nothing_else =
            !(self.blocked | self.above_high | self.finishing) & (self.write != WriteSide::ShuttingDown);
        nothing_else && !self.queue.has_marks()
    }

    /// Returns whether much is queued that the system was not offered yet. Without a flush, a write would be
    /// refused, or reading would pause, only because the poll batch is long.
    pub(super) fn should_flush_first(&self) -> bool {
        let queued = self.queue.queued();
        (queued >= self.high() || queued > self.limit()) && !self.blocked && !self.connecting()
    }

    /// Notes whether the queue has reached the high watermark.
    pub(super) fn note_high(&mut self) {
        self.above_high |= self.queue.queued() >= self.high();
    }

    /// Returns whether `finish` was called and nothing more is expected from the peer.
    fn is_over(&self) -> bool {
        self.finishing && self.read != ReadSide::Reading
    }

    pub(super) fn has_outstanding(&self) -> bool {
        self.queue.queued() > 0
            || self.write == WriteSide::ShuttingDown
            || self.is_over()
            || self.cold.as_ref().is_some_and(|cold| cold.connecting.is_some() || cold.error.is_some())
    }

    /// Returns what follows now that the queue has become shorter, and notes that it is done.
    pub(super) fn next_step(&mut self) -> Step {
        if self.above_high && self.queue.queued() <= self.low() {
            self.above_high = false;
            self.drained = true;
            return Step::NotifyDrained;
        }
        if self.queue.queued() > 0 || self.connecting() || self.failed {
            return Step::Settle;
        }
        if self.is_over() {
            // A close sends EOF by itself. But if the peer still sends, it would get a reset.
            let eof_first = self.read != ReadSide::Ended && self.write != WriteSide::ShutDown;
            return Step::Close(eof_first);
        }
        if self.write == WriteSide::ShuttingDown {
            self.write = WriteSide::ShutDown;
            return Step::ShutDown;
        }
        Step::Settle
    }

    /// Returns what the socket is to be watched for.
    pub(super) fn interest(&self) -> Interest {
        Interest::NONE.with(Interest::READ, self.wants_to_read()).with(Interest::WRITE, self.wants_to_write())
    }

    // ---- reports

    pub(super) fn describe(&self) -> String {
        let mut parts = Vec::new();
        if self.connecting() {
            parts.push("connecting".to_owned());
        }
        match self.read {
            ReadSide::Reading if self.is_paused() => parts.push("paused until its queue drains".to_owned()),
            ReadSide::Reading => parts.push("reading".to_owned()),
            ReadSide::Ended => parts.push("EOF received".to_owned()),
            ReadSide::NotStarted | ReadSide::Stopped => {}
        }
        if self.queue.queued() > 0 {
            parts.push(format!("{} bytes to send", self.queue.queued()));
        }
        if self.write != WriteSide::Open {
            parts.push("shut down for writing".to_owned());
        }
        if parts.is_empty() { "not started".into() } else { parts.join(", ") }
    }

    /// Panics unless the invariants hold.
    pub(super) fn check(&self, core: &Core, handle: Handle, delivering: bool) {
        self.queue.verify();
        let Some(flags) = core.flags(handle) else { return };
        if flags.closing {
            assert!(
                self.socket.is_none() && !self.connecting(),
                "a closing stream has released its socket: {handle:?}"
            );
            return;
        }
        if !self.flush_queued && !delivering {
            assert_eq!(
                flags.outstanding,
                self.has_outstanding(),
                "the slot knows what is outstanding: {handle:?} {self:?}"
            );
        }
        assert_eq!(flags.active, self.is_active(), "a stream that reads is active: {handle:?}");
        let (deferred, to_flush) = core.times_listed(handle);
        assert_eq!(deferred, usize::from(self.notify_queued), "a notification is listed once: {handle:?}");
        assert_eq!(to_flush, usize::from(self.flush_queued), "a flush is listed once: {handle:?}");
    }
}

// With the feature a socket is an enum, and larger.
#[cfg(all(test, not(feature = "sim")))]
mod tests {
    use super::*;

    #[test]
    fn an_idle_stream_takes_at_most_two_cache_lines() {
        // With the allocator's header, a block of 112 bytes. What is rarely used is in `Cold`.
        assert!(size_of::<State>() <= 104, "{} bytes", size_of::<State>());
    }
}
