//! A socket, of the system or of a world.

use std::{io, os::fd::OwnedFd};

use super::{
    super::{
        SocketOptions,
        native::{Socket as SystemSocket, SocketFile as SystemFile},
        sim::{Socket as WorldSocket, SocketFile as WorldFile},
    },
    forward::{each, not_here},
};

#[derive(Debug)]
pub(crate) enum Socket {
    System(SystemSocket),
    World(WorldSocket),
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

/// The file that names a listening Unix socket.
#[derive(Debug)]
#[expect(dead_code, reason = "held to be dropped, which removes the file")]
pub(crate) enum SocketFile {
    System(SystemFile),
    World(WorldFile),
}
