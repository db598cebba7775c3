//! Servers: `echo`, `pipelined`, `broadcast`, `pound`, `sink`.

use std::os::fd::{AsRawFd, OwnedFd};

use ringback_peers::Poller;
use rustix::{
    event::epoll::EventFlags,
    io::Errno,
    net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send},
};

use crate::{Result, sockets::listener};

const LISTENER: usize = usize::MAX;
const BUFFER_BYTES: usize = 64 << 10;
const MESSAGE: [u8; 64] = [b'm'; 64];
/// Messages for each stream in a burst of `broadcast`.
const MESSAGES_PER_BURST: usize = 20;

/// Indexed by descriptor; the kernel hands out the lowest one that is free.
type Streams = [Option<OwnedFd>];

trait Service {
    /// Returns whether to keep a stream that was just accepted.
    fn accepted(&mut self, _stream: &OwnedFd) -> bool {
        true
    }

    /// Returns whether to keep a stream that is readable.
    fn readable(&mut self, streams: &Streams, stream: &OwnedFd) -> bool;
}

fn serve(mut service: impl Service) -> Result {
    let listener = listener()?;
    let mut poller = Poller::new()?;
    poller.add(&listener, LISTENER, EventFlags::IN)?;
    let mut streams = Vec::new();
    loop {
        for event in 0..poller.wait()? {
            let key = poller.key(event);
            if key == LISTENER {
                accept_all(&listener, &poller, &mut streams, &mut service)?;
                continue;
            }
            let Some(stream) = &streams[key] else { continue };
            if !service.readable(&streams, stream) {
                streams[key] = None;
            }
        }
    }
}

fn accept_all(
    listener: &OwnedFd,
    poller: &Poller,
    streams: &mut Vec<Option<OwnedFd>>,
    service: &mut impl Service,
) -> Result {
    loop {
        let stream = match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(stream) => stream,
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if !service.accepted(&stream) {
            continue;
        }
        let index = stream.as_raw_fd() as usize;
        poller.add(&stream, index, EventFlags::IN)?;
        if index >= streams.len() {
            streams.resize_with(index + 1, || None);
        }
        streams[index] = Some(stream);
    }
}

/// Returns the number of bytes received, or `None` at EOF or after an error.
fn receive(stream: &OwnedFd, buffer: &mut [u8], flags: RecvFlags) -> Option<usize> {
    match recv(stream, buffer, flags) {
        Ok((0, _)) => None,
        Ok((count, _)) => Some(count),
        Err(Errno::AGAIN) => Some(0),
        Err(_) => None,
    }
}

fn send_whole(stream: &OwnedFd, bytes: &[u8]) -> bool {
    send(stream, bytes, SendFlags::NOSIGNAL) == Ok(bytes.len())
}

// ---- echo

struct Echo {
    buffer: Vec<u8>,
}

pub fn echo() -> Result {
    serve(Echo { buffer: vec![0; BUFFER_BYTES] })
}

impl Service for Echo {
    fn readable(&mut self, _: &Streams, stream: &OwnedFd) -> bool {
        match receive(stream, &mut self.buffer, RecvFlags::empty()) {
            Some(0) => true,
            Some(count) => send_whole(stream, &self.buffer[..count]),
            None => false,
        }
    }
}

// ---- pipelined

struct Pipelined {
    buffer: Vec<u8>,
    responses: Vec<u8>,
    /// Indexed by descriptor: the bytes received of an incomplete request. Their content does not matter.
    left_over: Vec<usize>,
}

/// Coalesces the responses to all requests of one read into one send, which is the floor. The libraries have
/// a write for each response.
pub fn pipelined() -> Result {
    let responses = vec![b'a'; BUFFER_BYTES + MESSAGE.len()];
    serve(Pipelined { buffer: vec![0; BUFFER_BYTES], responses, left_over: Vec::new() })
}

impl Service for Pipelined {
    fn accepted(&mut self, stream: &OwnedFd) -> bool {
        let index = stream.as_raw_fd() as usize;
        if index >= self.left_over.len() {
            self.left_over.resize(index + 1, 0);
        }
        self.left_over[index] = 0;
        true
    }

    fn readable(&mut self, _: &Streams, stream: &OwnedFd) -> bool {
        let Some(count) = receive(stream, &mut self.buffer, RecvFlags::empty()) else { return false };
        let left_over = &mut self.left_over[stream.as_raw_fd() as usize];
        let there = *left_over + count;
        *left_over = there % MESSAGE.len();
        let whole = there - *left_over;
        whole == 0 || send_whole(stream, &self.responses[..whole])
    }
}

// ---- broadcast

struct Broadcast {
    burst: Vec<u8>,
}

/// Coalesces a stream's part of a burst into one send, which is the floor. The libraries have a write per
/// message.
pub fn broadcast() -> Result {
    serve(Broadcast { burst: MESSAGE.repeat(MESSAGES_PER_BURST) })
}

impl Service for Broadcast {
    fn readable(&mut self, streams: &Streams, stream: &OwnedFd) -> bool {
        let mut requests = [0; 64];
        let Some(bursts) = receive(stream, &mut requests, RecvFlags::empty()) else { return false };
        for _ in 0..bursts {
            for listening in streams.iter().flatten() {
                // If the stream is broken, its next read closes it.
                send_whole(listening, &self.burst);
            }
        }
        true
    }
}

// ---- pound

struct Pound;

pub fn pound() -> Result {
    serve(Pound)
}

impl Service for Pound {
    /// Mostly the request has arrived by the time of the accept. Then the stream is never added to epoll.
    fn accepted(&mut self, stream: &OwnedFd) -> bool {
        receive(stream, &mut [0; 64], RecvFlags::empty()) == Some(0)
    }

    fn readable(&mut self, _: &Streams, stream: &OwnedFd) -> bool {
        self.accepted(stream)
    }
}

// ---- sink

struct Sink {
    buffer: Vec<u8>,
}

pub fn sink() -> Result {
    serve(Sink { buffer: vec![0; 4 << 20] })
}

impl Service for Sink {
    fn readable(&mut self, _: &Streams, stream: &OwnedFd) -> bool {
        // With this flag TCP discards the data without a copy.
        receive(stream, &mut self.buffer, RecvFlags::TRUNC).is_some()
    }
}
