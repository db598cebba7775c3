//! Waiting with the `polling` crate: kqueue, event ports, poll(2), and epoll in tests.
//!
//! Its keys have the width of a pointer, which may be 32 bits. So the descriptor is its key, and ours is
//! looked up by it as soon as the wait returns. Its own `notify` is not used: on kqueue it never resets (in
//! version 3.11).

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    time::Duration,
};

use polling::{Event, Events, PollMode, Poller};

use super::{super::wake::WakeFd, registrations::Change};
use crate::{
    backend::{Interest, Readiness},
    handle::Key,
    time::Nanos,
};

pub(crate) struct Selector {
    poller: Poller,
    events: Events,
    /// By descriptor.
    keys: Vec<u64>,
}

impl std::fmt::Debug for Selector {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Selector").field("poller", &self.poller).finish_non_exhaustive()
    }
}

impl Selector {
    pub(crate) fn new() -> io::Result<Selector> {
        Ok(Selector { poller: Poller::new()?, events: Events::new(), keys: Vec::new() })
    }

    /// Changes what is registered for a descriptor.
    pub(crate) fn apply(&mut self, fd: RawFd, change: Change) -> io::Result<()> {
        let number = fd as usize;
        // SAFETY: `fd` is open. It is the wake fd, borrowed by the caller, or in `Registrations`, and then
        // its owner calls `Backend::forget` before it closes it. The borrow ends with this function.
        let source = unsafe { BorrowedFd::borrow_raw(fd) };
        match change {
            Change::Add { key, interest } => {
                if number >= self.keys.len() {
                    self.keys.resize(number + 1, 0);
                }
                self.keys[number] = key;
                // SAFETY: the source is deleted before it is closed, because its owner calls
                // `Backend::forget` first. The wake fd is closed after the poller: `Backend` drops this
                // selector before its `NotifyQueue`.
                unsafe { self.poller.add_with_mode(fd, to_polling(number, interest), PollMode::Level) }
            }
            Change::Modify { key, interest } => {
                self.keys[number] = key;
                self.poller.modify_with_mode(source, to_polling(number, interest), PollMode::Level)
            }
            Change::Delete => self.poller.delete(source),
        }
    }

    /// Registers the wake fd.
    pub(crate) fn watch_wake_fd(&mut self, wake_fd: BorrowedFd<'_>, key: Key) -> io::Result<()> {
        self.apply(wake_fd.as_raw_fd(), Change::Add { key: key.0, interest: Interest::READ })
    }

    /// Makes the wake fd unreadable again.
    pub(crate) fn drain_wake(&self, wake_fd: &WakeFd) {
        wake_fd.drain();
    }

    /// Blocks until something is ready or `timeout` has passed; `None` blocks without a limit.
    pub(crate) fn select(
        &mut self,
        timeout: Option<Nanos>,
        mut ready: impl FnMut(Key, Readiness),
    ) -> io::Result<()> {
        self.events.clear();
        match self.poller.wait(&mut self.events, timeout.map(Duration::from_nanos)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => drop(other?),
        }
        for event in self.events.iter() {
            ready(Key(self.keys[event.key]), from_polling(&event));
        }
        Ok(())
    }
}

impl AsFd for Selector {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

fn to_polling(number: usize, interest: Interest) -> Event {
    let mut event = Event::new(number, interest.has(Interest::READ), interest.has(Interest::WRITE));
    event.set_priority(interest.has(Interest::PRIORITY));
    event.set_interrupt(interest.has(Interest::HANGUP));
    event
}

fn from_polling(event: &Event) -> Readiness {
    let pairs = [
        (event.readable, Readiness::READ),
        (event.writable, Readiness::WRITE),
        (event.is_priority(), Readiness::PRIORITY),
        (event.is_interrupt(), Readiness::HANGUP),
        (event.is_err().unwrap_or(false), Readiness::ERROR),
    ];
    pairs.iter().filter(|(is, _)| *is).fold(Readiness(0), |sum, (_, bit)| Readiness(sum.0 | bit.0))
}
