//! One request in flight on each connection, and a response of the same length: `echo` and `pipelined`.

use std::{error::Error, os::fd::OwnedFd, time::Instant};

use ringback_peers::{Arguments, Poller};
use rustix::event::epoll::EventFlags;

use crate::{
    measuring::{Load, Stint},
    sockets::{CONNECTING_MAX, Target, receive, send_whole, wait, wake_from},
};

const MESSAGE_BYTES: usize = 64;
/// Requests of 64 bytes in one packet.
const PIPELINED: usize = 16;

struct Connection {
    socket: OwnedFd,
    /// Bytes received of the current response.
    received: usize,
    sent_at: Instant,
}

pub struct Exchange {
    poller: Poller,
    /// The busy connections first, then the idle ones.
    connections: Vec<Connection>,
    busy: usize,
    message: Vec<u8>,
    /// Whether the response must equal the request.
    same: bool,
    buffer: Vec<u8>,
}

impl Exchange {
    pub fn echo(arguments: &Arguments) -> Result<Exchange, Box<dyn Error>> {
        let idle = arguments.get_or("idle", 0);
        Exchange::new(arguments, idle, vec![b'm'; MESSAGE_BYTES], true)
    }

    pub fn pipelined(arguments: &Arguments) -> Result<Exchange, Box<dyn Error>> {
        Exchange::new(arguments, 0, vec![b'm'; MESSAGE_BYTES * PIPELINED], false)
    }

    /// Connects, and exchanges one message on each connection, which proves that the server has accepted it.
    fn new(
        arguments: &Arguments,
        idle: usize,
        message: Vec<u8>,
        same: bool,
    ) -> Result<Exchange, Box<dyn Error>> {
        let busy: usize = arguments.get("conns");
        let mut target = Target::new(arguments);
        let buffer = vec![0; message.len() + 1];
        let poller = Poller::new()?;
        let mut exchange = Exchange { poller, connections: Vec::new(), busy, message, same, buffer };
        while exchange.connections.len() < busy + idle {
            let first = exchange.connections.len();
            for socket in target.connect_many(CONNECTING_MAX.min(busy + idle - first))? {
                wake_from(&socket, exchange.message.len())?;
                exchange.poller.add(&socket, exchange.connections.len(), EventFlags::IN)?;
                let sent_at = Instant::now();
                exchange.connections.push(Connection { socket, received: 0, sent_at });
                exchange.send(exchange.connections.len() - 1, sent_at)?;
            }
            let mut missing = exchange.connections.len() - first;
            while missing > 0 {
                for event in 0..wait(&mut exchange.poller)? {
                    missing -= usize::from(exchange.receive(exchange.poller.key(event))?);
                }
            }
        }
        Ok(exchange)
    }

    fn send(&mut self, key: usize, now: Instant) -> Result<(), Box<dyn Error>> {
        let connection = &mut self.connections[key];
        connection.sent_at = now;
        if self.same {
            // Messages differ, so that a response on the wrong connection is noticed.
            self.message[..8].copy_from_slice(&(key as u64).to_le_bytes());
        }
        send_whole(&connection.socket, &self.message)
    }

    /// Receives on a connection. Returns whether the response is complete.
    fn receive(&mut self, key: usize) -> Result<bool, Box<dyn Error>> {
        let connection = &mut self.connections[key];
        let before = connection.received;
        let count = receive(&connection.socket, &mut self.buffer)?;
        connection.received += count;
        if connection.received > self.message.len() {
            return Err("a response is too long".into());
        }
        if self.same {
            self.message[..8].copy_from_slice(&(key as u64).to_le_bytes());
            if self.buffer[..count] != self.message[before..before + count] {
                return Err("a response is not what was sent".into());
            }
        }
        let whole = connection.received == self.message.len();
        if whole {
            connection.received = 0;
        }
        Ok(whole)
    }
}

impl Load for Exchange {
    fn ops_per_exchange(&self) -> u64 {
        (self.message.len() / MESSAGE_BYTES) as u64
    }

    fn run(&mut self, stint: &mut Stint) -> Result<(), Box<dyn Error>> {
        let mut under_way = 0;
        for key in 0..self.busy {
            let now = Instant::now();
            if stint.may_start(now) {
                self.send(key, now)?;
                under_way += 1;
            }
        }
        while under_way > 0 {
            for event in 0..wait(&mut self.poller)? {
                let key = self.poller.key(event);
                if !self.receive(key)? {
                    continue;
                }
                if key >= self.busy {
                    return Err("a response came without a request".into());
                }
                let now = Instant::now();
                stint.done(now - self.connections[key].sent_at);
                if stint.may_start(now) {
                    self.send(key, now)?;
                } else {
                    under_way -= 1;
                }
            }
        }
        Ok(())
    }
}
