//! How bytes travel: sending, segments in flight, receiving, EOF.

use std::io::{self, IoSlice};

use super::{
    super::{
        TraceEvent, World,
        errno::errno,
        trace::{Preview, UNIX},
    },
    ends::{Direction, EndId, EndKind, Packet, Segment},
};

impl World {
    pub(super) fn send(&mut self, id: EndId, pieces: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        let World { net, random, .. } = self;
        let Some(end) = net.ends.get_mut(&id) else { return Err(errno(libc::EBADF)) };
        let host = end.host;
        let is_unix = end.local == UNIX;
        let Some(stream) = end.stream() else { return Err(errno(libc::ENOTCONN)) };
        if let Some(error) = stream.error.take() {
            return Err(errno(error));
        }
        if stream.failed || stream.fin_sent {
            return Err(errno(libc::EPIPE));
        }
        if !stream.connected {
            return Ok(None);
        }
        // TCP learns from an answer that the peer's socket is gone. A Unix socket knows.
        let peer = stream.peer;
        if is_unix && peer.is_none_or(|peer| !net.ends.contains_key(&peer)) {
            return Err(errno(libc::EPIPE));
        }
        let Some(stream) = net.stream(id) else { return Err(errno(libc::ENOTCONN)) };
        let (peer_host, remote) = (stream.peer_host, stream.remote);
        let room = stream.send_buffer.saturating_sub(stream.in_flight);
        let link = net.link(host, peer_host);
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        let mut count = total.min(room);
        if count == 0 {
            return if total == 0 { Ok(Some(0)) } else { Ok(None) };
        }
        if random.fault("short write", link.short_one_in) {
            count = 1 + random.below(count as u64) as usize;
        }
        let mut bytes = Vec::with_capacity(count);
        for piece in pieces {
            let missing = count - bytes.len();
            bytes.extend_from_slice(&piece[..piece.len().min(missing)]);
        }
        if let Some(stream) = net.stream(id) {
            stream.in_flight += count;
        }
        self.record(host, TraceEvent::Sent(remote, Preview::of(&bytes)));
        self.transmit_split(id, bytes, link.split_one_in);
        Ok(Some(count))
    }

    /// Sends bytes in one segment, or in several if the seed says so.
    fn transmit_split(&mut self, from: EndId, mut bytes: Vec<u8>, split_one_in: u32) {
        while bytes.len() > 1 && self.random.fault("split segment", split_one_in) {
            let first = 1 + self.random.below(bytes.len() as u64 - 1) as usize;
            let rest = bytes.split_off(first);
            self.transmit(from, Segment::Data(std::mem::replace(&mut bytes, rest)));
        }
        self.transmit(from, Segment::Data(bytes));
    }

    /// Sends a segment to the other end.
    pub(super) fn transmit(&mut self, from: EndId, segment: Segment) {
        let Some(end) = self.net.ends.get(&from) else { return };
        let host = end.host;
        let EndKind::Stream(stream) = &end.kind else { return };
        let (peer_host, Some(to)) = (stream.peer_host, stream.peer) else { return };
        let (line_free, last_arrival) = (stream.line_free, stream.last_arrival);
        let link = self.net.link(host, peer_host);
        let len = match &segment {
            Segment::Data(bytes) => bytes.len() as u64,
            Segment::Fin => 0,
        };
        let line_time = (len * 1_000_000_000).checked_div(link.bandwidth).unwrap_or(0);
        let sent = self.now.max(line_free) + line_time;
        let arrival = (sent + self.transit(host, peer_host)).max(last_arrival);
        let Some(stream) = self.net.stream(from) else { return };
        (stream.line_free, stream.last_arrival) = (sent, arrival);
        let seq = stream.send_seq;
        stream.send_seq += 1;
        let direction = Direction { from: host, to: peer_host };
        self.schedule_packet(arrival, Packet::Segment { direction, from, to, seq, segment });
    }

    pub(super) fn receive_segment(
        &mut self,
        direction: Direction,
        from: EndId,
        to: EndId,
        seq: u64,
        segment: Segment,
    ) {
        // No network is between Unix sockets, and resets them.
        let reset_one_in =
            if self.net.is_unix(to) { 0 } else { self.net.link(direction.from, direction.to).reset_one_in };
        let Some(stream) = self.net.stream(to) else {
            if matches!(segment, Segment::Data(_)) {
                // As TCP does, answer data for a socket that is gone with a reset.
                let direction = direction.reversed();
                let at = self.now + self.transit(direction.from, direction.to);
                self.schedule_packet(at, Packet::Reset { direction, to: from });
            }
            return;
        };
        if stream.failed {
            return;
        }
        stream.pending.insert(seq, segment);
        if self.random.fault("reset", reset_one_in) {
            self.fail_end(to, libc::ECONNRESET);
            self.fail_end(from, libc::ECONNRESET);
            return;
        }
        self.fill_inbox(to);
    }

    /// Moves pending segments into the inbox, in order and as far as there is room.
    fn fill_inbox(&mut self, id: EndId) {
        let Some(stream) = self.net.stream(id) else { return };
        let mut taken = 0;
        let had_fin = stream.fin_received;
        while let Some(mut first) = stream.pending.first_entry() {
            if *first.key() != stream.receive_seq {
                break;
            }
            match first.get_mut() {
                Segment::Data(bytes) => {
                    let room = stream.receive_buffer.saturating_sub(stream.inbox.len());
                    let count = room.min(bytes.len());
                    stream.inbox.extend(bytes.drain(..count));
                    taken += count;
                    if !bytes.is_empty() {
                        break;
                    }
                }
                Segment::Fin => stream.fin_received = true,
            }
            first.remove();
            stream.receive_seq += 1;
        }
        let (peer, has_fin, remote) = (stream.peer, stream.fin_received, stream.remote);
        if has_fin && !had_fin {
            let host = self.net.ends[&id].host;
            self.record(host, TraceEvent::Eof(remote));
        }
        self.mark_ready(id);
        if let Some(sender) = peer.and_then(|peer| self.net.stream(peer)) {
            sender.in_flight = sender.in_flight.saturating_sub(taken);
        }
        if let Some(peer) = peer {
            self.mark_ready(peer);
        }
    }

    pub(super) fn receive(&mut self, id: EndId, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let World { net, random, .. } = self;
        let Some(end) = net.ends.get_mut(&id) else { return Err(errno(libc::EBADF)) };
        let host = end.host;
        let Some(stream) = end.stream() else { return Err(errno(libc::ENOTCONN)) };
        if !stream.inbox.is_empty() {
            let (peer_host, remote) = (stream.peer_host, stream.remote);
            let mut count = stream.inbox.len().min(buffer.len());
            let short_one_in = net.link(host, peer_host).short_one_in;
            if random.fault("short read", short_one_in) {
                count = 1 + random.below(count as u64) as usize;
            }
            if let Some(stream) = net.stream(id) {
                for (slot, byte) in buffer.iter_mut().zip(stream.inbox.drain(..count)) {
                    *slot = byte;
                }
            }
            self.record(host, TraceEvent::Received(remote, Preview::of(&buffer[..count])));
            self.fill_inbox(id);
            return Ok(Some(count));
        }
        if let Some(error) = stream.error.take() {
            return Err(errno(error));
        }
        Ok(if stream.fin_received || stream.failed { Some(0) } else { None })
    }

    pub(super) fn finish_connect(&mut self, id: EndId) -> io::Result<()> {
        match self.net.stream(id).and_then(|stream| stream.error.take()) {
            Some(error) => Err(errno(error)),
            None => Ok(()),
        }
    }

    pub(super) fn shut_down(&mut self, id: EndId) -> io::Result<()> {
        let Some(stream) = self.net.stream(id) else { return Err(errno(libc::ENOTCONN)) };
        if stream.failed || !stream.connected {
            return Err(errno(libc::ENOTCONN));
        }
        if !std::mem::replace(&mut stream.fin_sent, true) {
            self.transmit(id, Segment::Fin);
            self.mark_ready(id);
        }
        Ok(())
    }
}
