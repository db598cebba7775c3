//! Streams in a simulated world: the peers are streams of another loop.
//!
//! Over TCP that loop runs on another host. Over Unix sockets it runs beside the loop under test, as a second
//! program of the same machine: the two share its socket files.

use std::{
    cell::RefCell, collections::VecDeque, io, marker::PhantomData, net::SocketAddr, ops::Range, rc::Rc,
    time::Duration,
};

use ringback::{
    Handle, Loop, Result,
    net::{Event, ListenOptions, TcpStream, UnixStream},
    sim::{Link, World},
};

use super::carrier::{ByteStream, Carrier, CloseReset, Connecting, Peer, Reader, Resetting};
use crate::common::{Log, MS};

/// The peers' loop. It runs when a peer's call waits, and when the carrier is pumped.
type PeerLoop = Rc<RefCell<Loop<Log>>>;

/// Slices of a millisecond of the world's time after which a peer gives up.
const SLICES_MAX: u32 = 100_000;

/// Runs the peers' loop until `result` has one.
#[track_caller]
fn wait<T>(peers: &PeerLoop, mut result: impl FnMut(&mut Loop<Log>) -> Option<T>) -> T {
    let lp = &mut *peers.borrow_mut();
    for _ in 0..SLICES_MAX {
        if let Some(result) = result(lp) {
            return result;
        }
        lp.run_for(&mut Log::new(), MS).unwrap();
    }
    panic!("a peer waited for {SLICES_MAX} ms of the world's time");
}

/// How two loops of a world reach each other.
pub(super) trait Family: Sized + 'static {
    type Stream: ByteStream;
    type Addr: Clone + 'static;

    fn new_loop(world: &mut World, peers: &mut Loop<Log>) -> Loop<Log>;

    /// Where the peers listen, and where the loop under test does.
    fn addrs() -> [Self::Addr; 2];

    fn listen(
        lp: &mut Loop<Log>,
        addr: &Self::Addr,
        options: ListenOptions,
        callback: impl FnMut(&mut Loop<Log>, &mut Log, Self::Stream) -> Result + 'static,
    ) -> (Handle, Self::Addr);

    fn connect(
        lp: &mut Loop<Log>,
        addr: &Self::Addr,
        callback: impl FnOnce(&mut Loop<Log>, &mut Log, Result<Self::Stream>) -> Result + 'static,
    ) -> Self::Stream;
}

/// Two loops, on different hosts.
pub(super) struct Tcp;

impl Family for Tcp {
    type Stream = TcpStream;
    type Addr = SocketAddr;

    fn new_loop(world: &mut World, _: &mut Loop<Log>) -> Loop<Log> {
        world.new_loop("loop").unwrap()
    }

    fn addrs() -> [SocketAddr; 2] {
        [([10, 0, 0, 1], 7).into(), ([10, 0, 0, 2], 0).into()]
    }

    fn listen(
        lp: &mut Loop<Log>,
        addr: &SocketAddr,
        options: ListenOptions,
        callback: impl FnMut(&mut Loop<Log>, &mut Log, TcpStream) -> Result + 'static,
    ) -> (Handle, SocketAddr) {
        let listener = options.bind(lp, *addr).unwrap();
        listener.start(lp, callback).unwrap();
        (listener.into(), listener.local_addr(lp).unwrap())
    }

    fn connect(
        lp: &mut Loop<Log>,
        addr: &SocketAddr,
        callback: impl FnOnce(&mut Loop<Log>, &mut Log, Result<TcpStream>) -> Result + 'static,
    ) -> TcpStream {
        TcpStream::connect(lp, *addr, callback).unwrap()
    }
}

/// Two loops on one machine.
pub(super) struct Unix;

impl Family for Unix {
    type Stream = UnixStream;
    type Addr = &'static str;

    fn new_loop(world: &mut World, peers: &mut Loop<Log>) -> Loop<Log> {
        world.new_loop_beside("loop", peers).unwrap()
    }

    fn addrs() -> [&'static str; 2] {
        ["/peers", "/loop"]
    }

    fn listen(
        lp: &mut Loop<Log>,
        addr: &&'static str,
        options: ListenOptions,
        callback: impl FnMut(&mut Loop<Log>, &mut Log, UnixStream) -> Result + 'static,
    ) -> (Handle, &'static str) {
        let listener = options.bind_unix(lp, addr).unwrap();
        listener.start(lp, callback).unwrap();
        (listener.into(), addr)
    }

    fn connect(
        lp: &mut Loop<Log>,
        addr: &&'static str,
        callback: impl FnOnce(&mut Loop<Log>, &mut Log, Result<UnixStream>) -> Result + 'static,
    ) -> UnixStream {
        UnixStream::connect(lp, addr, callback).unwrap()
    }
}

/// A world. The first seed's link is a good one, that of the others is flaky.
pub(super) struct Simulated<F: Family> {
    world: World,
    peers: PeerLoop,
    accepted: Rc<RefCell<VecDeque<SimulatedPeer<F::Stream>>>>,
    family: PhantomData<F>,
}

/// Time enough for what is on its way to arrive.
const IN_FLIGHT: Duration = MS.saturating_mul(20);

impl<F: Family> Carrier for Simulated<F> {
    type Stream = F::Stream;
    type Peer = SimulatedPeer<F::Stream>;

    /// Each host buffers 64 KiB for each direction of a connection.
    const MUCH: usize = 256 << 10;
    const SEEDS: Range<u64> = 0..5;
    const SHORT_WRITES: bool = true;
    const SLICE: Duration = MS;

    fn new(seed: u64) -> Simulated<F> {
        let mut world = World::new(seed);
        if seed > 0 {
            world.set_link(Link::flaky());
            world.set_spurious_one_in(4);
        }
        let peers = Rc::new(RefCell::new(world.new_loop("peers").unwrap()));
        let accepted = Rc::new(RefCell::new(VecDeque::new()));
        let carrier =
            Simulated { world, peers: peers.clone(), accepted: accepted.clone(), family: PhantomData };
        let accept = {
            let peers = peers.clone();
            move |lp: &mut Loop<Log>, _: &mut Log, stream| {
                accepted.borrow_mut().push_back(SimulatedPeer::new(&peers, lp, stream)?);
                Ok(())
            }
        };
        F::listen(&mut peers.borrow_mut(), &F::addrs()[0], ListenOptions::new(), accept);
        carrier
    }

    fn new_loop(&mut self) -> Loop<Log> {
        F::new_loop(&mut self.world, &mut self.peers.borrow_mut())
    }

    fn pair(&mut self, lp: &mut Loop<Log>) -> (F::Stream, SimulatedPeer<F::Stream>) {
        let stream = F::connect(lp, &F::addrs()[0], |_, _, result| result.map(drop));
        let peer = loop {
            lp.run_for(&mut Log::new(), MS).unwrap();
            self.pump();
            if let Some(peer) = self.accepted.borrow_mut().pop_front() {
                break peer;
            }
        };
        (stream, peer)
    }

    fn pump(&mut self) {
        self.peers.borrow_mut().poll_once(&mut Log::new()).unwrap();
    }
}

impl CloseReset for Simulated<Tcp> {
    fn close_reset(stream: TcpStream, lp: &mut Loop<Log>) -> Result {
        stream.close_reset(lp)
    }
}

impl Resetting for Simulated<Tcp> {
    fn reset(_: TcpStream, _: &mut Loop<Log>, peer: SimulatedPeer<TcpStream>) {
        peer.stream.close_reset(&mut peer.peers.borrow_mut()).unwrap();
    }

    fn broken(&mut self, lp: &mut Loop<Log>) -> TcpStream {
        let (stream, peer) = self.pair(lp);
        Self::reset(stream, lp, peer);
        self.peers.borrow_mut().run_for(&mut Log::new(), IN_FLIGHT).unwrap();
        stream
    }
}

impl Resetting for Simulated<Unix> {
    fn reset(stream: UnixStream, lp: &mut Loop<Log>, peer: SimulatedPeer<UnixStream>) {
        // Dropped with a byte unread.
        assert_eq!(ByteStream::try_write(stream, lp, b"x").unwrap(), 1);
        peer.peers.borrow_mut().run_for(&mut Log::new(), IN_FLIGHT).unwrap();
    }

    fn broken(&mut self, lp: &mut Loop<Log>) -> UnixStream {
        let (stream, peer) = self.pair(lp);
        Self::reset(stream, lp, peer);
        self.peers.borrow_mut().run_for(&mut Log::new(), IN_FLIGHT).unwrap();
        stream
    }
}

impl<F: Family> Connecting for Simulated<F> {
    type Addr = F::Addr;

    fn listen(
        &mut self,
        lp: &mut Loop<Log>,
        options: ListenOptions,
        callback: impl FnMut(&mut Loop<Log>, &mut Log, F::Stream) -> Result + 'static,
    ) -> (Handle, F::Addr) {
        F::listen(lp, &F::addrs()[1], options, callback)
    }

    fn connect(
        lp: &mut Loop<Log>,
        addr: &F::Addr,
        callback: impl FnOnce(&mut Loop<Log>, &mut Log, Result<F::Stream>) -> Result + 'static,
    ) -> F::Stream {
        F::connect(lp, addr, callback)
    }

    fn connect_peer(&mut self, addr: &F::Addr) -> SimulatedPeer<F::Stream> {
        let lp = &mut *self.peers.borrow_mut();
        let stream = F::connect(lp, addr, |_, _, result| result.map(drop));
        SimulatedPeer::new(&self.peers, lp, stream).unwrap()
    }

    fn peer_addr(&mut self) -> F::Addr {
        F::addrs()[0].clone()
    }

    fn accept_peer(&mut self) -> SimulatedPeer<F::Stream> {
        wait(&self.peers, |_| self.accepted.borrow_mut().pop_front())
    }
}

/// What a peer has read, and what ended its reading.
#[derive(Default)]
struct Received {
    bytes: Vec<u8>,
    eof: bool,
    error: Option<io::ErrorKind>,
}

pub(super) struct SimulatedPeer<S: ByteStream> {
    peers: PeerLoop,
    stream: S,
    received: Rc<RefCell<Received>>,
}

impl<S: ByteStream> SimulatedPeer<S> {
    /// It reads only when it is asked to, as a blocking socket does.
    fn new(peers: &PeerLoop, lp: &mut Loop<Log>, stream: S) -> Result<SimulatedPeer<S>> {
        let received: Rc<RefCell<Received>> = Rc::default();
        let filled = received.clone();
        stream.set_auto_pause(lp, false)?;
        stream.start(lp, move |_, _, event| {
            let received = &mut *filled.borrow_mut();
            match event {
                Ok(Event::Data(bytes)) => received.bytes.extend_from_slice(bytes),
                Ok(Event::End) => received.eof = true,
                Ok(_) => {}
                Err(error) => received.error = error.io_kind(),
            }
            Ok(())
        })?;
        stream.stop(lp)?;
        Ok(SimulatedPeer { peers: peers.clone(), stream, received })
    }

    /// Reads until there are `count` bytes, or without a count until EOF.
    fn read(&mut self, count: Option<usize>) -> io::Result<Vec<u8>> {
        // An error closes the stream before its callback returns.
        let _ = self.stream.resume(&mut self.peers.borrow_mut());
        let result = wait(&self.peers, |_| {
            let received = &mut *self.received.borrow_mut();
            match count {
                Some(count) if received.bytes.len() >= count => {
                    Some(Ok(received.bytes.drain(..count).collect()))
                }
                Some(_) if received.eof => panic!("EOF before the last byte"),
                None if received.eof => Some(Ok(std::mem::take(&mut received.bytes))),
                _ => received.error.map(|error| Err(error.into())),
            }
        });
        let _ = self.stream.stop(&mut self.peers.borrow_mut());
        result
    }
}

impl<S: ByteStream> Peer for SimulatedPeer<S> {
    type Reader = SimulatedReader<S>;

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write(&mut self.peers.borrow_mut(), bytes.as_ref()).unwrap();
        wait(&self.peers, |lp| (self.stream.queued(lp) == 0).then_some(()));
    }

    fn try_send(&mut self, bytes: &[u8]) -> usize {
        self.stream.try_write(&mut self.peers.borrow_mut(), bytes).unwrap()
    }

    fn shutdown(&mut self) {
        let lp = &mut *self.peers.borrow_mut();
        self.stream.shutdown(lp).unwrap();
        lp.poll_once(&mut Log::new()).unwrap();
    }

    fn read_exact(&mut self, count: usize) -> Vec<u8> {
        self.read(Some(count)).unwrap()
    }

    fn read_to_eof(&mut self) -> io::Result<Vec<u8>> {
        self.read(None)
    }

    fn start_reading(self, count: Option<usize>) -> SimulatedReader<S> {
        self.stream.resume(&mut self.peers.borrow_mut()).unwrap();
        SimulatedReader { peer: self, count }
    }
}

impl<S: ByteStream> Drop for SimulatedPeer<S> {
    fn drop(&mut self) {
        self.stream.close(&mut self.peers.borrow_mut());
    }
}

/// A peer that reads whenever its loop runs.
pub(super) struct SimulatedReader<S: ByteStream> {
    peer: SimulatedPeer<S>,
    count: Option<usize>,
}

impl<S: ByteStream> Reader<SimulatedPeer<S>> for SimulatedReader<S> {
    fn join(mut self) -> (SimulatedPeer<S>, Vec<u8>) {
        let bytes = self.peer.read(self.count).unwrap();
        (self.peer, bytes)
    }
}
