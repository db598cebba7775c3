//! Clients of `sink` and `pound`: `write_batch`, `pump`, `connect`.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::OwnedFd,
    time::Duration,
};

use ringback_peers::{Arguments, Meter, Poller};
use rustix::{
    event::{PollFd, PollFlags, epoll::EventFlags, poll},
    io::Errno,
    net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown, sockopt::socket_error},
};

use crate::{Result, sockets::new_socket};

const MESSAGE: &[u8] = b"Hello, world.";
/// Messages are coalesced up to this size before they are sent.
const GATHERED_BYTES: usize = 64 << 10;
const BLOCKS_PER_TURN: usize = 16;

fn target(arguments: &Arguments) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, arguments.get("port"))
}

/// Starts to connect. Returns the socket, and whether it is connected already.
fn begin_connecting(addr: &SocketAddrV4) -> Result<(OwnedFd, bool)> {
    let socket = new_socket()?;
    match rustix::net::connect(&socket, addr) {
        Ok(()) => Ok((socket, true)),
        Err(Errno::INPROGRESS) => Ok((socket, false)),
        Err(error) => Err(error.into()),
    }
}

/// Connects, and waits until the connection is established.
fn connected(addr: &SocketAddrV4) -> Result<OwnedFd> {
    let (socket, done) = begin_connecting(addr)?;
    if !done {
        wait_for(&socket, PollFlags::OUT)?;
        socket_error(&socket)??;
    }
    Ok(socket)
}

fn wait_for(socket: &OwnedFd, flags: PollFlags) -> Result {
    poll(&mut [PollFd::new(socket, flags)], None)?;
    Ok(())
}

// ---- write_batch

/// Coalesces the messages into large sends, which is the floor. The libraries have a request for each.
pub fn write_batch(arguments: &Arguments) -> Result {
    let count: u64 = arguments.get_or("count", 1_000_000);
    let socket = connected(&target(arguments))?;
    arguments.ready();
    let meter = Meter::start();
    let mut gathered = Vec::with_capacity(GATHERED_BYTES + MESSAGE.len());
    for _ in 0..count {
        gathered.extend_from_slice(MESSAGE);
        if gathered.len() >= GATHERED_BYTES {
            send_all(&socket, &gathered)?;
            gathered.clear();
        }
    }
    send_all(&socket, &gathered)?;
    shutdown(&socket, Shutdown::Write)?;
    loop {
        match recv(&socket, &mut [0; 64], RecvFlags::empty()) {
            Ok((0, _)) => break,
            Ok(_) => {}
            Err(Errno::AGAIN) => wait_for(&socket, PollFlags::IN)?,
            Err(error) => return Err(error.into()),
        }
    }
    meter.report(count);
    Ok(())
}

fn send_all(socket: &OwnedFd, mut bytes: &[u8]) -> Result {
    while !bytes.is_empty() {
        match send(socket, bytes, SendFlags::NOSIGNAL) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::AGAIN) => wait_for(socket, PollFlags::OUT)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

// ---- pump

pub fn pump(arguments: &Arguments) -> Result {
    let target = target(arguments);
    let window = Duration::from_secs_f64(arguments.get("seconds"));
    let block = vec![b'p'; arguments.get("bytes")];
    let mut poller = Poller::new()?;
    let mut streams = Vec::new();
    for key in 0..arguments.get("conns") {
        let socket = connected(&target)?;
        poller.add(&socket, key, EventFlags::OUT)?;
        // The second value is the number of bytes of the current block that were sent.
        streams.push((socket, 0));
    }
    arguments.ready();
    let meter = Meter::start();
    let mut written = 0;
    while meter.wall() < window {
        for event in 0..poller.wait()? {
            let (socket, taken) = &mut streams[poller.key(event)];
            // Send the next block at once if the kernel took all of the last one, but let the other streams
            // have their turns.
            for _ in 0..BLOCKS_PER_TURN {
                let Some(count) = send_some(socket, &block[*taken..])? else { break };
                written += count as u64;
                *taken += count;
                if *taken < block.len() {
                    break;
                }
                *taken = 0;
            }
        }
    }
    meter.report(written);
    Ok(())
}

/// Returns the number of bytes that the kernel took, or `None` if it would block.
fn send_some(socket: &OwnedFd, bytes: &[u8]) -> Result<Option<usize>> {
    match send(socket, bytes, SendFlags::NOSIGNAL) {
        Ok(count) => Ok(Some(count)),
        Err(Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

// ---- connect

/// A client that connects, sends a request, and waits for EOF.
struct Caller {
    socket: OwnedFd,
    request_sent: bool,
}

impl Caller {
    fn begin(addr: &SocketAddrV4, poller: &Poller, key: usize) -> Result<Caller> {
        let (socket, _) = begin_connecting(addr)?;
        // On loopback the connection is established when the call returns, although it reports EINPROGRESS.
        let request_sent = match send(&socket, b"QS", SendFlags::NOSIGNAL) {
            Ok(_) => true,
            Err(Errno::AGAIN) => false,
            Err(error) => return Err(error.into()),
        };
        poller.add(&socket, key, if request_sent { EventFlags::IN } else { EventFlags::OUT })?;
        Ok(Caller { socket, request_sent })
    }

    /// Returns whether the exchange is complete.
    fn proceed(&mut self, poller: &Poller, key: usize) -> Result<bool> {
        if !self.request_sent {
            socket_error(&self.socket)??;
            send(&self.socket, b"QS", SendFlags::NOSIGNAL)?;
            self.request_sent = true;
            poller.modify(&self.socket, key, EventFlags::IN)?;
            return Ok(false);
        }
        match recv(&self.socket, &mut [0; 64], RecvFlags::empty()) {
            Ok((0, _)) => Ok(true),
            Ok(_) | Err(Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

pub fn connect(arguments: &Arguments) -> Result {
    let target = target(arguments);
    let window = Duration::from_secs_f64(arguments.get("seconds"));
    let conns: usize = arguments.get("conns");
    let mut poller = Poller::new()?;
    arguments.ready();
    let meter = Meter::start();
    let begin = |key| Caller::begin(&target, &poller, key);
    let mut callers = (0..conns).map(begin).collect::<Result<Vec<_>>>()?;
    let mut done = 0;
    while meter.wall() < window {
        for event in 0..poller.wait()? {
            let key = poller.key(event);
            if callers[key].proceed(&poller, key)? {
                done += 1;
                callers[key] = Caller::begin(&target, &poller, key)?;
            }
        }
    }
    meter.report(done);
    Ok(())
}
