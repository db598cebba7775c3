//! Carriers of the system's. A peer is a descriptor, whatever it is of.

use std::{
    io, net,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix,
    },
    path::PathBuf,
    thread::{self, JoinHandle},
};

use ringback::{
    Handle, Loop, Result,
    net::{ListenOptions, TcpStream, UnixStream},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, ioctl_fionbio, read, write},
};

use super::carrier::{ByteStream, Carrier, CloseReset, Connecting, Peer, Reader, Resetting};
use crate::common::{self, GUARD, Log, std_pair};

/// The other end of a stream: a socket or the end of a pipe.
pub(super) struct SystemPeer {
    /// None once a pipe was shut down.
    fd: Option<OwnedFd>,
}

impl<F: Into<OwnedFd>> From<F> for SystemPeer {
    fn from(fd: F) -> SystemPeer {
        let fd = fd.into();
        ioctl_fionbio(&fd, true).unwrap();
        SystemPeer { fd: Some(fd) }
    }
}

impl SystemPeer {
    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("the peer is open").as_fd()
    }

    /// Repeats `op` until it no longer would block.
    fn blocking<T>(
        &self,
        events: PollFlags,
        mut op: impl FnMut(BorrowedFd<'_>) -> rustix::io::Result<T>,
    ) -> io::Result<T> {
        let limit = Timespec::try_from(GUARD).unwrap();
        loop {
            match op(self.fd()) {
                Err(Errno::AGAIN) => {
                    let ready = poll(&mut [PollFd::new(&self.fd(), events)], Some(&limit)).unwrap();
                    assert!(ready > 0, "the peer is not ready for {events:?} within {GUARD:?}");
                }
                result => return result.map_err(io::Error::from),
            }
        }
    }

    /// Reads once. Returns the number of bytes, zero at EOF.
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.blocking(PollFlags::IN, |fd| read(fd, &mut *buffer))
    }
}

impl Peer for SystemPeer {
    type Reader = JoinHandle<(SystemPeer, Vec<u8>)>;

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let mut bytes = bytes.as_ref();
        while !bytes.is_empty() {
            let count = self.blocking(PollFlags::OUT, |fd| write(fd, bytes)).unwrap();
            bytes = &bytes[count..];
        }
    }

    fn try_send(&mut self, bytes: &[u8]) -> usize {
        match write(self.fd(), bytes) {
            Err(Errno::AGAIN) => 0,
            result => result.unwrap(),
        }
    }

    fn shutdown(&mut self) {
        match rustix::net::shutdown(self.fd(), rustix::net::Shutdown::Write) {
            Err(Errno::NOTSOCK) => self.fd = None,
            result => result.unwrap(),
        }
    }

    fn read_exact(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut filled = 0;
        while filled < count {
            let read = self.read(&mut bytes[filled..]).unwrap();
            assert!(read > 0, "EOF after {filled} of {count} bytes");
            filled += read;
        }
        bytes
    }

    fn read_to_eof(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match self.read(&mut buffer)? {
                0 => return Ok(bytes),
                count => bytes.extend_from_slice(&buffer[..count]),
            }
        }
    }

    fn start_reading(mut self, count: Option<usize>) -> Self::Reader {
        thread::spawn(move || {
            let bytes = match count {
                Some(count) => self.read_exact(count),
                None => self.read_to_eof().unwrap(),
            };
            (self, bytes)
        })
    }
}

impl Reader<SystemPeer> for JoinHandle<(SystemPeer, Vec<u8>)> {
    fn join(self) -> (SystemPeer, Vec<u8>) {
        self.join().unwrap()
    }
}

/// TCP on the loopback interface.
pub(super) struct Tcp {
    listener: net::TcpListener,
}

impl Carrier for Tcp {
    type Stream = TcpStream;
    type Peer = SystemPeer;

    const MUCH: usize = 8 << 20;

    fn new(_: u64) -> Tcp {
        Tcp { listener: net::TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    fn pair(&mut self, lp: &mut Loop<Log>) -> (TcpStream, SystemPeer) {
        let (ours, peer) = std_pair();
        (TcpStream::from_std(lp, ours).unwrap(), peer.into())
    }
}

impl CloseReset for Tcp {
    fn close_reset(stream: TcpStream, lp: &mut Loop<Log>) -> Result {
        stream.close_reset(lp)
    }
}

impl Resetting for Tcp {
    fn reset(_: TcpStream, _: &mut Loop<Log>, peer: SystemPeer) {
        common::reset(peer.fd());
    }

    fn broken(&mut self, lp: &mut Loop<Log>) -> TcpStream {
        common::broken(lp)
    }
}

impl Connecting for Tcp {
    type Addr = net::SocketAddr;

    fn listen(
        &mut self,
        lp: &mut Loop<Log>,
        options: ListenOptions,
        callback: impl FnMut(&mut Loop<Log>, &mut Log, TcpStream) -> Result + 'static,
    ) -> (Handle, net::SocketAddr) {
        let listener = options.bind(lp, "127.0.0.1:0").unwrap();
        listener.start(lp, callback).unwrap();
        (listener.into(), listener.local_addr(lp).unwrap())
    }

    fn connect(
        lp: &mut Loop<Log>,
        addr: &net::SocketAddr,
        callback: impl FnOnce(&mut Loop<Log>, &mut Log, Result<TcpStream>) -> Result + 'static,
    ) -> TcpStream {
        TcpStream::connect(lp, *addr, callback).unwrap()
    }

    fn connect_peer(&mut self, addr: &net::SocketAddr) -> SystemPeer {
        net::TcpStream::connect(addr).unwrap().into()
    }

    fn peer_addr(&mut self) -> net::SocketAddr {
        self.listener.local_addr().unwrap()
    }

    fn accept_peer(&mut self) -> SystemPeer {
        self.listener.accept().unwrap().0.into()
    }
}

/// Unix sockets. The peers' listener and those of the loop are in a directory of their own.
pub(super) struct Unix {
    dir: tempfile::TempDir,
    listener: unix::net::UnixListener,
    listeners: usize,
}

impl Carrier for Unix {
    type Stream = UnixStream;
    type Peer = SystemPeer;

    /// A Unix socket takes what its send buffer holds: 208 KiB on Linux, unless the system is configured
    /// otherwise.
    const MUCH: usize = 8 << 20;

    fn new(_: u64) -> Unix {
        let dir = tempfile::tempdir().unwrap();
        let listener = unix::net::UnixListener::bind(dir.path().join("peers")).unwrap();
        Unix { dir, listener, listeners: 0 }
    }

    fn pair(&mut self, lp: &mut Loop<Log>) -> (UnixStream, SystemPeer) {
        let (ours, peer) = unix::net::UnixStream::pair().unwrap();
        (UnixStream::from_std(lp, ours).unwrap(), peer.into())
    }
}

impl Resetting for Unix {
    fn reset(stream: UnixStream, lp: &mut Loop<Log>, peer: SystemPeer) {
        // Dropped with a byte unread.
        assert_eq!(ByteStream::try_write(stream, lp, b"x").unwrap(), 1);
        drop(peer);
    }

    fn broken(&mut self, lp: &mut Loop<Log>) -> UnixStream {
        let (stream, peer) = self.pair(lp);
        Unix::reset(stream, lp, peer);
        stream
    }
}

impl Connecting for Unix {
    type Addr = PathBuf;

    fn listen(
        &mut self,
        lp: &mut Loop<Log>,
        options: ListenOptions,
        callback: impl FnMut(&mut Loop<Log>, &mut Log, UnixStream) -> Result + 'static,
    ) -> (Handle, PathBuf) {
        self.listeners += 1;
        let path = self.dir.path().join(self.listeners.to_string());
        let listener = options.bind_unix(lp, &path).unwrap();
        listener.start(lp, callback).unwrap();
        (listener.into(), path)
    }

    fn connect(
        lp: &mut Loop<Log>,
        addr: &PathBuf,
        callback: impl FnOnce(&mut Loop<Log>, &mut Log, Result<UnixStream>) -> Result + 'static,
    ) -> UnixStream {
        UnixStream::connect(lp, addr, callback).unwrap()
    }

    fn connect_peer(&mut self, addr: &PathBuf) -> SystemPeer {
        unix::net::UnixStream::connect(addr).unwrap().into()
    }

    fn peer_addr(&mut self) -> PathBuf {
        self.dir.path().join("peers")
    }

    fn accept_peer(&mut self) -> SystemPeer {
        self.listener.accept().unwrap().0.into()
    }
}
