//! The link between two hosts.

use std::time::Duration;

use crate::{backend::sim, time::nanos};

/// What the network between two hosts does: latency, bandwidth, buffers, and how often something fails.
///
/// Odds are one in so many; zero means never. Faults are drawn from the world's seed.
///
/// ```
/// # use std::time::Duration;
/// use ringback::sim::Link;
///
/// let slow = Link::new().latency(Duration::from_millis(80)).bandwidth(64 << 10);
/// let bad = slow.short_one_in(3).split_one_in(3).reset_one_in(1000);
/// # let _ = bad;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Link(pub(super) sim::Link);

impl Link {
    /// Creates a reliable link: 0.1 ms of latency, unlimited bandwidth, buffers of 64 KiB, no faults.
    pub fn new() -> Link {
        Link::default()
    }

    /// Creates a flaky link, to find bugs: 1 ms of jitter, buffers of 4 KiB, and half of all reads, writes
    /// and segments short or split. It resets no connection.
    pub fn flaky() -> Link {
        Link::new()
            .jitter(Duration::from_millis(1))
            .send_buffer(4 << 10)
            .receive_buffer(4 << 10)
            .short_one_in(2)
            .split_one_in(2)
    }

    /// Sets how long a segment takes at least, each way.
    pub fn latency(mut self, latency: Duration) -> Link {
        self.0.latency = nanos(latency);
        self
    }

    /// Sets how much longer a segment may take. Segments of one connection still arrive in order.
    pub fn jitter(mut self, jitter: Duration) -> Link {
        self.0.jitter = nanos(jitter);
        self
    }

    /// Sets the bytes per second of each connection, each way. Zero means unlimited.
    pub fn bandwidth(mut self, bytes_per_second: u64) -> Link {
        self.0.bandwidth = bytes_per_second;
        self
    }

    /// Sets how many bytes a connection may have in flight, each way.
    pub fn send_buffer(mut self, bytes: usize) -> Link {
        self.0.send_buffer = bytes.max(1);
        self
    }

    /// Sets how many received bytes may wait to be read.
    pub fn receive_buffer(mut self, bytes: usize) -> Link {
        self.0.receive_buffer = bytes.max(1);
        self
    }

    /// Sets how often a read, or a write, moves fewer bytes than it could.
    pub fn short_one_in(mut self, times: u32) -> Link {
        self.0.short_one_in = times;
        self
    }

    /// Sets how often a segment is split into two or more. One in one would never end, and counts as one in
    /// two.
    pub fn split_one_in(mut self, times: u32) -> Link {
        self.0.split_one_in = if times == 1 { 2 } else { times };
        self
    }

    /// Sets how often a segment resets its connection when it arrives.
    pub fn reset_one_in(mut self, times: u32) -> Link {
        self.0.reset_one_in = times;
        self
    }

    /// Sets how often a connect is refused although the port is listening.
    pub fn refuse_one_in(mut self, times: u32) -> Link {
        self.0.refuse_one_in = times;
        self
    }

    /// Sets how long segments may be stalled by a cut link or a crashed host before their connection times
    /// out. Unless set, that is 924 s, as on Linux.
    pub fn give_up_after(mut self, time: Duration) -> Link {
        self.0.give_up_after = nanos(time);
        self
    }
}
