//! The network: listeners, connections, and the links between machines.
//!
//! A connection is two [`End`]s. A segment travels for as long as its link says, arrives in order, and waits
//! in the receiver's inbox until it is read. While the inbox is full, segments stay in flight and use up the
//! sender's buffer: short writes and back-pressure arise as they do in TCP. A link that is cut holds its
//! segments until it is healed or the sender times out.
//!
//! Here: the ends, their state, and their readiness. `connect` makes connections, `bytes` moves data,
//! `faults` has the links and everything that fails, `socket` is what a loop holds.

mod bytes;
mod connect;
mod faults;
mod socket;
mod unix;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    os::unix::net::SocketAddr as UnixAddr,
};

pub(crate) use self::{faults::Link, socket::Socket, unix::SocketFile};
use super::{
    TraceEvent, World, errno,
    world::{Event, Shared},
};
use crate::{
    backend::{Interest, Readiness},
    handle::Key,
    time::Nanos,
};
pub(super) use unix::UNIX;

/// Names an end of a world. Never reused.
pub(crate) type EndId = u64;

/// A machine reaches itself faster than others.
const LOOPBACK_LATENCY: Nanos = 10_000;

/// From one machine to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Direction {
    from: usize,
    to: usize,
}

impl Direction {
    fn reversed(self) -> Direction {
        Direction { from: self.to, to: self.from }
    }
}

#[derive(Debug)]
pub(crate) enum Segment {
    Data(Vec<u8>),
    Fin,
}

/// What travels through the network.
#[derive(Debug)]
pub(crate) enum Packet {
    /// An attempt to connect, the first or a later one.
    Syn {
        client: EndId,
        attempt: u32,
    },
    /// The server's machine agrees.
    SynAck {
        client: EndId,
        server: EndId,
    },
    /// The attempt fails: nothing listens there, or there is no such machine.
    Refusal {
        client: EndId,
        errno: i32,
    },
    /// The connection is complete and joins the listener's queue.
    Ack {
        server: EndId,
        listener: EndId,
    },
    /// Data, or the end of the data.
    Segment {
        direction: Direction,
        from: EndId,
        to: EndId,
        seq: u64,
        segment: Segment,
    },
    Reset {
        direction: Direction,
        to: EndId,
    },
}

#[derive(Debug)]
enum EndKind {
    Listener {
        /// Connections that wait to be accepted.
        queue: VecDeque<EndId>,
        /// The number of connections that have yet to join the queue.
        half_open: usize,
        backlog: usize,
    },
    Stream(Box<Stream>),
}

/// One end of a connection.
#[derive(Debug)]
struct Stream {
    remote: SocketAddr,
    /// The machine of the other end.
    peer_host: usize,
    /// The other end, once it is known.
    peer: Option<EndId>,
    connected: bool,
    /// Received and not read yet.
    inbox: VecDeque<u8>,
    /// Segments that arrived out of order, or found no room in the inbox.
    pending: BTreeMap<u64, Segment>,
    /// The number of the next segment to send, and of the next to put into the inbox.
    send_seq: u64,
    receive_seq: u64,
    receive_buffer: usize,
    send_buffer: usize,
    /// Bytes sent that have not reached the peer's inbox.
    in_flight: usize,
    /// Why it failed. Reported once, by the next operation.
    error: Option<i32>,
    /// Nothing is sent or received any more.
    failed: bool,
    fin_received: bool,
    fin_sent: bool,
    /// When the last segment sent arrives.
    last_arrival: Nanos,
    /// When the line has sent everything so far, at the link's bandwidth.
    line_free: Nanos,
    /// Closing resets the connection.
    reset_on_close: bool,
    stalled_since: Option<Nanos>,
}

/// A listener, or one end of a connection.
#[derive(Debug)]
struct End {
    host: usize,
    local: SocketAddr,
    /// Its name, if it is a Unix socket that was bound.
    unix: Option<UnixAddr>,
    /// A program has a socket for it. Otherwise it waits to be accepted.
    owned: bool,
    watch: Option<(Key, Interest)>,
    nodelay: bool,
    ttl: u32,
    kind: EndKind,
}

impl End {
    fn new(host: usize, local: SocketAddr, owned: bool, kind: EndKind) -> End {
        End { host, local, unix: None, owned, watch: None, nodelay: true, ttl: 64, kind }
    }

    fn stream(&mut self) -> Option<&mut Stream> {
        match &mut self.kind {
            EndKind::Stream(stream) => Some(stream),
            EndKind::Listener { .. } => None,
        }
    }

    fn readiness(&self) -> Readiness {
        let mut bits = 0;
        match &self.kind {
            EndKind::Listener { queue, .. } => {
                if !queue.is_empty() {
                    bits |= Readiness::READ.0;
                }
            }
            EndKind::Stream(stream) => {
                if !stream.inbox.is_empty() || stream.fin_received {
                    bits |= Readiness::READ.0;
                }
                if stream.connected && stream.in_flight < stream.send_buffer {
                    bits |= Readiness::WRITE.0;
                }
                if stream.error.is_some() || stream.failed {
                    bits |= Readiness::ERROR.0 | Readiness::HANGUP.0;
                }
                if stream.fin_received && stream.fin_sent {
                    bits |= Readiness::HANGUP.0;
                }
            }
        }
        Readiness(bits)
    }
}

/// All links and ends of a world.
#[derive(Debug, Default)]
pub(crate) struct Net {
    ends: BTreeMap<EndId, End>,
    last_id: EndId,
    /// By machine and port.
    listeners: BTreeMap<(usize, u16), EndId>,
    /// By machine and name.
    unix_listeners: BTreeMap<(usize, unix::Name), EndId>,
    pub(crate) default_link: Link,
    /// By the two machines, the lower index first.
    pub(crate) links: BTreeMap<(usize, usize), Link>,
    cut: BTreeSet<Direction>,
    /// Packets that wait at a cut link, in order.
    stalled: Vec<(Direction, Packet)>,
}

impl Net {
    fn add(&mut self, end: End) -> EndId {
        self.last_id += 1;
        self.ends.insert(self.last_id, end);
        self.last_id
    }

    /// Returns the link between two machines, or of a machine to itself.
    fn link(&self, one: usize, other: usize) -> Link {
        let link = *self.links.get(&(one.min(other), one.max(other))).unwrap_or(&self.default_link);
        let latency = if one == other { LOOPBACK_LATENCY.min(link.latency) } else { link.latency };
        Link { latency, ..link }
    }

    /// Whether it is a Unix socket, which no network can cut off.
    fn is_unix(&self, id: EndId) -> bool {
        self.ends.get(&id).is_some_and(|end| end.local == UNIX)
    }

    fn stream(&mut self, id: EndId) -> Option<&mut Stream> {
        self.ends.get_mut(&id)?.stream()
    }
}

/// Returns what is reported for an interest. Errors and hang-ups always are.
fn requested(interest: Interest) -> Readiness {
    let mut bits = Readiness::ERROR.0 | Readiness::HANGUP.0;
    for (wanted, bit) in [(Interest::READ, Readiness::READ), (Interest::WRITE, Readiness::WRITE)] {
        if interest.has(wanted) {
            bits |= bit.0;
        }
    }
    Readiness(bits)
}

impl World {
    /// Handles a packet that arrives.
    pub(super) fn deliver(&mut self, packet: Packet) {
        match packet {
            Packet::Syn { client, attempt } => self.syn(client, attempt),
            Packet::SynAck { client, server } => self.syn_ack(client, server),
            Packet::Refusal { client, errno } => self.fail_end(client, errno),
            Packet::Ack { server, listener } => self.ack(server, listener),
            Packet::Segment { direction, to, .. } | Packet::Reset { direction, to }
                if self.is_cut(direction) && !self.net.is_unix(to) =>
            {
                self.stall(direction, packet);
            }
            Packet::Segment { direction, from, to, seq, segment } => {
                self.receive_segment(direction, from, to, seq, segment);
            }
            Packet::Reset { direction, to } => {
                if let Some(remote) = self.net.stream(to).map(|stream| stream.remote) {
                    self.record(direction.to, TraceEvent::Reset(remote));
                }
                self.fail_end(to, libc::ECONNRESET);
            }
        }
    }

    fn schedule_packet(&mut self, at: Nanos, packet: Packet) {
        self.schedule(at, Event::Packet(packet));
    }

    /// Draws how long a packet takes.
    fn transit(&mut self, from: usize, to: usize) -> Nanos {
        let link = self.net.link(from, to);
        link.latency + self.random.below(link.jitter + 1)
    }

    // ---- readiness

    /// Notes that the readiness of an end may have changed.
    fn mark_ready(&mut self, id: EndId) {
        if let Some(end) = self.net.ends.get(&id) {
            self.machines[end.host].maybe_ready.insert(id);
        }
    }

    /// Returns the ends of a machine that are ready for what they are watched for.
    pub(super) fn ready_ends(&mut self, host: usize) -> Vec<(Key, Readiness)> {
        let World { machines, net, random, spurious_one_in, .. } = self;
        let mut ready = Vec::new();
        machines[host].maybe_ready.retain(|id| {
            let Some(end) = net.ends.get(id) else { return false };
            let Some((key, interest)) = end.watch else { return false };
            let requested = requested(interest).0;
            let found = Readiness(end.readiness().0 & requested);
            if found.0 != 0 {
                ready.push((key, found));
                return true;
            }
            // The contract allows spurious readiness, except that of a connect: no system reports one as done
            // early.
            let connecting = matches!(&end.kind, EndKind::Stream(stream) if !stream.connected);
            if !connecting && random.fault("spurious readiness", *spurious_one_in) {
                ready.push((key, Readiness(requested & (Readiness::READ.0 | Readiness::WRITE.0))));
            }
            false
        });
        ready
    }

    /// Returns whether an end of a machine is ready for what it is watched for.
    pub(super) fn has_ready_end(&self, host: usize) -> bool {
        self.machines[host].maybe_ready.iter().any(|id| {
            let Some(end) = self.net.ends.get(id) else { return false };
            end.watch.is_some_and(|(_, interest)| end.readiness().0 & requested(interest).0 != 0)
        })
    }

    /// Returns the number of ends of a machine, those included that wait to be accepted.
    pub(crate) fn ends_of(&self, host: usize) -> usize {
        self.net.ends.values().filter(|end| end.host == host).count()
    }

    /// Panics unless the invariants of a machine's ends hold.
    pub(super) fn verify_network(&self, host: usize) {
        for (id, end) in self.net.ends.iter().filter(|(_, end)| end.host == host) {
            let Some((_, interest)) = end.watch else { continue };
            let readiness = end.readiness();
            let ready = (interest.has(Interest::READ) && readiness.readable())
                || (interest.has(Interest::WRITE) && readiness.writable());
            let listed = self.machines[end.host].maybe_ready.contains(id);
            assert!(!ready || listed, "an end that is ready must be in maybe_ready");
        }
    }
}
