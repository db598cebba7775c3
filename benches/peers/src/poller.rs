//! `epoll`, with a place for its events: of the program by hand, and of the client.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    io::{Errno, Result},
};

/// What one wait takes from the kernel, at most.
const EVENTS_PER_WAIT: usize = 1024;

pub struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poller {
    pub fn new() -> Result<Poller> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Poller { epoll, events: Vec::with_capacity(EVENTS_PER_WAIT) })
    }

    pub fn add(&self, fd: impl AsFd, key: usize, interest: epoll::EventFlags) -> Result<()> {
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(key as u64), interest)
    }

    pub fn modify(&self, fd: impl AsFd, key: usize, interest: epoll::EventFlags) -> Result<()> {
        epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(key as u64), interest)
    }

    /// Waits for events; those are [`key`](Self::key)s `0..` of the answer.
    pub fn wait(&mut self) -> Result<usize> {
        self.wait_for(None)
    }

    /// The same, for so long at most: then there are none.
    pub fn wait_for(&mut self, timeout: Option<&Timespec>) -> Result<usize> {
        loop {
            self.events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout) {
                Err(Errno::INTR) => {}
                other => return other,
            }
        }
    }

    pub fn key(&self, event: usize) -> usize {
        let data = self.events[event].data;
        data.u64() as usize
    }
}
