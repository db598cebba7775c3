//! Peers of an echo server: one thread, non-blocking sockets and poll(2), without ringback.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::random::{Bytes, Random};

/// How a peer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Sends everything, reads as it arrives, shuts its side down, and reads until EOF.
    Fair,
    /// As `Fair`, but reads a few bytes at a time.
    Sips,
    /// Sends without reading until the server takes no more, waits, and is fair from then on.
    Stalls,
    /// Shuts its side down first, and waits before it reads.
    EndsEarly,
    /// Resets the connection after some bytes.
    Resets,
    /// Closes the connection with bytes unread.
    Leaves,
    /// Connects and closes at once.
    Visits,
}

/// The totals of all peers.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) connections: usize,
    /// Connections whose every byte came back.
    pub(crate) complete: usize,
    pub(crate) bytes: u64,
    pub(crate) stalled: usize,
}

pub(crate) struct Plan {
    pub(crate) addr: SocketAddr,
    /// Connections in all, and how many at a time.
    pub(crate) total: usize,
    pub(crate) at_once: usize,
    /// The most bytes that a fair peer sends.
    pub(crate) bytes_max: usize,
    pub(crate) chunk_max: usize,
    pub(crate) manners: &'static [Manner],
    pub(crate) patience: Duration,
}

struct Peer {
    stream: TcpStream,
    id: u64,
    manner: Manner,
    /// How many bytes it is going to send.
    total: u64,
    sent: u64,
    received: u64,
    /// What is left of the chunk that it is sending.
    chunk: usize,
    /// It does not read before that time.
    reads_from: Option<Instant>,
    write_ended: bool,
}

enum Progress {
    Continues,
    Done,
}

/// Runs the peers of a plan, and calls `watch` with their number now and then. Panics at the first wrong
/// byte.
pub(crate) fn run(plan: &Plan, seed: u64, mut watch: impl FnMut(usize)) -> Tally {
    let mut random = Random::new(seed);
    let bytes = Bytes::new();
    let mut buffer = vec![0; 256 << 10];
    let mut tally = Tally::default();
    let mut peers: Vec<Peer> = Vec::new();
    let mut quiet_since = Instant::now();
    let aborted = aborted_for_memory();
    while tally.connections < plan.total || !peers.is_empty() {
        while peers.len() < plan.at_once && tally.connections < plan.total {
            peers.push(Peer::connect(plan, tally.connections as u64, &mut random));
            tally.connections += 1;
        }
        watch(peers.len());
        let mut fds: Vec<PollFd<'_>> =
            peers.iter().map(|peer| PollFd::new(&peer.stream, peer.interest())).collect();
        let tick = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
        match poll(&mut fds, Some(&tick)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
        let ready: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        let before = (tally.bytes, tally.connections, peers.len());
        let mut index = 0;
        peers.retain_mut(|peer| {
            let ready = ready[index];
            index += 1;
            match peer.step(ready, plan, &bytes, &mut buffer, &mut random, &mut tally) {
                Ok(Progress::Continues) => true,
                Ok(Progress::Done) => false,
                Err(error) => panic!(
                    "peer {} ({:?}) sent {} of {}, received {}: {error}{}",
                    peer.id,
                    peer.manner,
                    peer.sent,
                    peer.total,
                    peer.received,
                    if aborted_for_memory() > aborted {
                        "; the system was out of memory for sockets"
                    } else {
                        ""
                    }
                ),
            }
        });
        if before != (tally.bytes, tally.connections, peers.len()) {
            quiet_since = Instant::now();
        } else if quiet_since.elapsed() > plan.patience {
            let peer = peers.first().expect("a peer is left");
            panic!(
                "nothing moves; {} left, the first: {:?}, sent {} of {}, received {}; in the system:\n{}",
                peers.len(),
                peer.manner,
                peer.sent,
                peer.total,
                peer.received,
                peer.kernel_state()
            );
        }
    }
    tally
}

/// How many connections the system has reset for lack of memory for sockets (`net.ipv4.tcp_mem`), those of
/// other programs included. Neither side of such a connection is to blame.
fn aborted_for_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/net/netstat").unwrap_or_default();
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:")).map(str::split_whitespace);
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return 0 };
    let found = names.zip(values).find(|(name, _)| *name == "TCPAbortOnMemory");
    found.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

impl Peer {
    fn connect(plan: &Plan, id: u64, random: &mut Random) -> Peer {
        let stream = TcpStream::connect(plan.addr).expect("the server listens");
        stream.set_nonblocking(true).unwrap();
        let manner = *random.pick(plan.manners).expect("the plan has manners");
        let total = match manner {
            // More than the system buffers, or stalling would have no effect.
            Manner::Stalls | Manner::EndsEarly => {
                // Not less than a few packets of the loopback interface, 64 KiB each. Otherwise the window
                // closes, and opens only with probes that come more and more seldom.
                rustix::net::sockopt::set_socket_recv_buffer_size(&stream, 256 << 10).unwrap();
                random.between(plan.bytes_max / 2, plan.bytes_max) as u64
            }
            Manner::Sips => random.size(plan.bytes_max / 16) as u64,
            _ => random.size(plan.bytes_max) as u64,
        };
        // Not for large transfers: a receiver that does not read runs out of memory for many small packets
        // before its window closes, and drops packets, window updates included. Retransmission may take
        // minutes to recover.
        stream.set_nodelay(total < 256 << 10).unwrap();
        let reads_from = match manner {
            Manner::Stalls | Manner::EndsEarly => {
                Some(Instant::now() + Duration::from_millis(random.between(20, 300) as u64))
            }
            _ => None,
        };
        Peer { stream, id, manner, total, sent: 0, received: 0, chunk: 0, reads_from, write_ended: false }
    }

    /// Both ends in `/proc/net/tcp`: states, queues (unacknowledged : unread), timers.
    fn kernel_state(&self) -> String {
        let text = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        let port = self.stream.local_addr().map_or(0, |addr| addr.port());
        let about = |line: &&str| line.contains(&format!(":{port:04X} "));
        text.lines().take(1).chain(text.lines().filter(about)).map(|line| format!("{line}\n")).collect()
    }

    fn reads(&self) -> bool {
        self.reads_from.is_none_or(|time| Instant::now() >= time)
    }

    fn interest(&self) -> PollFlags {
        let mut interest = PollFlags::empty();
        if self.reads() {
            interest |= PollFlags::IN;
        }
        if self.sent < self.total {
            interest |= PollFlags::OUT;
        }
        interest
    }

    fn step(
        &mut self,
        ready: PollFlags,
        plan: &Plan,
        bytes: &Bytes,
        buffer: &mut [u8],
        random: &mut Random,
        tally: &mut Tally,
    ) -> io::Result<Progress> {
        if self.manner == Manner::Visits {
            return Ok(Progress::Done);
        }
        let broken = PollFlags::ERR | PollFlags::HUP;
        if ready.intersects(PollFlags::OUT | broken) && self.sent < self.total {
            self.send(plan, bytes, random, tally)?;
        }
        if self.sent == self.total
            && !self.write_ended
            && !matches!(self.manner, Manner::Resets | Manner::Leaves)
        {
            self.stream.shutdown(Shutdown::Write)?;
            self.write_ended = true;
        }
        // These two do not wait for the rest.
        let enough = self.sent * 2 >= self.total;
        match self.manner {
            Manner::Resets if enough => {
                rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO))?;
                return Ok(Progress::Done);
            }
            Manner::Leaves if enough => return Ok(Progress::Done),
            _ => {}
        }
        if ready.intersects(PollFlags::IN | broken) && self.reads() {
            if self.reads_from.take().is_some() && self.sent < self.total {
                tally.stalled += 1;
            }
            return self.receive(bytes, buffer, random, tally);
        }
        Ok(Progress::Continues)
    }

    fn send(&mut self, plan: &Plan, bytes: &Bytes, random: &mut Random, tally: &mut Tally) -> io::Result<()> {
        // A few writes at a time, so that one peer does not occupy the thread.
        for _ in 0..4 {
            if self.chunk == 0 {
                self.chunk = random.size(plan.chunk_max);
            }
            let most = (self.total - self.sent).min(self.chunk as u64) as usize;
            match self.stream.write(bytes.at(self.id, self.sent, most)) {
                Ok(count) => {
                    self.sent += count as u64;
                    self.chunk -= count;
                    tally.bytes += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            if self.sent == self.total {
                return Ok(());
            }
        }
        Ok(())
    }

    fn receive(
        &mut self,
        bytes: &Bytes,
        buffer: &mut [u8],
        random: &mut Random,
        tally: &mut Tally,
    ) -> io::Result<Progress> {
        let most = match self.manner {
            Manner::Sips => random.size(4096),
            _ => random.size(buffer.len()),
        };
        match self.stream.read(&mut buffer[..most]) {
            Ok(0) if self.received == self.total => {
                tally.complete += 1;
                Ok(Progress::Done)
            }
            Ok(0) => Err(io::Error::other("EOF before the last byte")),
            Ok(count) => {
                let right = bytes.check(self.id, self.received, &buffer[..count]);
                assert!(right, "peer {}: a wrong byte after {}", self.id, self.received);
                self.received += count as u64;
                tally.bytes += count as u64;
                assert!(self.received <= self.sent, "more came back than was sent");
                Ok(Progress::Continues)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Progress::Continues),
            Err(error) => Err(error),
        }
    }
}
