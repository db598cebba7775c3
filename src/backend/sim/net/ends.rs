//! The ends of connections, and what travels between them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    os::unix::net::SocketAddr as UnixAddr,
};

use super::{super::trace::UNIX, link::Link};
use crate::{
    backend::{Interest, Readiness},
    handle::Key,
    time::Nanos,
};

/// Names an end of a world. Never reused.
pub(crate) type EndId = u64;

/// A machine reaches itself faster than others.
const LOOPBACK_LATENCY: Nanos = 10_000;

/// From one machine to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Direction {
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Direction {
    pub(super) fn reversed(self) -> Direction {
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
pub(super) enum EndKind {
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
pub(super) struct Stream {
    pub(super) remote: SocketAddr,
    /// The machine of the other end.
    pub(super) peer_host: usize,
    /// The other end, once it is known.
    pub(super) peer: Option<EndId>,
    pub(super) connected: bool,
    /// Received and not read yet.
    pub(super) inbox: VecDeque<u8>,
    /// Segments that arrived out of order, or found no room in the inbox.
    pub(super) pending: BTreeMap<u64, Segment>,
    /// The number of the next segment to send, and of the next to put into the inbox.
    pub(super) send_seq: u64,
    pub(super) receive_seq: u64,
    pub(super) receive_buffer: usize,
    pub(super) send_buffer: usize,
    /// Bytes sent that have not reached the peer's inbox.
    pub(super) in_flight: usize,
    /// Why it failed. Reported once, by the next operation.
    pub(super) error: Option<i32>,
    /// Nothing is sent or received any more.
    pub(super) failed: bool,
    pub(super) fin_received: bool,
    pub(super) fin_sent: bool,
    /// When the last segment sent arrives.
    pub(super) last_arrival: Nanos,
    /// When the line has sent everything so far, at the link's bandwidth.
    pub(super) line_free: Nanos,
    /// Closing resets the connection.
    pub(super) reset_on_close: bool,
    pub(super) stalled_since: Option<Nanos>,
}

/// A listener, or one end of a connection.
#[derive(Debug)]
pub(super) struct End {
    pub(super) host: usize,
    pub(super) local: SocketAddr,
    /// Its name, if it is a Unix socket that was bound.
    pub(super) unix: Option<UnixAddr>,
    /// A program has a socket for it. Otherwise it waits to be accepted.
    pub(super) owned: bool,
    pub(super) watch: Option<(Key, Interest)>,
    pub(super) nodelay: bool,
    pub(super) ttl: u32,
    pub(super) kind: EndKind,
}

impl End {
    pub(super) fn new(host: usize, local: SocketAddr, owned: bool, kind: EndKind) -> End {
        End { host, local, unix: None, owned, watch: None, nodelay: true, ttl: 64, kind }
    }

    pub(super) fn stream(&mut self) -> Option<&mut Stream> {
        match &mut self.kind {
            EndKind::Stream(stream) => Some(stream),
            EndKind::Listener { .. } => None,
        }
    }

    pub(super) fn readiness(&self) -> Readiness {
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
    pub(super) ends: BTreeMap<EndId, End>,
    pub(super) last_id: EndId,
    /// By machine and port.
    pub(super) listeners: BTreeMap<(usize, u16), EndId>,
    /// By machine and name.
    pub(super) unix_listeners: BTreeMap<(usize, Name), EndId>,
    pub(crate) default_link: Link,
    /// By the two machines, the lower index first.
    pub(crate) links: BTreeMap<(usize, usize), Link>,
    pub(super) cut: BTreeSet<Direction>,
    /// Packets that wait at a cut link, in order.
    pub(super) stalled: Vec<(Direction, Packet)>,
}

impl Net {
    pub(super) fn add(&mut self, end: End) -> EndId {
        self.last_id += 1;
        self.ends.insert(self.last_id, end);
        self.last_id
    }

    /// Returns the link between two machines, or of a machine to itself.
    pub(super) fn link(&self, one: usize, other: usize) -> Link {
        let link = *self.links.get(&(one.min(other), one.max(other))).unwrap_or(&self.default_link);
        let latency = if one == other { LOOPBACK_LATENCY.min(link.latency) } else { link.latency };
        Link { latency, ..link }
    }

    /// Returns whether an end is of a Unix socket, which no network can cut off.
    pub(super) fn is_unix(&self, id: EndId) -> bool {
        self.ends.get(&id).is_some_and(|end| end.local == UNIX)
    }

    pub(super) fn stream(&mut self, id: EndId) -> Option<&mut Stream> {
        self.ends.get_mut(&id)?.stream()
    }
}

/// What a Unix socket is found by, within a machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    Inode(u64),
    Abstract(Vec<u8>),
}
