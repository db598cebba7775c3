//! One stream sends a byte, and the server writes a burst to all streams: `broadcast`.

use std::{
    error::Error,
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use ringback_peers::{Arguments, Poller};
use rustix::event::epoll::EventFlags;

use crate::{
    measuring::{Load, Stint},
    sockets::{CONNECTING_MAX, Target, receive, send_whole, wait, wake_from},
};

/// Messages for each stream in a burst.
const MESSAGES: usize = 20;
const BURST_BYTES: usize = MESSAGES * 64;
/// Time for the server to accept a batch of connections. It does not report when it has.
const ACCEPTING: Duration = Duration::from_millis(50);

struct Stream {
    socket: OwnedFd,
    /// Bytes received of the current burst.
    received: usize,
}

pub struct Broadcast {
    poller: Poller,
    streams: Vec<Stream>,
    buffer: Vec<u8>,
}

impl Broadcast {
    pub fn new(arguments: &Arguments) -> Result<Broadcast, Box<dyn Error>> {
        let count = arguments.get("streams");
        let mut target = Target::new(arguments);
        let poller = Poller::new()?;
        let mut streams = Vec::with_capacity(count);
        while streams.len() < count {
            for socket in target.connect_many(CONNECTING_MAX.min(count - streams.len()))? {
                wake_from(&socket, BURST_BYTES)?;
                poller.add(&socket, streams.len(), EventFlags::IN)?;
                streams.push(Stream { socket, received: 0 });
            }
            thread::sleep(ACCEPTING);
        }
        let mut broadcast = Broadcast { poller, streams, buffer: vec![0; BURST_BYTES + 1] };
        broadcast.burst()?;
        Ok(broadcast)
    }

    /// Requests a burst, and receives until every stream has its part.
    fn burst(&mut self) -> Result<(), Box<dyn Error>> {
        send_whole(&self.streams[0].socket, b"!")?;
        let mut missing = self.streams.len();
        while missing > 0 {
            for event in 0..wait(&mut self.poller)? {
                let stream = &mut self.streams[self.poller.key(event)];
                stream.received += receive(&stream.socket, &mut self.buffer)?;
                if stream.received > BURST_BYTES {
                    return Err("a stream received more than its burst".into());
                }
                missing -= usize::from(stream.received == BURST_BYTES);
            }
        }
        for stream in &mut self.streams {
            stream.received = 0;
        }
        Ok(())
    }
}

impl Load for Broadcast {
    fn ops_per_exchange(&self) -> u64 {
        (self.streams.len() * MESSAGES) as u64
    }

    fn run(&mut self, stint: &mut Stint) -> Result<(), Box<dyn Error>> {
        let mut now = Instant::now();
        while stint.may_start(now) {
            let begun = now;
            self.burst()?;
            now = Instant::now();
            stint.done(now - begun);
        }
        Ok(())
    }
}
