//! Links and what goes wrong: cuts, resets, timeouts, crashes, and the close of an end.

use super::{
    super::{TraceEvent, World, trace::UNIX, world::Event},
    ends::{Direction, End, EndId, EndKind, Packet, Segment},
};
use crate::time::Nanos;

impl World {
    // ---- ends

    /// Fails an end: its next operation returns the error.
    pub(super) fn fail_end(&mut self, id: EndId, error: i32) {
        let Some(end) = self.net.ends.get_mut(&id) else { return };
        let host = end.host;
        let Some(stream) = end.stream() else { return };
        if stream.failed {
            return;
        }
        (stream.error, stream.failed, stream.in_flight) = (Some(error), true, 0);
        stream.pending.clear();
        let remote = stream.remote;
        self.record(host, TraceEvent::Failed(remote, error));
        self.mark_ready(id);
    }

    /// Closes the end of a socket that the program has closed.
    pub(super) fn close_end(&mut self, id: EndId) {
        let Some(end) = self.net.ends.get(&id) else { return };
        let (host, local) = (end.host, end.local);
        let remote = match &end.kind {
            EndKind::Stream(stream) => stream.remote,
            EndKind::Listener { .. } => local,
        };
        self.machines[host].sockets -= usize::from(end.owned);
        self.record(host, TraceEvent::Closed(remote));
        self.drop_end(id);
    }

    /// Removes an end, and lets its peer know: by EOF, or by a reset if bytes are lost.
    pub(super) fn drop_end(&mut self, id: EndId) {
        let Some(end) = self.net.ends.get_mut(&id) else { return };
        let (host, port) = (end.host, end.local.port());
        match &mut end.kind {
            EndKind::Listener { queue, .. } => {
                let queue = std::mem::take(queue);
                self.net.listeners.remove(&(host, port));
                self.net.unix_listeners.retain(|_, listener| *listener != id);
                queue.into_iter().for_each(|server| self.drop_end(server));
            }
            EndKind::Stream(stream) if stream.connected && !stream.failed => {
                // As TCP does, reset if data was not read. So is a connection that was never accepted.
                let lost = !stream.inbox.is_empty() || !stream.pending.is_empty() || !end.owned;
                if lost || stream.reset_on_close {
                    self.transmit_reset(id);
                } else if !stream.fin_sent {
                    self.transmit(id, Segment::Fin);
                }
            }
            EndKind::Stream(_) => {}
        }
        self.net.ends.remove(&id);
        self.machines[host].maybe_ready.remove(&id);
    }

    fn transmit_reset(&mut self, from: EndId) {
        let Some(end) = self.net.ends.get(&from) else { return };
        let host = end.host;
        let EndKind::Stream(stream) = &end.kind else { return };
        let (peer_host, Some(to), last_arrival) = (stream.peer_host, stream.peer, stream.last_arrival) else {
            return;
        };
        let at = (self.now + self.transit(host, peer_host)).max(last_arrival);
        let direction = Direction { from: host, to: peer_host };
        self.schedule_packet(at, Packet::Reset { direction, to });
    }

    /// Resets every connection between two machines.
    pub(crate) fn reset_between(&mut self, one: usize, other: usize) {
        let is_between = |end: &End| match &end.kind {
            EndKind::Stream(stream) => {
                let hosts = (end.host, stream.peer_host);
                let is_between = hosts == (one, other) || hosts == (other, one);
                stream.connected && end.local != UNIX && is_between
            }
            EndKind::Listener { .. } => false,
        };
        let ends: Vec<EndId> =
            self.net.ends.iter().filter(|(_, end)| is_between(end)).map(|(&id, _)| id).collect();
        for id in ends {
            // Count each connection once, not each of its ends.
            if self.net.stream(id).and_then(|stream| stream.peer).is_none_or(|peer| id < peer) {
                self.random.count_fault("reset");
            }
            self.fail_end(id, libc::ECONNRESET);
        }
    }

    // ---- links

    pub(super) fn is_cut(&self, direction: Direction) -> bool {
        let Direction { from, to } = direction;
        self.net.cut.contains(&direction) || !self.machines[to].up || !self.machines[from].up
    }

    /// Holds a packet at a cut link, and starts the sender's timeout.
    pub(super) fn stall(&mut self, direction: Direction, packet: Packet) {
        if let Packet::Segment { from: end, .. } = packet {
            let give_up_after = self.net.link(direction.from, direction.to).give_up_after;
            let since = self.now;
            if let Some(stream) = self.net.stream(end) {
                if stream.stalled_since.is_none() {
                    stream.stalled_since = Some(since);
                    let at = since.saturating_add(give_up_after);
                    self.schedule(at, Event::ConnectionTimeout { end, since });
                }
            }
        }
        self.net.stalled.push((direction, packet));
    }

    /// Fails an end whose segments are still stalled.
    pub(crate) fn time_out(&mut self, end: EndId, since: Nanos) {
        if self.net.stream(end).is_some_and(|stream| stream.stalled_since == Some(since)) {
            self.random.count_fault("timed out");
            self.fail_end(end, libc::ETIMEDOUT);
        }
    }

    /// Cuts or heals one direction of a link.
    pub(crate) fn set_cut(&mut self, from: usize, to: usize, cut: bool) {
        let direction = Direction { from, to };
        if cut {
            if self.net.cut.insert(direction) {
                self.random.count_fault("cut");
                self.record(from, TraceEvent::Cut(to));
            }
        } else if self.net.cut.remove(&direction) {
            self.record(from, TraceEvent::Healed(to));
            self.release_stalled();
        }
    }

    /// Sends on the packets that waited at links which are whole again, in order.
    pub(crate) fn release_stalled(&mut self) {
        for (direction, packet) in std::mem::take(&mut self.net.stalled) {
            if self.is_cut(direction) {
                self.net.stalled.push((direction, packet));
                continue;
            }
            if let Packet::Segment { from, .. } = packet {
                if let Some(stream) = self.net.stream(from) {
                    stream.stalled_since = None;
                }
            }
            let at = self.now + self.net.link(direction.from, direction.to).latency;
            self.schedule_packet(at, packet);
        }
    }

    // ---- machines

    /// Drops the ends of a machine that loses its power. Peers are not notified.
    pub(crate) fn crash_network(&mut self, host: usize) {
        self.net.ends.retain(|_, end| end.host != host);
        self.net.listeners.retain(|&(other, _), _| other != host);
        self.net.unix_listeners.retain(|(other, _), _| *other != host);
        self.machines[host].sockets = 0;
    }
}
