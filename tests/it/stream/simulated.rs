//! TCP in a simulated world: the peers are streams of another loop, on another host.

use std::{cell::RefCell, collections::VecDeque, io, net::SocketAddr, ops::Range, rc::Rc, time::Duration};

use ringback::{
    Handle, Loop, Result,
    net::{Event, ListenOptions, TcpListener, TcpStream},
    sim::{Link, World},
};

use super::carrier::{Carrier, Connecting, Peer, Reader, Resetting};
use crate::common::{Log, MS};

/// The peers' loop. It runs when a peer's call waits, and when the carrier is pumped.
type PeerLoop = Rc<RefCell<Loop<()>>>;

/// Slices of a millisecond of the world's time after which a peer gives up.
const SLICES_MAX: u32 = 100_000;

/// Runs the peers' loop until `result` has one.
#[track_caller]
fn wait<T>(peers: &PeerLoop, mut result: impl FnMut(&mut Loop<()>) -> Option<T>) -> T {
    let lp = &mut *peers.borrow_mut();
    for _ in 0..SLICES_MAX {
        if let Some(result) = result(lp) {
            return result;
        }
        lp.run_for(&mut (), MS).unwrap();
    }
    panic!("a peer waited for {SLICES_MAX} ms of the world's time");
}

/// Two hosts of a world. The first seed's link is a good one, that of the others is flaky.
pub(super) struct Tcp {
    world: World,
    peers: PeerLoop,
    accepted: Rc<RefCell<VecDeque<SimulatedPeer>>>,
}

/// Time enough for what is on its way to arrive.
const IN_FLIGHT: Duration = MS.saturating_mul(20);

/// Where the peers listen: on the first host of the world.
const PEERS: ([u8; 4], u16) = ([10, 0, 0, 1], 7);

impl Carrier for Tcp {
    type Stream = TcpStream;
    type Peer = SimulatedPeer;

    /// Each host buffers 64 KiB for each direction of a connection.
    const MUCH: usize = 256 << 10;
    const SEEDS: Range<u64> = 0..5;
    const SHORT_WRITES: bool = true;
    const SLICE: Duration = MS;

    fn new(seed: u64) -> Tcp {
        let mut world = World::new(seed);
        if seed > 0 {
            world.set_link(Link::flaky());
            world.set_spurious_one_in(4);
        }
        let peers = Rc::new(RefCell::new(world.new_loop("peers").unwrap()));
        let carrier = Tcp { world, peers: peers.clone(), accepted: Rc::default() };
        let accepted = carrier.accepted.clone();
        let listener = TcpListener::bind(&mut peers.borrow_mut(), PEERS).unwrap();
        listener
            .start(&mut peers.clone().borrow_mut(), move |lp, (), stream| {
                accepted.borrow_mut().push_back(SimulatedPeer::new(&peers, lp, stream)?);
                Ok(())
            })
            .unwrap();
        carrier
    }

    fn new_loop(&mut self) -> Loop<Log> {
        self.world.new_loop("loop").unwrap()
    }

    fn pair(&mut self, lp: &mut Loop<Log>) -> (TcpStream, SimulatedPeer) {
        let stream = Tcp::connect(lp, &self.peer_addr(), |_, _, result| result.map(drop));
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
        self.peers.borrow_mut().poll_once(&mut ()).unwrap();
    }
}

impl Resetting for Tcp {
    fn close_reset(stream: TcpStream, lp: &mut Loop<Log>) -> Result {
        stream.close_reset(lp)
    }

    fn reset(peer: SimulatedPeer) {
        peer.stream.close_reset(&mut peer.peers.borrow_mut()).unwrap();
    }

    fn broken(&mut self, lp: &mut Loop<Log>) -> TcpStream {
        let (stream, peer) = self.pair(lp);
        Tcp::reset(peer);
        self.peers.borrow_mut().run_for(&mut (), IN_FLIGHT).unwrap();
        stream
    }
}

impl Connecting for Tcp {
    type Addr = SocketAddr;

    fn listen(
        &mut self,
        lp: &mut Loop<Log>,
        options: ListenOptions,
        callback: impl FnMut(&mut Loop<Log>, &mut Log, TcpStream) -> Result + 'static,
    ) -> (Handle, SocketAddr) {
        let listener = options.bind(lp, "10.0.0.2:0").unwrap();
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

    fn connect_peer(&mut self, addr: &SocketAddr) -> SimulatedPeer {
        let lp = &mut *self.peers.borrow_mut();
        let stream = TcpStream::connect(lp, *addr, |_, (), result| result.map(drop)).unwrap();
        SimulatedPeer::new(&self.peers, lp, stream).unwrap()
    }

    fn peer_addr(&mut self) -> SocketAddr {
        PEERS.into()
    }

    fn accept_peer(&mut self) -> SimulatedPeer {
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

pub(super) struct SimulatedPeer {
    peers: PeerLoop,
    stream: TcpStream,
    received: Rc<RefCell<Received>>,
}

impl SimulatedPeer {
    /// It reads only when it is asked to, as a blocking socket does.
    fn new(peers: &PeerLoop, lp: &mut Loop<()>, stream: TcpStream) -> Result<SimulatedPeer> {
        let received: Rc<RefCell<Received>> = Rc::default();
        let filled = received.clone();
        stream.set_auto_pause(lp, false)?;
        stream.start(lp, move |_, (), event| {
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

impl Peer for SimulatedPeer {
    type Reader = SimulatedReader;

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
        lp.poll_once(&mut ()).unwrap();
    }

    fn read_exact(&mut self, count: usize) -> Vec<u8> {
        self.read(Some(count)).unwrap()
    }

    fn read_to_eof(&mut self) -> io::Result<Vec<u8>> {
        self.read(None)
    }

    fn start_reading(self, count: Option<usize>) -> SimulatedReader {
        self.stream.resume(&mut self.peers.borrow_mut()).unwrap();
        SimulatedReader { peer: self, count }
    }
}

impl Drop for SimulatedPeer {
    fn drop(&mut self) {
        self.stream.close(&mut *self.peers.borrow_mut());
    }
}

/// A peer that reads whenever its loop runs.
pub(super) struct SimulatedReader {
    peer: SimulatedPeer,
    count: Option<usize>,
}

impl Reader<SimulatedPeer> for SimulatedReader {
    fn join(mut self) -> (SimulatedPeer, Vec<u8>) {
        let bytes = self.peer.read(self.count).unwrap();
        (self.peer, bytes)
    }
}
