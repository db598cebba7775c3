//! Sockets, for servers and clients.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::OwnedFd,
};

use ringback_peers::announce;
use rustix::{
    io::Result,
    net::{
        AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with,
        sockopt::set_tcp_nodelay,
    },
};

const BACKLOG: i32 = 1024;

/// Binds a listener to a free port of 127.0.0.1, and announces it.
pub fn listener() -> crate::Result<OwnedFd> {
    let listener = new_socket()?;
    // Accepted sockets inherit this option.
    set_tcp_nodelay(&listener, true)?;
    bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    listen(&listener, BACKLOG)?;
    let addr = SocketAddrV4::try_from(getsockname(&listener)?)?;
    announce(&format!("listening {}", addr.port()));
    Ok(listener)
}

/// Creates a non-blocking TCP socket.
pub fn new_socket() -> Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    Ok(socket)
}
