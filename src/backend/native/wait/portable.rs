//! Waiting with the `polling` crate: kqueue, event ports, poll(2), and epoll when asked for.
//!
//! Its key is the descriptor, and ours is looked up before any callback runs, because its keys have
//! the width of a pointer. Its own `notify` is not used: on kqueue it never resets.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    time::Duration,
};

use polling::{Event, Events, PollMode, Poller};

use super::{super::wake::WakeFd, registrations::Change};
use crate::{
    backend::{Interest, Readiness},
    handle::Key,
    time::Nanos,
};

pub(crate) struct Waiter {
    poller: Poller,
    events: Events,
    keys: Vec<u64>,
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Waiter").field("poller", &self.poller).finish_non_exhaustive()
    }
}

impl Waiter {
    pub(crate) fn new() -> io::Result<Waiter> {
        Ok(Waiter { poller: Poller::new()?, events: Events::new(), keys: Vec::new() })
    }

    pub(crate) fn apply(&mut self, fd: BorrowedFd<'_>, change: Change) -> io::Result<()> {
        let number = fd.as_raw_fd() as usize;
        match change {
            Change::Add { key, interest } => {
                if number >= self.keys.len() {
                    self.keys.resize(number + 1, 0);
                }
                self.keys[number] = key;
                // SAFETY: the source is deleted before it is closed: `Backend::forget` comes before
                // every close, and the poller is dropped with all that it watches.
                unsafe { self.poller.add_with_mode(&fd, to_polling(number, interest), PollMode::Level) }
            }
            Change::Modify { key, interest } => {
                self.keys[number] = key;
                self.poller.modify_with_mode(fd, to_polling(number, interest), PollMode::Level)
            }
            Change::Delete => self.poller.delete(fd),
        }
    }

    /// Watches the alarm.
    pub(crate) fn watch_alarm(&mut self, alarm: BorrowedFd<'_>, key: Key) -> io::Result<()> {
        self.apply(alarm, Change::Add { key: key.0, interest: Interest::READ })
    }

    /// The alarm has been heard.
    pub(crate) fn hush(&self, alarm: &WakeFd) {
        alarm.drain();
    }

    /// Waits until something is ready or `timeout` has passed; `None` waits for ever.
    pub(crate) fn wait(
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

impl AsFd for Waiter {
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
