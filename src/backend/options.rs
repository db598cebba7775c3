//! The contract of socket options, one method for each.
//!
//! They are cold, so they go through a trait: `either/` need not forward each of them, and a world need not
//! have all.

use std::{io, net::SocketAddr, os::unix::net::SocketAddr as UnixAddr, time::Duration};

use super::unsupported::unsupported;

/// What can be read and set of a socket. A socket that lacks an option refuses it as
/// [`Unsupported`](io::ErrorKind::Unsupported).
pub(crate) trait SocketOptions {
    fn local_addr(&self) -> io::Result<SocketAddr>;
    fn peer_addr(&self) -> io::Result<SocketAddr>;

    fn local_unix_addr(&self) -> io::Result<UnixAddr> {
        Err(unsupported("a Unix address"))
    }

    fn peer_unix_addr(&self) -> io::Result<UnixAddr> {
        Err(unsupported("a Unix address"))
    }

    /// Returns user, group and process of the peer, as they were when it connected. Some systems do not know
    /// the process.
    fn peer_credentials(&self) -> io::Result<(u32, u32, Option<u32>)> {
        Err(unsupported("credentials of a peer"))
    }

    fn set_nodelay(&self, _: bool) -> io::Result<()> {
        Err(unsupported("TCP_NODELAY"))
    }

    fn nodelay(&self) -> io::Result<bool> {
        Err(unsupported("TCP_NODELAY"))
    }

    /// Sets idle time, interval and count. `None` turns it off.
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
