//! Short-lived connections: `pound`.

use std::{error::Error, mem, os::fd::OwnedFd, time::Instant};

use ringback_peers::{Arguments, Poller};
use rustix::{
    event::epoll::EventFlags,
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send, sockopt::socket_error},
};

use crate::{
    measuring::{Load, Stint},
    sockets::{CONNECTING_MAX, Target, send_whole, wait},
};

const REQUEST: &[u8] = b"QS";

enum Client {
    Idle,
    Connecting(OwnedFd, Instant),
    /// The request is sent. The server will close the connection.
    Waiting(OwnedFd, Instant),
}

pub struct Pound {
    target: Target,
    poller: Poller,
    clients: Vec<Client>,
}

impl Pound {
    pub fn new(arguments: &Arguments) -> Result<Pound, Box<dyn Error>> {
        let clients = (0..arguments.get("conns")).map(|_| Client::Idle).collect();
        Ok(Pound { target: Target::new(arguments), poller: Poller::new()?, clients })
    }

    fn begin(&mut self, key: usize, now: Instant) -> Result<(), Box<dyn Error>> {
        let (socket, _) = self.target.connect()?;
        // On loopback the connection is established when the call returns, although it reports EINPROGRESS.
        self.clients[key] = match send(&socket, REQUEST, SendFlags::NOSIGNAL) {
            Ok(_) => {
                self.poller.add(&socket, key, EventFlags::IN)?;
                Client::Waiting(socket, now)
            }
            Err(Errno::AGAIN) => {
                self.poller.add(&socket, key, EventFlags::OUT)?;
                Client::Connecting(socket, now)
            }
            Err(error) => return Err(format!("could not connect: {error}").into()),
        };
        Ok(())
    }

    /// Advances a client. Returns when it was started, once its exchange is complete.
    fn proceed(&mut self, key: usize) -> Result<Option<Instant>, Box<dyn Error>> {
        match mem::replace(&mut self.clients[key], Client::Idle) {
            Client::Idle => {}
            Client::Connecting(socket, since) => {
                socket_error(&socket)?.map_err(|error| format!("could not connect: {error}"))?;
                send_whole(&socket, REQUEST)?;
                self.poller.modify(&socket, key, EventFlags::IN)?;
                self.clients[key] = Client::Waiting(socket, since);
            }
            Client::Waiting(socket, since) => match recv(&socket, &mut [0; 64], RecvFlags::empty()) {
                Ok((0, _)) => return Ok(Some(since)),
                Ok(_) => return Err("the server sent a response where none is expected".into()),
                Err(Errno::AGAIN) => self.clients[key] = Client::Waiting(socket, since),
                Err(error) => return Err(format!("a connection failed: {error}").into()),
            },
        }
        Ok(None)
    }
}

impl Load for Pound {
    fn ops_per_exchange(&self) -> u64 {
        1
    }

    fn run(&mut self, stint: &mut Stint) -> Result<(), Box<dyn Error>> {
        let mut under_way = 0;
        // Start no more at a time than the backlog holds.
        let mut begun = 0;
        while begun < self.clients.len() || under_way > 0 {
            let batch_end = self.clients.len().min(begun + CONNECTING_MAX);
            for key in begun..batch_end {
                let now = Instant::now();
                if stint.may_start(now) {
                    self.begin(key, now)?;
                    under_way += 1;
                }
            }
            begun = batch_end;
            if under_way == 0 {
                continue;
            }
            for event in 0..wait(&mut self.poller)? {
                let key = self.poller.key(event);
                let Some(since) = self.proceed(key)? else { continue };
                let now = Instant::now();
                stint.done(now - since);
                if stint.may_start(now) {
                    self.begin(key, now)?;
                } else {
                    under_way -= 1;
                }
            }
        }
        Ok(())
    }
}
