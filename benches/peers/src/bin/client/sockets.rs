//! Connections to the server, and the wait for their events.

use std::{
    error::Error,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::{AsRawFd, OwnedFd},
};

use ringback_peers::{Arguments, Poller};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, Result},
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, recv, send, socket_with,
        sockopt::{set_tcp_nodelay, socket_error},
    },
};

/// Connections that may wait for the server to accept them. Its backlog is twice as long.
pub const CONNECTING_MAX: usize = 512;
/// Connections per source address. An address has 28,000 ephemeral ports by default.
const CONNECTIONS_PER_ADDR: u64 = 20_000;
/// Source addresses. By the time the first is used again, its ports have left TIME_WAIT, which takes a
/// minute.
const ADDRS: u64 = 200;
const SILENCE_MAX: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// The server's address, and the number of connections made to it.
pub struct Target {
    addr: SocketAddrV4,
    connections: u64,
}

impl Target {
    pub fn new(arguments: &Arguments) -> Target {
        Target { addr: SocketAddrV4::new(Ipv4Addr::LOCALHOST, arguments.get("port")), connections: 0 }
    }

    /// Starts to connect. Returns the socket, and whether it is connected already.
    pub fn connect(&mut self) -> Result<(OwnedFd, bool)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        // The port is chosen at connect, so that it must be free only towards this server.
        set_option(&socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
        let addr = (self.connections / CONNECTIONS_PER_ADDR % ADDRS) as u8 + 1;
        self.connections += 1;
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, addr), 0))?;
        match connect(&socket, &self.addr) {
            Ok(()) => Ok((socket, true)),
            Err(Errno::INPROGRESS) => Ok((socket, false)),
            Err(error) => Err(error),
        }
    }

    /// Starts `count` connections at once, and waits until all are established.
    pub fn connect_many(&mut self, count: usize) -> Result<Vec<OwnedFd>> {
        let begun = (0..count).map(|_| self.connect()).collect::<Result<Vec<_>>>()?;
        for (socket, connected) in &begun {
            set_tcp_nodelay(socket, true)?;
            if !connected {
                let mut wanted = [PollFd::new(socket, PollFlags::OUT)];
                if poll(&mut wanted, Some(&SILENCE_MAX))? == 0 {
                    return Err(Errno::TIMEDOUT);
                }
                socket_error(socket)??;
            }
        }
        Ok(begun.into_iter().map(|(socket, _)| socket).collect())
    }
}

/// Waits for events. A server that is silent for ten seconds is an error.
pub fn wait(poller: &mut Poller) -> std::result::Result<usize, Box<dyn Error>> {
    match poller.wait_for(Some(&SILENCE_MAX))? {
        0 => Err("the server was silent for ten seconds".into()),
        count => Ok(count),
    }
}

/// Makes `socket` readable only once so many bytes have arrived. A response in pieces then wakes the client
/// once: the client costs little, and the server's writes do not each pay for a wake-up.
pub fn wake_from(socket: &OwnedFd, bytes: usize) -> Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT, bytes as libc::c_int)
}

fn set_option(socket: &OwnedFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> Result<()> {
    let size = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the pointer is to a value of the size passed.
    let status =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size) };
    let error = std::io::Error::last_os_error();
    if status == 0 { Ok(()) } else { Err(Errno::from_io_error(&error).unwrap_or(Errno::INVAL)) }
}

/// Sends bytes that always fit into the send buffer, because nothing else is in flight.
pub fn send_whole(socket: &OwnedFd, bytes: &[u8]) -> std::result::Result<(), Box<dyn Error>> {
    match send(socket, bytes, SendFlags::NOSIGNAL) {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(_) => Err("a message was sent in part only".into()),
        Err(error) => Err(format!("a message could not be sent: {error}").into()),
    }
}

/// Receives what has arrived; returns 0 if nothing has. EOF is an error.
pub fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> std::result::Result<usize, Box<dyn Error>> {
    match recv(socket, buffer, RecvFlags::empty()) {
        Ok((0, _)) => Err("the server closed a connection".into()),
        Ok((count, _)) => Ok(count),
        Err(Errno::AGAIN) => Ok(0),
        Err(error) => Err(format!("a connection failed: {error}").into()),
    }
}
