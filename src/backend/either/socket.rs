//! A socket of the system's, or of a world's.

use std::{io, os::fd::OwnedFd};

use crate::backend::SocketOptions;

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
    }

    pub(crate) fn options(&self) -> &dyn SocketOptions {
        match self {
            Socket::System(socket) => socket.options(),
            Socket::World(socket) => socket.options(),
        }
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
