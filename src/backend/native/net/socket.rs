//! Sockets: one system call an operation, and what each answer means.
//!
//! Every socket is non-blocking and closed on exec. No write raises SIGPIPE. `Ok(None)` is "not now".

use std::{
    io::{self, IoSlice},
    mem,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use crate::backend::SocketOptions;
use socket2::{Domain, SockRef, TcpKeepalive, Type};

/// An owned socket.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

/// How a listening socket is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListenConfig {
    pub(crate) backlog: i32,
    pub(crate) reuse_port: bool,
    pub(crate) only_v6: bool,
}

/// One `sendmsg` takes no more pieces than this; the rest goes with the next.
pub(crate) const PIECES_MAX: usize = 64;

#[cfg(any(
    target_os = "macos",
    target_os = "ios",
    target_os = "tvos",
    target_os = "watchos",
    target_os = "visionos"
))]
const SEND_FLAGS: i32 = 0; // SO_NOSIGPIPE is set on the socket instead.
#[cfg(not(any(
    target_os = "macos",
    target_os = "ios",
    target_os = "tvos",
    target_os = "watchos",
    target_os = "visionos"
)))]
const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL;

impl Socket {
    /// A socket that listens.
    pub(crate) fn listen(addr: SocketAddr, config: ListenConfig) -> io::Result<Socket> {
        let socket = Socket::stream(addr)?;
        // Or a server cannot be started again while connections of the one before linger.
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

    /// A socket that is connecting, or connected already.
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
        #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
        let socket = socket2::Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), None)?;
        #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
        let socket = {
            let socket = socket2::Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            socket
        };
        // Writes are gathered before they leave, so Nagle's waiting for more has no use. Sockets that are
        // accepted inherit it from the one that listens.
        socket.set_tcp_nodelay(true)?;
        Ok(Socket(socket.into()))
    }

    pub(crate) fn options(&self) -> &dyn SocketOptions {
        self
    }

    /// How connecting went, once the socket is writable.
    pub(crate) fn finish_connect(&self) -> io::Result<()> {
        match self.sock().take_error()? {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    pub(crate) fn accept(&self) -> io::Result<Option<Socket>> {
        loop {
            match self.accept_once() {
                Ok(socket) => return Ok(Some(socket)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    #[cfg(not(any(
        target_os = "macos",
        target_os = "ios",
        target_os = "tvos",
        target_os = "watchos",
        target_os = "visionos"
    )))]
    fn accept_once(&self) -> io::Result<Socket> {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: null asks for no address; the descriptor is open, being borrowed.
        let fd =
            unsafe { libc::accept4(self.0.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut(), flags) };
        let fd = super::super::sys::cvt(fd)?;
        // SAFETY: the descriptor is new and has no other owner.
        Ok(Socket(unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) }))
    }

    #[cfg(any(
        target_os = "macos",
        target_os = "ios",
        target_os = "tvos",
        target_os = "watchos",
        target_os = "visionos"
    ))]
    fn accept_once(&self) -> io::Result<Socket> {
        let (socket, _) = self.sock().accept()?;
        socket.set_nonblocking(true)?;
        Ok(Socket(socket.into()))
    }

    /// Receives into `buffer`. `Some(0)` is the end.
    #[inline]
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        // SAFETY: `buffer` has room for as many bytes as are asked for; the descriptor is open.
        let count = unsafe { libc::recv(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        now_or_later(count)
    }

    /// Sends as much of several pieces, in order, as fits now.
    pub(crate) fn send(&self, pieces: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        if let [piece] = pieces {
            // `sendmsg` costs a fifth more.
            // SAFETY: `piece` has as many bytes to read as are named; the descriptor is open.
            let count =
                unsafe { libc::send(self.0.as_raw_fd(), piece.as_ptr().cast(), piece.len(), SEND_FLAGS) };
            return now_or_later(count);
        }
        // SAFETY: all zeroes is a valid message without address, control data or pieces.
        let mut message: libc::msghdr = unsafe { mem::zeroed() };
        // IoSlice is an iovec by its own promise. `sendmsg` only reads.
        message.msg_iov = pieces.as_ptr().cast_mut().cast();
        message.msg_iovlen = pieces.len().min(PIECES_MAX) as _;
        // SAFETY: `message` and the pieces it names live through the call; the descriptor is open.
        let count = unsafe { libc::sendmsg(self.0.as_raw_fd(), &message, SEND_FLAGS) };
        now_or_later(count)
    }

    /// Says that nothing more will be sent.
    pub(crate) fn shut_down(&self) -> io::Result<()> {
        self.sock().shutdown(std::net::Shutdown::Write)
    }

    /// Takes a socket of the application's, and makes it non-blocking.
    pub(crate) fn adopt(fd: OwnedFd) -> io::Result<Socket> {
        super::super::sys::set_nonblocking(fd.as_fd(), true)?;
        #[cfg(any(
            target_os = "macos",
            target_os = "ios",
            target_os = "tvos",
            target_os = "watchos",
            target_os = "visionos"
        ))]
        SockRef::from(&fd).set_nosigpipe(true)?;
        Ok(Socket(fd))
    }

    /// Gives the socket away, blocking, as the standard library's are.
    pub(crate) fn release(self) -> io::Result<OwnedFd> {
        super::super::sys::set_nonblocking(self.0.as_fd(), false)?;
        Ok(self.0)
    }

    fn sock(&self) -> SockRef<'_> {
        SockRef::from(&self.0)
    }
}

impl SocketOptions for Socket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        internet(self.sock().local_addr()?)
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        internet(self.sock().peer_addr()?)
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
        match self.sock().domain_of()? {
            Domain::IPV6 => self.sock().set_unicast_hops_v6(hops),
            _ => self.sock().set_ttl_v4(hops),
        }
    }

    fn ttl(&self) -> io::Result<u32> {
        match self.sock().domain_of()? {
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

trait DomainOf {
    fn domain_of(&self) -> io::Result<Domain>;
}

impl DomainOf for SockRef<'_> {
    /// By the local address, because not every system can be asked directly.
    fn domain_of(&self) -> io::Result<Domain> {
        Ok(self.local_addr()?.domain())
    }
}

fn internet(addr: socket2::SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

#[inline]
fn now_or_later(count: isize) -> io::Result<Option<usize>> {
    if count >= 0 { Ok(Some(count as usize)) } else { why_not_now() }
}

#[cold]
fn why_not_now() -> io::Result<Option<usize>> {
    let error = io::Error::last_os_error();
    match error.kind() {
        // EINTR cannot last on a call that does not block; the socket will still be ready next time.
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
        _ => Err(error),
    }
}

/// What an error of `accept` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AcceptError {
    /// One connection failed before it was accepted. The next may be well.
    Connection,
    /// Nothing can be accepted for now: no descriptors, no memory, or something is wrong here.
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
