//! The names of the kinds, for reports and errors.

use std::fmt;

/// What a handle or a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A [`Timer`](crate::Timer).
    Timer,
    /// An [`Idle`](crate::Idle) hook.
    Idle,
    /// A [`Prepare`](crate::Prepare) hook.
    Prepare,
    /// A [`Check`](crate::Check) hook.
    Check,
    /// A [`Wake`](crate::Wake).
    Wake,
    /// The receiving end of a [`channel`](crate::channel).
    Channel,
    /// A [`Signal`](crate::Signal).
    Signal,
    /// A [`Poll`](crate::Poll).
    Poll,
    /// A [`TcpListener`](crate::net::TcpListener).
    TcpListener,
    /// A [`TcpStream`](crate::net::TcpStream).
    TcpStream,
    /// An open [`File`](crate::fs::File).
    File,
    /// A closure passed to [`Loop::defer`](crate::Loop::defer).
    Deferred,
    /// A closure posted through a [`Remote`](crate::Remote).
    Post,
    /// A closure that runs when a handle is closed.
    Close,
    /// A connect in progress.
    Connect,
    /// A write with a completion callback.
    Write,
    /// A closure that runs on the worker pool.
    Work,
    /// An operation on a file or a path.
    FileOperation,
    // At the end, because a world hashes the numbers.
    /// A [`UnixListener`](crate::net::UnixListener).
    UnixListener,
    /// A [`UnixStream`](crate::net::UnixStream).
    UnixStream,
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Kind::Timer => "timer",
            Kind::Idle => "idle",
            Kind::Prepare => "prepare",
            Kind::Check => "check",
            Kind::Wake => "wake",
            Kind::Channel => "channel",
            Kind::Signal => "signal",
            Kind::Poll => "poll",
            Kind::TcpListener => "tcp listener",
            Kind::TcpStream => "tcp stream",
            Kind::UnixListener => "unix listener",
            Kind::UnixStream => "unix stream",
            Kind::File => "file",
            Kind::Deferred => "deferred closure",
            Kind::Post => "posted closure",
            Kind::Close => "close callback",
            Kind::Connect => "connect",
            Kind::Write => "write",
            Kind::Work => "work",
            Kind::FileOperation => "file operation",
        })
    }
}
