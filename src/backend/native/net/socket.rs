//! Sockets: one system call an operation, and what each result means.
//!
//! Every socket is non-blocking and closed on exec. No write raises SIGPIPE. `Ok(None)` means that the
//! operation would block.

use std::{
    io::{self, IoSlice},
    mem,
    net::SocketAddr,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::net::SocketAddr as UnixAddr,
    },
    time::Duration,
};

use socket2::{Domain, SockRef, TcpKeepalive};

use super::super::sys::set_nonblocking;

use super::credentials::peer_credentials;
use crate::backend::SocketOptions;

/// An owned socket.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

/// The options that must be set before a socket listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListenConfig {
    pub(crate) backlog: i32,
    pub(crate) reuse_port: bool,
    pub(crate) only_v6: bool,
}

/// The most pieces that one `sendmsg` gets. Those beyond are left for the next.
pub(crate) const PIECES_MAX: usize = 64;

/// Most systems have flags that make a new socket non-blocking and closed on exec, and a write raise no
/// SIGPIPE.
#[cfg(not(target_vendor = "apple"))]
mod flags {
    use std::{
        io,
        os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        ptr,
    };

    use socket2::{Domain, Type};

    use super::super::super::sys::cvt;

    pub(super) const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL;

    pub(super) fn stream(domain: Domain) -> io::Result<OwnedFd> {
        // socket2 adds `SOCK_CLOEXEC`.
        Ok(socket2::Socket::new(domain, Type::STREAM.nonblocking(), None)?.into())
    }

    pub(super) fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: null pointers ask for no address.
        let fd = unsafe { libc::accept4(listener.as_raw_fd(), ptr::null_mut(), ptr::null_mut(), flags) };
        // SAFETY: the descriptor is new and has no other owner.
        Ok(unsafe { OwnedFd::from_raw_fd(cvt(fd)?) })
    }

    pub(super) fn adopt(_: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }
}

/// Apple's systems have options instead, set once there is a socket. socket2 sets `FD_CLOEXEC` and
/// `SO_NOSIGPIPE` on those that it makes.
#[cfg(target_vendor = "apple")]
mod flags {
    use std::{
        io,
        os::fd::{BorrowedFd, OwnedFd},
    };

    use socket2::{Domain, SockRef, Type};

    pub(super) const SEND_FLAGS: i32 = 0;

    pub(super) fn stream(domain: Domain) -> io::Result<OwnedFd> {
        let socket = socket2::Socket::new(domain, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    }

    pub(super) fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        let (socket, _) = SockRef::from(&listener).accept()?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    }

    pub(super) fn adopt(socket: BorrowedFd<'_>) -> io::Result<()> {
        SockRef::from(&socket).set_nosigpipe(true)
    }
}

impl Socket {
    /// Creates a socket that listens.
    pub(crate) fn listen(addr: SocketAddr, config: ListenConfig) -> io::Result<Socket> {
        let socket = Socket::stream(addr)?;
        // Otherwise a server cannot restart while connections of its predecessor are in TIME_WAIT.
        socket.sock().set_reuse_address(true)?;
        if config.reuse_port {
            socket.sock().set_reuse_port(true)?;
        }
        if addr.is_ipv6() {
            socket.sock().set_only_v6(config.only_v6)?;
        }
        socket.sock().bind(&addr.into())?;
        socket.sock().listen(config.backlog)?;
        Ok(socket)
    }

    /// Creates a socket and connects it. `true` means connected already, `false` connecting.
    pub(crate) fn connect(addr: SocketAddr) -> io::Result<(Socket, io::Result<bool>)> {
        let socket = Socket::stream(addr)?;
        let connected = match socket.sock().connect(&addr.into()) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(false),
            Err(error) => Err(error),
        };
        Ok((socket, connected))
    }

    fn stream(addr: SocketAddr) -> io::Result<Socket> {
        let socket = Socket(flags::stream(Domain::for_address(addr))?);
        // Writes are coalesced before they are sent, so Nagle's algorithm would only delay them. Accepted
        // sockets inherit the option from the listening one.
        socket.sock().set_tcp_nodelay(true)?;
        Ok(socket)
    }

    /// Creates a Unix socket that is neither bound nor connected.
    pub(super) fn unix() -> io::Result<Socket> {
        flags::stream(Domain::UNIX).map(Socket)
    }

    pub(crate) fn options(&self) -> &dyn SocketOptions {
        self
    }

    /// Returns how connecting ended, once the socket is writable.
    pub(crate) fn finish_connect(&self) -> io::Result<()> {
        match self.sock().take_error()? {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    pub(crate) fn accept(&self) -> io::Result<Option<Socket>> {
        loop {
            match flags::accept(self.0.as_fd()) {
                Ok(fd) => return Ok(Some(Socket(fd))),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Receives into `buffer`. `Some(0)` is EOF.
    #[inline]
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        // SAFETY: the kernel writes at most `buffer.len()` bytes to `buffer`.
        let count = unsafe { libc::recv(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        transferred(count)
    }

    /// Sends the pieces in order, as many bytes as the socket takes without blocking.
    pub(crate) fn send(&self, pieces: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        if let [piece] = pieces {
            // `sendmsg` costs a fifth more.
            // SAFETY: the kernel reads `piece.len()` bytes of `piece`.
            let count = unsafe {
                libc::send(self.0.as_raw_fd(), piece.as_ptr().cast(), piece.len(), flags::SEND_FLAGS)
            };
            return transferred(count);
        }
        // SAFETY: all zeroes is a valid `msghdr`: no address, no control data, no pieces.
        let mut message: libc::msghdr = unsafe { mem::zeroed() };
        // `IoSlice` guarantees the layout of `iovec`. `sendmsg` writes to neither, whatever its type says.
        message.msg_iov = pieces.as_ptr().cast_mut().cast();
        message.msg_iovlen = pieces.len().min(PIECES_MAX) as _;
        // SAFETY: `message` points to `msg_iovlen` pieces or more, which are valid for the call.
        let count = unsafe { libc::sendmsg(self.0.as_raw_fd(), &message, flags::SEND_FLAGS) };
        transferred(count)
    }

    /// Shuts down the write side: the peer reads EOF.
    pub(crate) fn shut_down(&self) -> io::Result<()> {
        self.sock().shutdown(std::net::Shutdown::Write)
    }

    /// The address family, by the local address: not every system has an option for it.
    fn domain(&self) -> io::Result<Domain> {
        Ok(self.sock().local_addr()?.domain())
    }

    /// Takes over a socket of the application, and makes it non-blocking.
    pub(crate) fn adopt(fd: OwnedFd) -> io::Result<Socket> {
        set_nonblocking(fd.as_fd(), true)?;
        flags::adopt(fd.as_fd())?;
        Ok(Socket(fd))
    }

    /// Returns the socket to the application, blocking, as those of the standard library are.
    pub(crate) fn release(self) -> io::Result<OwnedFd> {
        set_nonblocking(self.0.as_fd(), false)?;
        Ok(self.0)
    }

    pub(super) fn sock(&self) -> SockRef<'_> {
        SockRef::from(&self.0)
    }
}

impl SocketOptions for Socket {
    fn local_unix_addr(&self) -> io::Result<UnixAddr> {
        unix_addr(self.sock().local_addr()?)
    }

    fn peer_unix_addr(&self) -> io::Result<UnixAddr> {
        unix_addr(self.sock().peer_addr()?)
    }

    fn peer_credentials(&self) -> io::Result<(u32, u32, Option<u32>)> {
        peer_credentials(self.0.as_fd())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        internet_addr(self.sock().local_addr()?)
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        internet_addr(self.sock().peer_addr()?)
    }

    fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.sock().set_tcp_nodelay(on)
    }

    fn nodelay(&self) -> io::Result<bool> {
        self.sock().tcp_nodelay()
    }

    /// `None` turns it off.
    fn set_keepalive(&self, settings: Option<(Duration, Duration, u32)>) -> io::Result<()> {
        let Some((idle, interval, count)) = settings else { return self.sock().set_keepalive(false) };
        let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(count);
        self.sock().set_tcp_keepalive(&keepalive)
    }

    fn keepalive(&self) -> io::Result<Option<(Duration, Duration, u32)>> {
        let socket = self.sock();
        if !socket.keepalive()? {
            return Ok(None);
        }
        Ok(Some((
            socket.tcp_keepalive_time()?,
            socket.tcp_keepalive_interval()?,
            socket.tcp_keepalive_retries()?,
        )))
    }

    fn linger(&self) -> io::Result<Option<Duration>> {
        self.sock().linger()
    }

    fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.sock().set_linger(linger)
    }

    fn set_receive_buffer(&self, bytes: usize) -> io::Result<()> {
        self.sock().set_recv_buffer_size(bytes)
    }

    fn receive_buffer(&self) -> io::Result<usize> {
        self.sock().recv_buffer_size()
    }

    fn set_send_buffer(&self, bytes: usize) -> io::Result<()> {
        self.sock().set_send_buffer_size(bytes)
    }

    fn send_buffer(&self) -> io::Result<usize> {
        self.sock().send_buffer_size()
    }

    /// Hops, by the name that the socket's family has for them.
    fn set_ttl(&self, hops: u32) -> io::Result<()> {
        match self.domain()? {
            Domain::IPV6 => self.sock().set_unicast_hops_v6(hops),
            _ => self.sock().set_ttl_v4(hops),
        }
    }

    fn ttl(&self) -> io::Result<u32> {
        match self.domain()? {
            Domain::IPV6 => self.sock().unicast_hops_v6(),
            _ => self.sock().ttl_v4(),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn unix_addr(addr: socket2::SockAddr) -> io::Result<UnixAddr> {
    if let Some(path) = addr.as_pathname() {
        return UnixAddr::from_pathname(path);
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = addr.as_abstract_namespace() {
        return <UnixAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name);
    }
    if addr.is_unix() { UnixAddr::from_pathname("") } else { Err(io::ErrorKind::AddrNotAvailable.into()) }
}

fn internet_addr(addr: socket2::SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Converts what `recv` or `send` returned.
#[inline]
fn transferred(count: isize) -> io::Result<Option<usize>> {
    if count >= 0 { Ok(Some(count as usize)) } else { not_transferred() }
}

#[cold]
fn not_transferred() -> io::Result<Option<usize>> {
    let error = io::Error::last_os_error();
    match error.kind() {
        // A signal interrupted the call. The socket is still ready, and the next wait reports it again.
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
        _ => Err(error),
    }
}

/// What an error of `accept` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AcceptError {
    /// One connection failed before it was accepted. The next may succeed.
    Connection,
    /// Nothing can be accepted for now: the process is out of descriptors or memory, or the socket is in
    /// error.
    Listener,
}

pub(crate) fn classify_accept_error(error: &io::Error) -> AcceptError {
    match error.raw_os_error() {
        Some(
            libc::ECONNABORTED
            | libc::EPROTO
            | libc::EPERM
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ENOPROTOOPT
            | libc::ETIMEDOUT
            | libc::ECONNRESET,
        ) => AcceptError::Connection,
        _ => AcceptError::Listener,
    }
}
