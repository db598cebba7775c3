//! What servers and clients share: sockets, and waiting for them.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::{AsFd, OwnedFd},
};

use ringback_peers::announce;
use rustix::{
    buffer::spare_capacity,
    event::epoll,
    io::{Errno, Result},
    net::{
        AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with,
        sockopt::set_tcp_nodelay,
    },
};

/// What one wait takes from the kernel, at most.
const EVENTS_PER_WAIT: usize = 1024;
const BACKLOG: i32 = 1024;

/// `epoll`, with a place for its events.
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
        loop {
            self.events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut self.events), None) {
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

/// A listener somewhere on 127.0.0.1, and says where.
pub fn listener() -> crate::Result<OwnedFd> {
    let listener = new_socket()?;
    // Inherited by what it accepts.
    set_tcp_nodelay(&listener, true)?;
    bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    listen(&listener, BACKLOG)?;
    let addr = SocketAddrV4::try_from(getsockname(&listener)?)?;
    announce(&format!("listening {}", addr.port()));
    Ok(listener)
}

/// TCP, non-blocking.
pub fn new_socket() -> Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    Ok(socket)
}
