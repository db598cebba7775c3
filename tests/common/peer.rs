//! TCP connections between a loop and a blocking socket of the standard library, the peer.

use std::{
    io::{self, Read, Write},
    net,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use ringback::{Loop, net::TcpStream};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{AddressFamily, SocketAddrV4, SocketType, bind, getsockname, listen, socket, sockopt},
};

use super::{GUARD, Log, describe_event, note, wait::eventually};

/// The size of sockets' buffers, each way. Linux doubles it.
///
/// Not less than a few packets of the loopback interface, 64 KiB each: then the window closes, and opens with
/// probes that come more and more seldom.
const BUFFER: usize = 256 << 10;

/// A connection of the standard library: both ends.
pub(crate) fn std_pair() -> (net::TcpStream, net::TcpStream) {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    // So that tests know how much the system takes, whatever its settings: less than a mebibyte each way.
    for socket in [&ours, &peer] {
        sockopt::set_socket_send_buffer_size(socket, BUFFER).unwrap();
        sockopt::set_socket_recv_buffer_size(socket, BUFFER).unwrap();
    }
    peer.set_nodelay(true).unwrap();
    peer.set_read_timeout(Some(GUARD)).unwrap();
    (ours, peer)
}

/// A connection: the loop's stream, and its peer.
#[track_caller]
pub(crate) fn pair<S>(lp: &mut Loop<S>) -> (TcpStream, net::TcpStream) {
    let (ours, peer) = std_pair();
    (TcpStream::from_std(lp, ours).unwrap(), peer)
}

/// A connection whose peer has sent `bytes`, all of which have arrived.
pub(crate) fn pair_with<S>(lp: &mut Loop<S>, bytes: &[u8]) -> (TcpStream, net::TcpStream) {
    let (ours, mut peer) = std_pair();
    peer.write_all(bytes).unwrap();
    let mut buffer = vec![0; bytes.len()];
    eventually("the bytes arrive", || (ours.peek(&mut buffer).unwrap() == bytes.len()).then_some(()));
    (TcpStream::from_std(lp, ours).unwrap(), peer)
}

/// A stream whose peer has closed the connection. Its EOF has arrived.
pub(crate) fn orphan<S>(lp: &mut Loop<S>) -> TcpStream {
    let (ours, peer) = std_pair();
    drop(peer);
    wait_for(&ours, PollFlags::IN);
    TcpStream::from_std(lp, ours).unwrap()
}

/// A stream whose peer has reset the connection. The reset has arrived.
pub(crate) fn broken<S>(lp: &mut Loop<S>) -> TcpStream {
    let (ours, peer) = std_pair();
    reset(peer);
    wait_for(&ours, PollFlags::HUP);
    TcpStream::from_std(lp, ours).unwrap()
}

/// Waits until poll(2) reports `events` for a socket.
fn wait_for(socket: &net::TcpStream, events: PollFlags) {
    let limit = Timespec::try_from(GUARD).unwrap();
    let mut fds = [PollFd::new(socket, events)];
    poll(&mut fds, Some(&limit)).unwrap();
    assert!(fds[0].revents().intersects(events), "{events:?} not reported within {GUARD:?}");
}

/// Starts a stream that logs its events, each with `name` before it.
#[track_caller]
pub(crate) fn record(lp: &mut Loop<Log>, stream: TcpStream, name: &'static str) {
    stream.start(lp, move |_, log, event| note(log, format!("{name} {}", describe_event(&event)))).unwrap();
}

pub(crate) fn send(peer: &mut net::TcpStream, text: &str) {
    peer.write_all(text.as_bytes()).unwrap();
}

/// Reads until EOF.
pub(crate) fn read_to_eof(peer: &mut net::TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    peer.read_to_end(&mut bytes).map(|_| bytes)
}

/// Reads exactly `count` bytes.
pub(crate) fn read_exact(peer: &mut net::TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    peer.read_exact(&mut bytes).unwrap();
    bytes
}

/// Closes the peer's side with a reset.
pub(crate) fn reset(peer: impl AsFd) {
    sockopt::set_socket_linger(&peer, Some(Duration::ZERO)).unwrap();
}

/// An address at which connections are refused, for as long as the socket exists: it is bound and does not
/// listen.
pub(crate) fn refusing_addr() -> (net::SocketAddr, OwnedFd) {
    let socket = bound_socket();
    (addr_of(&socket), socket)
}

/// An address at which connections hang: a listener whose backlog is full. The sockets keep it so.
pub(crate) fn unresponsive_addr() -> (net::SocketAddr, Vec<OwnedFd>) {
    let listener = bound_socket();
    listen(&listener, 0).unwrap();
    let addr = addr_of(&listener);
    let mut sockets = vec![listener];
    // Two in a row: on a busy machine one may be slow for another reason.
    let mut timeouts = 0;
    while timeouts < 2 {
        match net::TcpStream::connect_timeout(&addr, Duration::from_millis(50)) {
            Ok(stream) => sockets.push(stream.into()),
            Err(_) => timeouts += 1,
        }
    }
    (addr, sockets)
}

fn bound_socket() -> OwnedFd {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddrV4::new(net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket
}

fn addr_of(socket: &OwnedFd) -> net::SocketAddr {
    getsockname(socket).unwrap().try_into().unwrap()
}

/// Whether an attempt succeeds that needs a port which was free a moment ago: another process may have taken
/// it, but not five times.
pub(crate) fn succeeds_in_five_attempts(mut attempt: impl FnMut() -> bool) -> bool {
    (0..5).any(|_| attempt())
}
