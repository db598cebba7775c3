//! Servers: `echo`, `pipelined`, `broadcast`, `pound`.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    os::fd::AsRawFd,
};

use mio::{
    Events, Interest, Poll, Registry, Token,
    net::{TcpListener, TcpStream},
};
use ringback_peers::announce;

use crate::Result;

const LISTENER: Token = Token(usize::MAX);
const BACKLOG: i32 = 1024;
const BUFFER_BYTES: usize = 64 << 10;
const MESSAGE: [u8; 64] = [b'm'; 64];
/// Messages for each stream in a burst of `broadcast`.
const MESSAGES_PER_BURST: usize = 20;

struct Connection {
    stream: TcpStream,
    /// Bytes that the kernel did not take yet. The stream is not read while there are any.
    unsent: Vec<u8>,
    /// The bytes of an incomplete request.
    left_over: Vec<u8>,
}

/// Indexed by descriptor.
type Connections = [Option<Connection>];

impl Connection {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut sent = 0;
        while self.unsent.is_empty() && sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.unsent.extend_from_slice(&bytes[sent..]);
        Ok(())
    }

    /// Returns whether everything was sent.
    fn flush(&mut self) -> io::Result<bool> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Returns the number of bytes received, 0 at EOF, or `None` if the read would block.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.stream.read(buffer) {
                Ok(count) => return Ok(Some(count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Serves until the process is killed. Calls `received` with the connection and its bytes; an error that it
/// returns closes the connection.
fn serve(mut received: impl FnMut(&mut Connections, usize, &[u8]) -> io::Result<()>) -> Result {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    // Listen again, because mio's backlog is 128.
    rustix::net::listen(&listener, BACKLOG)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    announce(&format!("listening {}", listener.local_addr()?.port()));
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept_all(&listener, poll.registry(), &mut connections)?;
                continue;
            }
            let index = event.token().0;
            if !matches!(proceed(&mut connections, index, &mut buffer, &mut received), Ok(true)) {
                connections[index] = None;
            }
        }
    }
}

fn accept_all(
    listener: &TcpListener,
    registry: &Registry,
    connections: &mut Vec<Option<Connection>>,
) -> io::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nodelay(true)?;
        let index = stream.as_raw_fd() as usize;
        // Both interests at once: with edge triggering an interest that is not needed costs nothing.
        registry.register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        if index >= connections.len() {
            connections.resize_with(index + 1, || None);
        }
        connections[index] = Some(Connection { stream, unsent: Vec::new(), left_over: Vec::new() });
    }
}

/// Sends what is queued and reads what has arrived, until the system would block. Returns whether to keep the
/// connection.
fn proceed(
    connections: &mut Connections,
    index: usize,
    buffer: &mut [u8],
    received: &mut impl FnMut(&mut Connections, usize, &[u8]) -> io::Result<()>,
) -> io::Result<bool> {
    while let Some(connection) = &mut connections[index] {
        if !connection.flush()? {
            return Ok(true);
        }
        match connection.receive(buffer)? {
            None => return Ok(true),
            Some(0) => return Ok(false),
            Some(count) => received(connections, index, &buffer[..count])?,
        }
    }
    Ok(false)
}

fn at(connections: &mut Connections, index: usize) -> &mut Connection {
    connections[index].as_mut().expect("it was just read")
}

pub fn echo() -> Result {
    serve(|connections, index, bytes| at(connections, index).send(bytes))
}

pub fn pipelined() -> Result {
    serve(|connections, index, mut bytes| {
        let connection = at(connections, index);
        if !connection.left_over.is_empty() {
            let (begin, rest) = bytes.split_at(bytes.len().min(MESSAGE.len() - connection.left_over.len()));
            connection.left_over.extend_from_slice(begin);
            bytes = rest;
            if connection.left_over.len() < MESSAGE.len() {
                return Ok(());
            }
            connection.left_over.clear();
            connection.send(&MESSAGE)?;
        }
        let requests = bytes.chunks_exact(MESSAGE.len());
        connection.left_over.extend_from_slice(requests.remainder());
        for _ in requests {
            connection.send(&MESSAGE)?;
        }
        Ok(())
    })
}

pub fn broadcast() -> Result {
    serve(|connections, _, bytes| {
        for _ in 0..bytes.len() * MESSAGES_PER_BURST {
            for connection in connections.iter_mut().flatten() {
                // If the connection is broken, its next read closes it.
                let _ = connection.send(&MESSAGE);
            }
        }
        Ok(())
    })
}

pub fn pound() -> Result {
    serve(|connections, index, _| {
        connections[index] = None;
        Ok(())
    })
}
