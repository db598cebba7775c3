//! The options of sockets: the cold part of their contract, a method an option.
//!
//! Cold operations go through a trait, so that a kind, or a world, need not forward each of them.

use std::{io, net::SocketAddr, time::Duration};

use super::job::unsupported;

/// What can be asked of a socket, and set. A socket that lacks an option refuses it as
/// [`Unsupported`](io::ErrorKind::Unsupported).
pub(crate) trait SocketOptions {
    fn local_addr(&self) -> io::Result<SocketAddr>;
    fn peer_addr(&self) -> io::Result<SocketAddr>;

    fn set_nodelay(&self, _: bool) -> io::Result<()> {
        Err(unsupported("TCP_NODELAY"))
    }

    fn nodelay(&self) -> io::Result<bool> {
        Err(unsupported("TCP_NODELAY"))
    }

    /// Idle time, interval and count; `None` turns it off.
    fn set_keepalive(&self, _: Option<(Duration, Duration, u32)>) -> io::Result<()> {
        Err(unsupported("SO_KEEPALIVE"))
    }

    fn keepalive(&self) -> io::Result<Option<(Duration, Duration, u32)>> {
        Err(unsupported("SO_KEEPALIVE"))
    }

    fn set_linger(&self, _: Option<Duration>) -> io::Result<()> {
        Err(unsupported("SO_LINGER"))
    }

    fn linger(&self) -> io::Result<Option<Duration>> {
        Err(unsupported("SO_LINGER"))
    }

    fn set_receive_buffer(&self, _: usize) -> io::Result<()> {
        Err(unsupported("SO_RCVBUF"))
    }

    fn receive_buffer(&self) -> io::Result<usize> {
        Err(unsupported("SO_RCVBUF"))
    }

    fn set_send_buffer(&self, _: usize) -> io::Result<()> {
        Err(unsupported("SO_SNDBUF"))
    }

    fn send_buffer(&self) -> io::Result<usize> {
        Err(unsupported("SO_SNDBUF"))
    }

    fn set_ttl(&self, _: u32) -> io::Result<()> {
        Err(unsupported("IP_TTL"))
    }

    fn ttl(&self) -> io::Result<u32> {
        Err(unsupported("IP_TTL"))
    }
}
