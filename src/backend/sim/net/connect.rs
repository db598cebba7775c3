//! How connections are made: listening, the three-way handshake, accepting.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
};

use super::{
    super::{TraceEvent, World, errno::errno},
    ends::{Direction, End, EndId, EndKind, Packet, Stream},
};
use crate::time::Nanos;

/// A SYN is sent again after one second, then after two, four, and so on, as on Linux.
const SYN_RETRY: Nanos = 1_000_000_000;
/// After so many attempts, 63 seconds in all, the connect times out. Linux gives up after twice as long.
const SYN_ATTEMPTS: u32 = 7;
/// How long it takes to find out that there is no such machine.
const UNREACHABLE_AFTER: Nanos = 3_000_000_000;

impl World {
    pub(super) fn new_stream(&self, host: usize, peer_host: usize, remote: SocketAddr) -> Box<Stream> {
        let link = self.net.link(host, peer_host);
        Box::new(Stream {
            remote,
            peer_host,
            peer: None,
            connected: false,
            inbox: VecDeque::new(),
            pending: BTreeMap::new(),
            send_seq: 0,
            receive_seq: 0,
            receive_buffer: link.receive_buffer,
            send_buffer: link.send_buffer,
            in_flight: 0,
            error: None,
            failed: false,
            fin_received: false,
            fin_sent: false,
            last_arrival: 0,
            line_free: 0,
            reset_on_close: false,
            stalled_since: None,
        })
    }

    fn next_port(&mut self, host: usize) -> u16 {
        let machine = &mut self.machines[host];
        let port = machine.next_port;
        machine.next_port = if port == u16::MAX { 32_768 } else { port + 1 };
        port
    }

    pub(crate) fn listen(&mut self, host: usize, addr: SocketAddr, backlog: usize) -> io::Result<EndId> {
        self.check_fd_limit(host)?;
        let own =
            addr.ip().is_unspecified() || addr.ip().is_loopback() || addr.ip() == self.machines[host].addr;
        if !own {
            return Err(errno(libc::EADDRNOTAVAIL));
        }
        let port = match addr.port() {
            0 => loop {
                let port = self.next_port(host);
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
        let kind = EndKind::Listener { queue: VecDeque::new(), half_open: 0, backlog: backlog.max(1) };
        let id = self.net.add(End::new(host, local, true, kind));
        self.net.listeners.insert((host, port), id);
        self.machines[host].sockets += 1;
        self.record(host, TraceEvent::Listening(local));
        Ok(id)
    }

    pub(crate) fn connect(&mut self, host: usize, addr: SocketAddr) -> io::Result<EndId> {
        self.check_fd_limit(host)?;
        if addr.port() == 0 {
            return Err(errno(libc::ECONNREFUSED));
        }
        let peer_host = self.machine_at(host, addr.ip());
        let port = self.next_port(host);
        let ip = if addr.ip().is_loopback() { addr.ip() } else { self.machines[host].addr };
        let stream = self.new_stream(host, peer_host.unwrap_or(host), addr);
        let end = End::new(host, SocketAddr::new(ip, port), true, EndKind::Stream(stream));
        let client = self.net.add(end);
        self.machines[host].sockets += 1;
        self.record(host, TraceEvent::Connecting(addr));
        match peer_host {
            Some(peer_host) => {
                let at = self.now + self.transit(host, peer_host);
                self.schedule_packet(at, Packet::Syn { client, attempt: 0 });
            }
            None => {
                let refusal = Packet::Refusal { client, errno: libc::EHOSTUNREACH };
                self.schedule_packet(self.now + UNREACHABLE_AFTER, refusal);
            }
        }
        Ok(client)
    }

    fn machine_at(&self, host: usize, ip: IpAddr) -> Option<usize> {
        if ip.is_loopback() || ip.is_unspecified() {
            return Some(host);
        }
        self.machines.iter().position(|machine| machine.addr == ip)
    }

    // ---- the handshake

    pub(super) fn syn(&mut self, client: EndId, attempt: u32) {
        let Some(end) = self.net.ends.get_mut(&client) else { return };
        let (from, client_addr) = (end.host, end.local);
        let Some(stream) = end.stream() else { return };
        let (to, addr) = (stream.peer_host, stream.remote);
        let direction = Direction { from, to };
        let listener = self.listener_at(to, addr);
        let full = listener.is_some_and(|listener| self.backlog_is_full(listener));
        if self.is_cut(direction) || self.is_cut(direction.reversed()) || full {
            return self.retry_syn(client, attempt);
        }
        let at = self.now + self.transit(to, from);
        let refuse_one_in = self.net.link(from, to).refuse_one_in;
        let Some(listener) = listener.filter(|_| !self.random.fault("refused", refuse_one_in)) else {
            return self.schedule_packet(at, Packet::Refusal { client, errno: libc::ECONNREFUSED });
        };
        let mut stream = self.new_stream(to, from, client_addr);
        (stream.peer, stream.connected) = (Some(client), true);
        let server = self.net.add(End::new(to, addr, false, EndKind::Stream(stream)));
        if let Some(half_open) = self.half_open(listener) {
            *half_open += 1;
        }
        self.schedule_packet(at, Packet::SynAck { client, server });
        let at = at + self.transit(from, to);
        self.schedule_packet(at, Packet::Ack { server, listener });
        if let Some(stream) = self.net.stream(client) {
            // The client's data must not arrive before its connection can be accepted.
            stream.last_arrival = at;
        }
    }

    /// A SYN got no answer. Sends it again later, until there were too many.
    fn retry_syn(&mut self, client: EndId, attempt: u32) {
        if attempt + 1 >= SYN_ATTEMPTS {
            return self.fail_end(client, libc::ETIMEDOUT);
        }
        let at = self.now + (SYN_RETRY << attempt);
        self.schedule_packet(at, Packet::Syn { client, attempt: attempt + 1 });
    }

    /// Returns the listener that an address reaches on a machine.
    fn listener_at(&self, host: usize, addr: SocketAddr) -> Option<EndId> {
        let listener = *self.net.listeners.get(&(host, addr.port()))?;
        let bound = self.net.ends[&listener].local.ip();
        (bound.is_unspecified() || bound == addr.ip()).then_some(listener)
    }

    pub(super) fn backlog_is_full(&self, listener: EndId) -> bool {
        match &self.net.ends[&listener].kind {
            EndKind::Listener { queue, half_open, backlog } => queue.len() + half_open >= *backlog,
            EndKind::Stream(_) => false,
        }
    }

    fn half_open(&mut self, listener: EndId) -> Option<&mut usize> {
        match &mut self.net.ends.get_mut(&listener)?.kind {
            EndKind::Listener { half_open, .. } => Some(half_open),
            EndKind::Stream(_) => None,
        }
    }

    pub(super) fn syn_ack(&mut self, client: EndId, server: EndId) {
        let Some(end) = self.net.ends.get_mut(&client) else {
            // The client has closed it. The server finds out once the connection is complete.
            return self.fail_end(server, libc::ECONNRESET);
        };
        let host = end.host;
        let Some(stream) = end.stream() else { return };
        (stream.peer, stream.connected) = (Some(server), true);
        let remote = stream.remote;
        self.record(host, TraceEvent::Connected(remote));
        self.mark_ready(client);
    }

    pub(super) fn ack(&mut self, server: EndId, listener: EndId) {
        if let Some(half_open) = self.half_open(listener) {
            *half_open -= 1;
        }
        if !self.net.ends.contains_key(&server) {
            return;
        }
        match self.net.ends.get_mut(&listener).map(|end| &mut end.kind) {
            Some(EndKind::Listener { queue, .. }) => {
                queue.push_back(server);
                self.mark_ready(listener);
            }
            // The listener was closed meanwhile.
            _ => self.drop_end(server),
        }
    }

    pub(super) fn accept(&mut self, listener: EndId) -> io::Result<Option<EndId>> {
        let Some(end) = self.net.ends.get_mut(&listener) else { return Err(errno(libc::EBADF)) };
        let host = end.host;
        let EndKind::Listener { queue, .. } = &mut end.kind else { return Err(errno(libc::EINVAL)) };
        if queue.is_empty() {
            return Ok(None);
        }
        self.check_fd_limit(host)?;
        let Some(EndKind::Listener { queue, .. }) = self.net.ends.get_mut(&listener).map(|end| &mut end.kind)
        else {
            return Ok(None);
        };
        let Some(server) = queue.pop_front() else { return Ok(None) };
        let Some(end) = self.net.ends.get_mut(&server) else { return Ok(None) };
        end.owned = true;
        let remote = end.stream().map(|stream| stream.remote);
        self.machines[host].sockets += 1;
        if let Some(remote) = remote {
            self.record(host, TraceEvent::Accepted(remote));
        }
        Ok(Some(server))
    }
}
