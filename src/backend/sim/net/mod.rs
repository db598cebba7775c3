//! The network: listeners, connections, and the links between machines.
//!
//! A connection is two [`End`]s. A segment travels for as long as its link says, arrives in order, and waits
//! in the receiver's inbox until it is read. While the inbox is full, segments stay in flight and use up the
//! sender's buffer: short writes and back-pressure arise as they do in TCP. A link that is cut holds its
//! segments until it is healed or the sender times out.
//!
//! Here: what arrives, and readiness. `ends` has the ends and their state. `connect` makes connections,
//! `bytes` moves data,
//! `faults` has the links and everything that fails, `socket` is what a loop holds.

mod bytes;
mod connect;
mod ends;
mod faults;
mod link;
mod socket;
mod unix;

use self::ends::EndKind;
pub(crate) use self::{
    ends::{EndId, Net, Packet},
    link::Link,
    socket::Socket,
    unix::SocketFile,
};
use super::{TraceEvent, World, world::Event};
use crate::{
    backend::{Interest, Readiness},
    handle::Key,
    time::Nanos,
};

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
