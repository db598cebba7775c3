//! What lies between hosts.

use std::time::Duration;

use crate::{backend::sim, time::nanos};

/// What the network between two hosts does: how long it takes, how much it holds, and what goes wrong how often.
///
/// Odds are "one in so many", and zero is never. What goes wrong is drawn from the world's seed.
///
/// ```
/// # use std::time::Duration;
/// use ringback::sim::Link;
///
/// let slow = Link::new().latency(Duration::from_millis(80)).jitter(Duration::from_millis(40)).bandwidth(64 << 10);
/// let bad = slow.short_one_in(3).split_one_in(3).reset_one_in(1000);
/// # let _ = bad;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Link(pub(super) sim::Link);

impl Link {
    /// A good one: a tenth of a millisecond, any bandwidth, buffers of 64 KiB, and nothing goes wrong.
    pub fn new() -> Link {
        Link::default()
    }

    /// A bad one, for finding mistakes: jitter of several times its latency, small buffers, most reads and writes
    /// short, segments in pieces. No connection is reset.
    pub fn flaky() -> Link {
        Link::new()
            .jitter(Duration::from_millis(1))
            .send_buffer(4 << 10)
            .receive_buffer(4 << 10)
            .short_one_in(2)
            .split_one_in(2)
    }

    /// How long a segment takes at least, each way.
    pub fn latency(mut self, latency: Duration) -> Link {
        self.0.latency = nanos(latency);
        self
    }

    /// How much longer it may take. Segments of one connection stay in order all the same.
    pub fn jitter(mut self, jitter: Duration) -> Link {
        self.0.jitter = nanos(jitter);
        self
    }

    /// Bytes a second for each connection, each way. Zero for any number.
    pub fn bandwidth(mut self, bytes_per_second: u64) -> Link {
        self.0.bandwidth = bytes_per_second;
        self
    }

    /// How many bytes a connection may have on its way, in each direction.
    pub fn send_buffer(mut self, bytes: usize) -> Link {
        self.0.send_buffer = bytes.max(1);
        self
    }

    /// How many bytes wait at the other end to be read, at most.
    pub fn receive_buffer(mut self, bytes: usize) -> Link {
        self.0.receive_buffer = bytes.max(1);
        self
    }

    /// How often a read gives, or a write takes, less than it could.
    pub fn short_one_in(mut self, times: u32) -> Link {
        self.0.short_one_in = times;
        self
    }

    /// How often a segment arrives in two pieces, or more. At least two: one in one would never end.
    pub fn split_one_in(mut self, times: u32) -> Link {
        self.0.split_one_in = if times == 1 { 2 } else { times };
        self
    }

    /// How often a segment that arrives resets its connection.
    pub fn reset_one_in(mut self, times: u32) -> Link {
        self.0.reset_one_in = times;
        self
    }

    /// How often an attempt to connect is refused though somebody listens.
    pub fn refuse_one_in(mut self, times: u32) -> Link {
        self.0.refuse_one_in = times;
        self
    }

    /// How long what was sent may be on its way, through a link that is cut or to a host that has crashed, before the
    /// connection times out: 924 seconds, unless it is said here.
    pub fn give_up_after(mut self, time: Duration) -> Link {
        self.0.give_up = nanos(time);
        self
    }
}
