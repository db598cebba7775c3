//! A socket of the system's, or of a world's.

use std::{io, net::SocketAddr, os::fd::OwnedFd, time::Duration};

use super::{
    super::{native, sim},
    not_here,
};

#[derive(Debug)]
pub(crate) enum Socket {
    System(native::Socket),
    World(sim::Socket),
}

impl Socket {
    each! {
        fn finish_connect() -> io::Result<()>;
        fn receive(buffer: &mut [u8]) -> io::Result<Option<usize>>;
        fn send(pieces: &[io::IoSlice<'_>]) -> io::Result<Option<usize>>;
        fn shut_down() -> io::Result<()>;
        fn local_addr() -> io::Result<SocketAddr>;
        fn peer_addr() -> io::Result<SocketAddr>;
        fn set_nodelay(on: bool) -> io::Result<()>;
        fn nodelay() -> io::Result<bool>;
        fn set_keepalive(settings: Option<(Duration, Duration, u32)>) -> io::Result<()>;
        fn set_linger(linger: Option<Duration>) -> io::Result<()>;
        fn set_receive_buffer(bytes: usize) -> io::Result<()>;
        fn receive_buffer() -> io::Result<usize>;
        fn set_send_buffer(bytes: usize) -> io::Result<()>;
        fn send_buffer() -> io::Result<usize>;
        fn set_ttl(hops: u32) -> io::Result<()>;
        fn ttl() -> io::Result<u32>;
    }

    pub(crate) fn accept(&self) -> io::Result<Option<Socket>> {
        match self {
            Socket::System(socket) => Ok(socket.accept()?.map(Socket::System)),
            Socket::World(socket) => Ok(socket.accept()?.map(Socket::World)),
        }
    }

    pub(crate) fn release(self) -> io::Result<OwnedFd> {
        match self {
            Socket::System(socket) => socket.release(),
            Socket::World(_) => Err(not_here("sockets of the system")),
        }
    }
}
