//! epoll with a buffer for its events, for the raw peer and the client.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    io::{Errno, Result},
};

/// The most events that one wait takes from the kernel.
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

    /// Waits for events. Returns their number; [`key`](Self::key) takes an index below it.
    pub fn wait(&mut self) -> Result<usize> {
        self.wait_for(None)
    }

    /// Waits for events, with a timeout. Returns 0 when it expires.
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
