//! The network: listeners, connections, and what lies between two machines.
//!
//! A connection is two ends. What one sends is on its way for as long as the link says, arrives in order, and waits in
//! the other's buffer until it is read; while that is full it stays out, and the sender's room is taken. So short
//! writes and back-pressure come about as they do in a real one. A link that is cut holds what is on its way until it
//! is healed, or the sender gives up.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::{self, IoSlice},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{Happening, Shared, What, World, errno, trace::Glimpse};
use crate::{
    backend::{Interest, Readiness, SocketOptions},
    handle::Key,
    time::Nanos,
};

/// What lies between two machines, or between a machine and itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) latency: Nanos,
    pub(crate) jitter: Nanos,
    /// Bytes a second, each way; zero for any number.
    pub(crate) bandwidth: u64,
    pub(crate) send_buffer: usize,
    pub(crate) receive_buffer: usize,
    /// One in so many reads, and writes, takes less than it could.
    pub(crate) short_one_in: u32,
    /// One in so many segments arrives in pieces.
    pub(crate) split_one_in: u32,
    /// One in so many segments resets its connection.
    pub(crate) reset_one_in: u32,
    /// One in so many attempts to connect is refused though somebody listens.
    pub(crate) refuse_one_in: u32,
    /// How long a connection lives whose segments do not arrive.
    pub(crate) give_up: Nanos,
}

impl Default for Link {
    fn default() -> Link {
        Link {
            latency: 100_000,
            jitter: 0,
            bandwidth: 0,
            send_buffer: 64 << 10,
            receive_buffer: 64 << 10,
            short_one_in: 0,
            split_one_in: 0,
            reset_one_in: 0,
            refuse_one_in: 0,
            give_up: 924_000_000_000,
        }
    }
}

/// A machine reaches itself faster than others.
const LOOPBACK_LATENCY: Nanos = 10_000;
/// The first attempt to connect is repeated after a second, then after two, four, …
const RETRY: Nanos = 1_000_000_000;
/// And after this one no more: a minute in all, half of what Linux allows.
const TRIES: u32 = 7;
/// How long to look for a machine that is not there.
const UNREACHABLE: Nanos = 3_000_000_000;

#[derive(Debug)]
pub(crate) enum Segment {
    Data(Vec<u8>),
    End,
}

/// Something on its way.
#[derive(Debug)]
pub(crate) enum Passage {
    /// Somebody wants to connect.
    Syn {
        client: u64,
        tries: u32,
    },
    /// The other side agrees.
    SynAck {
        client: u64,
        server: u64,
    },
    /// It does not.
    Refused {
        client: u64,
        errno: i32,
    },
    /// A connection is complete and may be accepted.
    Queued {
        server: u64,
        listener: u64,
    },
    Segment {
        path: Path,
        from: u64,
        to: u64,
        number: u64,
        segment: Segment,
    },
    Reset {
        path: Path,
        to: u64,
    },
    /// What was on its way from this end has not arrived for long.
    GiveUp {
        end: u64,
        since: Nanos,
    },
}

/// From one machine to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path {
    from: usize,
    to: usize,
}

#[derive(Debug)]
enum Kind {
    /// `half` connections are being made, and will be in the queue.
    Listener {
        queue: VecDeque<u64>,
        half: usize,
        backlog: usize,
    },
    Stream(Box<Stream>),
}

#[derive(Debug)]
struct Stream {
    remote: SocketAddr,
    /// The machine of the other end.
    other: usize,
    peer: Option<u64>,
    connected: bool,
    inbox: VecDeque<u8>,
    /// Arrived, but there was no room, or one before them has not.
    held: BTreeMap<u64, Segment>,
    /// The number of the next segment that leaves, and of the next that is taken in.
    next_out: u64,
    next_in: u64,
    in_limit: usize,
    out_limit: usize,
    /// Bytes sent that are not in the other's buffer yet.
    flight: usize,
    /// Told once, by whichever operation comes next.
    error: Option<i32>,
    /// Nothing comes or goes any more.
    broken: bool,
    end_came: bool,
    end_sent: bool,
    /// When the last segment sent arrives, and when the line is free for the next.
    arrival: Nanos,
    free: Nanos,
    /// Closing resets it.
    abort: bool,
    stalled_since: Option<Nanos>,
}

#[derive(Debug)]
struct End {
    host: usize,
    local: SocketAddr,
    /// The program has a socket for it; otherwise it waits to be accepted.
    owned: bool,
    watch: Option<(Key, Interest)>,
    nodelay: bool,
    ttl: u32,
    kind: Kind,
}

impl End {
    fn new(host: usize, local: SocketAddr, owned: bool, kind: Kind) -> End {
        End { host, local, owned, watch: None, nodelay: true, ttl: 64, kind }
    }

    fn stream(&mut self) -> Option<&mut Stream> {
        match &mut self.kind {
            Kind::Stream(stream) => Some(stream),
            Kind::Listener { .. } => None,
        }
    }

    fn readiness(&self) -> Readiness {
        let mut bits = 0;
        match &self.kind {
            Kind::Listener { queue, .. } => {
                if !queue.is_empty() {
                    bits |= Readiness::READ.0;
                }
            }
            Kind::Stream(stream) => {
                if !stream.inbox.is_empty() || stream.end_came {
                    bits |= Readiness::READ.0;
                }
                if stream.connected && stream.flight < stream.out_limit {
                    bits |= Readiness::WRITE.0;
                }
                if stream.error.is_some() || stream.broken {
                    bits |= Readiness::ERROR.0 | Readiness::HANGUP.0;
                }
                if stream.end_came && stream.end_sent {
                    bits |= Readiness::HANGUP.0;
                }
            }
        }
        Readiness(bits)
    }
}

/// All connections of a world. Ends are numbered, and no number is given twice.
#[derive(Debug, Default)]
pub(crate) struct Net {
    ends: BTreeMap<u64, End>,
    numbers: u64,
    listeners: BTreeMap<(usize, u16), u64>,
    pub(crate) link: Link,
    pub(crate) links: BTreeMap<(usize, usize), Link>,
    cut: BTreeSet<Path>,
    /// What is on its way through a link that is cut, in order.
    stalled: Vec<(Path, Passage)>,
}

impl Net {
    fn add(&mut self, end: End) -> u64 {
        self.numbers += 1;
        self.ends.insert(self.numbers, end);
        self.numbers
    }

    fn link(&self, one: usize, other: usize) -> Link {
        let link = *self.links.get(&(one.min(other), one.max(other))).unwrap_or(&self.link);
        let latency = if one == other { LOOPBACK_LATENCY.min(link.latency) } else { link.latency };
        Link { latency, ..link }
    }

    fn stream(&mut self, number: u64) -> Option<&mut Stream> {
        self.ends.get_mut(&number)?.stream()
    }
}

/// What is told to who has this interest. Failures always are.
fn asked(interest: Interest) -> Readiness {
    let mut bits = Readiness::ERROR.0 | Readiness::HANGUP.0;
    for (wanted, bit) in [(Interest::READ, Readiness::READ), (Interest::WRITE, Readiness::WRITE)] {
        if interest.has(wanted) {
            bits |= bit.0;
        }
    }
    Readiness(bits)
}

// ---- making connections

impl World {
    fn new_stream(&self, host: usize, other: usize, remote: SocketAddr) -> Box<Stream> {
        let link = self.net.link(host, other);
        Box::new(Stream {
            remote,
            other,
            peer: None,
            connected: false,
            inbox: VecDeque::new(),
            held: BTreeMap::new(),
            next_out: 0,
            next_in: 0,
            in_limit: link.receive_buffer,
            out_limit: link.send_buffer,
            flight: 0,
            error: None,
            broken: false,
            end_came: false,
            end_sent: false,
            arrival: 0,
            free: 0,
            abort: false,
            stalled_since: None,
        })
    }

    fn free_port(&mut self, host: usize) -> u16 {
        let machine = &mut self.machines[host];
        let port = machine.next_port;
        machine.next_port = if port == u16::MAX { 32_768 } else { port + 1 };
        port
    }

    pub(super) fn listen(&mut self, host: usize, addr: SocketAddr, backlog: usize) -> io::Result<u64> {
        self.claim_descriptor(host)?;
        let own =
            addr.ip().is_unspecified() || addr.ip().is_loopback() || addr.ip() == self.machines[host].addr;
        if !own {
            return Err(errno(libc::EADDRNOTAVAIL));
        }
        let port = match addr.port() {
            0 => loop {
                let port = self.free_port(host);
                if !self.net.listeners.contains_key(&(host, port)) {
                    break port;
                }
            },
            port => port,
        };
        if self.net.listeners.contains_key(&(host, port)) {
            return Err(errno(libc::EADDRINUSE));
        }
        let local = SocketAddr::new(addr.ip(), port);
        let kind = Kind::Listener { queue: VecDeque::new(), half: 0, backlog: backlog.max(1) };
        let end = End::new(host, local, true, kind);
        let number = self.net.add(end);
        self.net.listeners.insert((host, port), number);
        self.machines[host].sockets += 1;
        self.note(host, What::Listening(local));
        Ok(number)
    }

    pub(super) fn connect(&mut self, host: usize, addr: SocketAddr) -> io::Result<u64> {
        self.claim_descriptor(host)?;
        if addr.port() == 0 {
            return Err(errno(libc::ECONNREFUSED));
        }
        let other = self.find(host, addr.ip());
        let port = self.free_port(host);
        let ip = if addr.ip().is_loopback() { addr.ip() } else { self.machines[host].addr };
        let stream = self.new_stream(host, other.unwrap_or(host), addr);
        let end = End::new(host, SocketAddr::new(ip, port), true, Kind::Stream(stream));
        let client = self.net.add(end);
        self.machines[host].sockets += 1;
        self.note(host, What::Connecting(addr));
        match other {
            Some(other) => {
                let at = self.now + self.transit(host, other);
                self.at(at, Happening::Network(Passage::Syn { client, tries: 0 }));
            }
            None => {
                let refused = Passage::Refused { client, errno: libc::EHOSTUNREACH };
                self.at(self.now + UNREACHABLE, Happening::Network(refused));
            }
        }
        Ok(client)
    }

    fn find(&self, host: usize, ip: IpAddr) -> Option<usize> {
        if ip.is_loopback() || ip.is_unspecified() {
            return Some(host);
        }
        self.machines.iter().position(|machine| machine.addr == ip)
    }

    fn transit(&mut self, from: usize, to: usize) -> Nanos {
        let link = self.net.link(from, to);
        link.latency + self.random.below(link.jitter + 1)
    }

    fn is_cut(&self, path: Path) -> bool {
        self.net.cut.contains(&path) || !self.machines[path.to].up || !self.machines[path.from].up
    }

    /// Something arrives.
    pub(super) fn pass(&mut self, passage: Passage) {
        match passage {
            Passage::Syn { client, tries } => self.syn(client, tries),
            Passage::SynAck { client, server } => self.syn_ack(client, server),
            Passage::Refused { client, errno } => self.break_end(client, errno),
            Passage::Queued { server, listener } => self.queued(server, listener),
            Passage::Segment { path, .. } | Passage::Reset { path, .. } if self.is_cut(path) => {
                self.stall(path, passage);
            }
            Passage::Segment { path, from, to, number, segment } => {
                self.arrive(path, from, to, number, segment);
            }
            Passage::Reset { path, to } => {
                if let Some(remote) = self.net.stream(to).map(|stream| stream.remote) {
                    self.note(path.to, What::Reset(remote));
                }
                self.break_end(to, libc::ECONNRESET);
            }
            Passage::GiveUp { end, since } => {
                if self.net.stream(end).is_some_and(|stream| stream.stalled_since == Some(since)) {
                    self.random.count_fault("given up");
                    self.break_end(end, libc::ETIMEDOUT);
                }
            }
        }
    }

    fn syn(&mut self, client: u64, tries: u32) {
        let Some(end) = self.net.ends.get_mut(&client) else { return };
        let (from, client_addr) = (end.host, end.local);
        let Some(stream) = end.stream() else { return };
        let (to, addr) = (stream.other, stream.remote);
        let (there, back) = (Path { from, to }, Path { from: to, to: from });
        let refuse_odds = self.net.link(from, to).refuse_one_in;
        let listener = self.net.listeners.get(&(to, addr.port())).copied();
        let listener = listener.filter(|number| {
            let local = self.net.ends[number].local.ip();
            local.is_unspecified() || local == addr.ip()
        });
        let full = listener.is_some_and(|number| match &self.net.ends[&number].kind {
            Kind::Listener { queue, half, backlog } => queue.len() + half >= *backlog,
            Kind::Stream(_) => false,
        });
        if self.is_cut(there) || self.is_cut(back) || full {
            // Nobody answers. It is tried again, for a minute in all.
            if tries + 1 >= TRIES {
                self.break_end(client, libc::ETIMEDOUT);
            } else {
                self.at(
                    self.now + (RETRY << tries),
                    Happening::Network(Passage::Syn { client, tries: tries + 1 }),
                );
            }
            return;
        }
        let at = self.now + self.transit(to, from);
        let Some(listener) = listener.filter(|_| !self.random.spoils("refused", refuse_odds)) else {
            let refused = Passage::Refused { client, errno: libc::ECONNREFUSED };
            return self.at(at, Happening::Network(refused));
        };
        let mut stream = self.new_stream(to, from, client_addr);
        (stream.peer, stream.connected) = (Some(client), true);
        let end = End::new(to, addr, false, Kind::Stream(stream));
        let server = self.net.add(end);
        if let Some(half) = self.half(listener) {
            *half += 1;
        }
        self.at(at, Happening::Network(Passage::SynAck { client, server }));
        let at = at + self.transit(from, to);
        self.at(at, Happening::Network(Passage::Queued { server, listener }));
        if let Some(stream) = self.net.stream(client) {
            // Nothing that the client sends comes before its connection can be accepted.
            stream.arrival = at;
        }
    }

    fn syn_ack(&mut self, client: u64, server: u64) {
        let Some(end) = self.net.ends.get_mut(&client) else {
            // It was closed meanwhile. The server learns of it once the connection is complete.
            return self.break_end(server, libc::ECONNRESET);
        };
        let host = end.host;
        let Some(stream) = end.stream() else { return };
        (stream.peer, stream.connected) = (Some(server), true);
        let remote = stream.remote;
        self.note(host, What::Connected(remote));
        self.heat(client);
    }

    fn half(&mut self, listener: u64) -> Option<&mut usize> {
        match &mut self.net.ends.get_mut(&listener)?.kind {
            Kind::Listener { half, .. } => Some(half),
            Kind::Stream(_) => None,
        }
    }

    fn queued(&mut self, server: u64, listener: u64) {
        if let Some(half) = self.half(listener) {
            *half -= 1;
        }
        if !self.net.ends.contains_key(&server) {
            return;
        }
        match self.net.ends.get_mut(&listener).map(|end| &mut end.kind) {
            Some(Kind::Listener { queue, .. }) => {
                queue.push_back(server);
                self.heat(listener);
            }
            // Nobody listens any more.
            _ => self.drop_end(server),
        }
    }

    pub(super) fn accept(&mut self, listener: u64) -> io::Result<Option<u64>> {
        let Some(end) = self.net.ends.get_mut(&listener) else { return Err(errno(libc::EBADF)) };
        let host = end.host;
        let Kind::Listener { queue, .. } = &mut end.kind else { return Err(errno(libc::EINVAL)) };
        if queue.is_empty() {
            return Ok(None);
        }
        self.claim_descriptor(host)?;
        let Some(Kind::Listener { queue, .. }) = self.net.ends.get_mut(&listener).map(|end| &mut end.kind)
        else {
            return Ok(None);
        };
        let Some(server) = queue.pop_front() else { return Ok(None) };
        let Some(end) = self.net.ends.get_mut(&server) else { return Ok(None) };
        end.owned = true;
        let remote = end.stream().map(|stream| stream.remote);
        self.machines[host].sockets += 1;
        if let Some(remote) = remote {
            self.note(host, What::Accepted(remote));
        }
        Ok(Some(server))
    }

    // ---- bytes

    pub(super) fn send(&mut self, number: u64, pieces: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        let World { net, random, .. } = self;
        let Some(end) = net.ends.get_mut(&number) else { return Err(errno(libc::EBADF)) };
        let host = end.host;
        let Some(stream) = end.stream() else { return Err(errno(libc::ENOTCONN)) };
        if let Some(error) = stream.error.take() {
            return Err(errno(error));
        }
        if stream.broken || stream.end_sent {
            return Err(errno(libc::EPIPE));
        }
        if !stream.connected {
            return Ok(None);
        }
        let (other, remote, room) =
            (stream.other, stream.remote, stream.out_limit.saturating_sub(stream.flight));
        let link = net.link(host, other);
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        let mut take = total.min(room);
        if take == 0 {
            return if total == 0 { Ok(Some(0)) } else { Ok(None) };
        }
        if random.spoils("short write", link.short_one_in) {
            take = 1 + random.below(take as u64) as usize;
        }
        let mut bytes = Vec::with_capacity(take);
        for piece in pieces {
            let rest = take - bytes.len();
            bytes.extend_from_slice(&piece[..piece.len().min(rest)]);
        }
        if let Some(stream) = net.stream(number) {
            stream.flight += take;
        }
        self.note(host, What::Sent(remote, Glimpse::of(&bytes)));
        while bytes.len() > 1 && self.random.spoils("segment in pieces", link.split_one_in) {
            let first = 1 + self.random.below(bytes.len() as u64 - 1) as usize;
            let rest = bytes.split_off(first);
            self.set_out(number, Segment::Data(std::mem::replace(&mut bytes, rest)));
        }
        self.set_out(number, Segment::Data(bytes));
        Ok(Some(take))
    }

    /// A segment sets out for the other end.
    fn set_out(&mut self, from: u64, segment: Segment) {
        let Some(end) = self.net.ends.get(&from) else { return };
        let host = end.host;
        let Kind::Stream(stream) = &end.kind else { return };
        let (other, Some(to)) = (stream.other, stream.peer) else { return };
        let (free, arrival) = (stream.free, stream.arrival);
        let link = self.net.link(host, other);
        let len = match &segment {
            Segment::Data(bytes) => bytes.len() as u64,
            Segment::End => 0,
        };
        let on_the_line = (len * 1_000_000_000).checked_div(link.bandwidth).unwrap_or(0);
        let left = self.now.max(free) + on_the_line;
        let at = (left + self.transit(host, other)).max(arrival);
        let Some(stream) = self.net.stream(from) else { return };
        (stream.free, stream.arrival) = (left, at);
        let number = stream.next_out;
        stream.next_out += 1;
        let path = Path { from: host, to: other };
        self.at(at, Happening::Network(Passage::Segment { path, from, to, number, segment }));
    }

    fn arrive(&mut self, path: Path, from: u64, to: u64, number: u64, segment: Segment) {
        let odds = self.net.link(path.from, path.to).reset_one_in;
        let Some(stream) = self.net.stream(to) else {
            if matches!(segment, Segment::Data(_)) {
                // Nobody is there any more: the sender shall know.
                let back = Path { from: path.to, to: path.from };
                let at = self.now + self.transit(back.from, back.to);
                self.at(at, Happening::Network(Passage::Reset { path: back, to: from }));
            }
            return;
        };
        if stream.broken {
            return;
        }
        stream.held.insert(number, segment);
        if self.random.spoils("reset", odds) {
            self.break_end(to, libc::ECONNRESET);
            self.break_end(from, libc::ECONNRESET);
            return;
        }
        self.take_in(to);
    }

    /// What has arrived goes into the buffer, as far as there is room.
    fn take_in(&mut self, number: u64) {
        let Some(stream) = self.net.stream(number) else { return };
        let mut taken = 0;
        let ended_before = stream.end_came;
        while let Some(mut first) = stream.held.first_entry() {
            if *first.key() != stream.next_in {
                break;
            }
            match first.get_mut() {
                Segment::Data(bytes) => {
                    let room = stream.in_limit.saturating_sub(stream.inbox.len());
                    let count = room.min(bytes.len());
                    stream.inbox.extend(bytes.drain(..count));
                    taken += count;
                    if !bytes.is_empty() {
                        break;
                    }
                }
                Segment::End => stream.end_came = true,
            }
            first.remove();
            stream.next_in += 1;
        }
        let (peer, end_came, remote) = (stream.peer, stream.end_came, stream.remote);
        if end_came && !ended_before {
            let host = self.net.ends[&number].host;
            self.note(host, What::Ended(remote));
        }
        self.heat(number);
        if let Some(sender) = peer.and_then(|peer| self.net.stream(peer)) {
            sender.flight = sender.flight.saturating_sub(taken);
        }
        if let Some(peer) = peer {
            self.heat(peer);
        }
    }

    pub(super) fn receive(&mut self, number: u64, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let World { net, random, .. } = self;
        let Some(end) = net.ends.get_mut(&number) else { return Err(errno(libc::EBADF)) };
        let host = end.host;
        let Some(stream) = end.stream() else { return Err(errno(libc::ENOTCONN)) };
        if !stream.inbox.is_empty() {
            let (other, remote) = (stream.other, stream.remote);
            let mut count = stream.inbox.len().min(buffer.len());
            let odds = net.link(host, other).short_one_in;
            if random.spoils("short read", odds) {
                count = 1 + random.below(count as u64) as usize;
            }
            if let Some(stream) = net.stream(number) {
                for (place, byte) in buffer.iter_mut().zip(stream.inbox.drain(..count)) {
                    *place = byte;
                }
            }
            self.note(host, What::Received(remote, Glimpse::of(&buffer[..count])));
            self.take_in(number);
            return Ok(Some(count));
        }
        if let Some(error) = stream.error.take() {
            return Err(errno(error));
        }
        Ok(if stream.end_came || stream.broken { Some(0) } else { None })
    }

    pub(super) fn finish_connect(&mut self, number: u64) -> io::Result<()> {
        match self.net.stream(number).and_then(|stream| stream.error.take()) {
            Some(error) => Err(errno(error)),
            None => Ok(()),
        }
    }

    pub(super) fn shut_down(&mut self, number: u64) -> io::Result<()> {
        let Some(stream) = self.net.stream(number) else { return Err(errno(libc::ENOTCONN)) };
        if stream.broken || !stream.connected {
            return Err(errno(libc::ENOTCONN));
        }
        if !std::mem::replace(&mut stream.end_sent, true) {
            self.set_out(number, Segment::End);
            self.heat(number);
        }
        Ok(())
    }

    // ---- the end of connections

    /// An end fails: whoever uses it next is told why.
    fn break_end(&mut self, number: u64, error: i32) {
        let Some(end) = self.net.ends.get_mut(&number) else { return };
        let host = end.host;
        let Some(stream) = end.stream() else { return };
        if stream.broken {
            return;
        }
        (stream.error, stream.broken, stream.flight) = (Some(error), true, 0);
        stream.held.clear();
        let remote = stream.remote;
        self.note(host, What::Failed(remote, error));
        self.heat(number);
    }

    /// The program has closed its socket.
    fn close_end(&mut self, number: u64) {
        let Some(end) = self.net.ends.get(&number) else { return };
        let (host, local) = (end.host, end.local);
        let remote = match &end.kind {
            Kind::Stream(stream) => stream.remote,
            Kind::Listener { .. } => local,
        };
        self.machines[host].sockets -= usize::from(end.owned);
        self.note(host, What::Closed(remote));
        self.drop_end(number);
    }

    fn drop_end(&mut self, number: u64) {
        let Some(end) = self.net.ends.get_mut(&number) else { return };
        let (host, port) = (end.host, end.local.port());
        match &mut end.kind {
            Kind::Listener { queue, .. } => {
                let queue = std::mem::take(queue);
                self.net.listeners.remove(&(host, port));
                queue.into_iter().for_each(|server| self.drop_end(server));
            }
            Kind::Stream(stream) if stream.connected && !stream.broken => {
                // What was not read is lost, and the other side shall know that; so it is if nobody ever accepted.
                let lost = !stream.inbox.is_empty() || !stream.held.is_empty() || !end.owned;
                if lost || stream.abort {
                    self.set_out_reset(number);
                } else if !stream.end_sent {
                    self.set_out(number, Segment::End);
                }
            }
            Kind::Stream(_) => {}
        }
        self.net.ends.remove(&number);
        self.machines[host].hot.remove(&number);
    }

    fn set_out_reset(&mut self, from: u64) {
        let Some(end) = self.net.ends.get(&from) else { return };
        let host = end.host;
        let Kind::Stream(stream) = &end.kind else { return };
        let (other, Some(to), arrival) = (stream.other, stream.peer, stream.arrival) else { return };
        let at = (self.now + self.transit(host, other)).max(arrival);
        let path = Path { from: host, to: other };
        self.at(at, Happening::Network(Passage::Reset { path, to }));
    }

    // ---- machines and links that fail

    /// What arrives at a link that is cut waits there.
    fn stall(&mut self, path: Path, passage: Passage) {
        if let Passage::Segment { from, .. } = passage {
            let give_up = self.net.link(path.from, path.to).give_up;
            let now = self.now;
            if let Some(stream) = self.net.stream(from) {
                if stream.stalled_since.is_none() {
                    stream.stalled_since = Some(now);
                    let given_up = Passage::GiveUp { end: from, since: now };
                    self.at(now.saturating_add(give_up), Happening::Network(given_up));
                }
            }
        }
        self.net.stalled.push((path, passage));
    }

    /// Cuts, or heals, what goes from one machine to another. The other way is another matter.
    pub(crate) fn set_cut(&mut self, from: usize, to: usize, cut: bool) {
        let path = Path { from, to };
        if cut {
            if self.net.cut.insert(path) {
                self.random.count_fault("cut");
                self.note(from, What::Cut(to));
            }
        } else if self.net.cut.remove(&path) {
            self.note(from, What::Healed(to));
            self.release_stalled();
        }
    }

    /// What waited at links that are whole again arrives, in its order.
    pub(crate) fn release_stalled(&mut self) {
        for (path, passage) in std::mem::take(&mut self.net.stalled) {
            if self.is_cut(path) {
                self.net.stalled.push((path, passage));
                continue;
            }
            if let Passage::Segment { from, .. } = passage {
                if let Some(stream) = self.net.stream(from) {
                    stream.stalled_since = None;
                }
            }
            let at = self.now + self.net.link(path.from, path.to).latency;
            self.at(at, Happening::Network(passage));
        }
    }

    /// The power fails: nobody is told anything.
    pub(crate) fn crash_network(&mut self, host: usize) {
        self.net.ends.retain(|_, end| end.host != host);
        self.net.listeners.retain(|&(other, _), _| other != host);
        self.machines[host].sockets = 0;
    }

    /// Every connection between two machines is reset.
    pub(crate) fn reset_between(&mut self, one: usize, other: usize) {
        let is_between = |end: &End| match &end.kind {
            Kind::Stream(stream) => {
                let ends = (end.host, stream.other);
                stream.connected && (ends == (one, other) || ends == (other, one))
            }
            Kind::Listener { .. } => false,
        };
        let ends: Vec<u64> =
            self.net.ends.iter().filter(|(_, end)| is_between(end)).map(|(&number, _)| number).collect();
        for number in ends {
            // Each connection once, not each of its ends.
            if self.net.stream(number).and_then(|stream| stream.peer).is_none_or(|peer| number < peer) {
                self.random.count_fault("reset");
            }
            self.break_end(number, libc::ECONNRESET);
        }
    }

    // ---- readiness

    /// Something about this end has changed.
    fn heat(&mut self, number: u64) {
        if let Some(end) = self.net.ends.get(&number) {
            self.machines[end.host].hot.insert(number);
        }
    }

    /// Who is ready on a machine, and was asked for.
    pub(super) fn ready_ends(&mut self, host: usize) -> Vec<(Key, Readiness)> {
        let World { machines, net, random, spurious_one_in, .. } = self;
        let mut ready = Vec::new();
        machines[host].hot.retain(|number| {
            let Some(end) = net.ends.get(number) else { return false };
            let Some((key, interest)) = end.watch else { return false };
            let asked = asked(interest).0;
            let told = Readiness(end.readiness().0 & asked);
            if told.0 != 0 {
                ready.push((key, told));
                return true;
            }
            // "May say so too often": the system does, now and then. Not of who connects: no system says that he has.
            let connects = matches!(&end.kind, Kind::Stream(stream) if !stream.connected);
            if !connects && random.spoils("readiness that is not so", *spurious_one_in) {
                ready.push((key, Readiness(asked & (Readiness::READ.0 | Readiness::WRITE.0))));
            }
            false
        });
        ready
    }

    /// Whether anybody is ready on a machine who was asked for.
    pub(super) fn has_ready_end(&self, host: usize) -> bool {
        self.machines[host].hot.iter().any(|number| {
            let Some(end) = self.net.ends.get(number) else { return false };
            end.watch.is_some_and(|(_, interest)| end.readiness().0 & asked(interest).0 != 0)
        })
    }

    /// How many connections and listeners a machine has, those included that nobody has accepted.
    pub(crate) fn ends_of(&self, host: usize) -> usize {
        self.net.ends.values().filter(|end| end.host == host).count()
    }

    /// Panics unless the invariants of a machine's ends hold.
    pub(super) fn verify_network(&self, host: usize) {
        for (number, end) in self.net.ends.iter().filter(|(_, end)| end.host == host) {
            let Some((_, interest)) = end.watch else { continue };
            let readiness = end.readiness();
            let due = (interest.has(Interest::READ) && readiness.readable())
                || (interest.has(Interest::WRITE) && readiness.writable());
            assert!(!due || self.machines[end.host].hot.contains(number), "who is ready is looked at");
        }
    }
}

// ---- sockets

/// A socket of a program in a world.
pub(crate) struct Socket {
    world: Shared,
    number: u64,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Socket({})", self.number)
    }
}

impl Socket {
    pub(super) fn new(world: &Shared, number: u64) -> Socket {
        Socket { world: world.clone(), number }
    }

    pub(crate) fn watch(&self, key: Key, interest: Interest) {
        let mut world = self.world.borrow_mut();
        if let Some(end) = world.net.ends.get_mut(&self.number) {
            // Interest in nothing is no interest, as with epoll here.
            end.watch = (interest != Interest::NONE).then_some((key, interest));
        }
        world.heat(self.number);
    }

    pub(crate) fn forget(&self) {
        if let Some(end) = self.world.borrow_mut().net.ends.get_mut(&self.number) {
            end.watch = None;
        }
    }

    pub(crate) fn accept(&self) -> io::Result<Option<Socket>> {
        let accepted = self.world.borrow_mut().accept(self.number)?;
        Ok(accepted.map(|number| Socket::new(&self.world, number)))
    }

    pub(crate) fn finish_connect(&self) -> io::Result<()> {
        self.world.borrow_mut().finish_connect(self.number)
    }

    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.world.borrow_mut().receive(self.number, buffer)
    }

    pub(crate) fn send(&self, pieces: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        self.world.borrow_mut().send(self.number, pieces)
    }

    pub(crate) fn shut_down(&self) -> io::Result<()> {
        self.world.borrow_mut().shut_down(self.number)
    }

    fn on_end<T>(&self, op: impl FnOnce(&mut End) -> T) -> io::Result<T> {
        self.world.borrow_mut().net.ends.get_mut(&self.number).map(op).ok_or_else(|| errno(libc::EBADF))
    }

    fn on_stream<T>(&self, op: impl FnOnce(&mut Stream) -> T) -> io::Result<T> {
        self.world.borrow_mut().net.stream(self.number).map(op).ok_or_else(|| errno(libc::ENOTCONN))
    }

    pub(crate) fn options(&self) -> &dyn SocketOptions {
        self
    }
}

impl SocketOptions for Socket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.on_end(|end| end.local)
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        let (remote, connected) =
            self.on_stream(|stream| (stream.remote, stream.connected && !stream.broken))?;
        if connected { Ok(remote) } else { Err(errno(libc::ENOTCONN)) }
    }

    fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.on_end(|end| end.nodelay = on)
    }

    fn nodelay(&self) -> io::Result<bool> {
        self.on_end(|end| end.nodelay)
    }

    /// Connections here are not forgotten, so nobody need ask whether they are still there.
    fn set_keepalive(&self, _: Option<(Duration, Duration, u32)>) -> io::Result<()> {
        Ok(())
    }

    fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.on_stream(|stream| stream.abort = linger == Some(Duration::ZERO))
    }

    fn set_receive_buffer(&self, bytes: usize) -> io::Result<()> {
        self.on_stream(|stream| stream.in_limit = bytes.max(1))
    }

    fn receive_buffer(&self) -> io::Result<usize> {
        self.on_stream(|stream| stream.in_limit)
    }

    fn set_send_buffer(&self, bytes: usize) -> io::Result<()> {
        self.on_stream(|stream| stream.out_limit = bytes.max(1))
    }

    fn send_buffer(&self) -> io::Result<usize> {
        self.on_stream(|stream| stream.out_limit)
    }

    fn set_ttl(&self, hops: u32) -> io::Result<()> {
        if !(1..=255).contains(&hops) {
            return Err(errno(libc::EINVAL));
        }
        self.on_end(|end| end.ttl = hops)
    }

    fn ttl(&self) -> io::Result<u32> {
        self.on_end(|end| end.ttl)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // While a panic unwinds out of the world itself there is nobody to tell.
        if let Ok(mut world) = self.world.try_borrow_mut() {
            world.close_end(self.number);
        }
    }
}
