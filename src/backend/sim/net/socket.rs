//! A socket of a program: what a kind holds, and what it asks of the world.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    os::unix::net::SocketAddr as UnixAddr,
    time::Duration,
};

use super::{
    super::{errno::errno, world::Shared},
    ends::{End, EndId, Stream},
};
use crate::{
    backend::{Interest, SocketOptions},
    handle::Key,
};

/// A socket of a program in a world. Dropping it closes its end.
pub(crate) struct Socket {
    world: Shared,
    end: EndId,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Socket({})", self.end)
    }
}

impl Socket {
    pub(crate) fn new(world: &Shared, end: EndId) -> Socket {
        Socket { world: world.clone(), end }
    }

    pub(crate) fn watch(&self, key: Key, interest: Interest) {
        let mut world = self.world.borrow_mut();
        if let Some(end) = world.net.ends.get_mut(&self.end) {
            // Interest in nothing reports nothing, not even a hang-up, as with the system's backend.
            end.watch = (interest != Interest::NONE).then_some((key, interest));
        }
        world.mark_ready(self.end);
    }

    pub(crate) fn forget(&self) {
        if let Some(end) = self.world.borrow_mut().net.ends.get_mut(&self.end) {
            end.watch = None;
        }
    }

    pub(crate) fn accept(&self) -> io::Result<Option<Socket>> {
        let accepted = self.world.borrow_mut().accept(self.end)?;
        Ok(accepted.map(|end| Socket::new(&self.world, end)))
    }

    pub(crate) fn finish_connect(&self) -> io::Result<()> {
        self.world.borrow_mut().finish_connect(self.end)
    }

    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.world.borrow_mut().receive(self.end, buffer)
    }

    pub(crate) fn send(&self, pieces: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        self.world.borrow_mut().send(self.end, pieces)
    }

    pub(crate) fn shut_down(&self) -> io::Result<()> {
        self.world.borrow_mut().shut_down(self.end)
    }

    fn with_end<T>(&self, op: impl FnOnce(&mut End) -> T) -> io::Result<T> {
        self.world.borrow_mut().net.ends.get_mut(&self.end).map(op).ok_or_else(|| errno(libc::EBADF))
    }

    fn with_stream<T>(&self, op: impl FnOnce(&mut Stream) -> T) -> io::Result<T> {
        self.world.borrow_mut().net.stream(self.end).map(op).ok_or_else(|| errno(libc::ENOTCONN))
    }

    pub(crate) fn options(&self) -> &dyn SocketOptions {
        self
    }
}

impl SocketOptions for Socket {
    fn local_unix_addr(&self) -> io::Result<UnixAddr> {
        self.with_end(|end| end.unix.clone())?.map_or_else(unnamed, Ok)
    }

    fn peer_unix_addr(&self) -> io::Result<UnixAddr> {
        let peer = self.with_stream(|stream| stream.peer)?.ok_or_else(|| errno(libc::ENOTCONN))?;
        let name = self.world.borrow().net.ends.get(&peer).and_then(|end| end.unix.clone());
        name.map_or_else(unnamed, Ok)
    }

    /// A machine has one program and one user.
    fn peer_credentials(&self) -> io::Result<(u32, u32, Option<u32>)> {
        let connected = self.with_stream(|stream| stream.connected)?;
        if connected { Ok((0, 0, Some(1))) } else { Err(errno(libc::ENOTCONN)) }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.with_end(|end| end.local)
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        let (remote, connected) =
            self.with_stream(|stream| (stream.remote, stream.connected && !stream.failed))?;
        if connected { Ok(remote) } else { Err(errno(libc::ENOTCONN)) }
    }

    fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.with_end(|end| end.nodelay = on)
    }

    fn nodelay(&self) -> io::Result<bool> {
        self.with_end(|end| end.nodelay)
    }

    /// Does nothing: a connection of a world never loses its state silently.
    fn set_keepalive(&self, _: Option<(Duration, Duration, u32)>) -> io::Result<()> {
        Ok(())
    }

    fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.with_stream(|stream| stream.reset_on_close = linger == Some(Duration::ZERO))
    }

    fn set_receive_buffer(&self, bytes: usize) -> io::Result<()> {
        self.with_stream(|stream| stream.receive_buffer = bytes.max(1))
    }

    fn receive_buffer(&self) -> io::Result<usize> {
        self.with_stream(|stream| stream.receive_buffer)
    }

    fn set_send_buffer(&self, bytes: usize) -> io::Result<()> {
        self.with_stream(|stream| stream.send_buffer = bytes.max(1))
    }

    fn send_buffer(&self) -> io::Result<usize> {
        self.with_stream(|stream| stream.send_buffer)
    }

    fn set_ttl(&self, hops: u32) -> io::Result<()> {
        if !(1..=255).contains(&hops) {
            return Err(errno(libc::EINVAL));
        }
        self.with_end(|end| end.ttl = hops)
    }

    fn ttl(&self) -> io::Result<u32> {
        self.with_end(|end| end.ttl)
    }
}

/// The address of a Unix socket without a name.
fn unnamed() -> io::Result<UnixAddr> {
    UnixAddr::from_pathname("")
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Borrowed only while a panic unwinds out of the world itself: then there is nothing to close.
        if let Ok(mut world) = self.world.try_borrow_mut() {
            world.close_end(self.end);
        }
    }
}
