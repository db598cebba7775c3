//! What lies between two machines.

use crate::time::Nanos;

/// What lies between two machines, or between a machine and itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) latency: Nanos,
    pub(crate) jitter: Nanos,
    /// Bytes per second, each way. Zero means unlimited.
    pub(crate) bandwidth: u64,
    pub(crate) send_buffer: usize,
    pub(crate) receive_buffer: usize,
    /// One read, and one write, in so many moves less than it could.
    pub(crate) short_one_in: u32,
    /// One segment in so many arrives in pieces.
    pub(crate) split_one_in: u32,
    /// One segment in so many resets its connection.
    pub(crate) reset_one_in: u32,
    /// One connect in so many is refused although the port is listening.
    pub(crate) refuse_one_in: u32,
    /// How long a connection lives whose segments do not arrive.
    pub(crate) give_up_after: Nanos,
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
            // What Linux takes for its 15 retransmissions (tcp_retries2).
            give_up_after: 924_000_000_000,
        }
    }
}
